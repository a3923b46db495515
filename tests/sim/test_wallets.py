"""The fake Data API and subgraphs: they agree with the world and with each other, page whole, and decode clean."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from truetape import clock
from truetape.config import rewrite_url
from truetape.events.rows import Response, Rows, Scribe
from truetape.sim.crowd import find_block, find_block_time
from truetape.sim.fake import FakeVenue, NoDesk
from truetape.sim.prediction import Market
from truetape.sim.protocol import Query, Reply
from truetape.sim.server import SimServer
from truetape.sim.venues import _data_api, _goldsky
from truetape.sim.world import World
from truetape.venues import load_venue
from truetape.venues._contract import Followed, Round
from truetape.venues.polymarket import wallets
from truetape.venues.polymarket.gamma import find_next_page

DATA = "https://data-api.polymarket.com/v2"
SUBGRAPH = "https://api.goldsky.com/api/public/project_x/subgraphs/{}/0.0.7/gn"
VENUE = load_venue("polymarket")
START_S = 1_790_000_000 // 900 * 900 + 850
"""Much has been traded in the window."""


def respond(world: World, query: Query) -> Reply:
    return (_goldsky if query.host in _goldsky.HOSTS else _data_api).respond(world, query)


FAKE = FakeVenue(
    "polymarket", (*_data_api.HOSTS, *_goldsky.HOSTS), (), lambda query: None, respond, NoDesk,
    {**_data_api.QUOTAS, **_goldsky.QUOTAS}, lambda status: b"{}", methods=("GET", "POST"),
)  # fmt: skip


@contextlib.asynccontextmanager
async def serve(at_s: float, faults: str = "", speed: float = 1) -> AsyncIterator[SimServer]:
    """Serve the same world at another time: it remembers nothing, so the two agree."""
    with clock.compress(at_s, speed):
        async with SimServer(venues=(FAKE,), faults=faults) as running:
            yield running


@pytest.fixture
async def server() -> AsyncIterator[SimServer]:
    async with serve(START_S) as running:
        yield running


async def fetch(server: SimServer, url: str, body: bytes = b"") -> tuple[int, bytes, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as client,
        client.request("POST" if body else "GET", rewrite_url(url, server.url), data=body or None) as answer,
    ):
        return answer.status, await answer.read(), dict(answer.headers)


async def ask(server: SimServer, tail: str) -> Any:
    status, body, _ = await fetch(server, f"{DATA}/{tail}")
    assert status == 200, body
    return json.loads(body)


async def question(server: SimServer, subgraph: str, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    status, body, _ = await fetch(server, SUBGRAPH.format(subgraph), body)
    assert status == 200
    return json.loads(body)


def find_market(server: SimServer, version: str = "v1", ahead: int = 0) -> Market:
    known, now_s = server.world.prediction, server.world.time.now_us() / 1e6
    found = [known.find(asset, "15m", now_s, ahead - i) for i in range(12) for asset in ("BTC", "ETH", "SOL", "XRP")]
    return next(m for m in found if m.version == version)


class Reading:
    """Answers, decoded by the package's own venue."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.decoder = VENUE.make_decoder(Scribe("polymarket", self.rows))

    def take(self, url: str, body: bytes) -> "Reading":
        self.decoder.respond(Response(VENUE.find_feed(url) or "", "http", url, 200, body, 7, 3))
        assert "error" not in self.rows.plain, self.rows.plain["error"]
        return self

    def list_held(self) -> dict[tuple[str, str], int]:
        streams = self.rows.streams
        return {(row[4], streams[row[0]].venue_symbol): row[6] for row in self.rows.plain["position"] if row[4]}


# -- Data API ---------------------------------------------------------------------------------------------


async def test_trades_are_the_worlds_newest_first_over_pages(server: SimServer) -> None:
    market = find_market(server)
    url, reading, seen = f"{DATA}/trades?condition={market.condition}&limit=50", Reading(), []
    while url:
        status, body, headers = await fetch(server, url)
        assert status == 200 and headers["Cache-Control"].startswith("public, max-age=")
        reading.take(url, body)
        seen += json.loads(body)["data"]
        url = find_next_page(url, body) or ""
    true = server.world.crowd.list_trades(market)
    assert len(seen) > 100
    assert [(r["transaction_hash"], r["size"]) for r in seen] == [
        (t.transaction, t.units / 1e6) for t in reversed(true[: len(seen)])
    ]
    ids = [row[5] for row in reading.rows.trades]
    assert len(set(ids)) == len(seen), "equal fills of one transaction are told apart"
    assert len({r["transaction_hash"] for r in seen}) < len(seen)
    unknown = [r for r in seen if r["outcome_index"] == 999]
    assert unknown and all(r["outcome"] == "" for r in unknown)


