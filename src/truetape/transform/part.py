"""What each lake file holds, by market: rows, their content as one number, when they were heard.

A file never changes, so it is looked into once; the rest is remembered beside the builds. From this follow which
markets changed since they were built, however late and in whichever files their rows came, and which files a market needs.
"""

from pathlib import Path

import duckdb

from truetape.errors import BuildError
from truetape.lake.snapshot import quote_text
from truetape.transform.unit import list_files, select_files

BUCKET_S = 900
"""Rows are told apart by time this finely."""

_TIMES = {"oracle_price": "coalesce(exchange_at, available_at)"}
"""Kinds whose rows belong where they were observed; the others where they became available."""

_NAMES = {"oracle_price": "split_part(symbol, '-', 1)"}
"""Kinds that are found by asset; the others by market, or by instrument."""

_CONTENTS = {"book_change": "symbol, available_at, tape_offset, tape_row, is_snapshot, side, price, amount"}
"""Kinds with so many rows that only the columns that matter are counted in."""

_TABLE = """
    create table part (
        kind varchar, file varchar, venue varchar, name varchar, bucket bigint, rows bigint, content ubigint,
        heard_us bigint
    )"""

_FORMAT = 1
"""Of the file; one of another format is not read, and everything is looked into again."""


def index_parts(connection: duckdb.DuckDBPyConnection, lake: Path, kinds: list[str], memory: Path) -> None:
    """Make the table `part` of all files of the kinds, looking only into those that are new; remember it in `memory`."""
    _load(connection, memory)
    for kind in kinds:
        files = list_files(lake, kind)
        connection.execute("create or replace temp table now (file varchar)")
        if files:
            connection.execute("insert into now select unnest(?)", [files])
        connection.execute("delete from part where kind = ? and file not in (select file from now)", [kind])
        fresh = connection.execute(
            "select file from now where file not in (select file from part where kind = ?) order by all", [kind]
        ).fetchall()
        if fresh:
            _add_files(connection, kind, [file for (file,) in fresh])
    draft = memory.with_suffix(".tmp")
    connection.execute(
        "create or replace temp table saved as select *, ?::int as format from part order by all", [_FORMAT]
    )
    connection.execute(f"copy saved to {quote_text(str(draft))} (format parquet)")
    draft.replace(memory)


def _load(connection: duckdb.DuckDBPyConnection, memory: Path) -> None:
    """Read what is remembered; anything unreadable means: look into every file."""
    connection.execute(_TABLE)
    if not memory.exists():
        return
    try:
        connection.execute(
            f"insert into part select * exclude (format) from read_parquet({quote_text(str(memory))}) "  # noqa: S608  # our own file, quoted
            f"where format = {_FORMAT}"
        )
    except duckdb.Error:
        connection.execute("delete from part")


def _add_files(connection: duckdb.DuckDBPyConnection, kind: str, files: list[str]) -> None:
    name = _NAMES.get(kind, "split_part(symbol, ':', 1)")
    content = _CONTENTS.get(kind, "*columns(* exclude (filename))")
    at = _TIMES.get(kind, "available_at")
    query = f"""
        insert into part
        select {quote_text(kind)}, filename, venue, {name} as name, epoch_us({at}) // {BUCKET_S * 1_000_000} as bucket,
            count(*), bit_xor(hash({content})), max(epoch_us(received_at))
        from {select_files(files)} group by all"""  # noqa: S608  # file names of our own log, quoted
    try:
        connection.execute(query)
        # A file without rows is known, too.
        connection.execute(
            "insert into part select ?, unnest(?), '', '', 0, 0, 0, 0 except select kind, file, '', '', 0, 0, 0, 0 from part",
            [kind, files],
        )
    except duckdb.Error as error:
        raise BuildError(f"lake does not read: {str(error).strip().splitlines()[0]}") from error
