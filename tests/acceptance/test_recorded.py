"""A recorded market goes through the fake venue, the recorder, the lake and bars: nothing is lost, twice the same."""

import gzip
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from truetape.lake import Lake, lake_hash
from truetape.sinks import open_sink
from truetape.tape import open_reader
from truetape.transform import build, hash_gold

# Files of one stretch of time play together; between stretches lie months.
STRETCHES: tuple[tuple[str, ...], ...] = (
    ("usdm_btcusdt_20230404.dat.gz", "usdm_btcusdt_20230405.dat.gz", "spot_btcusdt_20230405.dat.gz"),
    ("usdm_btcusdt_20240718.gz", "usdm_btcusdt_20240719.gz"),
    (
        "spot_btcusdt_20240808.gz",
        "spot_btcusdt_20240809.gz",
        "usdm_btcusdt_20240808.gz",
        "usdm_ethusdt_20240808.gz",
        "coinm_btcusd_perp_20240808.gz",
        "coinm_btcusd_perp_20240809.gz",
        "coinm_ethusd_perp_20240808.gz",
        "coinm_ethusd_perp_20240809.gz",
    ),
)
SYMBOLS = {
    ("spot", "BTCUSDT"): "BTC-USDT",
    ("usdm", "BTCUSDT"): "BTC-USDT-PERP",
    ("usdm", "ETHUSDT"): "ETH-USDT-PERP",
    ("coinm", "BTCUSD_PERP"): "BTC-USD-PERP",
    ("coinm", "ETHUSD_PERP"): "ETH-USD-PERP",
}
VENUES = """\
  binance:
    instruments: [BTC-USDT, BTC-USDT-PERP, ETH-USDT-PERP, BTC-USD-PERP, ETH-USD-PERP]
    channels: [trade, book_change, quote, derivative]
"""
BAR_COLUMNS = (
    "venue, symbol, venue_symbol, interval, open_at, close_at, open, high, low, close, volume, quote_volume, "
    "taker_buy_volume, vwap, trades, first_trade_at, last_trade_at, date"
)
"""Of the venue's data alone. `available_at`, `gap_seconds` and `is_complete` also say when and how we received it."""


class Truth:
    """What a set of recordings holds, read with nothing of ours."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.trades: Counter[tuple[str, int]] = Counter()
        self.frames = Counter[str]()
        self.books: dict[str, dict[str, dict[float, float]]] = {}
        self.seconds = 0.0
        for path in paths:
            self._read(path)

    def _read(self, path: Path) -> None:
        feed = path.name.split("_")[1]
        snapshot: dict[str, Any] = {}
        diffs: list[dict[str, Any]] = []
        symbol, stamps = "", []
        for stamp, frame in read_lines(path):
            stamps.append(stamp)
            if "stream" not in frame:
                snapshot = frame
                continue
            data = frame["data"]
            symbol = symbol or SYMBOLS[feed, data["s"]]
            topic = frame["stream"].split("@")[1]
            self.frames[topic] += 1
            if topic == "trade":
                self.trades[symbol, data["t"]] += 1
            elif topic == "depth":
                diffs.append(data)
        book = self.books.setdefault(symbol, {"bid": {}, "ask": {}})
        if snapshot:
            apply(book, {"bid": snapshot["bids"], "ask": snapshot["asks"]}, is_whole=True)
        for diff in diffs:
            if diff["u"] > snapshot.get("lastUpdateId", -1):
                apply(book, {"bid": diff["b"], "ask": diff["a"]})
        self.seconds += (stamps[-1] - stamps[0]) / 1e9


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with gzip.open(path) as file:
        for line in file:
            stamp, _, payload = line.partition(b" ")
            yield int(stamp) * (1 if len(stamp) > 17 else 1000), json.loads(payload)


def apply(book: dict[str, dict[float, float]], levels: dict[str, Any], is_whole: bool = False) -> None:
    for side, changes in levels.items():
        if is_whole:
            book[side].clear()
        for price, amount in changes:
            if float(amount):
                book[side][float(price)] = float(amount)
            else:
                book[side].pop(float(price), None)


def rebuild_book(lake: Lake, symbol: str) -> dict[str, dict[float, float]]:
    """Rebuild a book from the lake's rows, from its last snapshot on."""
    rows = lake.sql(
        """
        select tape_offset, is_snapshot, side, price, coalesce(contracts, amount) as size from book_change
        where symbol = $symbol and tape_offset >= (
            select max(tape_offset) from book_change where symbol = $symbol and is_snapshot)
        order by tape_offset, tape_row
        """,
        {"symbol": symbol},
    ).arrow()
    book: dict[str, dict[float, float]] = {"bid": {}, "ask": {}}
    for row in rows.to_pylist():
        if row["size"]:
            book[row["side"]][row["price"]] = row["size"]
        else:
            book[row["side"]].pop(row["price"], None)
    return book


