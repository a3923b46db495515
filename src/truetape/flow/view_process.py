"""The second process of `record`: tape → rows → sinks, at lower priority than the recorder."""

import ctypes
import gc
import os
import queue
import sys
import threading
from time import sleep

import pyarrow as pa

from truetape import clock
from truetape.config import Settings
from truetape.decode.status import StreamStatus
from truetape.errors import SinkError
from truetape.events.wish import Wish
from truetape.flow.child import run_child, say
from truetape.flow.message import (
    Failed,
    Finish,
    Grant,
    ToChild,
    ViewStatus,
    read_to_child,
)
from truetape.flow.upkeep import Upkeep
from truetape.flow.view import View
from truetape.sinks import open_sink
from truetape.tape import JOIN_FRAMES, has_tape, open_reader

STATUS_EVERY_NS = 1_000_000_000
RETRY_MAX_S = 30.0
GATHER_FRAMES, GATHER_S = 100, 0.02
"""When so many frames come at once, more are let come before decoding goes on: few at a time are dear."""
NICENESS = 10
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt."""


class Views:
    """All views of one tape, advanced in turn."""

    def __init__(self, settings: Settings) -> None:
        self._reader = open_reader(settings.tape)
        self._sinks = [open_sink(spec, self._reader.tape_id) for spec in settings.sinks]
        self._views = [View(self._reader, sink, settings.deliver) for sink in self._sinks]
        self._watch = Watch()

    def advance(self) -> int:
        """Advance every view a little; return the frames decoded."""
        return sum(view.advance() for view in self._views)

    def take_wishes(self) -> list[Wish]:
        """Return wishes of the first view; the others decode the same frames and wish the same."""
        wishes = [view.take_wishes() for view in self._views]
        return wishes[0] if wishes else []

    def wait(self, seconds: float) -> None:
        """Wait until there is more on the tape."""
        lowest = min((view.engine.offset for view in self._views), default=0)
        self._reader.wait(lowest, seconds)

    def commit(self) -> None:
        """Make everything decoded durable."""
        for view in self._views:
            view.commit()

    def status(self) -> ViewStatus:
        """Return what the live table shows."""
        engine = self._views[0].engine
        return ViewStatus(engine.offset, self._reader.end, engine.counts, self._watch.list_streams(self._views[0]))

    @property
    def committed(self) -> int:
        """Every sink has everything below this offset."""
        return min((view.committed for view in self._views), default=0)

    def close(self) -> None:
        """Let go of everything."""
        for sink in self._sinks:
            sink.close()
        self._reader.close()


class Watch:
    """Last price and lag per stream, from the newest rows."""

    def list_streams(self, view: View) -> list[StreamStatus]:
        """Return every stream that a venue was asked for or sent, except those of markets that are over."""
        last = view.newest
        listed = []
        for stream, state in view.engine.states:
            if not state.connections and view.engine.is_over(stream):
                continue
            price, lag_ms = last.get((stream.channel, stream.venue, stream.symbol), (None, None))
            if stream.channel == "book_change" and state.exchange_us:  # of books too many rows come to look at
                lag_ms = (state.seen_ns / 1000 - state.exchange_us) / 1000
            listed.append(
                StreamStatus(
                    stream.venue, stream.symbol, stream.channel, state.rows, state.seen_ns,
                    state.gap_reason if state.gap else "", state.gaps, price, lag_ms,
                )
            )  # fmt: skip
        return listed


def _listen(inbox: "queue.Queue[ToChild]") -> None:
    # Unbuffered: a thread blocked in a buffered read would keep the interpreter from ending.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as lines:
        for line in lines:
            inbox.put(read_to_child(line))
    inbox.put(Finish())  # the parent is gone


def run_views(settings: Settings, inbox: "queue.Queue[ToChild]") -> dict[str, int]:
    """Follow the tape until told to finish, then deliver up to its end; return the totals."""
    backoff_s, upkeep = 0.5, Upkeep(settings)
    while not has_tape(settings.tape):  # the collector is making it
        if _is_finishing(inbox, 0.05) and not has_tape(settings.tape):  # it may be over as soon as it is there
            return {}
    while True:
        views = Views(settings)
        try:
            return _follow(views, inbox, upkeep)
        except SinkError as error:  # the recorder goes on; what it records waits on the tape
            say(Failed(f"{error}; trying again in {backoff_s:g} s", is_fatal=False))
            if _is_finishing(inbox, backoff_s) and backoff_s >= RETRY_MAX_S:
                raise
            backoff_s = min(backoff_s * 2, RETRY_MAX_S)
        finally:
            views.close()


def _is_finishing(inbox: "queue.Queue[ToChild]", wait_s: float) -> bool:
    try:
        message = inbox.get(timeout=wait_s)
    except queue.Empty:
        return False
    inbox.put(message)
    return isinstance(message, Finish)


def _follow(views: Views, inbox: "queue.Queue[ToChild]", upkeep: Upkeep) -> dict[str, int]:
    finishing = False
    said_ns = 0
    while True:
        advanced = views.advance()
        for wish in views.take_wishes():
            if not finishing:
                say(Grant(wish))
        now_ns = clock.monotonic_ns()
        if now_ns - said_ns > STATUS_EVERY_NS:
            said_ns = now_ns
            say(views.status())
            if not finishing:
                upkeep.go_on(views.committed)
        if not advanced:
            if finishing:
                break
            views.wait(0.1)
        elif GATHER_FRAMES <= advanced < JOIN_FRAMES and not finishing:
            sleep(GATHER_S)
        finishing = finishing or _is_finishing(inbox, 0.0)  # it stays there, should the last commit fail
    views.commit()
    status = views.status()
    say(status)
    return status.counts


def tune_allocator() -> None:
    """Keep freed memory for the next columns instead of giving it back to the system and faulting it in again.

    Columns of 50,000 book rows take 93 ns a row as glibc comes and 31 ns so. Elsewhere nothing is changed.
    """
    if sys.platform == "linux" and (tune := getattr(ctypes.CDLL(None), "mallopt", None)):
        tune(M_MMAP_THRESHOLD, 16 * 1024 * 1024)
        tune(M_TRIM_THRESHOLD, 64 * 1024 * 1024)


def _work(settings: Settings) -> dict[str, int]:
    os.nice(NICENESS)
    tune_allocator()
    gc.disable()  # rows hold no cycles; collections over a million tuples cost more than they free
    pa.set_cpu_count(1)  # the other core belongs to the recorder
    inbox: queue.Queue[ToChild] = queue.Queue()
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()
    return run_views(settings, inbox)


if __name__ == "__main__":
    run_child(_work)
