"""What `record` shows while it runs: a live table on a terminal, log lines elsewhere; a summary at the end."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from truetape import clock
from truetape.cli._log import Outlets, make_logger
from truetape.config import LogSettings, Settings
from truetape.flow.live import LiveStatus

if TYPE_CHECKING:
    from truetape.collect.turn import Cycle
    from truetape.decode.status import StreamStatus

LINE_EVERY_NS = 10_000_000_000
STREAMS_SHOWN_MAX = 40


class Rates:
    """Rows per second of every stream, from two looks at its count."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], tuple[int, int, float]] = {}

    def measure(self, stream: "StreamStatus", now_ns: int) -> float:
        """Return the rate, smoothed over some seconds."""
        key = (stream.venue, stream.symbol, stream.channel)
        rows, at_ns, rate = self._last.get(key, (stream.rows, now_ns, 0.0))
        if now_ns - at_ns < 500_000_000:
            self._last.setdefault(key, (rows, at_ns, rate))
            return rate
        fresh = (stream.rows - rows) * 1e9 / (now_ns - at_ns)
        rate = fresh if rate == 0.0 else 0.5 * rate + 0.5 * fresh
        self._last[key] = (stream.rows, now_ns, rate)
        return rate


class LiveTable:
    """A table that is drawn anew twice a second."""

    def __init__(self, console: Console | None = None, log: "Lines | None" = None) -> None:
        self._log = log
        """Where lines go meanwhile, if anywhere: a file."""
        self._rates = Rates()
        self._began_ns = clock.monotonic_ns()
        self._live = Live(Text("starting…"), console=console, refresh_per_second=2)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)
        if self._log is not None:
            self._log.__exit__(kind, error, trace)

    def show(self, status: LiveStatus) -> None:
        """Draw the newest status."""
        if self._log is not None:
            self._log.show(status)
        self._live.update(self.draw(status, clock.monotonic_ns(), clock.wall_ns()))

    def show_cycle(self, cycle: "Cycle") -> None:
        """Log a turn of a snapshot service where there is a log; the table has a row for each stream."""
        if self._log is not None:
            self._log.show_cycle(cycle)

    def draw(self, status: LiveStatus, now_ns: int, wall_ns: int) -> Group:
        """Return the picture of a status at a moment."""
        table = Table(header_style="bold", title=self._draw_head(status, now_ns), title_justify="left")
        for name, justify in _COLUMNS:
            table.add_column(name, justify="right" if justify else "left")
        streams = status.view.streams if status.view else []
        for stream in streams[:STREAMS_SHOWN_MAX]:
            rate = self._rates.measure(stream, now_ns)
            age_s = (wall_ns - stream.seen_ns) / 1e9 if stream.seen_ns else None
            table.add_row(
                stream.venue, stream.symbol, stream.channel, f"{stream.rows:,}", f"{rate:,.1f}",
                f"{stream.price:,.8g}" if stream.price is not None else "",
                f"{stream.lag_ms:,.0f} ms" if stream.lag_ms is not None else "",
                f"{age_s:,.1f} s" if age_s is not None else "never",
                Text(stream.gap, style="bold red") if stream.gap else str(stream.gaps or ""),
            )  # fmt: skip
        more = len(streams) - STREAMS_SHOWN_MAX
        notes = [Text(f"… and {more} more streams")] if more > 0 else []
        troubles = list(status.tape.troubles if status.tape else []) + ([status.trouble] if status.trouble else [])
        notes += [Text(trouble, style="yellow") for trouble in troubles]
        return Group(table, *notes)

    def _draw_head(self, status: LiveStatus, now_ns: int) -> str:
        seconds = (now_ns - self._began_ns) // 1_000_000_000
        parts = [f"truetape {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"]
        if status.tape:
            parts.append(f"{status.tape.frames:,} frames on the tape")
            parts.append(f"{sum(c.state == 'open' for c in status.tape.connections)} connections")
            if status.tape.dropped_frames:
                parts.append(f"[red]{status.tape.dropped_frames:,} dropped[/red]")
        if status.view:
            parts.append(f"{max(0, status.view.end - status.view.offset):,} behind")
        return " · ".join(parts) + "   (Ctrl-C stops)"

    def summarize(self, status: LiveStatus, settings: Settings) -> None:
        """Print what was recorded."""
        summarize(status, settings)


