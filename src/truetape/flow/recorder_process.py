"""The first process of `record`: sockets → tape, and nothing else."""

import asyncio
import sys
from collections.abc import AsyncIterator
from functools import partial

from truetape import clock
from truetape.collect.collector import load_venues
from truetape.collect.ensemble import collect_all
from truetape.collect.memory import read_followed
from truetape.collect.services import check_services
from truetape.collect.status import CollectorStatus
from truetape.config import Settings
from truetape.events.wish import Wish
from truetape.flow.child import run_child, say
from truetape.flow.message import (
    ConnectionLine,
    Finish,
    Grant,
    TapeStatus,
    Turn,
    read_to_child,
)
from truetape.flow.spool import take_orders
from truetape.tape import TapeSettings, open_writer

WISHES_MAX = 1000
"""Wishes waiting to be granted; more are dropped, the decoder wishes again."""


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
    troubles += [service.refusal for service in status.services if service.refusal]
    end, durable, held, dropped = recorder.end, recorder.durable, recorder.held_bytes, recorder.dropped_frames
    failing = {c.connection: c.trouble for c in status.connections if c.trouble}
    say(TapeStatus(end, durable, held, dropped, lines, troubles, status.services, failing))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    wishes: asyncio.Queue[Wish] = asyncio.Queue(WISHES_MAX)
    record = settings.record
    load_venues(settings)  # what is wrong there is told before there is a tape
    if settings.snapshots:
        check_services(settings.snapshots)
    writer = open_writer(
        settings.tape,
        TapeSettings(segment_seconds=int(record.segment_seconds), segment_bytes_max=record.segment_bytes_max),
    )
    listener = asyncio.create_task(_listen(stop, wishes))
    try:
        followed = read_followed(settings)  # after the writer has mended what a crash left
        await collect_all(
            settings, writer, _iterate(wishes), stop, _report, lambda cycle: say(Turn(cycle)), followed=followed,
            beside=partial(take_orders, settings),
        )  # fmt: skip
    finally:
        listener.cancel()
        writer.close()


def _work(settings: Settings) -> dict[str, int]:
    clock.run(_run(settings))
    return {}


if __name__ == "__main__":
    run_child(_work)
