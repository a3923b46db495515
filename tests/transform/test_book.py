"""Books by the second, next to a plain book that takes one change after the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.transform import book
from truetape.transform.book import BookSeconds, Changes, summarise_book

OPENS_US = 1_777_420_800_000_000
Row = tuple[int, int, bool, bool, float, float]
"""(available_us, frame, is_snapshot, is_bid, price, amount)."""


def pack(rows: list[Row]) -> Changes:
    columns = list(zip(*rows, strict=True)) or [()] * 6
    types = (np.int64, np.int64, np.bool_, np.bool_, np.float64, np.float64)
    return Changes(*(np.array(column, kind) for column, kind in zip(columns, types, strict=True)))


def replay(rows: list[Row], seconds: int, large_min: float) -> list[tuple[float | None, ...]]:
    """The same, slowly."""
    told = []
    for second in range(seconds):
        sides: dict[bool, dict[float, float]] = {True: {}, False: {}}
        is_known, pictured, heard = False, None, 0
        for available, frame, is_snapshot, is_bid, price, amount in rows:
            if available > OPENS_US + second * 1_000_000:
                break
            if is_snapshot and frame != pictured:
                sides, is_known, pictured = {True: {}, False: {}}, True, frame
            sides[is_bid][price] = amount
            heard = available
        if not is_known:
            told.append((None,) * 6)
            continue
        bids, asks = ({p: a for p, a in sides[side].items() if a > 0} for side in (True, False))
        large = sum(amount >= large_min for amount in (*bids.values(), *asks.values()))
        told.append((
            max(bids, default=None), min(asks, default=None), round(sum(bids.values()), 6), round(sum(asks.values()), 6),
            large, heard,
        ))  # fmt: skip
    return told


def list_seconds(made: BookSeconds) -> list[tuple[float | None, ...]]:
    rows = []
    for bid, ask, bids, asks, large, heard in zip(*made, strict=True):
        numbers = [None if np.isnan(value) else float(value) for value in (bid, ask, bids, asks)]
        rows.append((*numbers, int(large), int(heard)) if heard else (None,) * 6)
    return rows


@st.composite
def books(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    at = OPENS_US + draw(st.integers(-3_000_000, 2_000_000))
    for frame in range(draw(st.integers(0, 14))):
        at += draw(st.sampled_from([0, 1, 200_000, 1_000_000, 2_500_000]))
        is_snapshot = draw(st.integers(0, 3)) == 0
        for _ in range(draw(st.integers(1, 4))):
            price = draw(st.integers(1, 6)) / 100
            amount = float(draw(st.sampled_from([0, 1, 10, 1000])))
            rows.append((at, frame, is_snapshot, draw(st.booleans()), price, amount))
    return rows


@given(rows=books(), block_s=st.sampled_from([1, 2, 5, 1800]))
def test_books_are_those_of_a_plain_replay(rows: list[Row], block_s: int) -> None:
    made = summarise_book(pack(rows), OPENS_US, 10, 1000.0, block_s=block_s)
    assert list_seconds(made) == replay(rows, 10, 1000.0)


def test_a_change_on_the_second_is_in_it_and_one_after_is_not() -> None:
    rows: list[Row] = [
        (OPENS_US - 5, 0, True, True, 0.4, 10.0), (OPENS_US + 1_000_000, 1, False, True, 0.5, 10.0),
        (OPENS_US + 1_000_001, 2, False, True, 0.6, 10.0),
    ]  # fmt: skip
    assert list(summarise_book(pack(rows), OPENS_US, 3, 1000.0).bid) == [0.4, 0.5, 0.6]


def test_nothing_is_known_before_the_first_whole_picture() -> None:
    rows: list[Row] = [(OPENS_US, 0, False, True, 0.4, 10.0), (OPENS_US + 1_500_000, 1, True, False, 0.6, 5.0)]
    made = summarise_book(pack(rows), OPENS_US, 4, 1000.0)
    assert list(made.heard_us) == [0, 0, OPENS_US + 1_500_000, OPENS_US + 1_500_000]
    assert np.isnan(made.bid).all()  # and the picture had no bids
    assert made.ask[2] == pytest.approx(0.6)


def test_a_day_is_held_in_blocks() -> None:
    assert book.BLOCK_S < 86_400
