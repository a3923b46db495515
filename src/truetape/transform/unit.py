"""What changed since the last build: venue-days, told apart by what is in them.

A unit is one venue's UTC day, by the time of the event (the venue's where it says one). Its fingerprint covers
every row that belongs to it, however late it was received and whichever file it is in, and every gap that
touches it. A model is built again for the units whose fingerprint differs from the one it was built from:
there is no look-back to choose, and none to get wrong.
"""

import hashlib
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from deltalake.exceptions import TableNotFoundError

from truetape.errors import BuildError
from truetape.events.schema import KINDS
from truetape.lake.disk import open_delta
from truetape.lake.rows import connect_duckdb
from truetape.lake.snapshot import quote_text, take_snapshot

WHOLE = ("gap", "connection", "market")
"""Kinds that models see whole, not by unit: ledgers and histories, small."""

_DAY_US = 86_400_000_000
_PADDING_US = 3_600_000_000
"""Gaps count for days they come this near to: more than any margin a model may take."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What one file holds of one unit."""

    venue: str
    day: int
    """Days since 1970-01-01."""
    rows: int
    content: int
    """XOR of the rows' hashes: the same however the rows are spread over files."""
    heard_us: int
    """When the last of them was received."""


Unit = tuple[str, int]
"""(venue, days since 1970-01-01)."""

Index = dict[str, list[Part]]
"""File → what it holds; files never change, so this is made once per file."""

Starts = dict[str, int]
"""Venue and symbol, a space between → microseconds of the stream's first event. A venue's name has no space."""


def list_files(lake: Path, table: str) -> list[str]:
    """List the data files of a table as its log has them now; empty when there is no table."""
    try:
        return sorted(open_delta(lake / table).file_uris())
    except TableNotFoundError:
        return []


def select_files(files: list[str]) -> str:
    """Write the FROM clause that reads lake files with their names and partition columns."""
    names = ", ".join(quote_text(re.sub(r"([*?\[])", r"[\1]", file)) for file in files)  # no patterns
    types = "{'date': date, 'venue': varchar}"
    return f"read_parquet([{names}], filename = true, union_by_name = true, hive_partitioning = true, hive_types = {types})"


