"""Order, encodings and size of lake files."""

import io
import math
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_sweep import build_tables

from truetape.events.schema import KINDS, ColumnType, Kind
from truetape.lake.layout import build_files, sort_rows, table_schema

DAY_US = 86_400_000_000
START_US = 1_723_161_254_087_896


def make_market(kind: Kind, rows: int, rows_per_frame: int) -> pa.Table:
    """Make rows with the entropy of a busy market: jittery times, a price that walks, rounded amounts."""
    chance = random.Random(20240808)
    values: dict[str, list[object]] = {name: [] for name in kind.arrow.names}
    now, price, frame = START_US, 61_837.63, 0
    for row in range(rows):
        place = row % rows_per_frame
        if place == 0:
            frame += chance.randint(1, 5)
            now += int(chance.expovariate(1 / 30_000)) if chance.random() < 0.4 else chance.randint(1, 20)
            price = round(price + chance.choice((0, 0, 0, 0.01, -0.01, 1.17, -0.83)), 2)
        level = (
            price
            if rows_per_frame == 1
            else round(price + (place - rows_per_frame / 2) * 0.01 * chance.randint(1, 40), 2)
        )
        made = {
            "venue": "binance", "symbol": "BTC-USDT", "venue_symbol": "BTCUSDT",
            "exchange_at": now // 1000 * 1000 - 3000, "received_at": now, "available_at": now,
            "tape_offset": frame, "tape_row": place, "trade_id": str(3_735_683_259 + row), "is_snapshot": False,
            "side": ("buy", "sell")[chance.random() < 0.5] if rows_per_frame == 1 else ("bid", "ask")[place > 9],
            "price": level, "amount": round(math.exp(chance.gauss(-5, 2)), 5) if chance.random() < 0.7 else 0.0,
            "sequence": 50_093_239_189 + frame * 7, "inexact": False,
        }  # fmt: skip
        for name in values:
            values[name].append(made.get(name))
    arrow = kind.arrow
    return pa.table([pa.array(values[field.name], field.type) for field in arrow], schema=arrow)


@pytest.mark.parametrize(("name", "per_frame", "ceiling"), [("trade", 1, 12.0), ("book_change", 20, 6.0)])
def test_a_row_takes_few_bytes(name: str, per_frame: int, ceiling: float) -> None:
    kind = KINDS[name]
    rows = make_market(kind, 40_000, per_frame)
    files = list(build_files(kind, sort_rows(kind, rows), "tape"))
    assert sum(len(file.content) for file in files) / rows.num_rows < ceiling


def test_numbers_are_delta_packed_and_ids_share_prefixes() -> None:
    kind = KINDS["trade"]
    (file,) = build_files(kind, sort_rows(kind, make_market(kind, 5_000, 1)), "tape")
    group = pq.read_metadata(io.BytesIO(file.content)).row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    for column in kind.columns:
        if column.type in (ColumnType.INTEGER, ColumnType.TIME):
            assert "DELTA_BINARY_PACKED" in encodings[column.name], column.name
    assert "DELTA_BYTE_ARRAY" in encodings["trade_id"]
    assert "RLE_DICTIONARY" in encodings["side"]
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}


@pytest.mark.parametrize(("distinct", "encoding"), [(200, "RLE_DICTIONARY"), (3_000, "PLAIN")])
def test_numbers_that_hardly_come_again_need_no_dictionary(distinct: int, encoding: str) -> None:
    kind = KINDS["trade"]
    rows = make_market(kind, 5_000, 1)
    place = rows.schema.get_field_index("amount")
    quotients = pa.array([100.0 / (61_837.63 + row % distinct) for row in range(rows.num_rows)])
    (file,) = build_files(kind, sort_rows(kind, rows.set_column(place, rows.schema.field(place), quotients)), "tape")
    group = pq.read_metadata(io.BytesIO(file.content)).row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    assert ("RLE_DICTIONARY" in encodings["amount"]) is (encoding == "RLE_DICTIONARY")


def test_the_same_rows_give_the_same_file_and_another_tape_another_name() -> None:
    kind = KINDS["trade"]
    rows = sort_rows(kind, build_tables(0, 8)["trade"])
    once, again, other = (list(build_files(kind, rows, salt)) for salt in ("a", "a", "b"))
    assert once == again
    assert [file.content for file in once] == [file.content for file in other]
    assert not {file.path for file in once} & {file.path for file in other}


def test_paths_stay_inside_the_table() -> None:
    kind = KINDS["trade"]
    for file in build_files(kind, sort_rows(kind, build_tables(0, 8)["trade"]), "a"):
        assert len(file.path.split("/")) == 3 and file.path.isascii() and "*" not in file.path


@given(places=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_rows_come_sorted_and_complete_whatever_order_they_came_in(places: list[tuple[int, int, int]]) -> None:
    kind = KINDS["trade"]
    rows = pa.concat_tables([build_tables(offset, offset + 1)["trade"].slice(row, 1) for offset, row, _ in places])
    received = pa.array([START_US + late * DAY_US // 2 for _, _, late in places], pa.timestamp("us", tz="UTC"))
    rows = rows.set_column(4, rows.schema.field(4), received)
    ordered = sort_rows(kind, rows)
    assert ordered.schema.names == table_schema(kind).names
    keys = [tuple(row[name] for name in ("date", *kind.sort)) for row in ordered.to_pylist()]
    assert keys == sorted(keys)
    assert sorted(map(str, ordered.drop_columns(["date"]).to_pylist())) == sorted(map(str, rows.to_pylist()))
    assert all(row["date"] == row["received_at"].date() for row in ordered.to_pylist())


@pytest.mark.parametrize("symbols", [1, 3])
@pytest.mark.parametrize("is_late", [False, True])
def test_rows_of_several_instruments_come_sorted_whether_they_came_in_order_or_not(symbols: int, is_late: bool) -> None:
    kind = KINDS["trade"]
    rows = pa.concat_tables([build_tables(offset, offset + 1)["trade"].slice(0, 1) for offset in range(40)])
    names = pa.array([f"S{offset * 7 % symbols}" for offset in range(40)])
    times = [START_US + (offset * 11 % 13 if is_late else offset) * 10**6 for offset in range(40)]
    rows = rows.set_column(1, rows.schema.field(1), names)
    rows = rows.set_column(4, rows.schema.field(4), pa.array(times, pa.timestamp("us", tz="UTC")))
    keys = [tuple(row[name] for name in ("date", *kind.sort)) for row in sort_rows(kind, rows).to_pylist()]
    assert keys == sorted(keys)
    assert len(keys) == 40
