"""Garbage: whatever a frame holds, it costs that frame only, and no row that a table or a sink could not take."""

import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from framed import START_NS, Outcome, Tape, batch, check_balance, decode, read_recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import list_recordings, name_format

from truetape.decode.engine import Engine
from truetape.errors import TapeError
from truetape.tape.frame import Frame, FrameKind, Source

SPOT = Source("binance", "spot", "binance/spot/0#1")
LINES = {
    "binance": SPOT,
    "binance_us": Source("binance_us", "spot", "a"),
    "bybit": Source("bybit", "linear", "a"),
    "okx": Source("okx", "public", "a"),
    "kraken": Source("kraken", "spot", "a"),
    "kraken-v1": Source("kraken", "spot_v1", "a"),
    "kraken-futures": Source("kraken", "futures", "a"),
    "coinbase": Source("coinbase", "advanced", "a"),
    "coinbase-exchange": Source("coinbase", "exchange", "a"),
    "deribit": Source("deribit", "public", "a"),
    "unknown feed": Source("binance", "nowhere", "a"),
    "unknown venue": Source("nobody", "spot", "a"),
}
GARBAGE = (
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"not json",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b"true",
    b"0",
    b'"text"',
    b"NaN",
    b"[NaN]",
    b"-1e999",
    b"[[[]]]",
    b"[" * 100_000,
    b"[" * 2000 + b"]" * 2000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"stream":"btcusdt@trade","data":' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"channel":"trade","data":[{}]}',
    b'{"topic":"publicTrade.BTCUSDT","data":[{"T":' + b"9" * 400 + b"}]}",
    b'{"arg":{"channel":"books","instId":"\xed\xa0\x80"},"data":[]}',
    b'{"arg":{"channel":"trades","instId":"\\ud800"},"data":[]}',
    b'{"\\u0000":"\\u0000"}',
)


