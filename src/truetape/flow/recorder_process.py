"""The first process of `record`: sockets → tape, and nothing else."""

import asyncio
import gc
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

from truetape.collect import CollectorStatus, collect
from truetape.config import Settings
from truetape.errors import TruetapeError
from truetape.events.wish import Wish
from truetape.flow.message import (
    Begin,
    ConnectionLine,
    Done,
    Failed,
    Finish,
    Grant,
    TapeStatus,
    read_to_child,
    write_line,
)
from truetape.tape import TapeSettings, open_writer

WISHES_MAX = 1000
"""Wishes waiting to be granted; more are dropped, the decoder wishes again."""


def _say(message: TapeStatus | Failed | Done) -> None:
    sys.stdout.buffer.write(write_line(message))
    sys.stdout.buffer.flush()


async def _listen(stop: asyncio.Event, wishes: "asyncio.Queue[Wish]") -> None:
    """Read lines from the parent; its end is ours."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        message = read_to_child(line)
        if isinstance(message, Finish):
            break
        if isinstance(message, Grant) and not wishes.full():
            wishes.put_nowait(message.wish)
    stop.set()


async def _iterate(wishes: "asyncio.Queue[Wish]") -> AsyncIterator[Wish]:
    while True:
        yield await wishes.get()


def _report(status: CollectorStatus) -> None:
    recorder = status.recorder
    lines = [
        ConnectionLine(c.venue, c.feed, c.state, c.frames, c.age_s, c.topics, c.reason) for c in status.connections
    ]
    troubles = [f"{v.venue}: {v.reason}" for v in status.venues if v.reason]
    _say(TapeStatus(recorder.end, recorder.durable, recorder.held_bytes, recorder.dropped_frames, lines, troubles))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    wishes: asyncio.Queue[Wish] = asyncio.Queue(WISHES_MAX)
    record = settings.record
    writer = open_writer(
        settings.tape,
        TapeSettings(segment_seconds=int(record.segment_seconds), segment_bytes_max=record.segment_bytes_max),
    )
    listener = asyncio.create_task(_listen(stop, wishes))
    try:
        await collect(settings, writer, _iterate(wishes), stop, _report)
    finally:
        listener.cancel()
        writer.close()


def _tell(error: BaseException) -> str:
    """Say in one line what went wrong and where."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TruetapeError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


def main() -> None:
    """Run as a child: settings come on standard input, what happens goes to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when it is over
    gc.freeze()
    begin = read_to_child(sys.stdin.buffer.readline())
    assert isinstance(begin, Begin)
    try:
        asyncio.run(_run(begin.settings))
    except TruetapeError as error:
        _say(Failed(str(error), is_fatal=True))
        sys.exit(2)
    except Exception as error:  # noqa: BLE001 - the last supervisor of this process: one line, then the end
        _say(Failed(_tell(error), is_fatal=True))
        sys.exit(3)
    _say(Done())


if __name__ == "__main__":
    main()
