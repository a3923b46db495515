"""The fake Kalshi: signed handshakes, numbered subscriptions, books that add up, and results that follow the world."""

import base64
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS

from truetape import clock
from truetape.config import rewrite_url
from truetape.events.rows import Response, Rows, Scribe
from truetape.sim.server import SimServer
from truetape.sim.venues._kalshi_market import Exchange, Market
from truetape.venues import kalshi, load_venue
from truetape.venues._contract import Wanted

VENUE = load_venue("kalshi")
FEED = VENUE.feeds[0]
START_S = 1_790_000_000 // 900 * 900 + 400
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def make_headers(key_id: str, *, late_ms: int = 0, path: str = kalshi.SOCKET_PATH) -> dict[str, str]:
    now_ms = clock.wall_ns() // 1_000_000 - late_ms
    text = kalshi.write_signed_text("GET", path, now_ms)
    signature = KEY.sign(text, PSS(MGF1(hashes.SHA256()), PSS.DIGEST_LENGTH), hashes.SHA256())
    return {
        "KALSHI-ACCESS-KEY": key_id,
        "KALSHI-ACCESS-TIMESTAMP": str(now_ms),
        "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
    }


async def register(client: aiohttp.ClientSession, server: SimServer) -> str:
    url = rewrite_url(f"{kalshi.REST_URL}/api_keys", server.url)
    async with client.post(url, json={"name": "test", "public_key": PEM.decode()}) as answer:
        assert answer.status == 201
        return (await answer.json())["api_key_id"]


def get_exchange(server: SimServer) -> Exchange:
    return server.world.stages["kalshi"].exchange  # type: ignore[attr-defined]


