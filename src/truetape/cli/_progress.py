"""How far a long command has come: bars on a terminal, now and then a plain line elsewhere; both on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from truetape import clock

LINE_EVERY_NS = 10_000_000_000
"""Plain lines are no closer than this, and a command that takes less says nothing."""

Report = Callable[[str, int, int], None]
"""(what, how much of it is done, how much there is; 0: nobody knows)."""


@contextmanager
def show_progress() -> Iterator[Report]:
    """Show how far things are while the block runs."""
    if not sys.stderr.isatty():
        yield _Lines().report
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[count]}"),
               TimeElapsedColumn(), Remaining())  # fmt: skip
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, redirect_stdout=False) as progress:

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=None, count="")
            progress.update(tasks[what], completed=done, total=total or None, count=_count(done, total))

        yield report


class _Lines:
    """Plain lines, rarely."""

    def __init__(self) -> None:
        self._said_ns = clock.monotonic_ns()

    def report(self, what: str, done: int, total: int) -> None:
        """Say how far a thing is when it is time."""
        now_ns = clock.monotonic_ns()
        if now_ns - self._said_ns < LINE_EVERY_NS:
            return
        self._said_ns = now_ns
        share = f" ({100 * done // total} %)" if total else ""
        click.echo(f"{what}: {_count(done, total)}{share}", err=True)


def _count(done: int, total: int) -> str:
    return f"{done:,} of {total:,}" if total else f"{done:,}"
