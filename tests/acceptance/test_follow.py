"""Prediction markets of the fake venue, in virtual time: found, handed over, followed to their label, over a restart."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from prediction_day import fill_tape

from decoded import decode_tape
from truetape import clock
from truetape.config import RecordSettings, Settings, VenueSettings
from truetape.sim.server import SimServer
from truetape.tape import open_reader, open_writer
from truetape.tape.frame import FrameKind

START_S = 1_795_255_200
RECORD = RecordSettings(
    flush_interval_ms=200, flush_interval_idle_ms=500, fsync_interval_ms=30_000, tick_seconds=60, stop_seconds=10**7
)
FAULTS = """
every 2 dispute 120s of btc-*
every 3 split of btc-*
at 60s polymarket 5xx for 4 requests
at 300s polymarket cut
at 700s polymarket 429 retry-after 3 for 2 requests
"""


def list_events(folder: Path) -> list[dict[str, Any]]:
    reader = open_reader(folder)
    rows = [row for batch in reader.read(reader.first) for row in batch.data.to_pylist()]
    reader.close()
    return [
        json.loads(row["meta"]) | {"at_s": row["received_ns"] / 1e9} for row in rows if row["kind"] == FrameKind.EVENT
    ]


def test_every_market_is_handed_over_in_time_and_labelled_as_the_world_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "tape"

    async def main() -> dict[str, Any]:
        async with SimServer(venues=["polymarket"], faults=FAULTS) as server:
            chosen = VenueSettings(
                instruments=(), channels=("trade", "book_change", "quote"), markets=("clob",), series=("15m",),
                assets=("BTC",), url=server.url,
            )  # fmt: skip
            settings = Settings(tape=str(folder), venues={"polymarket": chosen}, record=RECORD)
            await fill_tape(settings, open_writer(folder), START_S + 1100)  # stops in the middle of a window
            await asyncio.sleep(20)
            await fill_tape(settings, open_writer(folder), START_S + 2300)
            world = server.world.prediction
            return {
                market.slug: market
                for market in (world.find("BTC", "15m", START_S, ahead=number) for number in range(4))
            }

    with clock.step_virtual(START_S + 600):
        markets = clock.run(main())
    events = list_events(folder)
    assert sum(event["event"] == "started" for event in events) == 2
    for slug, market in markets.items():
        check_steps([event for event in events if event["event"] == "market_state" and event["slug"] == slug])
        if START_S < market.opens_s < START_S + 2300:
            subscribed = [
                event["at_s"]
                for event in events
                if event["event"] == "subscribed" and market.tokens[0] in {s["venue_symbol"] for s in event["streams"]}
            ]
            assert subscribed[0] <= market.opens_s - 60
    check_labels(folder, markets)


def test_another_venue_is_followed_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    folder = tmp_path / "tape"

    async def main() -> None:
        async with SimServer(venues=["kalshi"]) as server:
            host = f"{server.url}/api.elections.kalshi.com/trade-api/v2"
            wanted = {"name": "recorder", "public_key": public}
            async with aiohttp.ClientSession() as client, client.post(f"{host}/api_keys", json=wanted) as answer:
                monkeypatch.setenv("TRUETAPE_KEY_KALSHI_ID", (await answer.json())["api_key_id"])
            monkeypatch.setenv("TRUETAPE_KEY_KALSHI_PRIVATE", pem)
            chosen = VenueSettings(
                instruments=(), channels=("trade", "book_change"), series=("15m",), assets=("BTC",), url=server.url
            )
            settings = Settings(tape=str(folder), venues={"kalshi": chosen}, record=RECORD)
            await fill_tape(settings, open_writer(folder), START_S + 1100)

    with clock.step_virtual(START_S + 700):
        clock.run(main())
    steps = [event for event in list_events(folder) if event["event"] == "market_state"]
    first = [step["state"] for step in steps if step["ends_us"] == (START_S + 900) * 10**6]
    assert first == ["listed", "open", "ending", "ended", "proposed", "resolved", "settled"]
    check_steps([step for step in steps if step["ends_us"] == (START_S + 900) * 10**6])
    rows = decode_tape(folder)[0]
    assert {row["is_resolved"] for row in rows["resolution"]} >= {True}
    assert {row["symbol"].rpartition(":")[2] for row in rows["book_change"]} == {"Yes", "No"}


def check_steps(steps: list[dict[str, Any]]) -> None:
    """Each step begins where the one before ended, over the restart, too."""
    for before, after in zip([{"state": ""}, *steps], steps, strict=False):
        assert after["previous"] == before["state"]


def check_labels(folder: Path, markets: dict[str, Any]) -> None:
    rows = decode_tape(folder)[0]
    final = {row["slug"]: row for row in rows["resolution"] if row["is_resolved"] and row["source"] == "gamma"}
    states = {row["slug"]: row["state"] for row in rows["market_state"]}
    judged = [market for market in markets.values() if market.resolved_s < START_S + 2250]
    assert len(judged) >= 2
    for market in judged:
        assert states[market.slug] in ("resolved", "settled")
        payouts = dict(zip(("Up", "Down"), map(float, market.payouts), strict=True))
        assert json.loads(final[market.slug]["payouts"]) == payouts
