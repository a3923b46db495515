"""What jobs did and when: one SQLite file, which also keeps how far a job had come when it was killed."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from truetape import clock
from truetape.errors import Transient

State = Literal["running", "done", "failed", "killed", "missed"]

_SCHEMA = """
create table if not exists runs (
    id integer primary key, job text not null, due_us integer, started_us integer not null, ended_us integer,
    state text not null, process integer not null, attempts integer not null default 1, report text not null default '{}',
    error text not null default ''
);
create index if not exists runs_by_job on runs (job, started_us);
create index if not exists runs_by_due on runs (job, due_us);
create index if not exists runs_running on runs (process) where state = 'running';
create table if not exists marks (job text not null, key text not null, value text not null, primary key (job, key));
"""
BUSY_MS = 30_000


class Run(msgspec.Struct, frozen=True):
    """One run of a job, or one that was due and did not happen (`missed`)."""

    job: str
    state: State
    due_at: datetime | None
    """When the schedule wanted it; null for runs by hand."""
    started_at: datetime
    ended_at: datetime | None
    attempts: int
    report: str
    """JSON object of what the job counted."""
    error: str
    """Why it failed, in one line."""


class History:
    """The runs of all jobs of one state folder; Transient where the file cannot be read or written, as on a full disk."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def begin(self, job: str, due_at: datetime | None = None) -> int:
        """Write down that a run begins; those of dead processes are `killed` from now on. The job's lock is held."""
        with _told(self._path), self._connection as db:
            db.execute("update runs set state = 'killed', ended_us = ? where job = ? and state = 'running'",
                       (_now_us(), job))  # fmt: skip
            cursor = db.execute(
                "insert into runs (job, due_us, started_us, state, process) values (?, ?, ?, 'running', ?)",
                (job, _to_us(due_at), _now_us(), os.getpid()),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def end(self, run: int, state: State, attempts: int, report: str, error: str = "") -> None:
        """Write down how a run ended."""
        with _told(self._path), self._connection as db:
            db.execute("update runs set state = ?, ended_us = ?, attempts = ?, report = ?, error = ? where id = ?",
                       (state, _now_us(), attempts, report, error, run))  # fmt: skip

    def miss(self, job: str, due: Iterable[datetime]) -> None:
        """Write down that runs were due and did not happen; once each."""
        with _told(self._path), self._connection as db:
            db.executemany(
                "insert into runs (job, due_us, started_us, ended_us, state, process)"
                " select ?1, ?2, ?3, ?3, 'missed', 0 where not exists (select 1 from runs where job = ?1 and due_us = ?2)",
                [(job, _to_us(at), _now_us()) for at in due],
            )

    def list_runs(self, job: str | None = None, limit: int = 50) -> list[Run]:
        """List the newest runs first."""
        return self._read_runs("where ?1 is null or job = ?1 order by started_us desc, id desc limit ?2", (job, limit))

    def list_newest(self, *states: State) -> list[Run]:
        """List the newest run of each job that is in one of these states, however many others came after it."""
        with _told(self._path):
            jobs = [job for (job,) in self._connection.execute("select distinct job from runs order by job").fetchall()]
        wanted = ", ".join("?" * len(states))
        which = f"where job = ? and state in ({wanted}) order by started_us desc, id desc limit 1"
        return [run for job in jobs for run in self._read_runs(which, (job, *states))]

    def read_run(self, run: int) -> Run:
        """Return what is written down of a run."""
        return self._read_runs("where id = ?", (run,))[0]

    def _read_runs(self, which: str, values: tuple[object, ...]) -> list[Run]:
        columns = "job, state, due_us, started_us, ended_us, attempts, report, error"
        with _told(self._path):
            rows = self._connection.execute(f"select {columns} from runs {which}", values).fetchall()  # noqa: S608 - ours
        return [
            Run(name, state, _from_us(due), _at(started), _from_us(ended), attempts, report, error)
            for name, state, due, started, ended, attempts, report, error in rows
        ]

    def find_last_due(self, job: str, until: datetime, attempts_max: int = 1) -> datetime | None:
        """Return the newest time at which the schedule wanted the job and something was written down about it.

        What is later than `until`, now, was written by a clock that has been set back since; a run that was killed is to
        be begun again, so many times in all.
        """
        query = (
            "select due_us from runs where job = ? and due_us <= ? group by due_us"
            " having min(state = 'killed') = 0 or count(*) >= ? order by due_us desc limit 1"
        )
        with _told(self._path):
            found = self._connection.execute(query, (job, _to_us(until), attempts_max)).fetchone()
        return _from_us(found[0]) if found else None

    def mark(self, job: str, key: str, value: str) -> None:
        """Remember how far a job has come, durably."""
        with _told(self._path), self._connection as db:
            db.execute("insert or replace into marks values (?, ?, ?)", (job, key, value))

    def find_mark(self, job: str, key: str) -> str | None:
        """Return what was remembered."""
        query = "select value from marks where job = ? and key = ?"
        with _told(self._path):
            found = self._connection.execute(query, (job, key)).fetchone()
        return None if found is None else str(found[0])


@contextmanager
def open_history(folder: Path) -> Iterator[History]:
    """Open the history of a state folder, made when there is none; raises Transient as `History` does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "jobs.sqlite"
    with _told(path):
        opened = sqlite3.connect(path, timeout=BUSY_MS / 1000)
    with closing(opened) as connection:
        with _told(path):
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.executescript(_SCHEMA)
            _mark_killed(connection)
        yield History(connection, path)


def _mark_killed(connection: sqlite3.Connection) -> None:
    """Write down that runs were killed whose process is no more: nobody else would until the job's next run."""
    running = connection.execute("select id, process from runs where state = 'running'").fetchall()
    gone = [(_now_us(), run) for run, process in running if not _is_alive(process)]
    if gone:
        with connection as db:
            db.executemany("update runs set state = 'killed', ended_us = ? where id = ? and state = 'running'", gone)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in one line what the database refused."""
    try:
        yield
    except sqlite3.Error as error:
        raise Transient(f"{path}: the jobs' history cannot be read or written ({error})") from error


def _now_us() -> int:
    return clock.wall_ns() // 1000


def _to_us(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1e6)


def _from_us(us: int | None) -> datetime | None:
    return None if us is None else _at(us)


def _at(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
