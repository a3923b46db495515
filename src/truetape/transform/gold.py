"""Gold tables: Delta tables in the lake's folder, one per model, partitioned by date and venue."""

import datetime
import hashlib
from pathlib import Path

import pyarrow as pa
from deltalake import WriterProperties, write_deltalake
from deltalake.exceptions import TableNotFoundError

from truetape.errors import BuildError
from truetape.lake.disk import open_delta
from truetape.lake.rows import connect_duckdb
from truetape.transform.unit import Unit, list_files, open_database, select_files

_EPOCH = datetime.date(1970, 1, 1)
_BATCH_ROWS = 65_536


def read_version(lake: Path, model: str) -> int | None:
    """Give the version of a gold table; null when there is none."""
    try:
        return int(open_delta(lake / model).version())
    except TableNotFoundError:
        return None


def store_units(lake: Path, model: str, database: Path, units: list[Unit] | None) -> tuple[int, int]:
    """Put a model's rows into its gold table in place of what these units had, all units when null.

    One commit: a reader sees the table before or after. Gives the number of rows and the table's version.
    """
    with open_database(database) as connection:
        # A model that looks back made rows of days before, too.
        wanted = f"from {model}" if units is None else f"from {model} where {_name_units(units)}"
        ((rows,),) = connection.execute(f"select count(*) {wanted}").fetchall()
        order = _DAY_ORDERS.get(model, "date, venue, symbol, interval, open_at")
        reader = connection.sql(f"{wanted} order by {order}").to_arrow_reader(_BATCH_ROWS)
        write_deltalake(
            lake / model,
            reader,
            partition_by=["date", "venue"],
            mode="overwrite",
            schema_mode="overwrite" if units is None else None,
            predicate=None if units is None else _name_units(units),
            writer_properties=WriterProperties(compression="ZSTD", compression_level=6),
        )
    version = read_version(lake, model)
    if version is None:
        raise BuildError(f"{lake / model}: the table vanished while it was written")
    return rows, version


_EVENT_ORDER = "date, venue, symbol, happened_at, tape_offset, tape_row"
_DAY_ORDERS = {
    "trade_event": _EVENT_ORDER,
    "liquidation_event": _EVENT_ORDER,
    "book_state": f"{_EVENT_ORDER}, origin",
    "coin_rank": _EVENT_ORDER,
}
"""How rows of models by the day lie in their tables, where not as bars do."""

_ORDERS = {
    "truth": "date, venue, opens_at, market_id",
    "canonical": "date, venue, opens_at, market_id, t",
}
"""How rows of market models lie in their tables; the names of other models of markets order by these alone."""


def store_markets(lake: Path, model: str, database: Path, markets: list[tuple[str, str]] | None) -> tuple[int, int]:
    """Put a model's rows into its gold table in place of what these markets had, all markets when null.

    One commit. Gives the number of rows and the table's version.
    """
    with open_database(database) as connection:
        ((rows,),) = connection.execute(f"select count(*) from {model}").fetchall()  # noqa: S608  # a name of ours
        order = _ORDERS.get(model, "date, venue, market_id")
        days = connection.execute(f"select distinct date::varchar from {model} order by all").fetchall()  # noqa: S608
        reader = connection.sql(f"from {model} order by {order}").to_arrow_reader(_BATCH_ROWS)
        write_deltalake(
            lake / model,
            reader,
            partition_by=["date", "venue"],
            mode="overwrite",
            schema_mode="overwrite" if markets is None else None,
            predicate=None if markets is None else _name_markets(markets, [day for (day,) in days]),
            writer_properties=WriterProperties(compression="ZSTD", compression_level=6),
        )
    version = read_version(lake, model)
    if version is None:
        raise BuildError(f"{lake / model}: the table vanished while it was written")
    return rows, version


def _name_markets(markets: list[tuple[str, str]], days: list[str]) -> str:
    """Write which rows are replaced: by day and venue, so that only their files are opened, and by name."""
    quoted = {part: part.replace("'", "''") for market in markets for part in market}
    venues = sorted({quoted[venue] for venue, _ in markets})
    slugs = sorted({quoted[slug] for _, slug in markets})
    texts = [", ".join(f"'{value}'" for value in values) for values in (days, venues, slugs)]
    return f"date in ({texts[0]}) and venue in ({texts[1]}) and market_id in ({texts[2]})"


def _name_units(units: list[Unit]) -> str:
    terms = []
    for venue, day in units:
        name = venue.replace("'", "''")
        terms.append(f"(date = '{_EPOCH + datetime.timedelta(day)}' and venue = '{name}')")
    return " or ".join(terms)


def read_bars(
    lake: Path | str,
    venue: str,
    symbol: str,
    interval: str,
    start: datetime.datetime | None = None,
    end: datetime.datetime | None = None,
) -> pa.Table:
    """Read bars of one symbol with start <= open_at < end, oldest first; BuildError when none were ever built."""
    files = list_files(Path(lake).resolve(), "bars")
    if not files:
        raise BuildError(f"{lake}: no bars yet; `truetape build` makes them")
    query = f"""
        select * exclude (filename) from {select_files(files)}
        where venue = $1 and symbol = $2 and interval = $3
            and ($4::timestamptz is null or open_at >= $4) and ($5::timestamptz is null or open_at < $5)
        order by open_at"""  # noqa: S608  # file names of our own log, quoted
    with connect_duckdb() as connection:
        return connection.sql(query, params=[venue, symbol, interval, start, end]).to_arrow_table()


def hash_gold(lake: Path | str, model: str) -> str:
    """Hash a gold table's rows in their order: independent of files and commits."""
    files = list_files(Path(lake).resolve(), model)
    digest = hashlib.sha256()
    if files:
        with connect_duckdb() as connection:
            query = f"select * exclude (filename) from {select_files(files)} order by all"  # noqa: S608  # as above
            for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
                for row in batch.to_pylist():
                    digest.update(repr(tuple(row.values())).encode())
    return digest.hexdigest()