async def test_a_cursor_stays_where_it_is_while_trades_come_in(server: SimServer) -> None:
    market = find_market(server)
    first = await ask(server, f"trades?condition={market.condition}&limit=10")
    cursor = first["pagination"]["next_cursor"]
    async with serve(START_S + 45) as later:
        again = await ask(later, f"trades?condition={market.condition}&cursor={cursor}")
        whole = await ask(later, f"trades?condition={market.condition}&limit=1000")
    assert whole["data"][0] != first["data"][0], "there are new ones"
    place = whole["data"].index(again["data"][0])
    assert whole["data"][place - 10 : place + 10] == first["data"] + again["data"]


async def test_makers_are_told_when_asked_for(server: SimServer) -> None:
    market = find_market(server)
    takers = await ask(server, f"trades?condition={market.condition}&limit=1000")
    both = await ask(server, f"trades?condition={market.condition}&limit=1000&taker_only=false")
    assert len(both["data"]) == 2 * len(takers["data"])
    one = takers["data"][0]["transaction_hash"]
    pair = [r for r in both["data"] if r["transaction_hash"] == one][:2]
    if {r["side"] for r in pair} == {"BUY"}:
        assert sum(r["price"] for r in pair) == pytest.approx(1)


async def test_positions_and_holders_agree_with_the_chain(server: SimServer) -> None:
    market = find_market(server)
    reading, url = Reading(), f"{DATA}/positions?condition={market.condition}&limit=500"
    while url:
        _, body, _ = await fetch(server, url)
        reading.take(url, body)
        url = find_next_page(url, body) or ""
    at_s = (await ask(server, "status"))["data"]["indexed_at"]
    true = {
        (wallet, token): units
        for outcome, token in enumerate(market.tokens)
        for wallet, units in server.world.crowd.hold(market, outcome, at_s)
    }
    assert reading.list_held() == true
    url = f"{DATA}/holders?condition={market.condition}&limit=20"
    _, body, _ = await fetch(server, url)
    assert [group["token_id"] for group in json.loads(body)["data"]] == list(market.tokens)
    for (wallet, token), units in Reading().take(url, body).list_held().items():
        other = market.tokens[1 - market.tokens.index(token)]
        assert units == true[wallet, token] - true.get((wallet, other), 0)


async def test_resolutions_come_with_their_life(server: SimServer) -> None:
    market = find_market(server, ahead=-4)
    body = await ask(server, f"resolutions?condition_id={market.condition}")
    (row,) = body["data"]
    assert (row["status"], row["payouts"]) == ("resolved", [str(int(float(p) * 10**6)) for p in market.payouts])
    url = f"{DATA}/resolutions?condition_id={market.condition}"
    assert Reading().take(url, json.dumps(body).encode()).rows.plain["resolution"]
    running = find_market(server)
    if server.world.time.now_us() < running.ends_s * 1e6:
        assert (await ask(server, f"resolutions?condition={running.condition}"))["data"] == []


async def test_a_wallets_life_is_told(server: SimServer) -> None:
    market = find_market(server, ahead=-4)
    move = server.world.crowd.list_moves(market)[-1]
    rows = (await ask(server, f"activity?user={move.wallet}&condition={market.condition}&limit=1000"))["data"]
    held = sum((1 if r["side"] == "BUY" else -1) * r["size"] for r in rows if r["type"] == "TRADE")
    assert held and {r["proxy_wallet"] for r in rows} == {move.wallet}
    async with serve(START_S + 3600) as later:
        rows = (await ask(later, f"activity?user={move.wallet}&condition={market.condition}&limit=1000"))["data"]
        tail = f"positions?user={move.wallet}&condition={market.condition}&status=CLOSED"
        closed = (await ask(later, tail))["data"]
    redeemed = sum(r["size"] for r in rows if r["type"] == "REDEEM")
    assert redeemed == pytest.approx(held)
    paid = sum(r["usdc_size"] for r in rows if r["type"] == "REDEEM")
    cost = sum(r["size"] * r["price"] * (1 if r["side"] == "BUY" else -1) for r in rows if r["type"] == "TRADE")
    assert sum(r["realized_pnl"] for r in closed) == pytest.approx(paid - cost, abs=1e-5)


