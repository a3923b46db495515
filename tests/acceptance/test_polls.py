"""Wallets, oracle pages and keyed sockets of the fake venues in virtual time: every turn is there or in the ledger."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from decoded import decode_tape
from truetape import clock
from truetape.collect.collector import collect
from truetape.collect.connection import Tuning
from truetape.collect.status import CollectorStatus
from truetape.config import RecordSettings, Settings, VenueSettings
from truetape.sim.server import SimServer
from truetape.sim.venues import chainlink
from truetape.sim.venues._polybolt import CREDENTIALS
from truetape.tape import open_reader, open_writer
from truetape.tape.frame import FrameKind

START_S = 1_795_255_200
SECONDS = 300
RECORD = RecordSettings(
    flush_interval_ms=200, flush_interval_idle_ms=500, fsync_interval_ms=30_000, tick_seconds=60, stop_seconds=1000
)
FAULTS = """
at 60s chainlink 429 retry-after 7 for 2 requests of */query-timescale*
at 90s chainlink 5xx for 40 requests of */latest*
at 60s polymarket 5xx for 60 requests of */subgraphs/*
at 180s polymarket 429 retry-after 25 for 1 requests of */subgraphs/*
"""
POLLS = {"polymarket/balances", "polymarket/holders", "chainlink/page", "chainlink/latest", "kalshi/books"}
KALSHI_KEYS = "/api.elections.kalshi.com/trade-api/v2/api_keys"


async def make_kalshi_key(url: str) -> dict[str, str]:
    """Make a key as a person does, telling the venue the public half."""
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + KALSHI_KEYS, json={"name": "test", "public_key": public}) as reply,
    ):
        said = await reply.json()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"ID": said["api_key_id"], "PRIVATE": pem}


def make_venues(url: str) -> dict[str, VenueSettings]:
    return {
        "polymarket": VenueSettings(
            instruments=("BTC-USD:polybolt_chainlink",), channels=("position", "oracle_price"),
            markets=("clob", "polybolt"), series=("15m",), assets=("BTC", "ETH"), url=url,
        ),
        "chainlink": VenueSettings(
            instruments=("all",), channels=("oracle_price",), markets=("streams", "page", "latest"), url=url
        ),
        "kalshi": VenueSettings(
            instruments=(), channels=("trade", "book_change", "book_snapshot"), series=("15m",), assets=("BTC",), url=url,
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Record five minutes; give the tape and what must not be on it."""
    folder = tmp_path_factory.mktemp("polls") / "tape"
    keys = {
        "CHAINLINK": {"CLIENT": chainlink.CLIENT_ID, "SECRET": chainlink.SECRET},
        "POLYMARKET": {
            "API": CREDENTIALS["apiKey"], "SECRET": CREDENTIALS["secret"], "PASSPHRASE": CREDENTIALS["passphrase"],
        },
    }  # fmt: skip

    async def main() -> None:
        async with SimServer(venues=["polymarket", "chainlink", "kalshi"], faults=FAULTS) as server:
            keys["KALSHI"] = await make_kalshi_key(server.url)
            with pytest.MonkeyPatch.context() as environ:
                for venue, values in keys.items():
                    for name, value in values.items():
                        environ.setenv(f"TRUETAPE_KEY_{venue}_{name}", value)
                settings = Settings(tape=str(folder), venues=make_venues(server.url), record=RECORD)
                writer, stop = open_writer(settings.tape), asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    begun = asyncio.Event()

                    def watch(status: CollectorStatus) -> None:
                        if {c.connection for c in status.connections if c.frames} >= POLLS:
                            begun.set()

                    group.create_task(collect(settings, writer, None, stop, watch, tuning=Tuning()))
                    with suppress(TimeoutError):  # planning takes threads, and while they work time jumps
                        await asyncio.wait_for(begun.wait(), 400)
                    await asyncio.sleep(SECONDS)
                    stop.set()
                writer.close()

    with clock.step_virtual(START_S + 5):
        clock.run(main())
    return folder, [part for values in keys.values() for value in values.values() for part in value.splitlines()]


@pytest.fixture(scope="module")
def frames(recorded: tuple[Path, list[str]]) -> list[dict[str, Any]]:
    reader = open_reader(recorded[0])
    rows = [row for batch in reader.read(reader.first) for row in batch.data.to_pylist()]
    reader.close()
    return rows


@pytest.fixture(scope="module")
def rows(recorded: tuple[Path, list[str]]) -> dict[str, list[dict[str, Any]]]:
    return decode_tape(recorded[0])[0]


def list_events(frames: list[dict[str, Any]], connection: str, name: str) -> list[dict[str, Any]]:
    events = [json.loads(f["meta"]) for f in frames if f["kind"] == FrameKind.EVENT and f["connection"] == connection]
    return [event for event in events if event["event"] == name]


def test_no_key_is_on_the_tape(recorded: tuple[Path, list[str]], frames: list[dict[str, Any]]) -> None:
    everything = b"".join(frame["payload"] + frame["meta"].encode() for frame in frames)
    secrets = [part for part in recorded[1] if len(part) > 5 and not part.startswith("-----")]
    assert len(secrets) > 20  # lines of the private key, too
    assert [part for part in secrets if part.encode() in everything] == []


def test_every_source_delivers(rows: dict[str, list[dict[str, Any]]]) -> None:
    prices = Counter(row["source"] for row in rows["oracle_price"])
    assert prices.keys() == {"polybolt_chainlink", "chainlink_streams", "chainlink_page"}
    assert min(prices.values()) > 100
    held = Counter(row["source"] for row in rows["position"])
    assert held.keys() == {"goldsky_positions", "data_api_positions", "data_api_holders"}
    assert {row["symbol"].split("-updown-15m-")[0] for row in rows["position"]} == {"btc", "eth"}
    assert all(row["units"] == round(row["amount"] * 1e6) for row in rows["position"])
    assert {row["symbol"].partition("-")[0] for row in rows["book_snapshot"]} == {"KXBTC15M"}
    assert "quarantine" not in rows


@pytest.mark.parametrize("name", ["page", "latest"])
def test_every_turn_was_taken_or_is_declared(frames: list[dict[str, Any]], name: str) -> None:
    connection = f"chainlink/{name}"
    sent = [f["monotonic_ns"] for f in frames if f["connection"] == connection and f["kind"] == FrameKind.REQUEST]
    answers = [
        json.loads(f["meta"]) for f in frames if f["connection"] == connection and f["kind"] == FrameKind.RESPONSE
    ]
    missed = list_events(frames, connection, "poll_missed")
    assert len(missed) >= 20
    good = sum(answer["status"] == 200 for answer in answers)
    turns = good + sum(event["turns"] for event in missed)
    assert abs(turns / 4 - (sent[-1] - sent[0]) / 1e9) <= 2


def test_a_failing_poll_alerts_and_recovers(frames: list[dict[str, Any]]) -> None:
    connection = "polymarket/balances"
    failing, recovered = (list_events(frames, connection, name) for name in ("poll_failing", "poll_recovered"))
    assert len(failing) == len(recovered) == 1
    assert failing[0]["failures"] == 5
    assert recovered[0]["failures"] >= 5


def test_what_was_not_asked_for_in_time_is_a_gap_that_ends(
    rows: dict[str, list[dict[str, Any]]], frames: list[dict[str, Any]]
) -> None:
    gaps = [row for row in rows["gap"] if row["channel"] in ("position", "oracle_price")]
    last = {row["gap_id"]: row for row in gaps}
    found = Counter((row["channel"], row["reason"], row["state"]) for row in last.values())
    steps = [
        e["event"]
        for e in map(
            json.loads,
            (f["meta"] for f in frames if f["connection"] == "polymarket/balances" and f["kind"] == FrameKind.EVENT),
        )
    ]
    # Two tokens of two markets; where planning took so long that the outage came first, they have not started.
    came_first = steps.index("poll_missed") < steps.index("poll_resumed")
    assert found["position", "disconnect", "closed"] == (0 if came_first else 4)
    assert found["position", "rate_limit", "closed"] in (2, 4)  # one request, or both, were told to wait
    assert found["oracle_price", "rate_limit", "repaired"] >= 1  # the page tells a minute back
    # The socket carried on what the API did not answer: nothing is missing.
    assert not found["oracle_price", "disconnect", "closed"]
    assert not [key for key in found if key[2] == "open"]
