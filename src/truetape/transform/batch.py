"""Models of markets, built some markets at a time: their rows in, books by the second, models run, gold tables out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from truetape.events.schema import KINDS
from truetape.lake.snapshot import take_snapshot
from truetape.transform.book import BookSeconds, Changes, summarise_book
from truetape.transform.engine import run_models
from truetape.transform.gold import store_markets
from truetape.transform.market import FACTS, MEMORY_DEFAULT, Desk, Market, Span
from truetape.transform.unit import open_database, select_files

SECONDS_MAX = 25_000
"""Seconds of all markets of a batch that is built by the second; a longer market is alone. Bounds the memory of the models."""
MARKETS_MAX = 4000
"""Markets of a batch that is not."""
CHANGES_MAX = 1_000_000
"""Changes of books that are held at once; a market with more is held alone."""


class MarketPlan(msgspec.Struct, frozen=True):
    """What one model needs of the markets."""

    model: str
    kinds: frozenset[str]
    prints: dict[Market, str]
    """Every market that the table is to have."""
    todo: list[Market]
    is_new: bool
    """Whether the whole table is to be replaced."""


class Done(msgspec.Struct, frozen=True):
    """What one batch gave."""

    markets: list[Market]
    rows: int
    version: int
    """Of the gold table, with these rows in it."""
    seconds: float
    """In the model's own query."""


class Work(msgspec.Struct, frozen=True):
    """Where a build works, and with what settings."""

    lake: Path
    folder: Path
    variables: dict[str, Any]
    large_min: float
    """Shares on one level from which on it counts as a large order."""

    @property
    def database(self) -> Path:
        """The database that models run in."""
        return self.folder / "models.duckdb"


def build_plan(plan: MarketPlan, desk: Desk, work: Work) -> Iterator[Done]:
    """Build what a plan lists, batch by batch."""
    for number, markets in enumerate(_cut_batches(plan, desk.list_spans(plan.todo))):
        work.database.unlink(missing_ok=True)
        _fill_database(plan, markets, desk, work)
        seconds = run_models([plan.model], work.folder, work.variables)[plan.model]
        replaced = None if plan.is_new and number == 0 else markets
        rows, version = store_markets(work.lake, plan.model, work.database, replaced)
        yield Done(markets, rows, version, seconds)


def _cut_batches(plan: MarketPlan, spans: list[Span]) -> Iterator[list[Market]]:
    """Put markets that open one after the other together: they need the same files."""
    is_heavy = "book_change" in plan.kinds
    batch: list[Market] = []
    held = 0
    for span in spans:
        weight = span.seconds if is_heavy else SECONDS_MAX // MARKETS_MAX
        if batch and held + weight > SECONDS_MAX:
            yield batch
            batch, held = [], 0
        batch.append(span.key)
        held += weight
    if batch:
        yield batch


def _fill_database(plan: MarketPlan, markets: list[Market], desk: Desk, work: Work) -> None:
    """Write the database a batch of markets is built in: the markets, a view per kind with their rows, their books."""
    with open_database(work.database) as connection:
        connection.execute(f"set memory_limit = '{work.variables.get('memory', MEMORY_DEFAULT)}'")
        connection.execute("create schema build")
        connection.execute("create schema lake")
        for name, table in (("market", desk.describe_markets(markets)), ("need", desk.describe_needs(markets))):
            connection.register("given", table)
            connection.execute(f"create table build.{name} as from given")
            connection.unregister("given")
        for kind in sorted(plan.kinds):
            connection.execute(
                f"create view lake.{kind} as {_select_kind(kind, desk.list_files(kind, markets), work.lake)}"
            )
        _create_books(connection, work, markets, desk)


def _select_kind(kind: str, files: list[str], lake: Path) -> str:
    snapshot = take_snapshot(lake, KINDS[kind])
    if kind in FACTS:
        return snapshot.build_query(with_date=True)
    wanted = set(files)
    snapshot = msgspec.structs.replace(snapshot, files=tuple(file for file in snapshot.files if file.uri in wanted))
    name = "split_part(row_of.symbol, '-', 1)" if kind == "oracle_price" else "split_part(row_of.symbol, ':', 1)"
    return f"""
        select row_of.* from ({snapshot.build_query(with_date=True)}) as row_of
        semi join (select distinct of_venue, name from build.need where kind = '{kind}') as need
            on need.name = {name} and (need.of_venue is null or need.of_venue = row_of.venue)"""  # noqa: S608  # names of ours


