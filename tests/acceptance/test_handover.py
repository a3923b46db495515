"""Connections of every exchange are replaced over and over, as after a day: nothing is missed, and no gap is told."""

import asyncio
from collections import Counter
from pathlib import Path

from viewing import RECORD, View

from calm import Calm
from truetape import clock
from truetape.collect.collector import collect
from truetape.collect.connection import Tuning
from truetape.collect.status import CollectorStatus
from truetape.config import Settings, VenueSettings
from truetape.sim.server import SimServer, Synthetic
from truetape.tape import open_writer

START_S = 1_795_255_200
LIFETIME_S = 12.0
CHOSEN = {
    "binance": (("BTC-USDT", "BTC-USDT-PERP"), ("spot", "usdm")),
    "bybit": (("BTC-USDT-PERP",), ("linear",)),
    "coinbase": (("BTC-USD",), ("spot", "exchange")),
    "deribit": (("BTC-USD-PERP",), ()),
    "okx": (("BTC-USDT",), ()),
}
"""Venue → instruments, markets."""


def record(folder: Path, seconds: float) -> View:
    view = View(folder)

    async def main() -> None:
        async with SimServer(venues=[*CHOSEN], feed=Synthetic(rate=2)) as server:
            venues = {
                venue: VenueSettings(
                    instruments=names, markets=markets, lifetime_seconds=LIFETIME_S, url=server.url, listing_seconds=0
                )
                for venue, (names, markets) in CHOSEN.items()
            }
            settings = Settings(tape=str(folder), venues=venues, record=RECORD)
            writer, stop, calm, are_open = open_writer(settings.tape), asyncio.Event(), Calm(), asyncio.Event()

            def watch(status: CollectorStatus) -> None:
                if {c.venue for c in status.connections if c.state == "open"} == set(CHOSEN):
                    are_open.set()

            try:
                async with asyncio.TaskGroup() as group:
                    calm.hold()
                    group.create_task(collect(settings, writer, view.wish(), stop, watch, tuning=Tuning()))
                    await are_open.wait()
                    calm.let_go()
                    await asyncio.sleep(seconds)
                    stop.set()
            finally:
                calm.let_go()
                writer.close()

    with clock.step_virtual(START_S):
        clock.run(main())
    view.step()
    return view


def test_a_hand_over_is_no_gap_on_any_venue(tmp_path: Path) -> None:
    view = record(tmp_path / "tape", 27)
    ended = Counter(
        row["venue"] for row in view.rows["connection"] if row["event"] == "closed" and "lifetime" in row["detail"]
    )
    assert set(ended) == set(CHOSEN) and min(ended.values()) >= 2
    told = {(row["venue"], row["symbol"], row["channel"]) for row in view.rows["gap"] if row["reason"] != "not_started"}
    assert told == set()
    last = {row["gap_id"]: row for row in view.rows["gap"]}
    assert {row["state"] for row in last.values()} == {"closed"}
    assert {row["channel"] for row in last.values()} >= {"trade", "book_change", "quote", "ticker"}
