"""The venue's official client reads the fake Data API and PolyBolt without an error."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

from truetape import clock
from truetape.sim.server import SimServer
from truetape.sim.venues._polybolt import CREDENTIALS

SCRIPT = Path(__file__).with_name("official_wallets.py")


async def test_the_official_client_reads_wallets_and_prices(python: str) -> None:
    async with SimServer(venues=["polymarket"]) as server:
        now_s = clock.wall_ns() / 1e9
        known = server.world.prediction
        running = known.find("BTC", "15m", now_s)
        windows = (known.find("BTC", "15m", now_s, -ahead) for ahead in range(2, 12))
        ended = next(m for m in windows if m.version == "v1")
        process = await asyncio.create_subprocess_exec(
            python, "-W", "ignore", str(SCRIPT), server.url, running.condition, running.tokens[0], ended.condition,
            ended.tokens[0], *CREDENTIALS.values(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
        trades = server.world.crowd.list_trades(ended)
        ever = {w for outcome in (0, 1) for w, _ in server.world.crowd.hold(ended, outcome, ended.ends_s + 30)}

    assert process.returncode == 0, errors.decode()[-2000:]
    told = json.loads(output)
    assert told["transactions"] == [trade.transaction for trade in reversed(trades)]
    assert told["trades"][0] == -(-len(trades) // 50)
    assert {token for token, _ in told["holders"]} == set(ended.tokens)
    assert {key.split()[0] for key in told["positions"]} <= ever
    assert all(Decimal(size) > 0 for size in told["positions"].values())
    assert told["statuses"] in ([], ["REDEEMABLE"])
    assert "TradeActivity" in told["activity"]
    assert told["resolution"] == ["resolved", list(ended.payouts)]
    assert told["prices"] > 0 and len(told["interest"]) == 1
    kinds = {(kind, symbol, source) for kind, symbol, source in told["streams"]}
    assert kinds == {
        (f"Crypto{average}Price{kind}Event", symbol, "chainlink")
        for average, symbols in (("", ("btcusd", "ethusd")), ("Twap", ("btcusd",)))
        for kind in ("Snapshot", "Update")
        for symbol in symbols
    }
