"""The fake venues over real sockets: books rebuild to the truth, faults do exactly what the log says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from truetape import clock
from truetape.errors import ConfigError
from truetape.sim.server import SimServer, Synthetic
from truetape.sim.spec import write_padded

Frame = dict[str, Any]
FAST = Synthetic(seed=7, rate=100, speed=10)


class Client:
    """A bare client of one fake venue."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, message: Frame | str) -> None:
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def read(self, is_wanted: Callable[[Frame], bool] = lambda frame: True, limit: int = 50_000) -> Frame:
        for _ in range(limit):
            message = await self.socket.receive(timeout=10)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            frame = json.loads(message.data)
            if is_wanted(frame):
                return frame
        raise AssertionError("the frame did not come")

    async def read_until_closed(self) -> list[str]:
        texts = []
        while True:
            message = await self.socket.receive(timeout=10)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return texts
            texts.append(message.data)


@asynccontextmanager
async def visit(server: SimServer, path: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.url + path, max_msg_size=0) as socket:
        yield Client(socket)


async def get(server: SimServer, path: str) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text[:1] in "[{" else text, answer.headers


def subscribe(*streams: str) -> Frame:
    return {"method": "SUBSCRIBE", "params": list(streams), "id": 1}


def stream_of(name: str) -> Callable[[Frame], bool]:
    return lambda frame: frame.get("stream") == name


@pytest.mark.parametrize(
    ("feed", "ws", "rest", "symbol"),
    [
        ("spot", "/stream.binance.com/stream", "/api.binance.com/api/v3", "BTCUSDT"),
        ("usdm", "/fstream.binance.com/public/stream", "/fapi.binance.com/fapi/v1", "BTCUSDT"),
        ("coinm", "/dstream.binance.com/stream", "/dapi.binance.com/dapi/v1", "BTCUSD_PERP"),
    ],
)
async def test_binance_book_splices_and_rebuilds_to_the_truth(feed: str, ws: str, rest: str, symbol: str) -> None:
    stream = f"{symbol.lower()}@depth@100ms"
    async with SimServer(feed=FAST) as server, visit(server, ws) as client:
        await client.send(subscribe(stream))
        diffs = [(await client.read(stream_of(stream)))["data"] for _ in range(3)]
        _, snapshot, _ = await get(server, f"{rest}/depth?symbol={symbol}&limit=1000")
        while len(diffs) < 40:
            diffs.append((await client.read(stream_of(stream)))["data"])
        market = server.market("binance", feed, symbol)
        while market.update_id != diffs[-1]["u"]:  # stop at a frame after which nothing has happened yet
            diffs.append((await client.read(stream_of(stream)))["data"])
            assert len(diffs) < 3000
        bids, asks = market.book()

    for before, after in pairwise(diffs):
        assert after["U"] == before["u"] + 1
        assert feed == "spot" or after["pu"] == before["u"]
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    kept = [d for d in diffs if d["u"] > snapshot["lastUpdateId"]]
    assert kept[0]["U"] <= snapshot["lastUpdateId"] + 1 <= kept[0]["u"]
    for diff in kept:
        for side in "ba":
            for price, size in diff[side]:
                if float(size):
                    book[side][price] = size
                else:
                    book[side].pop(price, None)
    spec = market.spec
    for side, truth in (("b", bids), ("a", asks)):
        assert {
            round(float(p) * 10**spec.price_digits): round(float(s) * 10**spec.size_digits)
            for p, s in book[side].items()
        } == dict(truth)


async def test_trades_are_complete_and_equal_the_truth() -> None:
    async with SimServer(feed=FAST) as server, visit(server, "/stream.binance.com/stream") as client:
        await client.send(subscribe("btcusdt@trade"))
        frames = [(await client.read(stream_of("btcusdt@trade")))["data"] for _ in range(200)]
        market = server.market("binance", "spot", "BTCUSDT")
        truth = market.trades(frames[0]["t"], 200)
        _, history, _ = await get(
            server, f"/api.binance.com/api/v3/historicalTrades?symbol=BTCUSDT&fromId={frames[0]['t']}&limit=200"
        )

    assert [f["t"] for f in frames] == [t.id for t in truth] == [h["id"] for h in history]
    assert [f["p"] for f in frames] == [write_padded(t.price, 2, 8) for t in truth] == [h["price"] for h in history]
    assert [f["m"] for f in frames] == [t.is_sell for t in truth]


