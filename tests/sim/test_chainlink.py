"""The fake Data Streams: keys are checked, and everything it tells is what the world's oracle says."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from truetape import clock
from truetape.config import rewrite_url
from truetape.events.rows import Response, Rows, Scribe
from truetape.sim.server import SimServer
from truetape.sim.venues import chainlink as fake
from truetape.sim.venues._chainlink_report import Tick, encode_report
from truetape.venues import chainlink, load_venue
from truetape.venues.chainlink.report import decode_report

BTC = chainlink.FEED_IDS["BTC-USD"]
VENUE = load_venue("chainlink")


@pytest.fixture
async def server() -> AsyncIterator[SimServer]:
    async with SimServer(venues=("chainlink",)) as running:
        yield running


def make_headers(url: str, secret: str = fake.SECRET, late_ms: int = 0) -> dict[str, str]:
    target = "/" + url.split("/", 3)[3]
    return chainlink.sign("GET", target, b"", fake.CLIENT_ID, secret, clock.wall_ns() // 1_000_000 - late_ms)


async def ask(server: SimServer, url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    sent = make_headers(url) if headers is None else headers
    async with (
        aiohttp.ClientSession() as client,
        client.get(rewrite_url(url, server.url), headers=sent) as answer,
    ):
        return answer.status, await answer.read()


def read(url: str, body: bytes) -> list[tuple[Any, ...]]:
    """Decode an answer with the package's own venue: (second, exact price)."""
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("chainlink", rows))
    decoder.respond(Response(VENUE.find_feed(url) or "", "http", url, 200, body, 7, 3))
    assert "error" not in rows.plain, rows.plain["error"]
    return [(row[1] // 1_000_000, row[10]) for row in rows.plain.get("oracle_price", [])]


def tell(server: SimServer, second: int, asset: str = "BTC") -> str:
    return f"{server.world.prediction.oracle.price(asset, second):019d}"


def same(told: list[tuple[Any, ...]], server: SimServer) -> bool:
    return all(exact.replace(".", "") == tell(server, second).rstrip("0") for second, exact in told)


# -- reports ----------------------------------------------------------------------------------------------


def test_reports_have_the_layout_of_a_real_one(recordings: Path) -> None:
    """Same number of words, same offsets, same lengths; and they read back to what was put in."""
    real = json.loads((recordings / "prediction/chainlink/v3_full_report_example.json").read_text())["fullReport"]
    known = decode_report(real)
    made = encode_report(known.feed_id, known.observed_s, Tick(known.price, known.bid, known.ask)).hex()
    assert len(made) == len(real) - 2
    theirs = [real[2 + i : 66 + i] for i in range(0, len(made), 64)]
    mine = [made[i : i + 64] for i in range(0, len(made), 64)]
    same_at = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a == b]
    heads, blob, counts = {3, 4, 5}, {7, 8, 9, 10, 14, 15, 16}, {17, 24}
    assert heads | blob | counts <= set(same_at)
    assert decode_report("0x" + made)[6:] == known[6:]


def test_a_negative_price_is_written_as_the_chain_has_it() -> None:
    made = decode_report("0x" + encode_report(BTC, 1_780_000_000, Tick(-5, -6, 7)).hex())
    assert (made.price, made.bid, made.ask, made.observed_s) == (-5, -6, 7, 1_780_000_000)


def test_signatures_are_those_of_the_recorded_vectors(recordings: Path) -> None:
    for v in json.loads((recordings / "prediction/chainlink/hmac_vectors.json").read_text()):
        told = (v["method"], v["path"], v["body"].encode(), v["clientId"], v["userSecret"], str(v["timestamp"]))
        assert fake.sign(*told) == v["want"]


# -- REST -------------------------------------------------------------------------------------------------


async def test_every_address_of_the_venue_file_is_answered_with_the_oracles_price(server: SimServer) -> None:
    now_s = clock.wall_ns() // 10**9
    urls = {
        chainlink.name_latest_url(BTC): 1,
        chainlink.name_report_url(BTC, now_s - 30): 1,
        chainlink.name_history_url(BTC, now_s - 20, 5): 5,
        chainlink.name_page_url(BTC): fake.PAGE_NODES,
    }
    for url, count in urls.items():
        status, body = await ask(server, url)
        told = read(url, body)
        assert (status, len(told)) == (200, count), url
        assert same(told, server)
    bulk = chainlink.name_bulk_url(tuple(chainlink.FEED_IDS.values()), now_s - 10)
    assert [second for second, _ in read(bulk, (await ask(server, bulk))[1])] == [now_s - 10] * 4
    listing = VENUE.listings[0].url
    listed = VENUE.read_listing(listing, (await ask(server, listing))[1])
    assert {i.symbol for i in listed} == set(chainlink.FEED_IDS)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 401),
        ({"secret": "guess"}, 401),
        ({"late_ms": 6000}, 401),
        ({"late_ms": -6000}, 401),
        ({"late_ms": 4000}, 200),
    ],
)
async def test_only_what_is_signed_now_by_the_key_is_answered(server: SimServer, change: Any, status: int) -> None:
    url = chainlink.name_latest_url(BTC)
    headers = make_headers(url, **change) if change else {}
    assert (await ask(server, url, headers))[0] == status
    socket = rewrite_url(chainlink.name_socket_url([BTC]), server.url)
    headers = make_headers(chainlink.name_socket_url([BTC]), **change) if change else {}
    async with aiohttp.ClientSession() as client:
        if status == 200:
            await (await client.ws_connect(socket, headers=headers)).close()
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await client.ws_connect(socket, headers=headers)


