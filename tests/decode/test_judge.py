"""Runs judged at one blow: the same tables, wishes and memory as frame by frame, whatever goes wrong."""

import json
import random
from pathlib import Path

import pytest
from framed import SECOND_NS, Outcome, Tape, check_balance, decode, read_recorded

from truetape.decode.engine import RUN_FRAMES_MIN
from truetape.tape.frame import Frame, FrameKind, Source

RECORDED = (
    "binance/cryptofeed_binance_20210404.jsonl.gz",
    "binance/cryptofeed_binance_futures_20210417.jsonl.gz",
    "binance/hftbacktest_spot_btcusdt_20240808.gz",
    "binance/hftbacktest_usdm_btcusdt_20240718.gz",
    "binance/hftbacktest_coinm_btcusd_perp_20240808.gz",
    "bybit/cryptofeed_bybit_20260809_linear.jsonl.gz",
    "okx/cryptofeed_okex_20210722.jsonl.gz",
    "okx/cryptofeed_okx_20220513.jsonl.gz",
    "coinbase/cryptofeed_coinbase_20210417_a.jsonl.gz",
)
FRAMES_MAX = 3000
ONE, TWO = (Source("binance", "spot", f"binance/spot/{number}#1") for number in (0, 1))
FUTURES = Source("binance", "usdm", "binance/usdm/0#1")
SYMBOLS = ("btcusdt", "ethusdt", "1000pepeusdt")


def decode_singly(frames: list[Frame] | Tape, *, books: bool = False) -> Outcome:
    """Decode frames in batches too small for runs."""
    count = len(frames.frames if isinstance(frames, Tape) else frames)
    return decode(frames, range(0, count, RUN_FRAMES_MIN - 1), books=books)


def assert_same(one: Outcome, other: Outcome) -> None:
    assert one.tables.keys() == other.tables.keys()
    for kind, table in one.tables.items():
        assert table.equals(other.tables[kind]), kind
    assert one.counts == other.counts
    assert one.wishes == other.wishes
    assert one.state == other.state


def assert_runs_change_nothing(frames: list[Frame] | Tape, chance: random.Random, *, books: bool = False) -> Outcome:
    singly = decode_singly(frames, books=books)
    check_balance(singly)
    count = len(frames.frames if isinstance(frames, Tape) else frames)
    cuts = [chance.randrange(count) for _ in range(10)]
    assert_same(singly, decode(frames, books=books))
    assert_same(singly, decode(frames, cuts, cuts[:5], books=books))
    assert_same(singly, decode(frames, cuts, cuts[:5], cuts[5:], books=books))
    return singly


class Market:
    """What a venue says of some instruments, whole."""

    def __init__(self, chance: random.Random, source: Source, *, crossing: float = 1.0) -> None:
        self.chance = chance
        self.crossing = crossing
        """How likely a change is to leave its book crossed; 1: books are of random prices."""
        self.middle = 500
        self.levels: dict[str, tuple[set[int], set[int]]] = {symbol: (set(), set()) for symbol in SYMBOLS}
        self.source = source
        self.trades = dict.fromkeys(SYMBOLS, 100)
        self.books = dict.fromkeys(SYMBOLS, 100)
        self.quotes = dict.fromkeys(SYMBOLS, 100)

    def say(self, tape: Tape) -> bytes:
        """Put a message on a tape and return it."""
        symbol = self.chance.choice(SYMBOLS)
        kind, data = self.chance.choice((self._trade, self._trade, self._depth, self._quote, self._bar))(symbol)
        body = {"stream": f"{symbol}@{kind}", "data": {"s": symbol.upper(), **data}}
        payload = json.dumps(body, separators=(",", ":")).encode()
        tape.say(self.source, payload)
        return payload

    def _trade(self, symbol: str) -> tuple[str, dict[str, object]]:
        self.trades[symbol] += 1
        flag = {"X": self.chance.choice(("MARKET",) * 50 + ("INSURANCE_FUND",))} if self.source == FUTURES else {}
        price = f"{self.chance.randrange(10**7) / 100:.2f}"
        told = {"e": "trade", "E": 1767225600000, "T": 1767225600000 + self.trades[symbol], "t": self.trades[symbol]}
        return "trade", {**told, "p": price, "q": "0.5", "m": self.chance.random() < 0.5, **flag}

    def _depth(self, symbol: str) -> tuple[str, dict[str, object]]:
        before = self.books[symbol] * 10
        self.books[symbol] += 1
        last = self.books[symbol] * 10
        sides = [
            [[f"{self.chance.randrange(1, 999)}.50", f"0.{self.chance.randrange(9)}"] for _ in range(n)] for n in (2, 1)
        ]
        if self.crossing < 1:
            sides = self._walk(*self.levels[symbol])
        told = {"e": "depthUpdate", "E": 1767225600000 + last, "U": before + 1, "u": last, "b": sides[0], "a": sides[1]}
        return "depth@100ms", told | ({"T": told["E"], "pu": before} if self.source == FUTURES else {})

    def _walk(self, bids: set[int], asks: set[int]) -> list[list[list[str]]]:
        """Let the market move, and what it moved through be gone."""
        self.middle += self.chance.randrange(-3, 4)
        gone = [[], []]
        if self.chance.random() >= self.crossing:
            gone = [[p for p in bids if p >= self.middle], [p for p in asks if p < self.middle]]
        bids.difference_update(gone[0])
        asks.difference_update(gone[1])
        sides = []
        for side, sign, left in ((bids, -1, gone[0]), (asks, 1, gone[1])):
            near = [self.middle + sign * self.chance.randrange(1, 9) for _ in range(self.chance.randrange(4))]
            changes = [(p, self.chance.randrange(4)) for p in near] + [(p, 0) for p in left]
            side.update(p for p, size in changes if size)
            sides.append([[f"{p}.50", f"{size}.0"] for p, size in changes])
        return sides

    def _quote(self, symbol: str) -> tuple[str, dict[str, object]]:
        told = {"u": self.quotes[symbol] * 10, "b": "1.5", "B": "2", "a": "2.5", "A": self.chance.choice(("0", "3.25"))}
        self.quotes[symbol] += 1
        return "bookTicker", told | ({"T": 1767225600000} if self.source == FUTURES else {})

    def _bar(self, symbol: str) -> tuple[str, dict[str, object]]:
        prices = dict.fromkeys("ohlcvqVQ", "1.0")
        bar = {"t": 1767225600000, "i": "1m", "n": 1, "x": False, **prices}
        return "kline_1m", {"e": "kline", "E": 1767225600000, "k": bar}