def _create_books(connection: duckdb.DuckDBPyConnection, work: Work, markets: list[Market], desk: Desk) -> None:
    connection.execute("""
        create table build.book_second (
            venue varchar, slug varchar, symbol varchar, second bigint, bid double, ask double, bid_depth double,
            ask_depth double, large_orders bigint, heard_us bigint
        )""")
    if "book_change" not in _list_views(connection):
        return
    for spans in _group_spans(desk.list_spans(markets), desk.count_rows("book_change")):
        files = desk.list_files("book_change", [span.key for span in spans])
        for table in summarise_markets(spans, files, work.large_min, connection):
            connection.register("given", table)
            connection.execute("insert into build.book_second from given")
            connection.unregister("given")


def _list_views(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute("select view_name from duckdb_views() where schema_name = 'lake'").fetchall()
    return {name for (name,) in rows}


def _group_spans(spans: list[Span], counts: dict[Market, int]) -> Iterator[list[Span]]:
    """Put neighbours together as far as their changes fit in memory."""
    group: list[Span] = []
    held = 0
    for span in spans:
        count = counts.get(span.key, 0)
        if group and held + count > CHANGES_MAX:
            yield group
            group, held = [], 0
        group.append(span)
        held += count
    if group:
        yield group


def summarise_markets(
    spans: list[Span], files: list[str], large_min: float, connection: duckdb.DuckDBPyConnection
) -> Iterator[pa.Table]:
    """Give the books of these markets by the second, one table per outcome that has a book."""
    if not files:
        return
    symbols = [symbol for span in spans for symbol in (span.up_symbol, span.down_symbol)]
    query = f"""
        select symbol, epoch_us(available_at) as available_us, tape_offset, is_snapshot, side = 'bid' as is_bid, price, amount
        from {select_files(files)}
        where symbol in (select unnest($symbols)) and available_at < make_timestamp($until)::timestamptz
        order by symbol, available_at, tape_offset, tape_row"""  # noqa: S608  # file names of our own log, quoted
    until = max(span.ends_us for span in spans)
    columns = connection.sql(query, params={"symbols": symbols, "until": until}).to_arrow_table()
    names = columns["symbol"].combine_chunks().dictionary_encode()
    codes = np.asarray(names.indices)
    bounds = {name: np.searchsorted(codes, [code, code + 1]) for code, name in enumerate(names.dictionary.to_pylist())}
    for span in spans:
        for symbol in (span.up_symbol, span.down_symbol):
            if symbol in bounds:
                low, high = (int(bound) for bound in bounds[symbol])
                yield _summarise(span, symbol, columns.slice(low, high - low), large_min)


def _summarise(span: Span, symbol: str, rows: pa.Table, large_min: float) -> pa.Table:
    values = {name: rows[name].to_numpy() for name in rows.column_names if name != "symbol"}
    offsets = values["tape_offset"]
    frame = np.cumsum(np.append(True, offsets[1:] != offsets[:-1]))
    changes = Changes(
        values["available_us"], frame, values["is_snapshot"], values["is_bid"], values["price"], values["amount"]
    )
    return _tabulate(span, symbol, summarise_book(changes, span.opens_us, span.seconds, large_min))


def _tabulate(span: Span, symbol: str, book: BookSeconds) -> pa.Table:
    """Put one book's seconds into a table, from its first whole picture on."""
    seconds = span.seconds
    floats = {
        name: pa.array(getattr(book, name), from_pandas=True) for name in ("bid", "ask", "bid_depth", "ask_depth")
    }
    names = {name: pa.array([value], pa.utf8()).take(pa.array(np.zeros(seconds, np.int64))) for name, value in
             (("venue", span.venue), ("slug", span.slug), ("symbol", symbol))}  # fmt: skip
    table = pa.table(
        {**names, "second": np.arange(seconds), **floats, "large_orders": book.large_orders, "heard_us": book.heard_us}
    )
    return table.filter(pa.array(book.heard_us > 0))


def find_market_models(texts: dict[str, str]) -> set[str]:
    """Tell which models are built by market: those that read the markets, themselves or through others."""
    reads = {name for name, text in texts.items() if re.search(r"source\(\s*'build',\s*'market'\s*\)", text)}
    refs = {name: set(re.findall(r"ref\(\s*['\"](\w+)['\"]\s*\)", text)) for name, text in texts.items()}
    while True:
        more = {name for name, of in refs.items() if of & reads} - reads
        if not more:
            return reads
        reads |= more
