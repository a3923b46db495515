"""The scanner: what the compiled part takes is what msgspec says of the same frames, and what it does not take, msgspec does."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truetape import compiled
from truetape.errors import DecodeError
from truetape.events.number import Id, Millis, Real, Size
from truetape.events.run import UNKNOWN
from truetape.events.scan import Scanned, Scanner, note_changes, note_side, note_time
from truetape.venues.coinbase.times import read_time
from twins import NEEDS_COMPILED


class Inner(msgspec.Struct):
    t: Id
    p: Size
    r: Real = -0.5
    m: bool = True
    X: Literal["MARKET", "LIMIT"] = "MARKET"


class Trade(msgspec.Struct):
    data: Inner
    at: Annotated[str, note_time(read_time)]
    ts: Millis | None = None


class Depth(msgspec.Struct):
    a: Annotated[msgspec.Raw, note_side(1, 3, is_spelled=True)]
    b: Annotated[msgspec.Raw, note_side(0, 3, is_spelled=True)]
    u: Id = UNKNOWN


class Book(msgspec.Struct):
    action: Literal["snapshot", "update"]
    data: tuple[Depth]


class Change(msgspec.Struct):
    changes: Annotated[list[tuple[Literal["buy", "sell"], Size, Size]], note_changes("buy", "sell")]


TRADES, BOOKS, CHANGES = Scanner(Trade), Scanner(Book), Scanner(Change)
TRADE = b'{"e":"x","data":{"t":12,"p":"61790.10","r":"-1e-3","m":false,"X":"LIMIT"},"ts":1723075200000,"at":"2024-08-08T00:00:00.1234567Z"}'
BOOK = b'{"action":"update","n":[1,{"k":null}],"data":[{"a":[["61790.1","0.5","0"]],"b":[["61790.0","1","4"],["9","0.00","1"]],"u":7}]}'
CHANGE = b'{"type":"l2update","changes":[["sell","61790.1","0.5"],["buy","61790.0","0"],["sell","61790.2","1"]]}'
CASES = [(TRADES, TRADE), (BOOKS, BOOK), (CHANGES, CHANGE)]


def write(scanned: Scanned) -> Any:
    columns = {path: (str(values.dtype), values.tolist()) for path, values in scanned.columns.items()}
    words = scanned.words.list() if len(scanned.words.text) else []
    return repr((columns, scanned.side_counts.tolist(), scanned.flat.tolist(), words))


def scan_fast(scanner: Scanner, frames: list[bytes]) -> Any:
    """Return what the compiled part says, None where it leaves the frames to Python."""
    assert compiled.core is not None
    return None if compiled.core.scan(scanner._shape, frames) is None else write(scanner.scan(frames))


def scan_slowly(scanner: Scanner, frames: list[bytes]) -> Any:
    """Return what msgspec says; levels with spaces between them go to a venue's handler, here they are written anew."""
    for read in (bytes, lambda frame: json.dumps(json.loads(frame), separators=(",", ":")).encode()):
        try:
            return write(scanner.scan_slowly([*map(read, frames)]))
        except (msgspec.DecodeError, DecodeError, ValueError):
            pass
    return None


@pytest.mark.parametrize(("scanner", "frame"), CASES)
@NEEDS_COMPILED
def test_usual_frames_are_taken(scanner: Scanner, frame: bytes) -> None:
    frames = [frame, frame.replace(b":", b" : ").replace(b",", b" ,\n"), frame + b"\n"]
    for taken in (frames[:1], frames[:1] * 3) if scanner is not TRADES else (frames[:1], frames[:1] * 100):
        assert scan_fast(scanner, taken) == scan_slowly(scanner, taken) is not None


def test_columns_are_what_frames_say() -> None:
    found = TRADES.scan([TRADE, b'{"data":{"p":1,"t":"5"},"at":"0001-01-01T00:00:00Z"}'])
    columns = {path: values.tolist() for path, values in found.columns.items()}
    assert columns == {
        "data.t": [12, 5],
        "data.p": [61790.1, 1.0],
        "data.r": [-0.001, -0.5],
        "data.m": [False, True],
        "data.X": [0, 1],  # LIMIT comes before MARKET
        "ts": [1723075200000, UNKNOWN],
        "at": [1723075200123456, UNKNOWN],
    }
    book = BOOKS.scan([BOOK, BOOK.replace(b'[["61790.1","0.5","0"]]', b"[]")])
    assert book.side_counts.tolist() == [2, 1, 2, 0]
    assert book.flat.tolist() == [61790.0, 1, 9, 0, 61790.1, 0.5, 61790.0, 1, 9, 0]
    assert book.words.list() == ["61790.0:1", "9:0.00", "61790.1:0.5", "61790.0:1", "9:0.00"]
    change = CHANGES.scan([CHANGE])
    assert (change.side_counts.tolist(), change.flat.tolist()) == ([1, 2], [61790.0, 0, 61790.1, 0.5, 61790.2, 1])


