"""Books of a fake prediction venue that loses, freezes and mutes: found, declared, and healed by what was wished for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from viewing import RECORD, View

from calm import Calm
from truetape import clock
from truetape.collect.collector import collect
from truetape.collect.connection import Tuning
from truetape.collect.status import CollectorStatus
from truetape.config import Settings, VenueSettings
from truetape.sim.server import SimServer
from truetape.tape import open_writer

START_S = 1_795_255_200


def record(folder: Path, faults: str, seconds: float) -> tuple[View, list[dict[str, Any]]]:
    """Record one market's books for so long; return what was decoded and what the venue did wrong."""
    view = View(folder)

    async def main() -> list[dict[str, Any]]:
        async with SimServer(venues=["polymarket"], faults=faults) as server:
            chosen = VenueSettings(
                instruments=(), channels=("trade", "book_change"), markets=("clob",), series=("15m",), assets=("BTC",),
                url=server.url,
            )  # fmt: skip
            settings = Settings(tape=str(folder), venues={"polymarket": chosen}, record=RECORD)
            writer, stop, calm, is_open = open_writer(settings.tape), asyncio.Event(), Calm(), asyncio.Event()

            def watch(status: CollectorStatus) -> None:
                if any(connection.state == "open" for connection in status.connections):
                    is_open.set()

            try:
                async with asyncio.TaskGroup() as group:
                    calm.hold()
                    group.create_task(collect(settings, writer, view.wish(), stop, watch, tuning=Tuning()))
                    await is_open.wait()
                    calm.let_go()
                    await asyncio.sleep(seconds)
                    stop.set()
            finally:
                calm.let_go()
                writer.close()
            return list(server.faults_done)

    with clock.step_virtual(START_S + 5):
        done = clock.run(main())
    view.step()
    return view, done


SLUG = f"btc-updown-15m-{START_S}"
DROPS = "; ".join(f"at {second}s drop 1 frame of btc-updown-15m-*[0-9]" for second in (130, 155, 180, 205, 230))
"""Several, for one that a picture follows on at once leaves no trace."""


@pytest.mark.parametrize(
    ("faults", "reason", "symbols"),
    [
        (DROPS, "checksum", {f"{SLUG}:Up", f"{SLUG}:Down"}),
        ("at 60s mute 100s of *:Up", "silence", {f"{SLUG}:Up"}),
        ("at 60s mute 600s of *", "silence", {f"{SLUG}:Up", f"{SLUG}:Down"}),
    ],
)
def test_what_is_lost_or_frozen_is_declared_and_healed(
    tmp_path: Path, faults: str, reason: str, symbols: set[str]
) -> None:
    view, done = record(tmp_path / "tape", faults, 300)
    assert done
    gaps = view.gaps(reason)
    found = {gap["symbol"] for gap in gaps if gap["symbol"].startswith(SLUG)}
    assert found == symbols
    assert {gap["state"] for gap in gaps} <= {"closed", "repaired"}
    proofs = [row for row in view.rows["book_proof"] if row["symbol"].startswith(SLUG)]
    assert sum(row["proven"] for row in proofs) > 100
    assert sum(row["unjudged"] for row in proofs) == 0
    up, down = view.book(f"{SLUG}:Up"), view.book(f"{SLUG}:Down")
    mirrored = {("ask" if side == "bid" else "bid", round(1 - price, 6)): size for (side, price), size in down.items()}
    assert {(side, round(price, 6)): size for (side, price), size in up.items()} == mirrored


def test_a_healthy_venue_is_never_called_frozen_or_broken(tmp_path: Path) -> None:
    view, _ = record(tmp_path / "tape", "", 200)
    assert view.gaps("silence") == view.gaps("checksum") == view.gaps("crossed") == []
    assert "quarantine" not in view.rows
    proofs = view.rows["book_proof"]
    assert sum(row["broken"] + row["unjudged"] + row["mirror_broken"] for row in proofs) == 0
    assert sum(row["mirrored"] for row in proofs) > 50