def spoil(tape: Tape, market: Market, payload: bytes, chance: random.Random) -> None:
    """Let something go wrong, or something else come, after a message."""
    symbol = chance.choice(SYMBOLS)
    url = f"https://api.binance.com/api/v3/depth?symbol={symbol.upper()}&limit=5000"
    match chance.randrange(12):
        case 0:
            tape.say(market.source, payload)
        case 1:
            tape.say(market.source, payload[: chance.randrange(len(payload))])
        case 2:
            tape.say(market.source, payload.replace(b'"0.5"', b'"00.5"').replace(b".50", b".x"))
        case 3 | 4:
            market.say(Tape())  # lost
        case 5:
            tape.say(market.source, {"result": None, "id": 1})
        case 6 | 7 | 8:
            last = (market.books[symbol] - chance.randrange(4)) * 10
            body = {"lastUpdateId": last, "bids": [["1.5", "1"], ["1.4", "2"]], "asks": [["1000.5", "1"]]}
            url = url if market.source != FUTURES else url.replace("api.binance.com/api/v3", "fapi.binance.com/fapi/v1")
            tape.answer("binance", market.source.feed, url, body)
        case 9:
            tape.wait(2.0)
        case 10:
            lost = {"frames": 3, "bytes": 100, "from_ns": tape.now_ns - SECOND_NS}
            tape.note(market.source, "dropped", **lost)
        case 11:
            tape.put(market.source, FrameKind.TEXT, b'{"stream":"!miniTicker@arr","data":[]}')


def subscribe(tape: Tape, source: Source) -> None:
    tape.note(source, "opened")
    for symbol in SYMBOLS:
        for channel in ("trade", "book_change", "quote"):
            tape.subscribe(source, channel, source.feed, symbol.upper(), f"{symbol}@{channel}")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_goes_wrong_runs_change_nothing(seed: int) -> None:
    chance = random.Random(seed)
    tape = Tape()
    markets = [Market(chance, source) for source in ((ONE, FUTURES) if seed % 2 else (FUTURES,))]
    for market in markets:
        subscribe(tape, market.source)
    for _ in range(1500):
        market = chance.choice(markets)
        payload = market.say(tape)
        if chance.random() < 0.005 * (seed % 4):
            spoil(tape, market, payload, chance)
    assert_runs_change_nothing(tape, chance)