_COLUMNS = (
    ("venue", 0), ("instrument", 0), ("channel", 0), ("rows", 1), ("per s", 1),
    ("last", 1), ("lag", 1), ("age", 1), ("gaps", 1),
)  # fmt: skip


class Lines:
    """A log line now and then, and one for every new trouble; `is_silent`: only into the log's file."""

    def __init__(self, settings: LogSettings, *, is_silent: bool = False) -> None:
        self._outlets = Outlets(settings, is_silent=is_silent)
        self._log = make_logger(settings, self._outlets)
        self._said_ns = 0
        self._troubles: set[str] = set()

    def say(self, line: str) -> None:
        """Log one line of whoever works beside the recorder."""
        self._log.info(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._outlets.close()

    def show(self, status: LiveStatus) -> None:
        """Log the status when it is time, and troubles at once."""
        for trouble in [*(status.tape.troubles if status.tape else []), status.trouble]:
            if trouble and trouble not in self._troubles:
                self._troubles.add(trouble)
                self._log.warning("trouble", what=trouble)
        now_ns = clock.monotonic_ns()
        if now_ns - self._said_ns < LINE_EVERY_NS or status.tape is None:
            return
        self._said_ns = now_ns
        view = status.view
        self._log.info(
            "recording",
            frames=status.tape.frames,
            durable=status.tape.durable,
            dropped=status.tape.dropped_frames,
            decoded=view.offset if view else 0,
            streams=len(view.streams) if view else 0,
            open_gaps=sum(bool(s.gap) for s in view.streams) if view else 0,
        )

    def show_cycle(self, cycle: "Cycle") -> None:
        """Log one turn of a snapshot service."""
        self._log.info("cycle", **msgspec.to_builtins(cycle))

    def summarize(self, status: LiveStatus, settings: Settings) -> None:
        """Print what was recorded."""
        summarize(status, settings)


def summarize(status: LiveStatus, settings: Settings) -> None:
    """Print what is on the tape and in the sinks now."""
    counts = status.view.counts if status.view else {}
    frames = {name: counts.get(name, 0) for name in ("frames", "decoded", "quarantined", "control")}
    click.echo(f"sealed {settings.tape}: " + ", ".join(f"{count:,} {name}" for name, count in frames.items()))
    rows = {name.removeprefix("rows."): n for name, n in counts.items() if name.startswith("rows.")}
    click.echo(
        f"in {', '.join(settings.sinks)}: " + (", ".join(f"{n:,} {kind}" for kind, n in rows.items()) or "nothing")
    )
    for service in status.tape.services if status.tape else ():
        click.echo(
            f"snapshots of {service.service}: {service.snapshots:,} taken, {service.missed:,} missed in "
            f"{service.cycles:,} turns; {service.requests:,} requests, {service.failures:,} failed"
        )
    streams = status.view.streams if status.view else []
    blind = [s for s in streams if s.gap and s.gap != "venue_status"]
    for stream in blind[:STREAMS_SHOWN_MAX]:
        click.echo(f"  still in a gap: {stream.venue} {stream.symbol} {stream.channel} ({stream.gap})")
    if len(blind) > STREAMS_SHOWN_MAX:
        click.echo(f"  … and {len(blind) - STREAMS_SHOWN_MAX} more")
    over = sum(s.gap == "venue_status" for s in streams)
    if over:
        click.echo(f"  {over:,} streams are over, or closed by the venue")
