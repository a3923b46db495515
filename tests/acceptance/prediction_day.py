"""A day of up-or-down markets in virtual time: the fake venues, the recorder, the decoder and its wishes in one loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from calm import Calm
from truetape import clock
from truetape.cli._preset import read_preset
from truetape.collect.collector import collect
from truetape.collect.connection import Tuning
from truetape.collect.memory import read_followed
from truetape.collect.status import CollectorStatus
from truetape.config import DeliverSettings, RecordSettings, Settings
from truetape.events.wish import Wish
from truetape.flow import View
from truetape.lake import Lake
from truetape.sim.ladder import Ladder, mirror
from truetape.sim.prediction import Prediction
from truetape.sim.server import SimServer, Synthetic
from truetape.sinks import open_sink
from truetape.tape import TapeWriter, open_reader, open_writer

START_S = 1_795_255_200
"""A full hour: 2026-11-21 10:00 UTC; windows settle on averages of 60 s."""
RECORD = RecordSettings(
    flush_interval_ms=200, flush_interval_idle_ms=200, fsync_interval_ms=30_000, tick_seconds=5, stop_seconds=10**7
)
LEAD_S = 600
TAIL_S = 600
WIND_DOWN_S = 20
"""The recorder is away this long at each restart."""


def make_settings(folder: Path, url: str, assets: Sequence[str]) -> Settings:
    """Return the preset's settings, all venues being the fake ones."""
    preset = read_preset("updown-15m", ",".join(assets))
    venues = {name: msgspec.structs.replace(venue, url=url) for name, venue in preset.venues.items()}
    return msgspec.structs.replace(
        preset, venues=venues, tape=str(folder / "tape"), sinks=(f"lake:{folder / 'lake'}",), record=RECORD,
        deliver=DeliverSettings(commit_rows=1_000_000, commit_seconds=3600, archive=False),
    )  # fmt: skip


class Day:
    """Records so many windows of some assets, with faults and restarts."""

    def __init__(self, folder: Path, assets: Sequence[str], windows: int, faults: str, restarts: Sequence[int]) -> None:
        self.folder, self.assets, self.windows = folder, tuple(assets), windows
        self._faults, self._restarts = faults, restarts
        self.done: list[Any] = []
        self.world = Prediction(0)

    def run(self) -> None:
        """Record; afterwards the lake holds everything."""
        with clock.step_virtual(START_S - LEAD_S):
            clock.run(self._record())

    async def _record(self) -> None:
        ends = [*(START_S + second for second in self._restarts), START_S + self.windows * 900 + TAIL_S]
        feed = Synthetic(rate=0.2)
        async with SimServer(venues=["polymarket", "coinbase"], faults=self._faults, feed=feed) as server:
            settings = make_settings(self.folder, server.url, self.assets)
            for until_s in ends:
                await record(settings, until_s)
                await asyncio.sleep(WIND_DOWN_S)
            self.world = server.world.prediction
            self.done = list(server.judge.done)


async def record(settings: Settings, until_s: float) -> None:
    """Record until a moment, going on where the tape ends; deliver what was recorded."""
    writer, reader = open_writer(settings.tape), open_reader(settings.tape)
    with closing(reader), closing(open_sink(settings.sinks[0], reader.tape_id)) as sink:
        view = View(reader, sink, settings.deliver)
        await fill_tape(settings, writer, until_s, keep_wishing(view))
        while view.advance():
            view.take_wishes()
        view.commit()


async def fill_tape(
    settings: Settings, writer: TapeWriter, until_s: float, wishes: AsyncIterator[Wish] | None = None
) -> None:
    """Record until a moment, going on where the tape ends, and close it."""
    stop, open_now, calm = asyncio.Event(), asyncio.Event(), Calm()

    def watch(status: CollectorStatus) -> None:
        if any(connection.state == "open" for connection in status.connections):
            open_now.set()

    calm.hold()
    try:
        async with asyncio.TaskGroup() as group:
            followed = read_followed(settings)
            group.create_task(collect(settings, writer, wishes, stop, watch, tuning=Tuning(), followed=followed))
            await open_now.wait()
            calm.let_go()
            await asyncio.sleep(until_s - clock.wall_ns() / 1e9)
            calm.hold()
            stop.set()
    finally:
        calm.let_go()
        writer.close()


async def keep_wishing(view: View) -> AsyncIterator[Wish]:
    """Decode what is new every other second, and hand on what is wished."""
    while True:
        await asyncio.sleep(2)
        while view.advance():
            for wish in view.take_wishes():
                yield wish


def find_wrong_books(day: Day, lake: Lake, every_s: int = 1) -> list[str]:
    """Hold the canonical books against the world's, second by second; what is in no declared hole must be equal.

    A row may be a second or two behind the world: that is how long frames take.
    """
    rows = lake.sql(
        "select market_id, t, up_bid, up_ask, up_state, down_bid, down_ask, down_state from canonical order by 1, 2"
    ).arrow()
    wrong, ladders = [], {}
    for row in rows.to_pylist():
        second = int(row["t"].timestamp())
        if second % every_s:
            continue
        slug = row["market_id"]
        if slug not in ladders:
            market = day.world.find_slug(slug, START_S)
            assert market is not None, slug
            ladders[slug] = Ladder(day.world, market)
        for side in ("up", "down"):
            if row[f"{side}_state"] not in ("observed", "carried"):
                continue
            seen = tuple(row[f"{side}_{name}"] for name in ("bid", "ask"))
            if seen not in [find_top(ladders[slug], second - lag, side) for lag in range(4)]:
                wrong.append(f"{slug} {side} at {second}: {seen} {row[f'{side}_state']}")
    return wrong


def find_top(ladder: Ladder, second: int, side: str) -> tuple[float | None, float | None]:
    """Return the best prices of an outcome as the world has them."""
    picture = ladder.read(ladder.find_second(second))
    bids, asks = (picture.bids, picture.asks) if side == "up" else (mirror(picture.asks), mirror(picture.bids))
    best = [levels[0][0] / 1000 if levels else None for levels in (bids, asks)]
    return best[0], best[1]