def find_market(server: SimServer, asset: str = "BTC", ahead: int = 0) -> Market:
    return get_exchange(server).find(asset, int(server.world.time.now_us() / 1e6) // 900 * 900 + ahead * 900)


class Line:
    """A client's connection, and the package's decoder that reads along."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, server: SimServer) -> None:
        self.socket, self.server = socket, server
        self.rows = Rows()
        self._on_message = VENUE.make_decoder(Scribe("kalshi", self.rows)).open("public", "line")
        self.frames: list[dict[str, Any]] = []

    async def say(self, cmd: str, number: int = 1, **params: Any) -> None:
        await self.socket.send_json({"id": number, "cmd": cmd, **({"params": params} if params else {})})

    async def follow(self, *topics: str) -> None:
        """Subscribe as the package does."""
        for number, channel in enumerate(dict.fromkeys(t.partition(":")[0] for t in topics), 1):
            batch = [t for t in topics if t.partition(":")[0] == channel]
            await self.socket.send_str(kalshi.subscribe(FEED, batch, number).decode())

    async def hear(self) -> dict[str, Any]:
        message = await self.socket.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        payload = message.data.encode()
        self._on_message(payload, len(self.frames), len(self.frames))
        self.frames.append(json.loads(payload))
        return self.frames[-1]

    async def hear_for(self, seconds: float) -> None:
        until_s = clock.monotonic_ns() / 1e9 + seconds
        while clock.monotonic_ns() / 1e9 < until_s:
            await self.hear()

    def list_messages(self, kind: str) -> list[dict[str, Any]]:
        return [frame["msg"] for frame in self.frames if frame["type"] == kind]


def meet(talk: Callable[[Line], Awaitable[None]], faults: str = "", start_s: float = START_S) -> None:
    async def main() -> None:
        async with SimServer(venues=("kalshi",), faults=faults) as server, aiohttp.ClientSession() as client:
            key_id = await register(client, server)
            headers = make_headers(key_id)
            async with client.ws_connect(rewrite_url(FEED.url, server.url), headers=headers) as socket:
                await talk(Line(socket, server))

    with clock.step_virtual(start_s):
        clock.run(main())


@pytest.fixture
async def server() -> AsyncIterator[SimServer]:
    with clock.compress(START_S, 1):
        async with SimServer(venues=("kalshi",), has_limits=False) as running:
            yield running


async def ask(server: SimServer, tail: str, status: int = 200) -> Any:
    async with (
        aiohttp.ClientSession() as client,
        client.get(rewrite_url(f"{kalshi.REST_URL}/{tail}", server.url)) as answer,
    ):
        assert answer.status == status, await answer.text()
        return await answer.json()


def read(tail: str, body: Any) -> Rows:
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("kalshi", rows))
    assert decoder.respond(
        Response("public", "http", f"{kalshi.REST_URL}/{tail}", 200, json.dumps(body).encode(), 7, 7)
    )
    assert "error" not in rows.plain
    return rows


# -- the handshake ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "is_let_in"),
    [
        ({}, True),
        ({"late_ms": 20_000}, True),
        ({"late_ms": 40_000}, False),
        ({"late_ms": -40_000}, False),
        ({"path": "/trade-api/v2/markets"}, False),
        ({"key_id": "00000000-0000-0000-0000-000000000000"}, False),
    ],
)
async def test_only_a_signature_of_a_known_key_opens_the_socket(
    server: SimServer, change: dict[str, Any], is_let_in: bool
) -> None:
    url = rewrite_url(FEED.url, server.url)
    async with aiohttp.ClientSession() as client:
        key_id = await register(client, server)
        headers = make_headers(**{"key_id": key_id, **change})
        if is_let_in:
            await (await client.ws_connect(url, headers=headers)).close()
            return
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await client.ws_connect(url, headers=headers)


async def test_keys_that_are_none_are_refused(server: SimServer) -> None:
    url = rewrite_url(f"{kalshi.REST_URL}/api_keys", server.url)
    async with aiohttp.ClientSession() as client:
        for said in ({}, {"public_key": "nonsense"}):
            async with client.post(url, json=said) as answer:
                assert answer.status == 400
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await client.ws_connect(rewrite_url(FEED.url, server.url))


# -- the socket -------------------------------------------------------------------------------------------


def test_pictures_and_changes_add_up_to_the_true_book_of_every_second() -> None:
    async def talk(line: Line) -> None:
        market = find_market(line.server)
        await line.follow(f"orderbook_delta:{market.ticker}")
        await line.hear_for(60)
        assert [f["type"] for f in line.frames[:2]] == ["subscribed", "orderbook_snapshot"]
        held: dict[str, dict[str, Decimal]] = {"yes": {}, "no": {}}
        picture, *_ = line.list_messages("orderbook_snapshot")
        for side in held:
            held[side] = {price: Decimal(size) for price, size in picture[f"{side}_dollars_fp"]}
        second, checked = 0, 0
        for change in line.list_messages("orderbook_delta"):
            if change["ts_ms"] // 1000 != second and second:
                true = get_exchange(line.server).read_book(market, second)
                for side, book in zip(("yes", "no"), true, strict=True):
                    mine = {round(Decimal(p) * 1000): int(s * 100) for p, s in held[side].items() if s}
                    assert mine == book, (second, side)
                checked += 1
            second = change["ts_ms"] // 1000
            side, price = held[change["side"]], change["price_dollars"]
            side[price] = side.get(price, Decimal(0)) + Decimal(change["delta_fp"])
            assert side[price] >= 0
        assert checked > 20
        assert not line.rows.counters and "error" not in line.rows.plain
        assert all(row[9] or row[10] for row in line.rows.books), "the package knows every level"

    meet(talk)


def test_each_channel_is_a_subscription_with_numbers_of_its_own() -> None:
    async def talk(line: Line) -> None:
        tickers = [find_market(line.server, asset).ticker for asset in ("BTC", "ETH")]
        await line.follow(*(f"{c}:{t}" for c in ("orderbook_delta", "trade", "ticker") for t in tickers))
        await line.hear_for(60)
        numbers: dict[int, list[int]] = {}
        for frame in line.frames:
            if "seq" in frame:
                numbers.setdefault(frame["sid"], []).append(frame["seq"])
        assert set(numbers) == {1, 2}, "tickers have no number"
        assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in numbers.values())
        assert len(line.rows.acks) == 3
        assert line.rows.trades and line.rows.quotes and line.rows.plain["ticker"] and line.rows.plain["derivative"]
        assert {row[9] for row in line.rows.plain.get("error", [])} == set()

    meet(talk)


def test_a_jump_of_numbers_is_a_fault_that_the_package_sees() -> None:
    async def talk(line: Line) -> None:
        market = find_market(line.server)
        await line.follow(f"orderbook_delta:{market.ticker}")
        while not line.rows.counters:
            await line.hear()
        (jump,) = line.rows.counters
        assert jump.number - jump.last == 3
        assert len(line.server.faults_done) == 2

    meet(talk, "after 20 drop 2 frames of orderbook_delta:*")


def test_trades_are_the_worlds_and_quotes_are_of_the_book() -> None:
    async def talk(line: Line) -> None:
        market = find_market(line.server)
        await line.follow(f"trade:{market.ticker}", f"ticker:{market.ticker}")
        await line.hear_for(120)
        told = line.list_messages("trade")
        true = {t.id: t for t in get_exchange(line.server).list_trades(market)}
        assert len(told) > 10 and {t["trade_id"] for t in told} <= set(true)
        for trade in told:
            one = true[trade["trade_id"]]
            assert (trade["ts_ms"], trade["taker_outcome_side"] == "yes") == (one.at_ms, one.is_yes)
            assert Decimal(trade["yes_price_dollars"]) + Decimal(trade["no_price_dollars"]) == 1
        ids = [t["trade_id"] for t in told]
        span = [t.id for t in true.values() if told[0]["ts_ms"] <= t.at_ms <= told[-1]["ts_ms"]]
        assert ids == span, "none is left out"
        for quote in line.list_messages("ticker"):
            yes, no = get_exchange(line.server).read_book(market, quote["ts"])
            assert Decimal(quote["yes_bid_dollars"]) * 1000 == max(yes, default=0)
            assert 1000 - Decimal(quote["yes_ask_dollars"]) * 1000 == max(no, default=0)

    meet(talk)


def test_a_window_ends_with_an_empty_book_and_a_told_result() -> None:
    async def talk(line: Line) -> None:
        market = find_market(line.server)
        await line.say("subscribe", 7, channels=["market_lifecycle_v2"])
        await line.follow(f"orderbook_delta:{market.ticker}")
        while not [m for m in line.list_messages("market_lifecycle_v2") if m["event_type"] == "settled"]:
            await line.hear()
        mine = [m for m in line.list_messages("market_lifecycle_v2") if m["market_ticker"] == market.ticker]
        assert [m["event_type"] for m in mine if m["event_type"] != "settled"] == ["deactivated", "determined"]
        assert mine[1]["result"] == market.result
        assert line.rows.memory["kalshi"]["books"][market.ticker][2:] == [{}, {}]
        assert line.rows.plain["resolution"]

    meet(talk, start_s=START_S // 900 * 900 + 880)


def test_subscriptions_are_listed_changed_and_left() -> None:
    async def talk(line: Line) -> None:
        one, two = (find_market(line.server, asset).ticker for asset in ("BTC", "ETH"))
        await line.say("subscribe", 1, channels=["orderbook_delta"], market_ticker=one)
        await line.hear()
        await line.say("list_subscriptions", 2)
        await line.say("update_subscription", 3, sids=[1], market_tickers=[two], action="add_markets")
        answers: list[dict[str, Any]] = []
        while len(answers) < 2:
            frame = await line.hear()
            answers += [frame] if frame["type"] == "ok" else []
        assert answers[0]["msg"] == [{"channel": "orderbook_delta", "sid": 1}]
        assert answers[1]["msg"] == {"market_tickers": [one, two]}
        assert [p["market_ticker"] for p in line.list_messages("orderbook_snapshot")] == [one, two]
        await line.say("update_subscription", 4, sids=[1], market_tickers=[one], action="delete_markets")
        while (await line.hear()).get("id") != 4:
            pass
        begin = len(line.frames)
        await line.hear_for(10)
        assert {f["msg"]["market_ticker"] for f in line.frames[begin:]} == {two}
        await line.say("unsubscribe", 5, sids=[1])
        while (await line.hear())["type"] != "unsubscribed":
            pass
        assert not line.rows.counters

    meet(talk)


def test_what_is_wrong_is_told_by_a_code() -> None:
    async def talk(line: Line) -> None:
        ticker = find_market(line.server).ticker
        for code, cmd, params in (
            (5, "sing", {"channels": ["trade"]}),
            (2, "subscribe", {}),
            (3, "subscribe", {"market_tickers": [ticker]}),
            (8, "subscribe", {"channels": ["news"]}),
            (14, "subscribe", {"channels": ["orderbook_delta"]}),
            (16, "subscribe", {"channels": ["trade"], "market_tickers": ["KXBTC15M-26FEB310415-15"]}),
            (4, "unsubscribe", {"channels": ["trade"]}),
            (7, "unsubscribe", {"sids": [9]}),
            (12, "update_subscription", {"sids": [1, 2]}),
            (7, "update_subscription", {"sids": [9]}),
        ):
            await line.say(cmd, 6, **params)
            frame = await line.hear()
            assert (frame["type"], frame["msg"]["code"]) == ("error", code), (cmd, params)
        await line.socket.send_str("no json")
        assert (await line.hear())["msg"]["code"] == 1

    meet(talk)


def test_frames_have_recorded_shapes(recordings: Path) -> None:
    lines = [json.loads(text) for text in (recordings / "prediction/kalshi/ws_frames.jsonl").read_text().splitlines()]
    known = {frame["type"]: set(frame["msg"]) for frame in lines[:3]}

    async def talk(line: Line) -> None:
        await line.follow(f"orderbook_delta:{find_market(line.server).ticker}")
        await line.hear_for(5)
        for kind, keys in known.items():
            told = line.list_messages(kind)
            assert told and all(set(one) == keys for one in told), kind
        sample = line.list_messages("orderbook_delta")[0]
        recorded = lines[1]["msg"]
        assert all(type(sample[key]) is type(recorded[key]) for key in recorded)
        assert (len(sample["ts"]), len(sample["market_id"])) == (len(recorded["ts"]), len(recorded["market_id"]))
        assert [list(frame) for frame in line.frames if "seq" in frame][-1] == list(lines[1])

    meet(talk)


# -- REST -------------------------------------------------------------------------------------------------


async def test_listings_page_to_the_end_and_read_clean(server: SimServer) -> None:
    seen: list[dict[str, Any]] = []
    url = f"{kalshi.REST_URL}/markets?limit=100&series_ticker=KXBTC15M"
    while url:
        body = await ask(server, url.removeprefix(f"{kalshi.REST_URL}/"))
        seen += body["markets"]
        url = VENUE.find_next_page(url, json.dumps(body).encode()) or ""
    assert len(seen) == len({m["ticker"] for m in seen}) == 192
    counts = {s: sum(m["status"] == s for m in seen) for s in ("initialized", "active", "closed", "finalized")}
    assert counts["active"] == 1 and counts["initialized"] == 96 and counts["finalized"] > 90
    rows = read("markets", {"markets": seen})
    assert len(rows.plain["prediction_market"]) == 192
    listed = VENUE.read_listing(url, json.dumps(await ask(server, "markets?status=open&limit=1000")).encode())
    assert {i.symbol for i in listed} == {
        f"{find_market(server, a).ticker}:{o}" for a in ("BTC", "ETH", "SOL", "XRP") for o in ("Yes", "No")
    }


async def test_a_strike_is_the_value_that_the_window_before_settled_on(server: SimServer) -> None:
    for asset in ("BTC", "XRP"):
        markets = [find_market(server, asset, ahead) for ahead in range(-20, 0)]
        told = [(await ask(server, f"markets/{m.ticker}"))["market"] for m in markets]
        for one, next_one in itertools.pairwise(told):
            assert float(one["expiration_value"]) == next_one["floor_strike"]
        for market, one in zip(markets, told, strict=True):
            assert one["result"] == ("yes" if float(one["expiration_value"]) >= one["floor_strike"] else "no")
            average = server.world.prediction.oracle.average(asset, market.closes_s, 60) / 10**18
            assert float(one["expiration_value"]) == pytest.approx(average, abs=0.005)


async def test_the_packages_own_way_of_finding_windows_finds_them(server: SimServer) -> None:
    discovery = VENUE.discovery
    assert discovery is not None
    now_s = int(server.world.time.now_us() / 1e6)
    wanted = Wanted(series=("15m",), assets=("BTC", "ETH"))
    versions = []
    for url in discovery.list_urls(wanted, now_s):
        body = json.dumps(await ask(server, url.removeprefix(f"{kalshi.REST_URL}/"))).encode()
        found, refused = discovery.read(url, body)
        assert not refused
        versions += found
    assert {v.slug for v in versions} == {
        find_market(server, asset, ahead).ticker for asset in ("BTC", "ETH") for ahead in range(4)
    }
    assert all(v.ends_us - v.opens_us == 900_000_000 for v in versions if v.opens_us and v.ends_us)
    for urls, handles in discovery.ask_urls([v.slug for v in versions]):
        body = json.dumps(await ask(server, urls[0].removeprefix(f"{kalshi.REST_URL}/"))).encode()
        assert {v.slug for v in discovery.read(urls[0], body)[0]} == set(handles)


@pytest.mark.parametrize(
    ("faults", "statuses"),
    [
        ("", ["active", "closed", "determined", "finalized", "finalized"]),
        ("late 600s of KXBTC15M-*", ["active", "closed", "determined", "determined", "finalized"]),
        ("dispute 600s of KXBTC15M-*", ["active", "closed", "determined", "disputed", "finalized"]),
    ],
)
async def test_results_can_be_late_and_disputed(faults: str, statuses: list[str]) -> None:
    with clock.compress(START_S, 1):
        async with SimServer(venues=("kalshi",), faults=faults, has_limits=False) as server:
            market = find_market(server)
    found = []
    for at_s in (
        market.closes_s - 10,
        market.closes_s + 2,
        market.determined_s + 5,
        market.determined_s + 120,
        market.closes_s + 900,
    ):
        with clock.compress(at_s, 1):
            async with SimServer(venues=("kalshi",), faults=faults, has_limits=False) as server:
                told = await ask(server, f"markets/{market.ticker}")
        found.append(told["market"]["status"])
        assert bool(told["market"]["result"]) == (found[-1] in ("determined", "disputed", "finalized"))
        assert bool(told["market"]["expiration_value"]) == (found[-1] == "finalized")
        read("markets/x", told)
    assert found == statuses


async def test_books_trades_and_events_read_clean(server: SimServer) -> None:
    market = find_market(server)
    tail = f"markets/{market.ticker}/orderbook"
    book = await ask(server, tail)
    assert read(tail, book).plain["book_snapshot"]
    best = [levels[-1][0] for levels in book["orderbook_fp"].values()]
    assert all(levels == sorted(levels) for levels in book["orderbook_fp"].values()) and sum(map(float, best)) < 1
    assert len((await ask(server, tail + "?depth=3"))["orderbook_fp"]["yes_dollars"]) == 3
    seen, cursor = [], ""
    while True:
        body = await ask(server, f"markets/trades?ticker={market.ticker}&limit=20&cursor={cursor}")
        seen += body["trades"]
        cursor = body["cursor"]
        if not cursor:
            break
    now_ms = server.world.time.now_us() / 1000
    true = [t.id for t in get_exchange(server).list_trades(market) if t.at_ms <= now_ms - 1000]
    assert [t["trade_id"] for t in seen][-len(true) :] == true[::-1]
    assert read("markets/trades", {"trades": seen}).trades
    for tail in (f"events/{market.event}", "events?with_nested_markets=true&series_ticker=KXBTC15M&limit=5"):
        assert read(tail, await ask(server, tail)).plain["prediction_market"]
    assert (await ask(server, "series/KXBTC15M"))["series"]["ticker"] == "KXBTC15M"
    assert len((await ask(server, "series"))["series"]) == 4


@pytest.mark.parametrize(
    ("tail", "status"),
    [
        ("markets/NOTHING", 404),
        ("markets?status=asleep", 400),
        ("markets?min_close_ts=soon", 400),
        ("markets?limit=2000", 400),
        ("markets?cursor=nonsense", 400),
        ("events/NOTHING", 404),
        ("series/NOTHING", 404),
        ("nothing", 404),
    ],
)
async def test_what_the_venue_refuses_is_refused(server: SimServer, tail: str, status: int) -> None:
    await ask(server, tail, status)


async def test_tickers_name_the_close_by_new_yorks_time(server: SimServer) -> None:
    exchange = get_exchange(server)
    market = exchange.read_ticker("KXBTC15M-26APR130415-15")
    assert market is not None and (market.opens_s, market.closes_s) == (1_776_067_200, 1_776_068_100)
    for opens_s in range(1_793_505_600, 1_793_505_600 + 86_400, 900):  # the night the clocks go back
        one = exchange.find("BTC", opens_s)
        again = exchange.read_ticker(one.ticker)
        assert again is not None and again.ticker == one.ticker


async def test_markets_are_chosen_by_category_and_volume(server: SimServer) -> None:
    """Each listing that the filters ask for is answered; what passes them is of that category, and traded enough."""
    discovery = VENUE.discovery
    assert discovery is not None
    found: dict[str, float] = {}
    for least in (0.0, 1.0, 10**9):
        wanted = Wanted(categories=("Crypto",), volume_min=least)
        for url in discovery.list_urls(wanted, int(START_S)):
            body = await ask(server, url.removeprefix(f"{kalshi.REST_URL}/"))
            versions, _ = discovery.read(url, json.dumps(body).encode())
            found |= {one.slug: least for one in versions if discovery.is_wanted(wanted, one)}
            assert not any(discovery.is_wanted(Wanted(categories=("Sports",)), one) for one in versions)
    assert {slug.partition("15M")[0] for slug in found} == {"KXBTC", "KXETH", "KXSOL", "KXXRP"}
    assert set(found.values()) == {0.0, 1.0}  # some had no trade yet, none a thousand million