async def test_binance_control_messages() -> None:
    async with SimServer(feed=FAST, has_limits=False) as server:
        async with visit(server, "/binance/ws/btcusdt@trade") as client:
            bare = await client.read()
            assert bare["e"] == "trade"
        async with visit(server, "/binance/stream?streams=btcusdt@trade/nope@trade") as client:
            await client.read(stream_of("btcusdt@trade"))
            await client.send({"method": "LIST_SUBSCRIPTIONS", "id": "x"})
            answer = await client.read(lambda f: "result" in f)
            assert answer == {"result": ["btcusdt@trade", "nope@trade"], "id": "x"}
            await client.send({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 2})
            assert await client.read(lambda f: f.get("id") == 2) == {"result": None, "id": 2}
            await client.send({"method": "DANCE", "id": 3})
            assert (await client.read(lambda f: f.get("id") == 3))["code"] == 2
            await client.send("{")
            assert (await client.read(lambda f: "code" in f))["code"] == 3


async def test_usdm_groups_do_not_mix_and_the_old_path_is_gone() -> None:
    async with SimServer(feed=FAST) as server:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with visit(server, "/fstream.binance.com/stream"):
                pass
        async with visit(server, "/fstream.binance.com/market/stream") as client:
            await client.send(subscribe("btcusdt@bookTicker", "btcusdt@aggTrade"))
            seen = {(await client.read()).get("stream") for _ in range(30)}
    assert seen == {None, "btcusdt@aggTrade"}


async def test_too_many_messages_end_the_connection() -> None:
    async with SimServer(feed=FAST) as server, visit(server, "/binance/stream") as client:
        for number in range(8):
            await client.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
        await client.read_until_closed()
        assert client.socket.close_code == 1008


async def test_coinbase_wants_a_subscription_in_time_and_pings_are_answered() -> None:
    async with (
        SimServer(feed=FAST, time_scale=50) as server,
        visit(server, "/advanced-trade-ws.coinbase.com") as client,
    ):
        assert await client.read_until_closed() == []
        assert client.socket.close_code == 1008


