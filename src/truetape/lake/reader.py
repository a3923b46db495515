"""The lake as its readers see it: `Lake(path)`, one method per event kind, and SQL over all of them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Protocol

from duckdb import DuckDBPyConnection

from truetape.errors import ConfigError
from truetape.events.schema import KINDS, Kind
from truetape.lake.disk import find_folder
from truetape.lake.pin import read_pin
from truetape.lake.rows import Params, Rows, connect_duckdb
from truetape.lake.snapshot import Filter, Snapshot, build_model_query, list_models, take_snapshot

Moment = datetime | str
"""A datetime, or ISO text; without a zone it is UTC."""


class KindReader(Protocol):
    """What `lake.trades`, `lake.quotes`, ... are."""

    def __call__(
        self,
        venue: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        version: int | None = None,
    ) -> Rows:
        """Select rows of the kind received in [start, end)."""
        ...


class Lake:
    """Read a lake, as it is now or as it was when somebody gave it a name (`pin`).

    Each event kind has a method named in the plural: `trades`, `book_changes`, `quotes`, `gaps`, ...;
    see `rows` for what it takes. Nothing is read before the result is asked for.
    """

    def __init__(self, path: str | Path, pin: str | None = None) -> None:
        self.path = find_folder(path)
        self._pinned = None if pin is None else {n: t.version for n, t in read_pin(path, pin).tables.items()}

    def rows(
        self,
        kind: str,
        venue: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        version: int | None = None,
    ) -> Rows:
        """Select rows of a kind received in [start, end), ordered as the kind sorts; `version` is of its table."""
        wanted = Filter(venue, symbol, _read_moment("start", start), _read_moment("end", end))
        found = _find_kind(kind)
        # The files are fixed now, so that the same rows come back each time they are read.
        select = self._take_snapshot(found, version).build_query(wanted)
        return Rows(connect_duckdb, f"{select} ORDER BY {', '.join(found.sort)}", schema=found.arrow)

    def sql(self, query: str, params: Params = None) -> Rows:
        """Ask a query; tables are named as the kinds and have one more column, `date`, by which files are chosen."""
        return Rows(partial(self._connect, query), query, params)

    def versions(self) -> dict[str, int]:
        """Give the current version of each kind's table; kinds without one are absent."""
        snapshots = {name: self._take_snapshot(kind) for name, kind in KINDS.items()}
        return {name: snapshot.version for name, snapshot in snapshots.items() if snapshot.version >= 0}

    def _connect(self, query: str) -> DuckDBPyConnection:
        connection = connect_duckdb()
        named = {name for name in KINDS if re.search(rf"\b{name}\b", query, re.IGNORECASE)}
        # Opening a table costs milliseconds: only those the query speaks of, all when it speaks of none (SHOW TABLES).
        for name in named or KINDS:
            _create_view(connection, self._take_snapshot(KINDS[name]))
        for model in list_models(self.path):
            if self._pinned is not None and model not in self._pinned:
                continue
            if not named or re.search(rf"\b{model}\b", query, re.IGNORECASE):
                version = None if self._pinned is None else self._pinned[model]
                connection.execute(f'CREATE VIEW "{model}" AS {build_model_query(self.path, model, version)}')
        return connection

    def _take_snapshot(self, kind: Kind, version: int | None = None) -> Snapshot:
        if self._pinned is None or version is not None:
            return take_snapshot(self.path, kind, version)
        if kind.name not in self._pinned:
            return Snapshot(kind, -1, frozenset(), ())
        return take_snapshot(self.path, kind, self._pinned[kind.name])

    def __getattr__(self, name: str) -> KindReader:
        kind = _PLURALS.get(name)
        if kind is None:
            raise AttributeError(f"a lake has no {name!r}; event kinds are {', '.join(_PLURALS)}")
        read: Callable[..., Rows] = partial(self.rows, kind)
        return read

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_PLURALS]


_PLURALS = {f"{name}s": name for name in KINDS} | {"books": "book_change"}
"""Method names; `books` is what everybody types for the changes that make them."""


def _create_view(connection: DuckDBPyConnection, snapshot: Snapshot) -> None:
    connection.execute(f'CREATE VIEW "{snapshot.kind.name}" AS {snapshot.build_query(with_date=True)}')


def _find_kind(name: str) -> Kind:
    if name not in KINDS:
        nearest = get_close_matches(name, KINDS, 1, 0.0)[0]
        raise ConfigError(f"unknown event kind {name!r}; nearest is {nearest!r}; there are {', '.join(KINDS)}")
    return KINDS[name]


def _read_moment(key: str, moment: Moment | None) -> datetime | None:
    if moment is None:
        return None
    try:
        read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError as error:
        raise ConfigError(f"{key}: {moment!r} is no ISO time, such as 2026-01-31 or 2026-01-31T12:00:00Z") from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)