def trade(number: int, price: str = "100.5", **more: object) -> dict[str, object]:
    """A trade of Binance spot."""
    data = {"e": "trade", "E": 1, "T": START_NS // 10**6, "s": "BTCUSDT", "t": number, "p": price, "q": "1", "m": True}
    return {"stream": "btcusdt@trade", "data": {**data, "M": True, **more}}


@pytest.mark.parametrize("line", LINES)
def test_garbage_is_quarantined_or_control_and_never_a_row(line: str) -> None:
    tape = Tape()
    for payload in GARBAGE:
        tape.put(LINES[line], FrameKind.TEXT, payload)
        tape.put(LINES[line], FrameKind.BINARY, payload)
    outcome = decode(tape)
    check_balance(outcome)
    assert outcome.counts["quarantined"] > len(GARBAGE)
    assert set(outcome.tables) <= {"quarantine", "gap", "error"}
    assert outcome.state == decode(tape, restores=range(len(tape.frames))).state


@given(st.binary(max_size=200), st.sampled_from(sorted(LINES)))
@settings(max_examples=300, deadline=None)
def test_random_bytes_stop_nothing(payload: bytes, line: str) -> None:
    tape = Tape()
    tape.say(SPOT, trade(1))
    tape.put(LINES[line], FrameKind.TEXT, payload)
    tape.say(SPOT, trade(2))
    outcome = decode(tape)
    check_balance(outcome)
    assert outcome.ids() == [1, 2]


def test_a_frame_of_16_mb_is_quarantined_with_an_excerpt() -> None:
    tape = Tape()
    tape.say(SPOT, b"x" * 16_000_000)
    tape.say(SPOT, b'{"stream":"btcusdt@trade","data":{"' + b"k" * 16_000_000 + b'":1}}')
    for row in decode(tape).rows("quarantine"):
        assert row["bytes"] >= 16_000_000
        assert len(row["excerpt"]) + len(row["reason"]) + len(row["path"]) <= 800


@pytest.mark.parametrize("price", ["NaN", "nan", "Infinity", "-Infinity", "1e400", "-1", "", "1,5", "0x10"])
def test_a_price_that_is_no_price_is_not_stored(price: str) -> None:
    tape = Tape()
    tape.say(SPOT, trade(1))
    tape.say(SPOT, trade(2, price))
    tape.say(SPOT, trade(3))
    outcome = decode(tape)
    assert outcome.ids() == [1, 3]
    assert outcome.counts["quarantined"] == 1
    (gap,) = outcome.gaps(reason="sequence")
    assert (gap["missing"], gap["evidence"]) == (1, '{"last_id":1,"next_id":3}')


@pytest.mark.parametrize("number", [2**63, 2**64, 10**30, -(2**63) - 1])
def test_an_id_no_column_takes_costs_its_frame_only(number: int) -> None:
    tape = Tape()
    for n in (1, number, 2):
        tape.say(SPOT, trade(n))
    outcome = decode(tape)
    assert outcome.ids() == [1, 2]
    assert outcome.counts["quarantined"] == 1
    assert outcome.gaps(channel="trade") == []


def test_a_frame_that_fails_half_way_leaves_no_rows() -> None:
    tape = Tape()
    good, bad = trade(1)["data"], trade(2, "nan")["data"]
    tape.say(SPOT, [good, bad])
    outcome = decode(tape)
    check_balance(outcome)
    assert outcome.rows("trade") == []
    assert outcome.counts["quarantined"] == 1


def test_events_and_answers_may_be_garbage_too() -> None:
    tape = Tape()
    for meta in ("{", "[]", '{"event":3}', '{"event":"subscribed","streams":[{}]}', '{"event":"closed","cause":[]}'):
        tape.put(SPOT, FrameKind.EVENT, b"", meta)
    for meta in ("", "{", '{"status":"x"}', '{"url":"https://api.binance.com/api/v3/depth","status":200}'):
        tape.put(SPOT, FrameKind.RESPONSE, b"{", meta)
    tape.put(SPOT, FrameKind.EVENT, b"", '{"event":"dropped","from_ns":"early"}')
    tape.say(SPOT, trade(1))
    outcome = decode(tape)
    check_balance(outcome)
    assert outcome.ids() == [1]
    assert outcome.counts["quarantined"] >= 6


def test_a_quarantined_frame_says_whose_rows_may_be_missing() -> None:
    tape = Tape()
    tape.note(SPOT, "opened")
    for channel in ("trade", "quote", "ticker"):
        tape.subscribe(SPOT, channel, "spot", "BTCUSDT")
    tape.subscribe(SPOT, "ticker", "spot", "ETHUSDT")
    tape.say(SPOT, trade(1))
    quote = {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}
    tape.say(SPOT, {"stream": "btcusdt@bookTicker", "data": quote})
    stats = {"e": "24hrTicker", "s": "BTCUSDT"}
    tape.say(SPOT, {"stream": "btcusdt@ticker", "data": stats})
    named = {(gap["channel"], gap["venue_symbol"]) for gap in decode(tape).gaps(reason="decode")}
    # Of trades the ids tell; the ticker's open gap says more than this frame.
    assert named == {("*", ""), ("quote", "BTCUSDT")}


def test_batches_come_once_and_in_order() -> None:
    tape = Tape()
    for n in range(4):
        tape.say(SPOT, trade(n))
    engine = Engine("tape")
    engine.feed(batch(tape.frames[:2], 0))
    with pytest.raises(TapeError, match="stands at offset 2"):
        engine.feed(batch(tape.frames[1:3], 1))
    with pytest.raises(TapeError, match="belongs to tape"):
        Engine("other").restore(engine.save())


# -- real frames with one number spoiled ----------------------------------------------------------------------

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
SPOILED = (
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf", b"1e400", b"1e308", b"1e-400", b"9223372036854775808",
    b"18446744073709551616", b"-9223372036854775809", b"9" * 26, b"1e19", b"9223372036854775807", b"-1", b"0", b"null",
    b"true", b'""', b"{}", b"[]", b"\\ud800", b"253402300800000", b"10000000000000000",
)  # fmt: skip


def spoil(frame: Frame, chance: random.Random) -> Frame:
    """Replace one number of a frame, or put a byte into it."""
    payload, found = frame.payload, list(NUMBER.finditer(frame.payload))
    if frame.kind == FrameKind.BINARY or chance.random() < 0.2:
        place = chance.randrange(len(payload) + 1)
        payload = payload[:place] + bytes([chance.randrange(256)]) + payload[place:]
    elif found and chance.random() < 0.8:
        place = chance.choice(found)
        payload = payload[: place.start()] + chance.choice(SPOILED) + payload[place.end() :]
    return frame._replace(payload=payload)


def assert_tables_are_sane(outcome: Outcome) -> None:
    for kind, table in outcome.tables.items():
        for field in table.schema:
            column = table.column(field.name)
            assert field.nullable or not column.null_count, (kind, field.name)
            if pa.types.is_floating(field.type):
                assert pc.all(pc.is_finite(column.drop_null())).as_py() is not False, (kind, field.name)
            elif pa.types.is_timestamp(field.type):
                column.to_pylist()  # no later than the year 9999


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "kraken", "coinbase", "deribit"])
def test_real_frames_with_spoiled_numbers_stop_nothing(recordings: Path, venue: str) -> None:
    chance = random.Random(venue)
    for path in list_recordings(recordings / "crypto", venue):
        if name_format(path) != "cfv3":
            continue
        frames = read_recorded(path, venue, frames_max=1500)
        for _ in range(3):
            taken = sorted(chance.sample(range(len(frames)), min(len(frames), 60)))
            outcome = decode([spoil(frames[i], chance) for i in taken])
            check_balance(outcome)
            assert_tables_are_sane(outcome)
