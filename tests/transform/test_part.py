"""What files hold is looked into once, and remembered."""

from pathlib import Path

import duckdb
from synthetic import at, trade, write_rows

from truetape.transform.part import index_parts


def index(lake: Path, memory: Path) -> list[tuple[str, int, int]]:
    with duckdb.connect() as connection:
        index_parts(connection, lake, ["trade"], memory)
        query = "select name, bucket * 900, sum(rows)::bigint from part where rows > 0 group by all order by all"
        return connection.execute(query).fetchall()


def test_rows_are_told_apart_by_name_and_quarter_of_an_hour(lake: Path) -> None:
    write_rows(lake, "trade", [trade(10, 1, 100), trade(20, 2, 100), trade(1000, 3, 100, symbol="m:Up")])
    begin = int(at(0).timestamp())
    assert index(lake, lake / "parts") == [("BTC-USDT", begin, 2), ("m", begin + 900, 1)]


def test_what_is_remembered_is_not_read_again(lake: Path) -> None:
    memory = lake / "parts"
    write_rows(lake, "trade", [trade(10, 1, 100)])
    first = index(lake, memory)
    before = memory.read_bytes()
    assert index(lake, memory) == first
    assert memory.read_bytes() == before
    write_rows(lake, "trade", [trade(11, 2, 100)])
    assert index(lake, memory)[0][2] == 2


def test_a_memory_that_does_not_read_is_made_anew(lake: Path) -> None:
    memory = lake / "parts"
    write_rows(lake, "trade", [trade(10, 1, 100)])
    first = index(lake, memory)
    memory.write_bytes(b"no parquet")
    assert index(lake, memory) == first


def test_files_that_are_gone_are_forgotten(lake: Path, tmp_path: Path) -> None:
    memory, other = lake / "parts", tmp_path / "other"
    write_rows(lake, "trade", [trade(10, 1, 100)])
    index(lake, memory)
    write_rows(other, "trade", [trade(12, 1, 100), trade(13, 2, 100)])
    assert index(other, memory)[0][2] == 2


def test_the_same_rows_in_other_files_have_the_same_content(lake: Path, tmp_path: Path) -> None:
    rows = [trade(10 + i, i, 100 + i) for i in range(1, 9)]
    write_rows(lake, "trade", rows)
    for row in rows:
        write_rows(tmp_path / "other", "trade", [row])
    contents = []
    for folder in (lake, tmp_path / "other"):
        with duckdb.connect() as connection:
            index_parts(connection, folder, ["trade"], folder / "parts")
            contents.append(connection.execute("select bit_xor(content) from part where rows > 0").fetchall())
    assert contents[0] == contents[1]