def open_database(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a private database file that downloads nothing and thinks in UTC."""
    connection = duckdb.connect(
        str(path), config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    connection.execute("set TimeZone = 'UTC'")
    return connection


def find_starts(files: list[str], known: Starts) -> Starts:
    """Give when each stream first had a row, by the time of the event, looking into the given files only."""
    starts = dict(known)
    if files:
        query = f"""
            select venue, symbol, min(epoch_us(coalesce(exchange_at, received_at)))
            from {select_files(files)} group by all order by all"""  # noqa: S608  # file names of our own log, quoted
        for venue, symbol, first_us in _fetch(query):
            name = f"{venue} {symbol}"
            starts[name] = min(first_us, starts.get(name, first_us))
    return starts


def index_files(files: list[str], known: Index) -> Index:
    """Give the parts of each file, reading only those that are not known yet."""
    index: Index = {file: known[file] for file in files if file in known}
    fresh = [file for file in files if file not in known]
    if fresh:
        index.update({file: [] for file in fresh})
        query = f"""
            select filename, venue, epoch_us(coalesce(exchange_at, received_at)) // {_DAY_US} as day, count(*),
                bit_xor(hash(*columns(* exclude (filename)))), max(epoch_us(received_at))
            from {select_files(fresh)} group by all order by all"""  # noqa: S608  # file names of our own log, quoted
        for filename, *part in _fetch(query):
            index[filename].append(Part(*part))
    return index


def _fetch(query: str) -> list[tuple[Any, ...]]:
    with connect_duckdb() as connection:
        try:
            return connection.execute(query).fetchall()
        except duckdb.Error as error:
            raise BuildError(f"lake does not read: {str(error).strip().splitlines()[0]}") from error


def find_heard(indexes: list[Index]) -> dict[str, int]:
    """Tell when each venue was last heard, in microseconds."""
    heard: dict[str, int] = defaultdict(int)
    for index in indexes:
        for parts in index.values():
            for part in parts:
                heard[part.venue] = max(heard[part.venue], part.heard_us)
    return dict(heard)


def fingerprint_units(indexes: dict[str, Index], starts: dict[str, Starts], gap_files: list[str]) -> dict[Unit, str]:
    """Give every unit's fingerprint: its rows, its gaps, how far into it the venue was heard, what began in it."""
    begun: dict[Unit, list[tuple[str, str, int]]] = defaultdict(list)
    for kind, firsts in sorted(starts.items()):
        for name, first_us in sorted(firsts.items()):
            begun[name.split(" ")[0], first_us // _DAY_US].append((kind, name, first_us))
    sums: dict[Unit, dict[str, tuple[int, int]]] = defaultdict(dict)
    for kind, index in sorted(indexes.items()):
        for parts in index.values():
            for part in parts:
                of_unit = sums[part.venue, part.day]
                rows, content = of_unit.get(kind, (0, 0))
                of_unit[kind] = rows + part.rows, content ^ part.content
    heard = find_heard(list(indexes.values()))
    gaps = _hash_gaps(list(sums), gap_files)
    return {
        unit: _fingerprint(unit, parts, heard[unit[0]], gaps.get(unit), begun.get(unit, []))
        for unit, parts in sorted(sums.items())
    }


def _fingerprint(
    unit: Unit, parts: dict[str, tuple[int, int]], heard_us: int, gaps: int | None, begun: list[tuple[str, str, int]]
) -> str:
    ended_us = min(heard_us, (unit[1] + 1) * _DAY_US)
    return hashlib.sha256(repr((unit, sorted(parts.items()), ended_us, gaps, begun)).encode()).hexdigest()[:16]


def _hash_gaps(units: list[Unit], files: list[str]) -> dict[Unit, int]:
    """Hash the gap rows that touch each unit."""
    if not files or not units:
        return {}
    with connect_duckdb() as connection:
        connection.execute("create table unit (venue varchar, day bigint)")
        connection.executemany("insert into unit values (?, ?)", [list(unit) for unit in units])
        query = f"""
            with gap as (
                select gap_id, any_value(venue) as venue, min(epoch_us(from_at)) as from_us,
                    case when arg_max(state, row(tape_offset, tape_row)) = 'open' then 9223372036854775807
                        else max(epoch_us(to_at)) end as to_us,
                    bit_xor(hash(*columns(* exclude (filename)))) as content
                from {select_files(files)} group by gap_id
            )
            select unit.venue, unit.day, bit_xor(gap.content) from unit join gap
            on gap.venue = unit.venue and gap.from_us < (unit.day + 1) * {_DAY_US} + {_PADDING_US}
                and gap.to_us > unit.day * {_DAY_US} - {_PADDING_US}
            group by all"""  # noqa: S608  # file names of our own log, quoted
        return {(venue, day): content for venue, day, content in connection.execute(query).fetchall()}


def create_views(
    database: Path, kinds: set[str], units: list[Unit], indexes: dict[str, Index], starts: dict[str, Starts], lake: Path
) -> None:
    """Write the database a run of the models reads: a view per kind with the units' rows, the units, the starts."""
    heard = find_heard(list(indexes.values()))
    with open_database(database) as connection:
        connection.execute("create schema build")
        connection.execute("create schema lake")
        connection.execute("create table build.unit (venue varchar, date date, heard_at timestamptz)")
        connection.executemany(
            "insert into build.unit values (?, date '1970-01-01' + ?::int, make_timestamp(?)::timestamptz)",
            [[venue, day, heard[venue]] for venue, day in units],
        )
        connection.execute("create table build.stream (kind varchar, venue varchar, symbol varchar, first_us bigint)")
        rows = [[kind, *name.split(" ", 1), us] for kind, firsts in starts.items() for name, us in firsts.items()]
        if rows:
            connection.executemany("insert into build.stream values (?, ?, ?, ?)", rows)
        for kind in sorted(kinds):
            connection.execute(f"create view lake.{kind} as {_select_kind(kind, units, indexes, lake)}")


def _select_kind(kind: str, units: list[Unit], indexes: dict[str, Index], lake: Path) -> str:
    snapshot = take_snapshot(lake, KINDS[kind])
    if kind in WHOLE:
        return snapshot.build_query(with_date=True)
    wanted = set(units)
    holding = {file for file, parts in indexes[kind].items() if any((p.venue, p.day) in wanted for p in parts)}
    snapshot = msgspec.structs.replace(snapshot, files=tuple(file for file in snapshot.files if file.uri in holding))
    day = f"date '1970-01-01' + (epoch_us(coalesce(row_of.exchange_at, row_of.received_at)) // {_DAY_US})::int"
    return f"""
        select row_of.* from ({snapshot.build_query(with_date=True)}) as row_of
        semi join build.unit as unit on unit.venue = row_of.venue and unit.date = {day}"""  # noqa: S608  # as above
