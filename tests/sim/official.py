"""Reads a fake Polymarket with the venue's official clients; runs in an environment that has them, prints what it got.

Arguments: the URL of the fake venues, then slugs of events.
"""

import asyncio
import dataclasses
import json
import sys
from collections import Counter

from polymarket._internal.environment import create_environment, get_environment_config
from polymarket.clients.async_public import AsyncPublicClient
from polymarket.clients.public import PublicClient
from polymarket.environments import PRODUCTION
from polymarket.streams import CryptoPricesSpec, MarketSpec
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import BookParams

URL, SLUGS = sys.argv[1], sys.argv[2:]
SOCKETS = URL.replace("http", "ws", 1)
CONFIG = dataclasses.replace(
    get_environment_config(PRODUCTION),
    clob_url=f"{URL}/clob.polymarket.com",
    gamma_url=f"{URL}/gamma-api.polymarket.com",
    data_url=f"{URL}/data-api.polymarket.com",
    clob_market_ws_url=f"{SOCKETS}/ws-subscriptions-clob.polymarket.com/ws/market",
    rtds_ws_url=f"{SOCKETS}/ws-live-data.polymarket.com",
)
ENVIRONMENT = create_environment(name="fake", config=CONFIG)


def read_listings() -> dict[str, object]:
    """Read events, markets and books with the client of all services."""
    told: dict[str, object] = {}
    with PublicClient(ENVIRONMENT) as client:
        for slug in SLUGS:
            event = client.get_event(slug=slug)
            (market,) = event.markets
            assert client.get_market(slug=slug).id == market.id
            outcomes = (market.outcomes.yes, market.outcomes.no)
            told[slug] = {
                "condition": market.condition_id,
                "tokens": [one.token_id or one.position_id for one in outcomes],
                "prices": [str(one.price) for one in outcomes],
                "labels": [one.label for one in outcomes],
                "is_closed": market.state.closed,
                "status": market.resolution.uma_resolution_status or market.resolution.resolution_status,
            }
        events, markets = client.list_events(closed=False), client.list_markets(closed=False)
        told["events"] = [len(page.items) for _, page in zip(range(3), events, strict=False)]
        told["markets"] = [len(page.items) for _, page in zip(range(3), markets, strict=False)]
        tokens = told[SLUGS[0]]["tokens"]  # type: ignore[index]
        book = client.get_order_book(token_id=tokens[0])
        told["book"] = [str(book.bids[-1].price), str(book.asks[-1].price)]
        told["books"] = len(client.get_order_books(token_ids=tokens))
        told["price"] = [str(client.get_price(token_id=tokens[0], side=side)) for side in ("BUY", "SELL")]
        client.get_midpoints(token_ids=tokens)
        client.get_spread(token_id=tokens[0])
        client.get_last_trade_price(token_id=tokens[0])
    return told


def read_books(tokens: list[str], condition: str) -> dict[str, object]:
    """Read the order book's own service, and check the hashes of books as its client makes them."""
    client = ClobClient(CONFIG.clob_url, chain_id=137)
    books = client.get_order_books([BookParams(token_id=token) for token in tokens])
    client.get_price(tokens[0], "BUY")
    client.get_spread(tokens[0])
    return {
        "ok": client.get_ok(),
        "time": client.get_server_time(),
        "hashes": [client.get_order_book_hash(book) == book["hash"] for book in books],
        "tick": client.get_tick_size(tokens[0]),
        "negative_risk": client.get_neg_risk(tokens[0]),
        "fee": client.get_fee_rate_bps(tokens[0]),
        "midpoint": client.get_midpoint(tokens[0])["mid"],
        "market": client.get_market(condition)["condition_id"],
        "short": client.get_clob_market_info(condition)["c"],
        "pages": [len(page()["data"]) for page in (client.get_markets, client.get_sampling_markets)],
    }


async def read_streams(tokens: list[str]) -> dict[str, int]:
    """Read both sockets for some seconds; returns how many events of each kind came."""
    seen: Counter[str] = Counter()
    async with AsyncPublicClient(ENVIRONMENT) as client:
        for spec in (
            MarketSpec(asset_ids=tokens, custom_feature_enabled=True),
            CryptoPricesSpec(topic="prices.crypto.chainlink"),
        ):
            async with await client.subscribe(spec) as handle:
                try:
                    async with asyncio.timeout(3):
                        async for event in handle:
                            seen[type(event).__name__] += 1
                except TimeoutError:
                    continue
    return seen


def main() -> None:
    """Print everything as one line of JSON."""
    told = read_listings()
    first, second = told[SLUGS[0]], told[SLUGS[1]]
    told["clob"] = read_books(first["tokens"], first["condition"])  # type: ignore[index]
    told["streams"] = asyncio.run(read_streams([*first["tokens"], *second["tokens"]]))  # type: ignore[index]
    print(json.dumps(told))


main()