def record_stretch(stage: Any, wait_until: Any, paths: Sequence[Path], speed: float, home: Path) -> None:
    """Play recordings to a recorder until they end; append to one tape and one lake."""
    played = [argument for path in paths for argument in ("--recording", str(path))]
    sim = stage.sim("--venue", "binance", "--speed", str(speed), *played, name=f"{home.name}-sim-{paths[0].name}")
    config = stage.configure(VENUES, f"{home.name}.yaml", tape=f"{home}/tape", sinks=f'["lake:{home}/lake"]')
    record = stage.start("record", "--config", str(config), name=f"{home.name}-record", TRUETAPE_URL_BINANCE=sim.url)
    wait_until(lambda: sim.ask("status")["recording"]["done"], record, 1800)
    time.sleep(0.5)  # the last frames are on their way
    status = sim.ask("status")["recording"]
    assert record.end() == 0, record.err.read_text()
    sim.kill()
    assert status["unheard"] == 0
    assert status["played"] > 0


def perform(stage: Any, wait_until: Any, stretches: Sequence[Sequence[Path]], speed: float, home: Path) -> None:
    for paths in stretches:
        record_stretch(stage, wait_until, paths, speed, home)
    verdict = stage.ask("verify", "--tape", f"{home}/tape", "--lake", f"{home}/lake")
    assert verdict["balanced"]
    assert verdict["quarantined"] == 0
    build(home / "lake")


def check_against(truth: Truth, home: Path) -> None:
    """Hold the lake against the recordings: trades one by one, frames by count, books level by level."""
    lake = Lake(home / "lake")
    rows = lake.sql("select symbol, trade_id::bigint as id, count(*)::bigint as n from trade group by all").arrow()
    stored = {(row["symbol"], row["id"]): row["n"] for row in rows.to_pylist()}
    assert stored == dict(truth.trades)
    assert count(lake, "quote") == truth.frames["bookTicker"]
    for symbol, book in truth.books.items():
        assert rebuild_book(lake, symbol) == book, symbol
    wrong = lake.sql("select symbol, channel, reason, state, evidence from gap where reason <> 'not_started'").arrow()
    assert [row for row in wrong.to_pylist() if not is_of_the_recording(row)] == []


def is_of_the_recording(row: dict[str, Any]) -> bool:
    """Between two stretches nobody recorded; after the last mark price none came."""
    return row["reason"] in {"disconnect", "sequence", "silence"}


def count(lake: Lake, kind: str) -> int:
    return lake.sql(f"select count(*)::bigint as n from {kind}").arrow().to_pylist()[0]["n"]


def hash_bars(home: Path) -> str:
    rows = Lake(home / "lake").sql(f"select {BAR_COLUMNS} from bars order by all").arrow()
    assert rows.num_rows > 0
    return hashlib.sha256(repr(rows.to_pylist()).encode()).hexdigest()


def build_again(home: Path) -> tuple[str, str]:
    """Carry the tape into a new lake in this process and build its gold; give both full hashes."""
    from truetape.flow import deliver

    again = home / "again"
    deliver(str(home / "tape"), (f"lake:{again}",))
    build(again)
    return lake_hash(again), hash_gold(again, "bars")


def play_twice(stage: Any, wait_until: Any, stretches: Sequence[Sequence[Path]], speed: float, again: int) -> Truth:
    truth = Truth([path for paths in stretches for path in paths])
    homes = [stage.folder / "one", stage.folder / "two"]
    for home in homes:
        perform(stage, wait_until, stretches, speed, home)
        check_against(truth, home)
    assert hash_bars(homes[0]) == hash_bars(homes[1])
    for home in homes[:again]:
        assert build_again(home) == (lake_hash(home / "lake"), hash_gold(home / "lake", "bars"))
        shutil.rmtree(home / "again")
    return truth


def find_files(recordings: Path, names: Sequence[str]) -> list[Path]:
    return [recordings / "crypto" / "binance" / f"hftbacktest_{name}" for name in names]


def test_three_minutes_of_a_recorded_market_twice(stage: Any, wait_until: Any, recordings: Path) -> None:
    play_twice(stage, wait_until, [find_files(recordings, ["usdm_btcusdt_20240718.gz"])], 60, again=1)


@pytest.mark.soak
def test_an_hour_of_recorded_markets_twice(stage: Any, wait_until: Any, recordings: Path) -> None:
    began = time.monotonic()
    truth = play_twice(stage, wait_until, [find_files(recordings, names) for names in STRETCHES], 20, again=2)
    frames = sum(truth.frames.values())
    print(
        f"\n{frames:,} frames, {len(truth.trades):,} trades, {truth.seconds / 60:.0f} minutes of streams, twice: "
        f"{time.monotonic() - began:.0f} s"
    )
    reader = open_reader(stage.folder / "one" / "tape")
    sink = open_sink(f"lake:{stage.folder}/one/lake", reader.tape_id)
    print(f"tape {reader.end:,} frames; rows {sink.stored()}")
    sink.close()
    reader.close()