PIECES = [
    b"", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"1", b"-", b".", b"e5", b"E-3", b"null", b"true",
    b" ", b"\n", b"\x00", b"\xc3\xa9", b"\xff", b'"t":1,', b'"u":1,', b'"data":', b"9" * 20, b"0" * 8, b"9" * 400,
    b"NaN", b"Infinity", b'[["1","2","3"]]', b'["1","2"],', b'"buy"', b"MARKET", b"Z", b"2024-02-30",
]  # fmt: skip


@NEEDS_COMPILED
@given(
    st.sampled_from(CASES),
    st.lists(st.tuples(st.integers(0, 140), st.integers(0, 3), st.sampled_from(PIECES)), max_size=3),
)
@settings(max_examples=1000, deadline=None)
def test_whatever_is_taken_is_as_msgspec_says(case: tuple[Scanner, bytes], cuts: list[tuple[int, int, bytes]]) -> None:
    scanner, frame = case
    for place, removed, piece in cuts:
        frame = frame[:place] + piece + frame[place + removed :]
    frames = [case[1], frame]
    fast = scan_fast(scanner, frames)
    assert fast is None or fast == scan_slowly(scanner, frames)


@NEEDS_COMPILED
@given(
    st.integers(-(10**23), 10**23), st.one_of(st.none(), st.integers(0, 10**24)), st.integers(-400, 400), st.booleans(),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=1000, deadline=None)
def test_numbers_are_rounded_as_python_does(
    whole: int, decimals: int | None, exponent: int, is_scaled: bool, is_text: bool
) -> None:
    digits = f"{whole}" + ("" if decimals is None else f".{decimals}") + (f"e{exponent}" if is_scaled else "")
    frame = (
        b'{"at":"2024-01-01T00:00:00Z","data":{"t":1,"p":2,"r":%b}}'
        % (json.dumps(digits) if is_text else digits).encode()
    )
    fast = scan_fast(TRADES, [frame])
    slow = scan_slowly(TRADES, [frame])
    assert fast == slow or (fast is None and not float(digits))  # -0 is left to msgspec
    assert fast is None or TRADES.scan([frame]).columns["data.r"][0] == float(digits)


@NEEDS_COMPILED
@given(st.integers(-(2**66), 2**66), st.booleans())
def test_integers_are_taken_within_64_bits(number: int, is_text: bool) -> None:
    frame = (
        b'{"at":"2024-01-01T00:00:00Z","data":{"t":%b,"p":2}}'
        % (json.dumps(str(number)) if is_text else str(number)).encode()
    )
    assert scan_fast(TRADES, [frame]) in (None, scan_slowly(TRADES, [frame]))
    if abs(number) < 2**63:
        assert TRADES.scan([frame]).columns["data.t"][0] == number


@NEEDS_COMPILED
@given(st.integers(10**6, 253402300799 * 10**6), st.integers(0, 9))
def test_times_are_as_python_reads_them(moment: int, decimals: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    text = (
        at.isoformat(timespec="seconds")[:19] + (f".{at.microsecond:06}789"[: decimals + 1] if decimals else "") + "Z"
    )
    frame = b'{"data":{"t":1,"p":2},"at":"%b"}' % text.encode()
    assert scan_fast(TRADES, [frame]) == scan_slowly(TRADES, [frame]) is not None


def test_frames_that_are_no_messages_raise() -> None:
    for frames in ([TRADE, b"{"], [b"{}"], [TRADE + b"," + TRADE], [b'{"data":[]}']):
        with pytest.raises((msgspec.DecodeError, DecodeError)):
            TRADES.scan(frames)


def test_a_field_that_cannot_be_scanned_is_named() -> None:
    class Odd(msgspec.Struct):
        names: dict[str, int]

    with pytest.raises(TypeError, match=r"names is of a type that is not scanned"):
        Scanner(Odd)


@NEEDS_COMPILED
def test_a_shape_that_is_none_is_refused() -> None:
    assert compiled.core is not None
    for spec in ((), ("nothing",), ("whole",), ("side", 2, 2, False), ("changes", (b"buy",)), ("object", ((b"a",),))):
        with pytest.raises((ValueError, TypeError)):
            compiled.core.compile_shape(spec)


@NEEDS_COMPILED
def test_a_ladder_refuses_buffers_that_do_not_fit() -> None:
    assert compiled.core is not None
    one = np.array([1.0])
    with pytest.raises(ValueError, match="each price has a size"):
        compiled.core.NumberLadder(one, b"", b"", b"")
    ladder = compiled.core.NumberLadder(one, one, b"", b"")
    for counts in ([2, 0], [-1, 1], [1]):
        with pytest.raises(ValueError, match="fewer levels"):
            ladder.apply(np.array(counts), np.array([1.0, 2.0]))
    for level in ("1:2", ("1",), ("1", 2)):
        with pytest.raises(TypeError):
            compiled.core.TextLadder(one, [level], b"", [], 0)
    words = compiled.core.TextLadder(one, [("1", "2")], b"", [], 0)
    ends = np.array([3])
    for frames, edges in (([1], ends), ([0], ends + 9), ([0], ends[:0])):
        with pytest.raises(ValueError, match=r"word|places"):
            words.apply(np.array([1, 0]), np.array([1.0, 2.0]), b"1:2", edges, np.array([5]), np.array(frames), 25)