async def test_server_pings_and_cuts_who_does_not_answer() -> None:
    async with SimServer(feed=FAST, time_scale=400) as server, aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{server.url}/binance/stream", autoping=False)
        pings = 0
        while (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.PING:
            pings += 1
        assert pings
        assert socket.close_code == 1008


async def test_advanced_trade_numbers_every_frame_of_a_connection() -> None:
    async with SimServer(feed=FAST) as server, visit(server, "/advanced-trade-ws.coinbase.com") as client:
        for channel in ("market_trades", "level2", "ticker", "heartbeats"):
            await client.send({"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": channel})
        frames = [await client.read() for _ in range(300)]

    assert [f["sequence_num"] for f in frames] == list(range(300))
    assert {f["channel"] for f in frames} >= {"market_trades", "l2_data", "ticker", "heartbeats", "subscriptions"}


async def test_exchange_says_the_makers_side_and_its_ticker_the_takers() -> None:
    async with SimServer(feed=FAST) as server, visit(server, "/ws-feed.exchange.coinbase.com") as client:
        order = {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches", "ticker", "level2_batch"]}
        await client.send(order)
        frames = [await client.read() for _ in range(300)]
        truth = {t.id: t for t in server.market("coinbase", "exchange", "BTC-USD").trades()}

    assert [f["type"] for f in frames[:4]] == ["subscriptions", "last_match", "ticker", "snapshot"]
    for frame in frames:
        if frame["type"] in ("match", "last_match"):
            assert frame["side"] == ("buy" if truth[frame["trade_id"]].is_sell else "sell")
        elif frame["type"] == "ticker":
            assert frame["side"] == ("sell" if truth[frame["trade_id"]].is_sell else "buy")


@pytest.mark.parametrize(
    ("path", "message", "wanted"),
    [
        ("/ws-feed.exchange.coinbase.com", {"type": "subscribe", "channels": ["full"], "product_ids": ["BTC-USD"]}, {"type": "error"}),
        ("/bybit/v5/public/linear", {"op": "subscribe", "args": ["publicTrade.BTCUSDT", "publicTrade.NOPE"]}, {"success": False}),
        ("/bybit/v5/public/spot", {"op": "subscribe", "args": [f"orderbook.50.BTCUSDT{i}" for i in range(11)]}, {"success": False}),
        ("/bybit/v5/public/spot", {"op": "ping"}, {"success": True, "ret_msg": "pong"}),
        ("/okx/ws/v5/public", {"op": "subscribe", "args": [{"channel": "trades", "instId": "NOPE"}]}, {"event": "error", "code": "60018"}),
        ("/okx/ws/v5/public", {"op": "subscribe", "args": [{"channel": "candle1m", "instId": "BTC-USDT"}]}, {"code": "60018"}),
        ("/okx/ws/v5/public", {"op": "subscribe", "args": [{"channel": "books-l2-tbt", "instId": "BTC-USDT"}]}, {"code": "60011"}),
        ("/deribit/ws/api/v2", {"id": 1, "method": "public/subscribe", "params": {"channels": ["quote.BTC-PERPETUAL", "quote.NOPE"]}}, {"result": ["quote.BTC-PERPETUAL"]}),
        ("/deribit/ws/api/v2", {"id": 1, "method": "public/nope"}, {"error": {"code": -32601, "message": "Method not found", "data": None}}),
    ],
)  # fmt: skip
async def test_bad_and_odd_messages_get_the_venues_answer(path: str, message: Frame, wanted: Frame) -> None:
    async with SimServer(feed=FAST) as server, visit(server, path) as client:
        await client.send(message)
        answer = await client.read()
    assert wanted.items() <= answer.items()


async def test_okx_answers_the_text_ping_with_the_text_pong() -> None:
    async with SimServer(feed=FAST) as server, visit(server, "/okx/ws/v5/public") as client:
        await client.send("ping")
        assert (await client.socket.receive(timeout=5)).data == "pong"


async def test_deribit_cuts_who_does_not_answer_its_test_request() -> None:
    heartbeat = {"id": 1, "method": "public/set_heartbeat", "params": {"interval": 10}}
    async with SimServer(feed=FAST, time_scale=100) as server, visit(server, "/deribit/ws/api/v2") as client:
        await client.send(heartbeat)
        for _ in range(3):
            await client.read(lambda f: f.get("params", {}).get("type") == "test_request")
            await client.send({"id": 2, "method": "public/test", "params": {}})
        texts = await client.read_until_closed()
    assert any("test_request" in text for text in texts)


async def test_weights_are_told_and_too_much_is_refused() -> None:
    async with SimServer(feed=FAST) as server:
        path = "/api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
        statuses = []
        for _ in range(26):
            status, body, headers = await get(server, path)
            statuses.append(status)
        assert statuses.count(429) >= 1
        assert body["code"] == -1003
        assert int(headers["X-MBX-USED-WEIGHT-1M"]) > 6000
        assert 1 <= int(headers["Retry-After"]) <= 60


async def test_bybit_pages_its_listing() -> None:
    found, cursor = [], ""
    async with SimServer(feed=FAST) as server:
        while True:
            _, body, _ = await get(
                server, f"/api.bybit.com/v5/market/instruments-info?category=linear&limit=2&cursor={cursor}"
            )
            found += [row["symbol"] for row in body["result"]["list"]]
            cursor = body["result"]["nextPageCursor"]
            if not cursor:
                break
        assert found == [spec.symbol for spec in server.list_specs("bybit", "linear")]


# faults


async def read_trades(client: Client, count: int) -> list[str]:
    texts: list[str] = []
    while len(texts) < count:
        message = await client.socket.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.TEXT
        if "@trade" in message.data:
            texts.append(message.data)
    return texts


def id_of(text: str) -> int:
    return int(json.loads(text)["data"]["t"])


@pytest.mark.parametrize(
    "action",
    ["drop 3 frames", "duplicate 2 frames", "reorder 1 frame", "corrupt 2 frames", "change-field p price in 2 frames"],
)
async def test_the_log_says_exactly_what_was_done_to_frames(action: str) -> None:
    async with SimServer(feed=FAST, faults=f"after 20 {action} of btcusdt@trade") as server:
        async with visit(server, "/stream.binance.com/stream") as client:
            await client.send(subscribe("btcusdt@trade"))
            texts = await read_trades(client, 60)
        done = server.faults_done

    first = id_of(texts[0])
    hit = [d["first_id"] for d in done]
    assert hit[0] == first + 20
    assert {d["stream"] for d in done} == {"btcusdt@trade"}
    match action.split()[0]:
        case "drop":
            assert [id_of(t) for t in texts] == [i for i in range(first, first + 63) if i not in hit]
        case "duplicate":
            assert [id_of(t) for t in texts] == sorted([*range(first, first + 58), *hit])
        case "reorder":
            assert [id_of(t) for t in texts[20:22]] == [hit[0] + 1, hit[0]]
        case "corrupt":
            broken = [i for i, text in enumerate(texts) if not text.endswith("}}")]
            assert broken == [20, 21]
        case "change-field":
            assert [i for i, text in enumerate(texts) if '"price":' in text] == [20, 21]


async def test_a_cut_comes_without_a_goodbye_and_a_freeze_still_answers_pings() -> None:
    script = "at 20s binance freeze 10s; at 45s binance cut"
    async with SimServer(feed=FAST, faults=script) as server, visit(server, "/stream.binance.com/stream") as client:
        await client.send(subscribe("btcusdt@trade"))
        texts: list[str] = []
        while not any(d["action"] == "freeze" for d in server.faults_done):
            texts.append((await client.socket.receive(timeout=10)).data)
        await client.socket.ping()
        texts += await client.read_until_closed()
        assert client.socket.close_code == 1006
        done = server.faults_done

    ids = [id_of(t) for t in texts if "@trade" in t]
    lost = {d["first_id"] for d in done if d["action"] == "freeze" and d["stream"] == "btcusdt@trade"}
    assert lost
    assert set(range(ids[0], ids[-1] + 1)) == set(ids) | lost
    assert not set(ids) & lost
    cut = next(d for d in done if d["action"] == "cut" and d["stream"] == "btcusdt@trade")
    assert cut["last_id"] == ids[-1]


@pytest.mark.parametrize(
    ("path", "ping", "is_life"),
    [
        ("okx/ws/v5/public", "ping", lambda text: text == "pong"),
        ("bybit/v5/public/linear", '{"op":"ping"}', lambda text: '"pong"' in text),
        ("deribit/ws/api/v2", '{"id":1,"method":"public/test"}', lambda text: '"version"' in text),
        ("ws-subscriptions-clob.polymarket.com/ws/market", "PING", lambda text: text == "PONG"),
    ],
)
async def test_a_frozen_venue_answers_pings_of_its_own_kind(
    path: str, ping: str, is_life: Callable[[str], bool]
) -> None:
    async with SimServer() as server, visit(server, f"/{path}") as client:
        for venue in ("okx", "bybit", "deribit", "polymarket"):
            server.judge.freeze(venue, 60.0)
        await client.send(ping)
        assert is_life((await client.socket.receive(timeout=10)).data)


async def test_a_frozen_deribit_goes_on_with_its_heartbeat() -> None:
    async with SimServer(time_scale=100) as server, visit(server, "/deribit/ws/api/v2") as client:
        await client.send({"id": 1, "method": "public/set_heartbeat", "params": {"interval": 10}})
        await client.read(lambda frame: frame.get("result") == "ok")
        server.judge.freeze("deribit", 60.0)
        for _ in range(3):
            await client.read(lambda frame: frame.get("params") == {"type": "test_request"})
            await client.send({"id": 2, "method": "public/test"})  # unanswered, it would be cut


async def test_requests_fail_as_scripted() -> None:
    script = "binance 429 retry-after 2 for 2 requests of */time; 5xx for 1 request of */ping; cut-snapshot"
    async with SimServer(feed=FAST, faults=script) as server:
        for wanted in (429, 429, 200):
            status, _, headers = await get(server, "/api.binance.com/api/v3/time")
            assert status == wanted
            assert wanted == 200 or headers["Retry-After"] == "2"
        assert [(await get(server, "/api.binance.com/api/v3/ping"))[0] for _ in range(2)] == [503, 200]
        with pytest.raises(json.JSONDecodeError):
            await get(server, "/api.binance.com/api/v3/depth?symbol=BTCUSDT")
        _, told, _ = await get(server, "/_sim/faults")
        assert [d["action"] for d in told] == ["429", "429", "5xx", "cut-snapshot"]


async def test_connects_are_refused_as_scripted() -> None:
    script = "binance 429 retry-after 2 for 1 connect; 5xx for 1 connect of */stream; slow 0.01s for 1 connect"
    async with SimServer(faults=script) as server, aiohttp.ClientSession() as session:
        assert (await get(server, "/api.binance.com/api/v3/ping"))[0] == 200
        for wanted, wait in ((429, "2"), (503, None)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(server.url + "/stream.binance.com/stream")
            assert caught.value.status == wanted
            assert caught.value.headers is not None and caught.value.headers.get("Retry-After") == wait
        async with visit(server, "/stream.binance.com/stream") as client:
            await client.send(subscribe("btcusdt@trade"))
            await client.read(stream_of("btcusdt@trade"))
        assert [(d["action"], d["detail"]) for d in server.faults_done] == [
            ("429", "connect"), ("5xx", "connect"), ("slow", "connect"),
        ]  # fmt: skip


async def test_a_dropped_frame_has_used_its_connections_number() -> None:
    script = "after 5 coinbase drop 1 frame of level2:*"
    async with (
        SimServer(feed=FAST, faults=script) as server,
        visit(server, "/advanced-trade-ws.coinbase.com") as client,
    ):
        await client.send({"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "level2"})
        numbers = [(await client.read())["sequence_num"] for _ in range(12)]
    assert set(range(13)) - set(numbers) == {7}  # snapshot and acknowledgement come first


# the rest


async def test_truth_is_told_over_http() -> None:
    async with SimServer(feed=FAST) as server, visit(server, "/stream.binance.com/stream") as client:
        await client.send(subscribe("btcusdt@trade"))
        texts = await read_trades(client, 10)
        _, truth, _ = await get(server, f"/_sim/truth?venue=binance&symbol=BTCUSDT&from_id={id_of(texts[0])}&limit=10")
        _, status, _ = await get(server, "/_sim/status")

    (market,) = truth["markets"]
    assert [t["id"] for t in market["trades"]] == [id_of(t) for t in texts]
    assert float(market["bids"][0][0]) < float(market["asks"][0][0])
    delivery = truth["deliveries"][0]
    assert (delivery["topic"], delivery["first_id"]) == ("btcusdt@trade", id_of(texts[0]))
    assert max(hub["frames"] for hub in status["hubs"]) >= 10


async def test_two_servers_of_one_seed_make_one_market() -> None:
    heads = []
    for _ in range(2):
        with clock.compress(1_795_255_200, 0.001):  # the same second for both
            async with SimServer(feed=Synthetic(seed=11)) as server:
                market = server.market("okx", "public", "ETH-USDT-SWAP")
                heads.append(market.trades(limit=500))
    assert heads[0] == heads[1]


async def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match=r"binanse.*did you mean binance"):
        SimServer(venues=["binanse"])
    with pytest.raises(ConfigError, match="above 0"):
        SimServer(feed=Synthetic(rate=0))
    with pytest.raises(ConfigError, match=r"binanse.*did you mean binance"):
        SimServer(faults="at 5s binanse cut")
    SimServer(venues=["okx"], faults="at 5s binance cut")  # a script may be for more than runs now
    async with SimServer() as server:
        with pytest.raises(ConfigError, match="cannot listen"):
            await SimServer(server.port).start()
        with pytest.raises(ConfigError, match="NOPE"):
            server.market("okx", "public", "NOPE")
        status, body, _ = await get(server, "/example.com/x")
        assert status == 404 and "binance" in body["error"]


async def test_a_client_that_leaves_is_forgotten() -> None:
    async with SimServer(feed=FAST) as server:
        async with visit(server, "/stream.binance.com/stream") as client:
            await client.send(subscribe("btcusdt@trade"))
            await read_trades(client, 1)
        hub = server.world.hub("binance", "spot")
        for _ in range(500):
            if not hub.sessions:
                break
            await asyncio.sleep(0.01)
        assert not hub.sessions and not hub.rooms


async def test_the_truth_of_a_prediction_market_is_told_by_its_slug() -> None:
    async with SimServer(venues=["polymarket"]) as server:
        market = server.world.prediction.find("BTC", "15m", server.world.now_ms / 1000)
        _, truth, _ = await get(server, f"/_sim/truth?slug={market.slug},no-such-market")
    assert list(truth["prediction"]) == [market.slug]
    told = truth["prediction"][market.slug]
    assert (told["official"], told["strike"]) == (market.official, str(market.strike))


def test_a_server_rests_between_the_seconds_of_prediction_markets() -> None:
    turns = []

    async def run() -> None:
        async with SimServer(venues=["polymarket"]) as server:
            advance = server.world.advance
            server.world.advance = lambda: turns.append(1) or advance()  # type: ignore[method-assign]
            await asyncio.sleep(30)

    with clock.step_virtual(1_795_255_200):
        clock.run(run())
    assert 25 < len(turns) < 150


async def test_a_coin_market_wakes_a_resting_server() -> None:
    async with (
        SimServer(venues=["polymarket", "binance"], feed=FAST) as server,
        visit(server, "/stream.binance.com/stream") as client,
    ):
        await client.send(subscribe("btcusdt@trade"))
        assert len(await read_trades(client, 20)) >= 20