async def test_prices_of_the_past_are_told_in_steps(server: SimServer) -> None:
    market = find_market(server)
    end_s = market.opens_s + 600
    tail = f"prices-history?token_id={market.tokens[0]}&start={market.opens_s}&end={end_s}&bucket_seconds=60"
    rows = (await ask(server, tail))["data"]
    assert [r["timestamp"] for r in rows] == list(range(market.opens_s, end_s + 1, 60))
    down = (await ask(server, tail.replace(market.tokens[0], market.tokens[1])))["data"]
    assert [pytest.approx(1 - r["price"]) for r in rows] == [r["price"] for r in down]
    (one,) = (await ask(server, f"prices-history?token_id={market.tokens[0]}&as_of={end_s}"))["data"]
    assert one == rows[-1]
    day = (await ask(server, f"prices-history?token_id={market.tokens[0]}&interval=1d&bucket_seconds=600&limit=500"))[
        "data"
    ]
    assert len(day) > 100 and {r["timestamp"] % 600 for r in day} == {0}


@pytest.mark.parametrize(
    ("tail", "status"),
    [
        ("trades?offset=100", 400),
        ("trades?limit=5000", 400),
        ("trades?cursor=nonsense", 400),
        ("trades?condition=1234", 400),
        ("trades?condition=" + ",".join(f"0x{i:064x}" for i in range(21)), 400),
        (f"trades?condition=0x{0:064x}", 200),
        ("holders", 400),
        ("activity", 400),
        ("resolutions", 400),
        ("positions?status=LOST", 400),
        ("prices-history?token_id=1&interval=1d&bucket_seconds=7", 400),
        ("prices-history?token_id=1&interval=1w&bucket_seconds=60", 400),
        ("prices-history?token_id=1&interval=2d", 400),
        ("prices-history?token_id=1", 400),
        ("prices-history?token_id=1&start=1&as_of=2", 400),
        ("prices-history?token_id=1&start=1&end=1790000000", 400),
        ("nothing", 404),
    ],
)
async def test_what_the_venue_refuses_is_refused(server: SimServer, tail: str, status: int) -> None:
    assert (await fetch(server, f"{DATA}/{tail}"))[0] == status


async def test_the_first_version_is_gone_and_cursors_are_of_one_endpoint(server: SimServer) -> None:
    assert (await fetch(server, "https://data-api.polymarket.com/trades"))[0] == 410
    cursor = (await ask(server, f"trades?condition={find_market(server).condition}&limit=5"))["pagination"][
        "next_cursor"
    ]
    assert (await fetch(server, f"{DATA}/positions?cursor={cursor}"))[0] == 400


# -- subgraphs --------------------------------------------------------------------------------------------


async def test_the_recorders_own_questions_bring_all_balances_of_one_block(server: SimServer) -> None:
    market = find_market(server)
    followed = Followed(
        market.slug, market.condition, market.tokens, market.opens_s * 10**6, market.ends_s * 10**6, "open"
    )
    ask = wallets.ask_balances(Round(0, "", (followed,)))[0]
    reading, blocks = Reading(), set()
    while ask:
        status, body, _ = await fetch(server, ask.url, ask.body)
        assert (status, wallets.find_balances_fault(body)) == (200, "")
        reading.take(ask.url.partition("#")[0], body)
        blocks.add(json.loads(body)["data"]["_meta"]["block"]["number"])
        ask = wallets.follow_balances(ask, body)
    (block,) = blocks
    assert reading.list_held() == {
        (wallet, token): units
        for outcome, token in enumerate(market.tokens)
        for wallet, units in server.world.crowd.hold(market, outcome, find_block_time(block))
    }


async def test_pages_by_id_of_a_pinned_block_are_one_picture(server: SimServer) -> None:
    market = find_market(server)
    block = find_block(market.opens_s + 300)
    query = """query Page($token: String!, $after: String!, $block: Int!) {
      userBalances(first: 10, orderBy: id, where: {asset: $token, id_gt: $after}, block: {number: $block}) { id balance }
    }"""
    found, after = [], ""
    while True:
        said = await question(server, "positions-subgraph", query, token=market.tokens[0], after=after, block=block)
        rows = said["data"]["userBalances"]
        found += rows
        if len(rows) < 10:
            break
        after = rows[-1]["id"]
    held = server.world.crowd.hold(market, 0, find_block_time(block))
    assert len(found) > 20
    assert {(r["id"].split("-")[0], int(r["balance"])) for r in found} == set(held)


