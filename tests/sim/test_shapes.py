"""Frames of the fake venues have the shape of recorded ones: the same keys, the same JSON types, all the way down."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from recorded import read_frames

from truetape.sim.server import SimServer, Synthetic

BINANCE = ("trade", "bookTicker", "depth@100ms")

# recording, WebSocket path, messages, and frames that only newer days of the venue have (see the fact sheet)
CASES = [
    ("binance/hftbacktest_spot_btcusdt_20240808.gz", "/stream.binance.com/stream", [f"btcusdt@{c}" for c in BINANCE]),
    ("binance/hftbacktest_usdm_btcusdt_20240808.gz", "/fstream.binance.com/public/stream", [f"btcusdt@{c}" for c in BINANCE]),
    ("binance/hftbacktest_usdm_btcusdt_20230405.dat.gz", "/fstream.binance.com/market/stream", ["btcusdt@markPrice@1s"]),
    ("binance/hftbacktest_coinm_btcusd_perp_20240808.gz", "/dstream.binance.com/stream", [f"btcusd_perp@{c}" for c in BINANCE]),
    ("binance/cryptofeed_binance_20211012.jsonl.gz", "/stream.binance.com/stream", ["btcusdt@aggTrade", "btcusdt@kline_1m"]),
    ("binance/cryptofeed_binance_futures_20210722.jsonl.gz", "/fstream.binance.com/market/stream", ["btcusdt@aggTrade", "btcusdt@kline_1m"]),
    ("binance/cryptofeed_binance_delivery_20210722.jsonl.gz", "/dstream.binance.com/stream", ["btcusd_perp@aggTrade", "btcusd_perp@kline_1m"]),
    (
        "bybit/cryptofeed_bybit_20260809_linear.jsonl.gz",
        "/stream.bybit.com/v5/public/linear",
        {"op": "subscribe", "args": [f"{t}.BTCUSDT" for t in ("publicTrade", "orderbook.200", "tickers", "kline.1")]},
    ),
    (
        "okx/cryptofeed_okx_20220513.jsonl.gz",
        "/ws.okx.com/ws/v5/public",
        {"op": "subscribe", "args": [{"channel": c, "instId": "BTC-USDT"} for c in ("tickers", "trades", "books")]},
    ),
    (
        "deribit/nautilus_fixtures.jsonl",
        "/www.deribit.com/ws/api/v2",
        {
            "id": 1,
            "method": "public/subscribe",
            "params": {"channels": [f"{c}.BTC-PERPETUAL.100ms" for c in ("book", "trades", "ticker")] + ["quote.BTC-PERPETUAL"]},
        },
    ),
    (
        "coinbase/cryptofeed_coinbase_20210417_a.jsonl.gz",
        "/ws-feed.exchange.coinbase.com",
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches", "ticker", "level2_batch"]},
    ),
    *(
        (
            "coinbase/cryptofeed_coinbase_20260809.jsonl.gz",
            "/advanced-trade-ws.coinbase.com",
            {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": channel},
        )
        for channel in ("market_trades", "level2", "ticker", "candles", "heartbeats")
    ),
]  # fmt: skip
NEWER = {
    "okx trades": {"count", "source", "seqId"},
    "okx books": {"seqId", "prevSeqId"},
    "okx subscribe": {"connId"},
    "coinbase ticker": {"best_bid_size", "best_ask_size"},  # since 2022
    "coinbase snapshot": {"time"},
    "deribit trades": {"liquidation"},  # only on liquidations
}
OPTIONAL = {
    "deribit trades": {"combo_trade_id", "combo_id", "liquidation"},
    "deribit book snapshot": {"prev_change_id"},  # the fixture has a null that recordings do not have
}


def name_frame(venue: str, frame: dict[str, Any]) -> str:
    if venue == "binance":
        return frame.get("stream", "ack").partition("@")[2].split("@")[0]
    if venue == "bybit":
        return f"{frame.get('topic', 'ack').rpartition('.')[0]} {frame.get('type', '')}"
    if venue == "okx":
        return f"okx {frame.get('event') or frame['arg']['channel']}"
    if venue == "deribit":
        channel, data = frame.get("params", {}).get("channel", "ack"), frame.get("params", {}).get("data", {})
        kind = data.get("type", "") if isinstance(data, dict) else ""
        return f"deribit {channel.split('.')[0]} {kind}".strip()
    return f"coinbase {frame.get('channel') or frame['type']}"


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        kinds: list[Any] = []
        for item in value:
            found = shape(item)
            if found not in kinds:
                kinds.append(found)
        return kinds
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "null"


def differ(mine: Any, theirs: Any, path: str = "$") -> list[str]:
    """List where a shape is none that was recorded; an empty list says nothing about what would be in it."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        found = [f"{path}.{key}" for key in mine.keys() ^ theirs.keys()]
        return found + [line for k in mine.keys() & theirs.keys() for line in differ(mine[k], theirs[k], f"{path}.{k}")]
    if isinstance(mine, list) and isinstance(theirs, list):
        if not theirs:
            return []
        return [line for item in mine for line in min((differ(item, t, f"{path}[]") for t in theirs), key=len)]
    return [] if mine == theirs else [f"{path}: {mine} is not {theirs}"]


async def collect(path: str, order: Any, count: int) -> list[dict[str, Any]]:
    message = order if isinstance(order, dict) else {"method": "SUBSCRIBE", "params": order, "id": 1}
    frames = []
    async with SimServer(feed=Synthetic(seed=4, rate=50, speed=20)) as server, aiohttp.ClientSession() as session:
        socket = await session.ws_connect(server.url + path, max_msg_size=0)
        await socket.send_str(json.dumps(message))
        while len(frames) < count:
            try:
                frames.append(await socket.receive_json(timeout=2))
            except TimeoutError:
                break
        await socket.close()
    return frames


@pytest.mark.parametrize(("name", "path", "order"), CASES, ids=[f"{c[0].split('/')[1][:40]}{c[1]}-{i}" for i, c in enumerate(CASES)])  # fmt: skip
async def test_frames_have_recorded_shapes(name: str, path: str, order: Any, recordings: Path) -> None:
    venue = name.split("/")[0]
    known: dict[str, list[Any]] = {}
    for frame in read_frames(recordings / "crypto" / name):
        if frame.kind != "text" or frame.payload[:1] != b"{" or len(known.get("", [])) > 50:
            continue
        tree = json.loads(frame.payload)
        if venue == "deribit" and "method" not in tree:
            continue
        shapes = known.setdefault(name_frame(venue, tree), [])
        found = shape(tree)
        if len(shapes) < 40 and found not in shapes:
            shapes.append(found)

    compared = set()
    for frame in await collect(path, order, 60 if "heartbeats" not in str(order) else 3):
        kind = name_frame(venue, frame)
        if not known.get(kind) or kind == "coinbase subscriptions":  # its keys are what was subscribed
            continue
        compared.add(kind)
        if kind == "tickers delta":  # any part of the snapshot's fields
            full = known["tickers snapshot"][0]["data"]
            assert shape(frame)["data"].items() <= full.items()
            continue
        wrong = min((differ(shape(frame), one) for one in known[kind]), key=len)
        excused = NEWER.get(kind, set()) | OPTIONAL.get(kind, set())
        assert not [w for w in wrong if w.rpartition(".")[2] not in excused], (kind, wrong)
    assert compared