@pytest.mark.parametrize("seed", range(8))
def test_books_that_are_kept_are_the_same_whichever_way(seed: int) -> None:
    chance, tape = random.Random(seed), Tape()
    market = Market(chance, FUTURES if seed % 2 else ONE, crossing=(0.0, 0.001, 0.01, 0.1)[seed // 2])
    subscribe(tape, market.source)
    host = "fapi.binance.com/fapi/v1" if seed % 2 else "api.binance.com/api/v3"
    for i in range(2500):
        payload = market.say(tape)
        if i % 250 == 50:
            for symbol in SYMBOLS:
                body = {"lastUpdateId": market.books[symbol] * 10, "bids": [["1.5", "1"]], "asks": [["99999.5", "1"]]}
                tape.answer(
                    "binance", market.source.feed, f"https://{host}/depth?symbol={symbol.upper()}&limit=1000", body
                )
        if chance.random() < 0.002 * (seed % 3):
            spoil(tape, market, payload, chance)
    outcome = assert_runs_change_nothing(tape, chance, books=True)
    assert market.crossing < 0.1 or outcome.rows("gap", reason="crossed")


@pytest.mark.parametrize("seed", range(6))
def test_two_connections_that_say_the_same_are_one_stream(seed: int) -> None:
    chance = random.Random(seed)
    tape, late = Tape(), []
    market = Market(chance, ONE)
    subscribe(tape, ONE)
    subscribe(tape, TWO)
    for i in range(600):
        late.append(market.say(tape))
        while i > 100 and late and chance.random() < 0.6:
            tape.say(TWO, late.pop(0))
    outcome = assert_runs_change_nothing(tape, chance)
    assert outcome.counts["duplicates.trade"] > 0
    ids = [(row["symbol"], int(row["trade_id"])) for row in outcome.rows("trade")]
    assert len(ids) == len(set(ids))


def test_a_book_that_follows_on_remembers_what_a_late_snapshot_needs() -> None:
    chance = random.Random(1)
    tape = Tape()
    market = Market(chance, ONE)
    subscribe(tape, ONE)
    for i in range(4000):
        market.say(tape)
        if i in {40, 3900}:
            last = market.books["btcusdt"] * 10 - (0 if i == 40 else 200)
            tape.answer(
                "binance", "spot", "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000",
                {"lastUpdateId": last, "bids": [["1.5", "1"]], "asks": [["1000.5", "1"]]},
            )  # fmt: skip
    outcome = assert_runs_change_nothing(tape, chance)
    assert [row for row in outcome.rows("book_change", venue_symbol="BTCUSDT") if row["is_snapshot"]]


@pytest.mark.parametrize("name", RECORDED)
def test_recordings_are_the_same_by_run_and_frame_by_frame(recordings: Path, name: str) -> None:
    frames = read_recorded(recordings / "crypto" / name, name.partition("/")[0], frames_max=FRAMES_MAX)
    outcome = assert_runs_change_nothing(frames, random.Random(name))
    assert outcome.counts["quarantined"] == 0
    assert_same(decode_singly(frames, books=True), decode(frames, books=True))


@pytest.mark.parametrize(
    "name", ["okx/cryptofeed_okex_20210722.jsonl.gz", "coinbase/cryptofeed_coinbase_20210417_a.jsonl.gz"]
)
def test_books_that_break_are_the_same_by_run_and_frame_by_frame(recordings: Path, name: str) -> None:
    chance = random.Random(name)
    whole = read_recorded(recordings / "crypto" / name, name.partition("/")[0], frames_max=FRAMES_MAX)
    frames = [frame for frame in whole if frame.kind != FrameKind.TEXT or chance.random() > 0.003]
    for i in chance.sample(range(len(frames) // 2, len(frames)), 5):
        frames[i] = frames[i]._replace(payload=frames[i].payload.replace(b'"checksum":', b'"checksum":1'))
    old = next(frame for frame in whole if b'"action":"update"' in frame.payload or b"l2upd" in frame.payload)
    frames.insert(len(frames) * 2 // 3, old)  # received long before: the clock steps back, and on again
    outcome = assert_runs_change_nothing(frames, chance)
    assert name.startswith("coinbase") or outcome.rows("gap", reason="checksum")


def test_frames_that_are_a_message_only_together_cost_themselves_only() -> None:
    chance, tape = random.Random(1), Tape()
    market = Market(chance, ONE)
    subscribe(tape, ONE)
    for _ in range(100):
        market.say(tape)
    whole = tape.frames[-1].payload
    head = whole[: whole.find(b',"data"')]
    tape.say(ONE, head + b',"data":{"a":[1')
    tape.say(ONE, b"2]}}")
    tape.say(ONE, whole + b"," + whole)
    for _ in range(100):
        market.say(tape)
    outcome = decode_singly(tape)
    assert_same(outcome, decode(tape, books=False))
    assert outcome.counts["quarantined"] == 3