async def test_the_largest_come_first_when_asked(server: SimServer) -> None:
    market = find_market(server)
    query = (
        '{ top: userBalances(first: 5, orderBy: balance, orderDirection: desc, where: {asset: "%s", balance_gt: 0})'
        " { balance asset { outcomeIndex condition { id payouts } } } }"
    )
    rows = (await question(server, "positions-subgraph", query % market.tokens[1]))["data"]["top"]
    sizes = [int(r["balance"]) for r in rows]
    assert len(sizes) == 5 and sizes == sorted(sizes, reverse=True)
    assert rows[0]["asset"] == {"outcomeIndex": "1", "condition": {"id": market.condition, "payouts": None}}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("{ userBalances(first: 2000) { id } }", "between 0 and 1000"),
        ("{ userBalances { size } }", "no field `size`"),
        ("{ nothing { id } }", "no field `nothing`"),
        ("{ userBalances(where: {colour: 1}) { id } }", "colour"),
        ("{ userBalances(block: {number: 999999999}) { id } }", "not yet available"),
        ("query Q($a: Int) { userBalances(first: $a) { id } }", "$a"),
        ("{ userBalances { id }", "expected"),
        ("{ userBalances ? }", "unexpected"),
        ("{ _meta { block } }", "selection of subfields"),
    ],
)
async def test_what_cannot_be_answered_is_an_error_of_status_200(server: SimServer, query: str, says: str) -> None:
    said = await question(server, "positions-subgraph", query)
    assert list(said) == ["errors"] and says in said["errors"][0]["message"]


async def test_subgraphs_end_where_their_contracts_did(server: SimServer) -> None:
    """Trading is followed until 2026-04-28; markets of protocol 2 are not seen at all."""
    market, newer = find_market(server), find_market(server, "v2")
    query = '{ userPositions(where: {tokenId: "%s"}) { id avgPrice totalBought } }'
    assert (await question(server, "pnl-subgraph", query % market.tokens[0]))["data"]["userPositions"] == []
    balances = '{ userBalances(where: {asset: "%s"}) { id } }'
    assert (await question(server, "positions-subgraph", balances % newer.tokens[0]))["data"]["userBalances"] == []
    fills = '{ orderFilledEvents(where: {makerAssetId: "%s"}, first: 5) { id maker taker timestamp fee } }'
    async with serve(_goldsky.TRADING_UNTIL_S - 86_400) as before:
        old = find_market(before, ahead=-1)
        assert (await question(before, "pnl-subgraph", query % old.tokens[0]))["data"]["userPositions"]
        assert (await question(before, "orderbook-subgraph", fills % old.tokens[0]))["data"]["orderFilledEvents"]


@pytest.mark.parametrize(
    ("subgraph", "entity", "collection", "key"),
    [
        ("pnl", "UserPosition", "userPositions", "tokenId"),
        ("orderbook", "OrderFilledEvent", "orderFilledEvents", "makerAssetId"),
    ],
)
async def test_rows_have_the_fields_and_types_of_the_recorded_schema(
    recordings: Path, subgraph: str, entity: str, collection: str, key: str
) -> None:
    schema = (recordings / f"prediction/goldsky/schema/{subgraph}.schema.graphql").read_text()
    body = schema.partition(f"type {entity} @entity {{")[2].partition("}")[0]
    fields = dict(re.findall(r"^  (\w+): (\w+)!?", body, re.MULTILINE))
    async with serve(_goldsky.TRADING_UNTIL_S - 86_400) as server:
        token = find_market(server, ahead=-1).tokens[0]
        query = f'{{ rows: {collection}(where: {{{key}: "{token}"}}, first: 20) {{ {" ".join(fields)} }} }}'
        rows = (await question(server, f"{subgraph}-subgraph", query))["data"]["rows"]
    assert rows and len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == list(fields)
        assert all(row[name].lstrip("-").isdecimal() for name, kind in fields.items() if kind == "BigInt")
        assert all(isinstance(value, str) for value in row.values())


@pytest.mark.parametrize("where", ["/v2/*", "*/subgraphs/*"])
async def test_an_index_can_stand_still(where: str) -> None:
    async def read(server: SimServer) -> tuple[int, int]:
        body = "{ _meta { block { timestamp } } }"
        meta = (await question(server, "positions-subgraph", body))["data"]["_meta"]
        return (await ask(server, "status"))["data"]["indexed_at"], meta["block"]["timestamp"]

    async with serve(START_S, f"at 1s polymarket stale 100000s of {where}", speed=600) as server:
        await asyncio.sleep(0.6)  # of the machine: five minutes and more
        data_s, chain_s = await read(server)
        now_s = server.time.now_us() / 1e6
    stood, went_on = (data_s, chain_s) if where == "/v2/*" else (chain_s, data_s)
    assert stood <= START_S + 2
    assert went_on > START_S + 250 and went_on < now_s
    assert {done["action"] for done in server.faults_done} == {"stale"}


async def test_more_than_fifty_questions_in_ten_seconds_are_refused(server: SimServer) -> None:
    body = b'{"query":"{ _meta { block { number } } }"}'
    statuses = [(await fetch(server, SUBGRAPH.format("positions-subgraph"), body))[0] for _ in range(110)]
    assert set(statuses) == {200, 429}
    assert 50 <= statuses.count(200) <= 100
