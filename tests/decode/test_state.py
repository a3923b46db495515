"""State: which rule holds when, and that all of it survives a checkpoint and stays small."""

from datetime import date

import msgspec
import pytest
from framed import START_NS, Tape, decode

from truetape.decode.state import BUFFER_UNSYNCED_MAX, HOLES_MAX, RECENT_IDS_MAX, StreamState, find_rule
from truetape.tape.frame import Source
from truetape.venues import list_venues, load_venue
from truetape.venues._contract import Continuity

RULES = (
    Continuity("trade", "step"),
    Continuity("trade", "monotone", since=date(2023, 6, 20)),
    Continuity("book_change", "none"),
    Continuity("book_change", "chain", ("public",), since=date(2022, 5, 14)),
)


def count_days(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()


@pytest.mark.parametrize(
    ("channel", "feed", "day", "rule"),
    [
        ("trade", "any", date(2023, 6, 19), "step"),
        ("trade", "any", date(2023, 6, 20), "monotone"),
        ("book_change", "public", date(2022, 5, 13), "none"),
        ("book_change", "public", date(2022, 5, 14), "chain"),
        ("book_change", "other", date(2026, 1, 1), "none"),
        ("candle", "public", date(2026, 1, 1), "none"),
    ],
)
def test_the_latest_rule_that_has_begun_wins(channel: str, feed: str, day: date, rule: str) -> None:
    venue = msgspec.structs.replace(load_venue("okx"), continuity=RULES)
    assert find_rule(venue, channel, feed, count_days(day)).rule == rule


@pytest.mark.parametrize("name", list_venues())
def test_every_venue_has_one_rule_for_each_channel_and_day(name: str) -> None:
    venue = load_venue(name)
    for feed in venue.feeds:
        for channel in feed.channels:
            for year in range(2018, 2028):
                rule = find_rule(venue, channel, feed.name, count_days(date(year, 1, 1)))
                assert rule.channel == channel
                assert not rule.feeds or feed.name in rule.feeds


def depth(update: int) -> dict[str, object]:
    data = {"e": "depthUpdate", "E": START_NS // 10**6 + update, "s": "BTCUSDT", "U": update, "u": update}
    return {"stream": "btcusdt@depth", "data": {**data, "b": [["1", "1"]], "a": []}}


def test_a_snapshot_that_never_comes_fills_no_memory() -> None:
    tape, line = Tape(), Source("binance", "spot", "a")
    for update in range(1, 3 * BUFFER_UNSYNCED_MAX):
        tape.say(line, depth(update))
    state = read_state(decode(tape).state, "book_change")
    assert BUFFER_UNSYNCED_MAX <= len(state.buffer) <= 2 * BUFFER_UNSYNCED_MAX
    assert state.buffer[-1].last == 3 * BUFFER_UNSYNCED_MAX - 1


def test_ids_remembered_are_bounded() -> None:
    tape, line = Tape(), Source("bybit", "linear", "a")
    for n in range(3 * RECENT_IDS_MAX // 100):
        rows = [
            {"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "2", "i": f"{n}-{i}", "L": "PlusTick", "BT": False}
            for i in range(100)
        ]
        tape.say(line, {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": rows})
    assert len(read_state(decode(tape).state, "trade").recent) == RECENT_IDS_MAX
    assert HOLES_MAX < 1000


def read_state(saved: bytes, channel: str) -> StreamState:
    memory = msgspec.msgpack.decode(saved, strict=False)
    index = next(i for i, stream in enumerate(memory["streams"]) if stream["channel"] == channel)
    return msgspec.convert(memory["states"][index], StreamState, strict=False)
