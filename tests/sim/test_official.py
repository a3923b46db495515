"""The venue's official clients read the fake Polymarket: listings, books, hashes and both sockets, without an error."""

import asyncio
import json
from pathlib import Path

from truetape import clock
from truetape.sim.server import SimServer

SCRIPT = Path(__file__).with_name("official.py")


async def test_official_clients_read_everything(python: str) -> None:
    async with SimServer(venues=["polymarket"]) as server:
        world, now_s = server.world.prediction, clock.wall_ns() / 1e9
        markets = [  # books are read of the first, which is not yet open: both its sides hold orders; sockets of both
            world.find("BTC", "15m", now_s, 1),
            world.find("BTC", "15m", now_s),
            world.find("BTC", "15m", now_s, -2),
            world.find("ETH", "5m", now_s, 1),
            world.find("SOL", "1h", now_s),
            world.find("XRP", "daily", now_s, -1),
            next(m for m in world.list_markets(now_s - 7200, now_s - 600, ("BTC",), ("5m",)) if m.version == "v2"),
        ]
        process = await asyncio.create_subprocess_exec(
            python, "-W", "ignore", str(SCRIPT), server.url, *(market.slug for market in markets),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()[-2000:]
    told = json.loads(output)
    for market in markets:
        found = told[market.slug]
        assert (found["condition"], found["tokens"]) == (market.condition, list(market.tokens))
        assert found["labels"] == ["Up", "Down"]
        if market.resolved_s < now_s - 120:
            assert (found["prices"], found["is_closed"]) == (list(market.payouts), True)
            assert found["status"] == "resolved"
    assert told["events"] == told["markets"] == [20, 20, 20]
    assert told["clob"]["hashes"] == [True, True]
    assert told["clob"]["ok"] == "OK"
    assert told["clob"]["market"] == told["clob"]["short"] == markets[0].condition
    assert abs(told["clob"]["time"] - now_s) < 60
    assert set(told["streams"]) >= {"MarketBookEvent", "MarketPriceChangeEvent", "CryptoPricesChainlinkEvent"}
