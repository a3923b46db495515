"""Answers of a relay: every form gives the same table, pages end with whole moments, wrong ones are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.errors import DecodeError
from truetape.events.relay import Asked, Spelling, choose_rows, name_address, read_address, read_answer

QUOTES = Asked("okex-swap", "BTC-USDT-SWAP", "quotes", 1_000, 10_000_000)
ROW = {
    "exchange": "okex-swap", "symbol": "BTC-USDT-SWAP", "timestamp": 1_500, "local_timestamp": 2_000,
    "ask_amount": 1, "ask_price": 2.5, "bid_price": 2.4, "bid_amount": None,
}  # fmt: skip


def make_rows(*times: int) -> list[dict[str, object]]:
    return [ROW | {"local_timestamp": at} for at in times]


def test_every_form_of_an_answer_reads_the_same() -> None:
    rows = make_rows(2_000, 3_000)
    text = [",".join(ROW)] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    forms = [
        json.dumps(rows), json.dumps({"data": rows, "count": 2}), "\n".join(map(json.dumps, rows)),
        "\n".join(text) + "\n",
        json.dumps([row | {"local_timestamp": f"1970-01-01T00:00:00.00{n}Z"} for n, row in enumerate(rows, 2)]),
        json.dumps([{k: v for k, v in row.items() if k not in {"exchange", "symbol"}} for row in rows]),
    ]  # fmt: skip
    first, *others = (read_answer(QUOTES, form.encode()) for form in forms)
    assert first.to_pylist()[0] == ROW
    assert all(other.equals(first) for other in others)
    assert read_answer(QUOTES, b"[]").num_rows == 0 == read_answer(QUOTES, b"").num_rows


@pytest.mark.parametrize("level", [[5.0, 1.0], {"price": 5.0, "amount": 1.0}])
def test_levels_may_be_lists_or_objects(level: object) -> None:
    asked = Asked("bybit", "BTCUSDT", "book_snapshot_5", 0, 10)
    row = {"timestamp": 1, "local_timestamp": 2, "bids": [level], "asks": [level, level]}
    (read,) = read_answer(asked, json.dumps([row]).encode()).to_pylist()
    assert (read["asks[1].price"], read["bids[0].amount"], read["bids[1].price"]) == (5.0, 1.0, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"data": 5}', "not a list of rows"),
        (b'[{"exchange": "oke', "truncated|malformed|unterminated|Input data"),
        (json.dumps([ROW | {"symbol": "ETH-USDT-SWAP"}]).encode(), "another symbol"),
        (json.dumps([ROW | {"exchange": "a,b"}]).encode(), "commas"),
        (json.dumps([ROW | {"ask_price": [1]}]).encode(), "expected a number or text, got list"),
        (json.dumps(make_rows(3_000, 2_000)).encode(), "order of local_timestamp"),
        (json.dumps(make_rows(900)).encode(), "before start_time"),
        (json.dumps([ROW | {"timestamp": None}]).encode(), "timestamp is empty"),
    ],
)
def test_what_was_not_asked_for_is_refused(body: bytes, words: str) -> None:
    with pytest.raises((DecodeError, ValueError), match=words):
        read_answer(QUOTES, body)


@given(
    st.sampled_from(["iso", "us", "ms"]), st.integers(10**12, 4 * 10**15), st.integers(10**12, 4 * 10**15),
    st.text(min_size=1, max_size=12),
)  # fmt: skip
def test_addresses_say_what_was_asked(spelling: Spelling, start: int, end: int, symbol: str) -> None:
    unit = 1000 if spelling == "ms" else 1
    if spelling != "iso":
        start, end = start + 10**15, end + 10**15
    url = name_address("https://relay/base", Asked("binance", symbol, "trades", start, end), 50, spelling)
    asked = read_address(url)
    assert (asked.symbol, asked.start_us, asked.end_us) == (symbol, start // unit * unit, end // unit * unit)
    assert asked.unit_us == unit


@pytest.mark.parametrize("url", ["https://x/tardis/a/b", "https://x/tardis/a/b/c?start_time=1", "https://x/y"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(DecodeError):
        read_address(url)


def test_a_data_type_that_is_none_is_refused() -> None:
    with pytest.raises(DecodeError, match="no data type"):
        read_answer(Asked("okex", "X", "candles", 0, 1), b"[]")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(4, 12), st.sampled_from([1, 5]))
def test_pages_of_any_size_give_each_row_once(gaps: list[int], limit: int, unit: int) -> None:
    """A server that pages by rows alone, from start_time on."""
    times = sorted(1_000 + gap * 7 for gap in gaps)
    counts = [sum(at // unit == one // unit for one in times) for at in times]
    if max(counts) >= limit:
        return  # one moment must fit a page
    taken: list[int] = []
    start: int | None = 1_000
    while start is not None:
        asked = Asked("okex-swap", "BTC-USDT-SWAP", "quotes", start, 10_000, unit)
        page = [at for at in times if at >= start - start % unit][:limit]
        table, start = choose_rows(asked, read_answer(asked, json.dumps(make_rows(*page)).encode()))
        taken += table.column("local_timestamp").to_pylist()
    assert taken == times