async def test_a_signature_is_for_one_address(server: SimServer) -> None:
    headers = make_headers(chainlink.name_latest_url(BTC))
    assert (await ask(server, chainlink.name_report_url(BTC, 1_780_000_000), headers))[0] == 401


@pytest.mark.parametrize(
    ("tail", "status"),
    [
        ("reports/latest?feedID=0x12", 400),
        (f"reports/latest?feedID=0x{'0' * 64}", 404),
        (f"reports?feedID={BTC}&timestamp=9999999999", 404),
        (f"reports?feedID={BTC}", 400),
        (f"reports/page?feedID={BTC}", 400),
        (f"reports/bulk?feedIDs={BTC},0x{'0' * 64}&timestamp=1780000000", 206),
        ("nothing", 404),
    ],
)
async def test_what_cannot_be_told_is_refused(server: SimServer, tail: str, status: int) -> None:
    assert (await ask(server, f"{chainlink.REST_URL}/api/v1/{tail}"))[0] == status


# -- socket -----------------------------------------------------------------------------------------------


async def watch(server: SimServer, count: int) -> list[tuple[int, str]]:
    url = chainlink.name_socket_url([BTC])
    rows = Rows()
    on_message = VENUE.make_decoder(Scribe("chainlink", rows)).open("streams", "line")
    async with aiohttp.ClientSession() as client:
        socket = await client.ws_connect(rewrite_url(url, server.url), headers=make_headers(url))
        for number in range(count):
            assert on_message((await socket.receive(timeout=5)).data.encode(), number, number)
        await socket.close()
    return [(row[1] // 1_000_000, row[10]) for row in rows.plain["oracle_price"]]


def test_the_socket_sends_each_second_once() -> None:
    async def main() -> None:
        async with SimServer(venues=("chainlink",)) as server:
            told = await watch(server, 40)
            seconds = [second for second, _ in told]
            assert seconds == list(range(seconds[0], seconds[0] + 40))
            assert same(told, server)

    with clock.step_virtual(1_790_000_000):
        clock.run(main())


def test_a_dropped_second_is_missing_and_on_record() -> None:
    async def main() -> None:
        async with SimServer(venues=("chainlink",), faults=f"after 5 drop 2 frames of {BTC}") as server:
            seconds = [second for second, _ in await watch(server, 10)]
            missing = sorted(set(range(seconds[0], seconds[-1] + 1)) - set(seconds))
            assert missing == [done["first_id"] for done in server.faults_done]

    with clock.step_virtual(1_790_000_000):
        clock.run(main())


# -- the public page --------------------------------------------------------------------------------------


async def test_the_page_asks_for_its_prices_by_an_address_beside_it(server: SimServer) -> None:
    status, body = await ask(server, "https://data.chain.link/streams/btc-usd", {})
    assert status == 200
    assert b"fetch(asked)" in body and BTC.encode() in body and b'"../api/query-timescale?' in body
    assert (await ask(server, "https://data.chain.link/streams/nothing", {}))[0] == 404


async def test_the_page_fails_as_graphql_does_and_limits_who_asks_too_often(server: SimServer) -> None:
    status, body = await ask(server, "https://data.chain.link/api/query-timescale?query=OTHER", {})
    assert (status, list(json.loads(body))) == (200, ["errors"])
    url = chainlink.name_page_url(BTC)
    statuses = [(await ask(server, url, {}))[0] for _ in range(125)]
    assert {200, 429} == set(statuses)
