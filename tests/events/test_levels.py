"""Levels read at one blow say what the JSON decoder says of each, or leave them to it."""

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from truetape.errors import DecodeError
from truetape.events.levels import read_levels
from truetape.events.number import Size

DECODER = msgspec.json.Decoder(list[tuple[Size, Size]], strict=False)

numbers = st.one_of(
    st.decimals(0, 10**12, places=8).map(lambda number: f"{number:f}"),
    st.integers(0, 10**20).map(str),
    st.floats(0, 1e18).map(repr),
    st.sampled_from(["0", "0.0", "00", "01", ".5", "5.", "", ".", "-0", "-1", "1e5", "nan", "1.2.3", " 1", "1" * 400]),
)
sides = st.lists(st.lists(st.tuples(numbers, numbers), max_size=5), max_size=6)


def spell(side: list[tuple[str, str]]) -> bytes:
    return msgspec.json.encode(side)


def read_singly(texts: list[bytes]) -> tuple[list[int], list[float]]:
    read = [DECODER.decode(text) for text in texts]
    return [len(side) for side in read], [number for side in read for level in side for number in level]


def compare(texts: list[bytes]) -> None:
    try:
        counts, flat = read_levels(texts)
    except DecodeError:
        return
    assert (counts.tolist(), flat.tolist()) == read_singly(texts)


@given(sides)
@example([[("0.1", "0")], [], [("10", "2.50")]])
@settings(max_examples=300)
def test_levels_are_the_same_one_by_one(found: list[list[tuple[str, str]]]) -> None:
    compare([spell(side) for side in found])


@given(sides, st.data())
@settings(max_examples=300)
def test_what_is_not_spelled_just_so_is_left_to_the_decoder(
    found: list[list[tuple[str, str]]], data: st.DataObject
) -> None:
    texts = [spell(side) for side in found] or [b"[]"]
    which = data.draw(st.integers(0, len(texts) - 1))
    place = data.draw(st.integers(0, len(texts[which])))
    put = data.draw(st.sampled_from([b"", b'"', b"[", b"]", b",", b"\n", b"0", b".", b" ", b"7", b'["1","2"],']))
    cut = data.draw(st.integers(0, 3))
    texts[which] = texts[which][:place] + put + texts[which][place + cut :]
    try:
        compare(texts)
    except msgspec.MsgspecError:
        pytest.fail(f"taken, but the decoder refuses it: {texts}")


def test_plain_levels_are_taken() -> None:
    counts, flat = read_levels([b'[["61837.63","0.14298"],["9","0.000"]]', b"[]", b'[["0.5","12"]]'])
    assert counts.tolist() == [2, 0, 1]
    assert np.array_equal(flat, [61837.63, 0.14298, 9.0, 0.0, 0.5, 12.0])


def test_no_levels_are_no_numbers() -> None:
    assert [part.tolist() for part in read_levels([b"[]", b"[]"])] == [[0, 0], []]
    assert [part.tolist() for part in read_levels([])] == [[], []]


@pytest.mark.parametrize(
    "text",
    [
        b'[["1","2"],["3","4","5"]]',
        b'[["1",2]]',
        b"[[1,2]]",
        b'[["1","2"]',
        b'[["1","01"]]',
        b'[["1","9e9"]]',
        b'[["1","2" ]]',
    ],
)
def test_other_shapes_are_refused(text: bytes) -> None:
    with pytest.raises(DecodeError):
        read_levels([b'[["1","2"]]', text])


def test_a_number_too_large_is_refused() -> None:
    with pytest.raises(DecodeError, match="not finite"):
        read_levels([b'[["%b","1"]]' % (b"9" * 400)])
