"""Books: cheap to keep, right to the level, and on real recordings the same best prices as the venue's own."""

from pathlib import Path
from typing import Any

import pytest
from framed import batch, read_recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from truetape.decode.book import Book
from truetape.decode.engine import Engine

LEVEL = st.tuples(st.integers(1, 30).map(float), st.integers(0, 3).map(float))
CHANGES = st.lists(st.tuples(st.booleans(), st.lists(LEVEL, max_size=5), st.lists(LEVEL, max_size=5)), max_size=20)


@given(CHANGES, st.sampled_from([0, 1, 3, 10]))
@settings(max_examples=300)
def test_a_book_is_what_a_dictionary_would_be(changes: list[Any], depth: int) -> None:
    book, bids, asks = Book(depth_max=depth), {}, {}
    for is_new, bid_levels, ask_levels in changes:
        if is_new:
            # A picture names each price once.
            book.replace(list(dict(bid_levels).items()), list(dict(ask_levels).items()))
            bids, asks = dict(bid_levels), dict(ask_levels)
        else:
            book.apply(bid_levels, ask_levels)
            bids |= dict(bid_levels)
            asks |= dict(ask_levels)
        bids = {price: size for price, size in bids.items() if size}
        asks = {price: size for price, size in asks.items() if size}
        if depth and not is_new:
            bids = dict(sorted(bids.items(), reverse=True)[:depth])
            asks = dict(sorted(asks.items())[:depth])
        assert book.list_bids(100) == sorted(bids.items(), reverse=True)
        assert book.list_asks(100) == sorted(asks.items())
        assert book.is_crossed == bool(bids and asks and max(bids) >= min(asks))


def test_text_levels_stay_text() -> None:
    book = Book()
    book.replace([("1.10", "2.0")], [("1.2000", "3")])
    book.apply([("1.1", "0.00")], [("1.2", "4.00")])
    assert (book.list_bids(5), book.list_asks(5)) == ([], [("1.2", "4.00")])


FILES = {
    "hftbacktest_spot_btcusdt_20240808.gz": "spot",
    "hftbacktest_usdm_btcusdt_20240718.gz": "usdm",
    "hftbacktest_coinm_btcusd_perp_20240808.gz": "coinm",
}
FRAMES_MAX = 15_000


@pytest.mark.parametrize("name", FILES)
def test_best_prices_of_a_real_book_are_those_of_the_venues_own_quotes(recordings: Path, name: str) -> None:
    """Both streams carry the same update ids: a quote with the id at which the book stands must show its top."""
    frames = read_recorded(recordings / "crypto" / "binance" / name, "binance", FILES[name], FRAMES_MAX)
    engine = Engine("tape", keep_books=True)
    engine.feed(batch(frames))
    tables = engine.take()
    quotes = {row["sequence"]: row for row in tables["quote"].to_pylist()}
    sides: dict[str, dict[float, float]] = {"bid": {}, "ask": {}}
    compared, offset, is_whole = 0, -1, False
    rows = tables["book_change"].to_pylist()
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if row["is_snapshot"] and row["tape_offset"] != offset:
            sides, is_whole = {"bid": {}, "ask": {}}, True
        offset = row["tape_offset"]
        size = row["contracts"] if row["contracts"] is not None else row["amount"]
        if size:
            sides[row["side"]][row["price"]] = size
        else:
            sides[row["side"]].pop(row["price"], None)
        is_last = following is None or following["tape_offset"] != offset
        quote = quotes.get(row["sequence"]) if is_last and is_whole else None
        if quote is not None:
            best_bid, best_ask = max(sides["bid"]), min(sides["ask"])
            assert (best_bid, best_ask) == (quote["bid_price"], quote["ask_price"]), row["sequence"]
            if row["contracts"] is None:
                assert (sides["bid"][best_bid], sides["ask"][best_ask]) == (quote["bid_amount"], quote["ask_amount"])
            compared += 1
    print(name, compared)
    assert compared > 50
