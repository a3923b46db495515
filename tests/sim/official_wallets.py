"""Reads the fake Data API and PolyBolt with the venue's official client; runs in an environment that has it.

Arguments: the URL of the fake venues, a running market's condition and token, an ended market's condition and token,
and the three parts of an API key.
"""

import asyncio
import dataclasses
import json
import sys
from itertools import islice

from polymarket._internal.environment import create_environment, get_environment_config
from polymarket._internal.streams.realtime.manager import RealtimeStreamManager
from polymarket.clients.public import PublicClient
from polymarket.environments import PRODUCTION
from polymarket.models.clob.api_key import ApiKeyCreds
from polymarket.streams import CryptoPriceSpec, CryptoTwapPriceSpec

URL, CONDITION, TOKEN, OLD_CONDITION, OLD_TOKEN, *KEY = sys.argv[1:]
CONFIG = dataclasses.replace(get_environment_config(PRODUCTION), data_url=f"{URL}/data-api.polymarket.com")


def read_wallets() -> dict[str, object]:
    """Read every endpoint of the Data API that is faked."""
    told: dict[str, object] = {}
    with PublicClient(create_environment(name="fake", config=CONFIG)) as client:
        pages = list(client.list_trades(condition_id=OLD_CONDITION, page_size=50))
        trades = [trade for page in pages for trade in page.items]
        told["trades"] = [len(pages), len(trades), sum(trade.outcome_index is None for trade in trades)]
        told["transactions"] = [trade.transaction_hash for trade in trades]
        holders = [group for page in client.list_market_holders(condition_ids=OLD_CONDITION) for group in page.items]
        told["holders"] = [[group.asset_id, len(group.holders)] for group in holders]
        profits = next(iter(client.list_market_holders(condition_ids=OLD_CONDITION, include_pnl=True))).items
        told["profits"] = [one.total_pnl is not None for group in profits for one in group.holders[:1]]
        positions = [one for page in client.list_positions(condition_id=OLD_CONDITION) for one in page.items]
        told["positions"] = {f"{one.wallet} {one.asset_id}": str(one.current_size) for one in positions}
        told["statuses"] = sorted({str(one.status) for one in positions})
        user = trades[0].wallet
        activity = [one for page in client.list_activity(user=user, condition_id=OLD_CONDITION) for one in page.items]
        told["activity"] = sorted({type(one).__name__ for one in activity})
        (resolution,) = client.get_resolutions(condition_ids=OLD_CONDITION)
        told["resolution"] = [str(resolution.status), [str(part) for part in resolution.payouts or ()]]
        prices = client.list_price_history(asset_id=OLD_TOKEN, interval="1d", bucket_seconds=60)
        told["prices"] = len(next(iter(islice(prices, 1))).items)
        told["interest"] = [str(one.value) for one in client.get_open_interests(condition_ids=CONDITION)]
    return told


async def read_prices() -> list[list[object]]:
    """Read both channels of PolyBolt for some seconds."""
    key = ApiKeyCreds(key=KEY[0], secret=KEY[1], passphrase=KEY[2])
    socket = f"{URL.replace('http', 'ws', 1)}/ws-live-v2.polymarket.com/ws"
    manager, seen = RealtimeStreamManager(url=socket, credentials=key), []
    for spec in (
        CryptoPriceSpec(symbols=["btcusd", "ethusd"], provider="chainlink"),
        CryptoTwapPriceSpec(symbols=["btcusd"]),
    ):
        handle = await manager.subscribe(spec)
        try:
            async with asyncio.timeout(2.5):
                async for event in handle:
                    seen.append([type(event).__name__, event.payload.symbol, str(event.payload.source)])
        except TimeoutError:
            await handle.close()
    await manager.close()
    return seen


def main() -> None:
    """Print everything as one line of JSON."""
    print(json.dumps({**read_wallets(), "streams": asyncio.run(read_prices())}))


main()
