"""Every fake venue against the venue file of the package: what the recorder would ask, and that it decodes."""

from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from truetape.collect.plan import batch_topics
from truetape.config import rewrite_url
from truetape.events.instrument import Instrument
from truetape.events.rows import Rows, Scribe
from truetape.sim.server import SimServer, Synthetic
from truetape.sim.venues import list_fakes, load_fake
from truetape.venues import load_venue
from truetape.venues._contract import Feed, Venue

WANTED = {
    "binance": ("BTC-USDT", "BTC-USDT-PERP", "BTC-USD-PERP"),
    "bybit": ("BTC-USDT", "BTC-USDT-PERP", "BTC-USD-PERP"),
    "okx": ("BTC-USDT", "BTC-USDT-PERP", "BTC-USD-PERP"),
    "deribit": ("BTC-USD-PERP", "SOL-USDC-PERP"),
    "coinbase": ("BTC-USD",),
}
MARKETS = [name for name in list_fakes() if load_fake(name).specs]
"""Fake venues that trade coins; those of predictions have tests of their own."""


@pytest.fixture
async def server() -> AsyncIterator[SimServer]:
    # Market time runs 20 times as fast: what comes each second or minute comes soon.
    async with SimServer(feed=Synthetic(seed=3, rate=20, speed=20), has_limits=False) as running:
        yield running


async def fetch_listings(server: SimServer, venue: Venue) -> list[Instrument]:
    found: list[Instrument] = []
    async with aiohttp.ClientSession() as client:
        for listing in venue.listings:
            if venue.default_markets and listing.market not in venue.default_markets:
                continue  # what nobody records unless asked to is not faked
            async with client.get(rewrite_url(listing.url, server.url)) as answer:
                body = await answer.read()
                if answer.status == 200:
                    found += venue.read_listing(listing.url, body)
    return found


@pytest.mark.parametrize("name", MARKETS)
async def test_listings_are_read_by_the_venue_file(name: str, server: SimServer) -> None:
    found = await fetch_listings(server, load_venue(name))

    listed = {(i.venue_symbol) for i in found}
    assert listed == {spec.symbol for spec in load_fake(name).specs}
    assert {i.symbol for i in found} >= set(WANTED.get(name, ()))


@pytest.mark.parametrize("name", MARKETS)
async def test_every_channel_is_published_and_decodes(name: str, server: SimServer) -> None:
    venue = load_venue(name)
    rows = Rows()
    decoder = venue.make_decoder(Scribe(name, rows))
    wanted = [i for i in await fetch_listings(server, venue) if i.symbol in WANTED[name]]
    async with aiohttp.ClientSession() as client:
        for feed in venue.feeds:
            if feed.dates[1] is None:
                await watch_feed(client, server, venue, feed, wanted, decoder.open(feed.name, feed.name))

    assert rows.trades and rows.books and rows.quotes
    assert rows.acks
    kinds = {kind for kind, found in rows.plain.items() if found}
    assert "error" not in kinds, rows.plain["error"]
    if name != "coinbase":
        assert "derivative" in kinds


async def watch_feed(client, server, venue, feed: Feed, wanted, on_message) -> None:
    topics = {
        c: [t for i in wanted if i.market == feed.market for t in venue.list_topics(feed, c, i)] for c in feed.channels
    }
    flat = list(dict.fromkeys(t for found in topics.values() for t in found))
    if not flat:
        return
    async with client.ws_connect(rewrite_url(feed.url, server.url), max_msg_size=0) as socket:
        for greeting in feed.greetings:
            await socket.send_str(greeting)
        for number, batch in enumerate(batch_topics(venue, feed, flat), 1):
            await socket.send_str(venue.subscribe(feed, batch, number).decode())
        seen, data = 0, Counter[bool]()
        while seen < 400:
            try:
                message = await socket.receive(timeout=2)
            except TimeoutError:
                break
            assert message.type is aiohttp.WSMsgType.TEXT, message
            data[on_message(message.data.encode(), seen, seen)] += 1
            seen += 1
        assert data[True] > 20, f"{feed.name}: {data}"


@pytest.mark.parametrize("name", list_fakes())
def test_keys_are_called_as_the_recorder_calls_them(name: str) -> None:
    keys, credentials = load_fake(name).keys, load_venue(name).credentials
    assert not keys or (credentials is not None and set(keys) == set(credentials.names))


@pytest.mark.parametrize("name", [name for name in list_fakes() if load_fake(name).stages])
def test_every_host_that_is_asked_is_stood_for(name: str) -> None:
    venue = load_venue(name)
    asked = [feed.url for feed in venue.feeds] + [listing.url for listing in venue.listings]
    assert {urlsplit(url).hostname for url in asked} <= set(load_fake(name).hosts)
