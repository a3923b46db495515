"""The fake CoinGecko answers as the real one: keys and addresses, complaints, spans, the bar that is open."""

import json
from typing import Any

import aiohttp
import pytest

from truetape.config import rewrite_url
from truetape.events.rows import Response, Rows, Scribe
from truetape.sim.server import SimServer
from truetape.sim.venues.coingecko import COINS, DEMO_KEY, PER_MINUTE, PRO_KEY
from truetape.venues import coingecko, load_venue

DEMO, PRO = coingecko.PLANS["DEMO"], coingecko.PLANS["PRO"]
HEADERS = {"x-cg-demo-api-key": DEMO_KEY}


async def ask(server: SimServer, url: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(rewrite_url(url, server.url), headers=HEADERS if headers is None else headers) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def test_a_key_opens_its_own_address_only() -> None:
    async with SimServer(venues=["coingecko"]) as server:
        assert (await ask(server, f"{DEMO.root}/ping"))[0] == 200
        assert (await ask(server, f"{PRO.root}/ping", {"x-cg-pro-api-key": PRO_KEY}))[0] == 200
        for url, headers, status, code in (
            (DEMO.root, {}, 401, 10002),
            (DEMO.root, {"x-cg-demo-api-key": "wrong"}, 401, 10002),
            (DEMO.root, {"x-cg-pro-api-key": PRO_KEY}, 400, 10010),
            (PRO.root, HEADERS, 400, 10011),
        ):
            found, body = await ask(server, f"{url}/ping", headers)
            complaint = coingecko.find_complaint(json.dumps(body).encode())
            assert complaint is not None
            assert (found, complaint.code, complaint.is_about_key) == (status, code, True)


async def test_too_many_requests_are_told_to_wait() -> None:
    async with SimServer(venues=["coingecko"]) as server:
        found = [(await ask(server, f"{DEMO.root}/ping"))[0] for _ in range(2 * PER_MINUTE["api.coingecko.com"] + 1)]
    assert 429 in found


async def test_every_answer_decodes_and_they_agree() -> None:
    rows = Rows()
    decoder = load_venue("coingecko").make_decoder(Scribe("coingecko", rows))
    asks = [
        coingecko.ask_list(DEMO), coingecko.ask_total(DEMO), coingecko.ask_ranks(DEMO, "usd", 1),
        coingecko.ask_ranks(DEMO, "usd", 2), coingecko.ask_coins(DEMO, "usd", ("bitcoin", "solana")),
        coingecko.ask_bars(DEMO, "bitcoin", "usd", 1, "hourly"), coingecko.ask_bars(DEMO, "bitcoin", "usd", 30, "daily"),
        coingecko.ask_chart(DEMO, "bitcoin", "usd", 2, "hourly"), coingecko.ask_chart(DEMO, "bitcoin", "usd", 9, "daily"),
    ]  # fmt: skip
    async with SimServer(venues=["coingecko"]) as server:
        now_ns = server.world.now_ms * 10**6
        for one in asks:
            status, body = await ask(server, one.url)
            assert status == 200
            assert decoder.respond(Response("rest", "x", one.url, 200, json.dumps(body).encode(), now_ns, 0))
    coins = rows.plain["coin"]
    snapshots = [row for row in coins if row[4] == "snapshot"]
    assert len(snapshots) == COINS + 2
    assert [row[11] for row in snapshots[:COINS]] == [*range(1, COINS + 1)]
    charts = {name: [row for row in coins if row[5] == name] for name in ("1h", "1d")}
    assert 47 <= len(charts["1h"]) <= 48
    assert [row[1] % (86_400 * 10**6) for row in charts["1d"]] == [0] * 9
    bars = {name: [row for row in rows.plain["candle"] if row[4] == name] for name in ("30m", "4h")}
    assert [row[-1] for row in bars["30m"]] == [True] * 48 + [False]
    assert len(bars["4h"]) == 181
    assert len(rows.plain["market"]) == COINS
    assert {row[4] for row in rows.plain["coin_total"]} == {"USD", "EUR", "BTC"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/coins/markets", 422), ("/coins/nothing/ohlc?vs_currency=usd&days=1", 404), ("/nothing", 404),
     ("/coins/bitcoin/ohlc?vs_currency=usd&days=2", 422),
     ("/coins/bitcoin/ohlc?vs_currency=usd&days=7&interval=daily", 401)],
)  # fmt: skip
async def test_what_is_asked_wrongly_is_complained_of(path: str, status: int) -> None:
    async with SimServer(venues=["coingecko"]) as server:
        found, body = await ask(server, DEMO.root + path)
    assert found == status
    assert coingecko.find_complaint(json.dumps(body).encode()) is not None
