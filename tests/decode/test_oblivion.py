"""Markets that are over are forgotten: what is remembered does not grow, and no row depends on it."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from framed import RECORDER, START_NS, Outcome, Tape, batch, check_balance, decode

from truetape.decode.engine import Engine, Memory
from truetape.decode.oblivion import LOOK_S, LOOSE_MAX, NAMES_S, QUIET_S, Oblivion
from truetape.events.instrument import Instrument
from truetape.events.rows import Rows
from truetape.tape.frame import Source
from truetape.venues import load_venue

MARKETS = Source("polymarket", "clob", "polymarket/markets")
LINE = Source("polymarket", "clob", "polymarket/clob/1#1")
WINDOW_S = 900
CHANNELS = ("trade", "quote", "book_change")


class Day:
    """Windows of some assets, one after the other, as a recorder writes them down."""

    def __init__(self, assets: int, windows: int) -> None:
        self.tape = Tape()
        self.assets = assets
        self.tape.note(RECORDER, "started")
        self.tape.note(LINE, "opened")
        for window in range(windows):
            self._play(window)

    def _play(self, window: int) -> None:
        tape, begins_s = self.tape, START_NS // 10**9 + window * WINDOW_S
        for asset in range(self.assets):
            self._open(asset, begins_s)
        for tick in range(3):
            for asset in range(self.assets):
                self._trade(asset, begins_s, tick)
            tape.now_ns = (begins_s + (tick + 1) * WINDOW_S // 3) * 10**9
            tape.note(RECORDER, "tick")
        for asset in range(self.assets):
            step(tape, asset, begins_s, "ended")
            tape.note(LINE, "unsubscribed", streams=list_wanted(asset, begins_s))
            step(tape, asset, begins_s, "resolved")
            step(tape, asset, begins_s, "settled")

    def _open(self, asset: int, begins_s: int) -> None:
        tape, slug = self.tape, name_slug(asset, begins_s)
        tokens = list_tokens(asset, begins_s)
        market = {
            "conditionId": f"0x{slug}", "slug": slug, "outcomes": json.dumps([*tokens]),
            "clobTokenIds": json.dumps([*tokens.values()]), "orderMinSize": 5, "negRisk": False, "closed": False,
            "endDate": name_time(begins_s + WINDOW_S),
        }  # fmt: skip
        tape.answer("polymarket", "clob", f"https://gamma-api.polymarket.com/markets/slug/{slug}", market)
        step(tape, asset, begins_s, "listed")
        tape.note(LINE, "subscribed", streams=list_wanted(asset, begins_s))
        step(tape, asset, begins_s, "open")

    def _trade(self, asset: int, begins_s: int, tick: int) -> None:
        for token in list_tokens(asset, begins_s).values():
            self.tape.say(LINE, make_trade(token, begins_s, tick))


def make_trade(token: str, begins_s: int, tick: int) -> dict[str, Any]:
    return {
        "event_type": "last_trade_price", "asset_id": token, "market": "0xc", "price": "0.5", "size": "1",
        "side": "BUY", "timestamp": str((begins_s + tick) * 1000), "transaction_hash": f"0x{begins_s + tick:064x}",
    }  # fmt: skip


def name_slug(asset: int, begins_s: int) -> str:
    return f"coin{asset}-updown-15m-{begins_s}"


def list_tokens(asset: int, begins_s: int) -> dict[str, str]:
    return {"Up": f"1{asset}{begins_s}", "Down": f"2{asset}{begins_s}"}


def list_wanted(asset: int, begins_s: int) -> list[dict[str, str]]:
    tokens = list_tokens(asset, begins_s).values()
    return [
        {"channel": channel, "market": "clob", "venue_symbol": token, "topic": token}
        for token in tokens
        for channel in CHANNELS
    ]


def name_time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def step(tape: Tape, asset: int, begins_s: int, state: str) -> None:
    slug = name_slug(asset, begins_s)
    tape.note(
        MARKETS, "market_state", slug=slug, condition=f"0x{slug}", state=state, tokens=list_tokens(asset, begins_s)
    )


def list_sizes(tape: Tape, every: int) -> list[tuple[int, int]]:
    """Return bytes and streams of a checkpoint after so many frames each."""
    engine, sizes = Engine("tape"), []
    for begin in range(0, len(tape.frames), every):
        engine.feed(batch(tape.frames[begin : begin + every], begin))
        engine.take()
        saved = engine.save()
        sizes.append((len(saved.state), len(msgspec.msgpack.decode(saved.state, type=Memory).streams)))
    return sizes


def test_a_checkpoint_is_as_large_on_the_third_day_as_on_the_second() -> None:
    tape = Day(assets=2, windows=288).tape
    sizes = list_sizes(tape, len(tape.frames) // 36)  # every other hour
    second, third = sizes[14:24], sizes[26:36]
    assert max(third)[0] <= 1.02 * max(second)[0]
    assert max(streams for _, streams in third) <= max(streams for _, streams in second)
    states = max(streams for _, streams in sizes[:3])
    assert max(streams for _, streams in third) < 6 * states  # names of a day and two hours, nothing else


@pytest.mark.parametrize("seed", range(3))
def test_no_row_depends_on_where_a_tape_is_cut(seed: int) -> None:
    tape, chance = Day(assets=2, windows=10).tape, random.Random(seed)
    add_late_frames(tape)
    whole = decode(tape)
    check_balance(whole)
    assert [gap for gap in whole.gaps() if gap["state"] == "open"] == []
    frames = range(1, len(tape.frames))
    takes, restores = chance.sample(frames, 12), chance.sample(frames, 12)
    for other in (decode(tape, takes), decode(tape, (), takes), decode(tape, (), takes, restores)):
        assert_same(whole, other)


def add_late_frames(tape: Tape) -> None:
    """Let a trade, a change and another let-go of the first market come hours after it was forgotten."""
    begins_s = START_NS // 10**9
    token = list_tokens(0, begins_s)["Up"]
    tape.say(LINE, make_trade(token, begins_s, 9))
    change = {"asset_id": token, "price": "0.5", "size": "7", "side": "BUY", "hash": "00", "best_bid": "0.5"}
    tape.say(LINE, {"event_type": "price_change", "market": "0xc", "timestamp": "1", "price_changes": [change]})
    tape.note(LINE, "unsubscribed", streams=list_wanted(0, begins_s))
    for _ in range(4):
        tape.wait(LOOK_S)
        tape.note(RECORDER, "tick")


def assert_same(one: Outcome, other: Outcome) -> None:
    assert one.tables.keys() == other.tables.keys()
    for kind, table in one.tables.items():
        assert table.equals(other.tables[kind]), kind
    assert (one.counts, one.state) == (other.counts, other.state)


def test_late_frames_make_rows_but_no_gap_and_are_forgotten_again() -> None:
    tape = Day(assets=1, windows=6).tape
    before = decode(tape)
    add_late_frames(tape)
    after = decode(tape)
    assert len(after.rows("trade")) == len(before.rows("trade")) + 1
    assert len(after.rows("book_change")) == 1
    assert len(after.gaps()) == len(before.gaps())
    assert after.wishes == before.wishes
    first = list_tokens(0, START_NS // 10**9).values()
    assert not [stream for stream in remember(after).streams if stream.venue_symbol in first and is_state(stream)]


def remember(outcome: Outcome) -> Memory:
    return msgspec.msgpack.decode(outcome.state, type=Memory)


def is_state(stream: Any) -> bool:
    return stream.channel in CHANNELS


def begin(last: str = "settled") -> Tape:
    """Return the tape of one market that reached a state."""
    tape = Tape()
    tape.note(RECORDER, "started")
    tape.note(LINE, "opened")
    tape.note(LINE, "subscribed", streams=list_wanted(0, 0))
    tape.say(LINE, make_trade("100", 0, 0))
    step(tape, 0, 0, "ended")
    tape.note(LINE, "unsubscribed", streams=list_wanted(0, 0))
    step(tape, 0, 0, last)
    return tape


def list_streams(tape: Tape) -> list[str]:
    return [stream.channel for stream in remember(decode(tape)).streams if is_state(stream)]


def test_streams_go_some_minutes_after_the_label() -> None:
    tape = begin()
    tape.wait(QUIET_S - 10)
    tape.note(RECORDER, "tick")
    assert len(list_streams(tape)) == 6
    tape.wait(LOOK_S)
    tape.note(RECORDER, "tick")
    assert list_streams(tape) == []


def test_without_a_label_nothing_goes() -> None:
    tape = begin("disputed")
    tape.wait(NAMES_S)
    tape.note(RECORDER, "tick")
    assert len(list_streams(tape)) == 6


def test_what_is_carried_stays() -> None:
    tape = Tape()
    tape.note(RECORDER, "started")
    tape.note(LINE, "opened")
    tape.note(LINE, "subscribed", streams=list_wanted(0, 0))
    step(tape, 0, 0, "settled")
    tape.wait(QUIET_S + LOOK_S)
    tape.note(RECORDER, "tick")
    assert len(list_streams(tape)) == 6


def test_names_go_a_day_after_the_end() -> None:
    day = Day(assets=1, windows=1)
    tape = day.tape
    slug = name_slug(0, START_NS // 10**9)
    tape.wait(NAMES_S - 3600)
    tape.note(RECORDER, "tick")
    assert slug in {stream.symbol for stream in remember(decode(tape)).streams}
    tape.wait(3600 + LOOK_S)
    tape.note(RECORDER, "tick")
    left = remember(decode(tape))
    assert not [stream for stream in left.streams if stream.symbol.startswith(slug)]
    assert not [one for one in left.instruments if one.symbol.startswith(slug)]
    assert not any(left.venues[name] for name in ("polymarket markets", "outcomes over"))


def test_outcomes_that_nobody_records_have_a_bound() -> None:
    rows = Rows()
    for number in range(LOOSE_MAX + 5):
        name = str(number)
        rows.instruments["polymarket", "clob", name] = Instrument("polymarket", "clob", name, f"m{name}:Up", "outcome")
    oblivion = Oblivion(rows, None, [], None, {})  # type: ignore[arg-type]
    assert oblivion.take_event("tick", (START_NS, 1)) == {"polymarket"}
    assert len(rows.instruments) == LOOSE_MAX
    assert next(iter(rows.instruments)) == ("polymarket", "clob", "5")
    assert oblivion.take_event("tick", (START_NS + 10**9, 2)) == set()


def test_kalshi_forgets_its_tickers() -> None:
    memory: dict[str, dict[str, Any]] = {
        "kalshi": {"versions": {"prediction_market:A:": "1", "outcome_price:A:Yes:": "2", "resolution:B:kalshi": "3"},
                   "books": {"A": [], "B": []}}
    }  # fmt: skip
    forget = load_venue("kalshi").forget
    assert forget is not None
    forget(memory, {"A", "A:Yes"})
    assert memory == {"kalshi": {"versions": {"resolution:B:kalshi": "3"}, "books": {"B": []}}}
