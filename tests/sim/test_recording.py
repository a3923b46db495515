"""Recordings through the fake venues: every frame arrives, in order, byte for byte."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from recorded import read_frames

from truetape.errors import ConfigError
from truetape.sim.recording import Recording
from truetape.sim.replica import Replica
from truetape.sim.server import SimServer


async def listen(socket: aiohttp.ClientWebSocketResponse, recording: Recording, count: int) -> list[str]:
    texts: list[str] = []
    while len(texts) < count:
        message = await socket.receive(timeout=20)
        assert message.type is aiohttp.WSMsgType.TEXT, (message, recording.describe())
        if not message.data.startswith('{"result"'):
            texts.append(message.data)
    return texts


@pytest.mark.parametrize(
    ("name", "ws", "rest"),
    [
        ("spot_btcusdt_20240808", "/stream.binance.com/stream", "/api.binance.com/api/v3"),
        ("usdm_btcusdt_20240718", "/fstream.binance.com/public/stream", "/fapi.binance.com/fapi/v1"),
    ],
)
async def test_a_binance_recording_arrives_whole(recordings: Path, name: str, ws: str, rest: str) -> None:
    path = recordings / f"crypto/binance/hftbacktest_{name}.gz"
    frames = [f for f in read_frames(path) if f.kind in ("text", "http")]
    wanted = [f.payload.decode().replace("@depth@0ms", "@depth@100ms", 1) for f in frames if f.kind == "text"]
    recording = Recording([path], speed=0)
    async with SimServer(feed=recording) as server, aiohttp.ClientSession() as session:  # noqa: SIM117
        async with session.ws_connect(server.url + ws, max_msg_size=0) as socket:
            streams = [f"btcusdt@{c}" for c in ("trade", "depth@100ms", "bookTicker")]
            await socket.send_str(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
            async with session.get(f"{server.url}{rest}/depth?symbol=BTCUSDT&limit=1000") as answer:
                snapshot = await answer.read()
            texts = await listen(socket, recording, len(wanted))
            async with session.get(f"{server.url}{rest}/depth?symbol=BTCUSDT&limit=1000") as answer:
                later: dict[str, Any] = await answer.json()

    assert texts == wanted
    assert snapshot == next(f.payload for f in frames if f.kind == "http")
    diffs = [json.loads(t)["data"] for t in texts if "depthUpdate" in t[:120]]
    assert later["lastUpdateId"] == diffs[-1]["u"]
    assert float(later["bids"][0][0]) < float(later["asks"][0][0])
    for price, size in diffs[-1]["b"]:
        assert dict(later["bids"]).get(price, size) == size


async def test_a_coinbase_recording_is_served_with_its_listing(recordings: Path) -> None:
    path = recordings / "crypto/coinbase/cryptofeed_coinbase_20260809.jsonl.gz"
    frames = [json.loads(f.payload) for f in read_frames(path) if f.kind == "text"]
    wanted = [f for f in frames if f["channel"] in ("market_trades", "l2_data")]
    recording = Recording([path], speed=0)
    async with SimServer(feed=recording) as server, aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/api.coinbase.com/api/v3/brokerage/market/products") as answer:
            listed = {p["product_id"] for p in (await answer.json(content_type=None))["products"]}
        async with session.ws_connect(f"{server.url}/advanced-trade-ws.coinbase.com", max_msg_size=0) as socket:
            for channel in ("market_trades", "level2"):
                order = {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": channel}
                await socket.send_str(json.dumps(order))
            texts = await listen(socket, recording, len(wanted) + 2)

    assert {"BTC-USD", "ETH-USD"} <= listed
    got = [json.loads(t) for t in texts]
    assert [f["sequence_num"] for f in got] == list(range(len(got)))
    assert [f["events"] for f in got if f["channel"] != "subscriptions"] == [f["events"] for f in wanted]


async def test_the_pace_is_the_recorded_one_divided_by_the_speed(tmp_path: Path) -> None:
    frame = '{{"stream":"btcusdt@trade","data":{{"e":"trade","s":"BTCUSDT","t":{}}}}}'
    lines = [f"{1_723_161_256_000_000_000 + n * 1_000_000_000} {frame.format(n)}\n" for n in range(4)]
    (tmp_path / "spot.txt").write_text("".join(lines))
    recording = Recording([tmp_path / "spot.txt"], speed=20, settle_s=0.05)
    async with SimServer(feed=recording) as server, aiohttp.ClientSession() as session:  # noqa: SIM117
        async with session.ws_connect(f"{server.url}/stream.binance.com/stream?streams=btcusdt@trade") as socket:
            times = []
            for number in range(4):
                assert (await socket.receive_json(timeout=10))["data"]["t"] == number
                times.append(asyncio.get_running_loop().time())
    assert times[-1] - times[0] > 0.1  # three recorded seconds, twenty times as fast: at least two thirds of it


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Recording([tmp_path / "none"])


def test_a_book_begins_anew_where_the_recording_does() -> None:
    def diff(first: int, last: int, before: int, price: str) -> bytes:
        data = f'"U":{first},"u":{last},"pu":{before},"b":[["{price}","1"]],"a":[]'
        return f'{{"stream":"btcusdt@depth","data":{{"e":"depthUpdate","s":"BTCUSDT",{data}}}}}'.encode()

    def snapshot(last: int, price: str) -> bytes:
        return f'{{"lastUpdateId":{last},"bids":[["{price}","2"]],"asks":[]}}'.encode()

    def tell(replica: Replica) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(replica.describe())
        return {"last": told["lastUpdateId"], "bids": dict(told["bids"])}

    lines = [diff(1, 2, 0, "10"), snapshot(2, "11"), diff(4, 5, 2, "12")]
    later = [diff(100, 110, 90, "70"), diff(115, 120, 110, "71"), snapshot(117, "72"), diff(125, 130, 120, "73")]
    last = [diff(200, 210, 190, "80")]
    replica = Replica("usdm")
    for line in lines + later + last:
        (replica.begin if b"stream" in line else replica.offer)(line)
    seen = [tell(replica)]
    for line in (line for line in lines + later + last if b"stream" in line):
        replica.apply(line)
        seen.append(tell(replica))
    first, second = {"last": 2, "bids": {"11": "2"}}, {"last": 117, "bids": {"72": "2"}}
    assert seen[:4] == [first, first, {"last": 5, "bids": {"11": "2", "12": "1"}}, second]
    assert seen[4] == {"last": 120, "bids": {"72": "2", "71": "1"}}
    assert seen[5] == {"last": 130, "bids": {"72": "2", "71": "1", "73": "1"}}
    assert seen[6] == {"last": 210, "bids": {"80": "1"}}
