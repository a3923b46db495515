"""The fake Polymarket against the recorded shapes, the package's own venue file, and its script of faults."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from truetape import clock
from truetape.config import rewrite_url
from truetape.events.rows import Response, Rows, Scribe
from truetape.sim.oracle import E18
from truetape.sim.prediction import Market, Prediction
from truetape.sim.server import SimServer
from truetape.venues import load_venue
from truetape.venues.polymarket.gamma import read_markets
from truetape.venues.polymarket.proof import Prover
from truetape.venues.polymarket.rest import prove_answer, read_book

START = 1_795_255_200
VENUE = load_venue("polymarket")
FEEDS = {feed.name: feed for feed in VENUE.feeds}
CLOB, GAMMA = "https://clob.polymarket.com", "https://gamma-api.polymarket.com"
SESSIONS = "prediction/raw_sessions/jonah_15m_multiasset"


BY_PERIOD = {f"volume{span}{kind}" for span in ("24hr", "1wk", "1mo", "1yr") for kind in ("", "Clob")}
BY_PERIOD |= {f"one{span}PriceChange" for span in ("Day", "Week", "Month", "Year")}
"""What only some recorded markets have."""


class Visit:
    """A client of the fake venue, with the decoder that a recorder would have."""

    def __init__(self, server: SimServer, client: aiohttp.ClientSession) -> None:
        self.server, self.client = server, client
        self.rows = Rows()
        self.decoder = VENUE.make_decoder(Scribe("polymarket", self.rows))
        self.world = server.world.prediction
        self.offset = 0

    async def get(self, url: str, **more: Any) -> tuple[int, bytes]:
        async with self.client.request(more.pop("method", "GET"), rewrite_url(url, self.server.url), **more) as answer:
            return answer.status, await answer.read()

    async def decode(self, url: str) -> None:
        status, body = await self.get(url)
        assert status == 200, (url, status, body[:200])
        self.offset += 1
        self.decoder.respond(Response("clob", "rest", url, status, body, clock.wall_ns(), self.offset))

    @asynccontextmanager
    async def connect(self, feed: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        url = rewrite_url(FEEDS[feed].url, self.server.url)
        async with self.client.ws_connect(url, max_msg_size=0) as socket:
            yield socket


def visit(steps: Callable[[Visit], Awaitable[None]], faults: str = "", start: float = START) -> None:
    """Take steps at a fake venue whose time jumps wherever nothing is to be done."""

    async def run() -> None:
        async with SimServer(venues=["polymarket"], faults=faults) as server, aiohttp.ClientSession() as client:
            await steps(Visit(server, client))

    with clock.step_virtual(start):
        clock.run(run())


def subscribe(*markets: Market) -> str:
    return VENUE.subscribe(FEEDS["clob"], [token for market in markets for token in market.tokens], 1).decode()


async def listen(socket: aiohttp.ClientWebSocketResponse, seconds: float) -> list[str]:
    """Return the frames of so many seconds; the last of them may be a close."""
    until_ns, found = clock.monotonic_ns() + int(seconds * 1e9), []
    while (left_ns := until_ns - clock.monotonic_ns()) > 0:
        try:
            message = await socket.receive(timeout=left_ns / 1e9)
        except TimeoutError:
            break
        if message.type is not aiohttp.WSMsgType.TEXT:
            break
        found.append(message.data)
    return found


def list_events(frames: list[str], kind: str = "") -> list[dict[str, Any]]:
    read = [json.loads(frame) for frame in frames if frame[0] in "[{"]
    events = [event for one in read for event in (one if isinstance(one, list) else [one])]
    return [event for event in events if kind in ("", event["event_type"])]


# shapes


def make_skeleton(frame: str) -> str:
    """Return a frame without its values: keys in their order, spaces, kinds of values, lists of one."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"(\s*:)?', lambda found: found[0] if found[1] else '""', frame)
    text = re.sub(r"(?<=[:\[,\s])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?=[,\]}\s])", "0", text).replace("true", "false")
    while (shorter := re.sub(r'("")(?:,\s?"")+|(\{(?:[^{}]|\{[^{}]*\})*\})(?:,\s?\2)+', r"\1\2", text)) != text:
        text = shorter
    return text


def read_recorded(folder: Path, source: str) -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*/raw_messages.jsonl"))]
    found = [json.loads(line) for text in texts for line in text.split("\n") if line]
    return [message["payload"] for message in found if message["source"] == source]


def test_frames_have_the_recorded_shape_to_the_last_space(recordings: Path) -> None:
    recorded = read_recorded(recordings / SESSIONS, "polymarket_clob")
    prices = read_recorded(recordings / SESSIONS, "polymarket_rtds_chainlink")
    frames: list[str] = []

    async def steps(guest: Visit) -> None:
        markets = [guest.world.find(asset, "15m", START) for asset in ("BTC", "ETH")]
        async with guest.connect("clob") as socket, guest.connect("rtds") as rtds:
            await socket.send_str(subscribe(*markets))
            await rtds.send_str(VENUE.subscribe(FEEDS["rtds"], ["crypto_prices_chainlink"], 1).decode())
            frames.extend(await listen(socket, 120) + await listen(rtds, 5))
        frames.append((await guest.get(f"{CLOB}/book?token_id={markets[0].tokens[0]}"))[1].decode())

    visit(steps)
    made = {make_skeleton(frame) for frame in frames}
    for old, sort in ((recorded, '"price_change"'), (recorded, '"new_market"'), (recorded, '"book"'),
                      (recorded, '"min_order_size"'), (prices, '"update"'), (prices, '"subscribe"')):  # fmt: skip
        wanted = {make_skeleton(frame) for frame in old if sort in frame and '"bids":[]' not in frame}
        assert wanted & made, f"{sort}: {sorted(wanted)[:2]}"
    for frame in frames:
        assert '"best_bid_ask"' not in frame or frame.count(", ") == 6


def test_listings_have_the_recorded_keys_and_kinds(recordings: Path) -> None:
    gamma = recordings / "prediction/gamma"
    (event,) = json.loads((gamma / "brightkha/btc_5m_spot_v1_event_2026-04-30.json").read_text())
    paths = sorted((gamma / "vinayak_active_btc15m").glob("*.json"))
    running = [json.loads(path.read_text())["raw_market"] for path in paths]
    short = json.loads((gamma / "brightkha/clob_market_btc5m_1790127600.json").read_text())

    async def steps(guest: Visit) -> None:
        past, now = guest.world.find("BTC", "5m", START, -4), guest.world.find("BTC", "15m", START)
        over = json.loads((await guest.get(f"{GAMMA}/events/slug/{past.slug}"))[1])
        assert_like(event, over, "event")
        body = json.loads((await guest.get(f"{GAMMA}/markets/slug/{now.slug}"))[1])
        for market in running:
            assert_like(market, body, "market", missing=BY_PERIOD)
        assert_like(short, json.loads((await guest.get(f"{CLOB}/clob-markets/{now.condition}"))[1]), "short")

    visit(steps)


def assert_like(wanted: Any, made: Any, where: str, missing: frozenset[str] | set[str] = frozenset()) -> None:
    if isinstance(wanted, dict):
        assert not set(wanted) - set(made) - missing, f"{where}: {set(wanted) - set(made)}"
        for key in set(wanted) & set(made):
            assert_like(wanted[key], made[key], f"{where}.{key}", missing)
    elif isinstance(wanted, list):
        for one, other in zip(wanted, made, strict=False):
            assert_like(one, other, f"{where}[]", missing)
    elif isinstance(wanted, float | int) and not isinstance(wanted, bool):
        assert isinstance(made, float | int), where
    else:
        assert made is None or isinstance(made, type(wanted)), f"{where}: {wanted!r} {made!r}"


# decoding and proof


def test_a_market_is_recorded_from_listing_to_resolution_and_every_batch_is_proven() -> None:
    async def steps(guest: Visit) -> None:
        markets = [guest.world.find(asset, "15m", START) for asset in ("BTC", "SOL")]
        for market in markets:
            await guest.decode(f"{GAMMA}/events/slug/{market.slug}")
        on_message, prover, verdicts = guest.decoder.open("clob", "c"), Prover(), []
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(*markets))
            frames = await listen(socket, 1100)
            assert socket.close_code == 1000
        for number, frame in enumerate(frames):
            on_message(frame.encode(), START * 10**9 + number, number)
        for row in guest.rows.books:
            verdicts += prover.feed(row)
        assert len(verdicts) > 3000
        assert all(verdict.is_proven for verdict in verdicts)
        assert not prover.finish()
        resolved = {e["slug"]: e["winning_outcome"] for e in list_events(frames, "market_resolved")}
        assert resolved == {market.slug: market.official for market in markets}
        assert list_events(frames, "tick_size_change")
        for market in markets:
            assert (await guest.get(f"{CLOB}/book?token_id={market.tokens[0]}"))[0] == 404
        assert not guest.rows.plain.get("error")
        assert len(guest.rows.trades) == sum(len(list(guest.server.world.crowd.list_trades(m))) for m in markets)

    visit(steps, start=START - 90)


def test_answers_are_the_book_that_the_socket_told() -> None:
    async def steps(guest: Visit) -> None:
        market = guest.world.find("ETH", "15m", START)
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(market))
            frames = await listen(socket, 40)
        tokens = [{"token_id": token} for token in market.tokens]
        _, both = await guest.get(f"{CLOB}/books", method="POST", json=tokens)
        for token, whole in zip(market.tokens, json.loads(both), strict=True):
            status, body = await guest.get(f"{CLOB}/book?token_id={token}")
            assert (status, prove_answer(read_book(body))) == (200, True)
            assert json.loads(body) == whole
            mine = [
                c for e in list_events(frames, "price_change") for c in e["price_changes"] if c["asset_id"] == token
            ]
            best = json.loads(body)["bids"][-1]["price"], json.loads(body)["asks"][-1]["price"]
            assert best == (mine[-1]["best_bid"], mine[-1]["best_ask"])
            assert json.loads((await guest.get(f"{CLOB}/price?token_id={token}&side=BUY"))[1]) == {"price": best[0]}
            middle = json.loads((await guest.get(f"{CLOB}/midpoint?token_id={token}"))[1])["mid"]
            assert float(middle) == pytest.approx((float(best[0]) + float(best[1])) / 2)
        _, named = await guest.get(f"{CLOB}/markets-by-token/{market.tokens[1]}")
        assert json.loads(named)["condition_id"] == market.condition
        assert (await guest.get(f"{CLOB}/book?token_id=5"))[0] == 404
        up, down = (json.loads(both)[i] for i in (0, 1))
        assert [float(level["price"]) for level in up["bids"]] == [
            pytest.approx(1 - float(level["price"])) for level in down["asks"]
        ]

    visit(steps)


def test_subscriptions_grow_shrink_and_may_do_without_pictures() -> None:
    async def steps(guest: Visit) -> None:
        one, two = guest.world.find("BTC", "15m", START), guest.world.find("XRP", "5m", START)
        async with guest.connect("clob") as socket:
            await socket.send_json({"type": "market", "assets_ids": [one.tokens[0]], "initial_dump": False})
            await socket.send_str("PING")
            frames = await listen(socket, 10)
            assert frames[0] == "PONG"
            assert {e["market"] for e in list_events(frames)} == {one.market_field}
            assert not {"best_bid_ask", "new_market"} & {e["event_type"] for e in list_events(frames)}
            await socket.send_json({"operation": "subscribe", "assets_ids": list(two.tokens)})
            dump = json.loads((await listen(socket, 0.2))[0])
            assert [book["asset_id"] for book in dump] == list(two.tokens)
            await socket.send_json({"operation": "unsubscribe", "assets_ids": [one.tokens[0]]})
            await listen(socket, 0.2)
            assert {e["market"] for e in list_events(await listen(socket, 10))} == {two.market_field}
            await socket.send_str("nonsense")
            assert "INVALID OPERATION" in await listen(socket, 0.2)

    visit(steps)


def test_batches_may_come_in_parts_that_share_time_and_hash() -> None:
    async def steps(guest: Visit) -> None:
        market = guest.world.find("BTC", "15m", START)
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(market))
            changes = list_events(await listen(socket, 200), "price_change")
        times = Counter(event["timestamp"] for event in changes)
        assert set(times.values()) == {1, 2}
        for stamp in [stamp for stamp, count in times.items() if count == 2]:
            hashes = {
                (c["asset_id"], c["hash"]) for e in changes if e["timestamp"] == stamp for c in e["price_changes"]
            }
            assert len(hashes) == 2
        for event in changes:
            assert {c["asset_id"] for c in event["price_changes"]} == set(market.tokens)

    visit(steps)


# oracle prices


@pytest.mark.parametrize("feed", ["rtds", "rtds-twap30", "rtds-twap60"])
def test_oracle_prices_are_those_of_the_world(feed: str) -> None:
    async def steps(guest: Visit) -> None:
        topic = {"rtds": "crypto_prices_chainlink", "rtds-twap30": "crypto_prices_twap_thirty"}.get(
            feed, "crypto_prices_twap_sixty"
        )
        on_message = guest.decoder.open(feed, "r")
        async with guest.connect(feed) as socket:
            await socket.send_str(VENUE.subscribe(FEEDS[feed], [topic], 1).decode())
            for number, frame in enumerate(await listen(socket, 30)):
                on_message(frame.encode(), clock.wall_ns(), number)
        rows = guest.rows.plain["oracle_price"]
        assert not guest.rows.plain.get("error")
        oracle, window_s = guest.world.oracle, {"rtds-twap30": 30, "rtds-twap60": 60}.get(feed)
        by_second = {row[1] // 1_000_000: row for row in rows if row[5] == "btc/usd"}
        assert sorted(by_second) == list(range(min(by_second), max(by_second) + 1))
        assert len(by_second) == 60 + 30
        for second, row in by_second.items():
            price = oracle.average("BTC", second, window_s) if window_s else oracle.price("BTC", second)
            assert row[6] == window_s
            assert row[7] == price / E18
        assert Counter(row[5] for row in rows).keys() == {f"{asset}/usd" for asset in ("btc", "eth", "sol", "xrp")}

    visit(steps)


def test_real_time_prices_heed_filters_as_the_venue_does() -> None:
    async def steps(guest: Visit) -> None:
        async def ask(topic: str, filters: str, seconds: float) -> list[dict[str, Any]]:
            async with guest.connect("rtds") as socket:
                wanted = {"topic": topic, "type": "*", "filters": filters}
                await socket.send_json({"action": "subscribe", "subscriptions": [wanted]})
                await socket.send_str("PING")
                return [json.loads(frame) for frame in await listen(socket, seconds)]

        told = await ask("crypto_prices", '{"symbol":"btcusdt"}', 5)
        assert {frame["payload"]["symbol"] for frame in told} == {"btcusdt"}
        assert Counter(frame["type"] for frame in told) == {"subscribe": 1, "update": 5}
        assert [f["type"] for f in await ask("crypto_prices", '{"symbol": "btcusdt"}', 5)] == ["subscribe"]
        assert [f["message"] for f in await ask("no_such_topic", "", 2)] == ["Invalid request body"]

    visit(steps)


# Gamma


def test_a_market_goes_through_its_life_in_gamma() -> None:
    seen: list[tuple[Any, ...]] = []

    async def steps(guest: Visit) -> None:
        market = guest.world.find("BTC", "15m", START)
        while clock.wall_ns() < (max(market.final_shown_s, market.resolved_s) + 100) * 10**9:
            _, body = await guest.get(f"{GAMMA}/events/slug/{market.slug}")
            ((found,), refused) = read_markets(body)
            assert not refused
            now = (found.is_closed, found.resolution_status, found.is_disputed, found.strike, found.final_price)
            if not seen or seen[-1] != now:
                seen.append(now)
            await clock_sleep(20)
        strike, settlement = market.strike / E18, market.settlement / E18
        assert list(dict.fromkeys(one[1] for one in seen)) == [None, "proposed", "disputed", "resolved"]
        assert list(dict.fromkeys(one[3] for one in seen)) == [None, strike]
        assert seen[-1] == (True, "resolved", True, strike, settlement)
        assert found.prices == {"Up": float(market.payouts[0]), "Down": float(market.payouts[1])}
        assert found.rule == "twap"
        assert found.rule_window_s == 60

    visit(steps, faults="dispute 900s of btc-*", start=START + 800)


async def clock_sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def test_listings_are_paged_filtered_and_have_zombies() -> None:
    async def steps(guest: Visit) -> None:
        (listing,) = [one for one in VENUE.listings if "events/keyset" in one.url]
        url: str | None = listing.url
        slugs: list[str] = []
        pages = 0
        while url is not None and pages < 60:
            status, body = await guest.get(url)
            assert status == 200
            slugs += [event["slug"] for event in json.loads(body)["events"]]
            url, pages = VENUE.find_next_page(url, body), pages + 1
        assert len(slugs) == len(set(slugs)) > 1500
        past = [s for s in slugs if s.rpartition("-")[2].isdecimal() and int(s.rpartition("-")[2]) < START - 7 * 3600]
        assert past  # old ones that the list takes for open
        status, body = await guest.get(f"{GAMMA}/events/slug/{past[0]}")
        assert json.loads(body)["closed"] is True
        query = "series_slug=ethereum-up-or-down-hourly&closed=false&end_date_min=2026-11-21T10:00:01Z&limit=100"
        _, body = await guest.get(f"{GAMMA}/events/keyset?{query}")
        titles = [event["title"] for event in json.loads(body)["events"]]
        assert titles[0] == "Ethereum Up or Down - November 21, 5AM ET"
        assert len(titles) == 24
        old = guest.world.find("BTC", "15m", START, -8).slug
        _, body = await guest.get(f"{GAMMA}/events?slug={old}&slug={titles[0]}&closed=false")
        assert body == b"[]"
        _, body = await guest.get(f"{GAMMA}/events?slug={old}&closed=true")
        assert [event["slug"] for event in json.loads(body)] == [old]
        assert (await guest.get(f"{GAMMA}/events/slug/btc-updown-15m-1"))[0] == 404

    visit(steps)


def test_every_series_is_found_as_the_recorder_looks_for_it() -> None:
    from truetape.venues._contract import Wanted

    async def steps(guest: Visit) -> None:
        discovery = VENUE.discovery
        assert discovery is not None
        wanted = Wanted(series=discovery.series, assets=("BTC", "XRP"))
        found = {slug for slug, _, _ in discovery.name_windows(wanted, START)}
        for url in discovery.list_urls(wanted, START):
            status, body = await guest.get(url)
            assert status == 200
            found |= {version.slug for version in discovery.read(url, body)[0]}
        for asset in ("BTC", "XRP"):
            for series in discovery.series:
                assert guest.world.find(asset, series, START).slug in found

    visit(steps)


# faults


def test_a_frozen_connection_answers_pings_and_a_new_one_flows() -> None:
    async def steps(guest: Visit) -> None:
        market = guest.world.find("BTC", "15m", START)
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(market))
            assert len(await listen(socket, 30)) > 20
            await socket.send_str("PING")
            assert await listen(socket, 60) == ["PONG"]
            async with guest.connect("clob") as other:
                await other.send_str(subscribe(market))
                assert len(await listen(other, 20)) > 10
        assert guest.server.faults_done

    visit(steps, faults="at 30s mute 600s of *")


def test_a_single_token_stalls_while_its_sibling_flows() -> None:
    async def steps(guest: Visit) -> None:
        market = guest.world.find("BTC", "15m", START)
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(market))
            await listen(socket, 11)
            events = list_events(await listen(socket, 60))
        changed = {c["asset_id"] for e in events if e["event_type"] == "price_change" for c in e["price_changes"]}
        told = {e["asset_id"] for e in events if e["event_type"] in ("book", "last_trade_price")}
        assert changed == told == {market.tokens[1]}

    visit(steps, faults="at 10s mute 600s of *:Up")


def test_lost_frames_and_wrong_hashes_break_the_proof() -> None:
    async def steps(guest: Visit) -> None:
        markets = [guest.world.find(asset, "15m", START) for asset in ("BTC", "ETH", "SOL")]
        on_message, prover = guest.decoder.open("clob", "c"), Prover()
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(*markets))
            for number, frame in enumerate(await listen(socket, 60)):
                on_message(frame.encode(), clock.wall_ns(), number)
        broken: Counter[str] = Counter()
        for row in guest.rows.books:
            broken.update(guest.rows.streams[v.stream].venue_symbol for v in prover.feed(row) if not v.is_proven)
        assert set(broken) == set(markets[0].tokens) | set(markets[1].tokens)
        assert {done["action"] for done in guest.server.faults_done} == {"drop", "wrong-hash"}

    visit(steps, faults="at 20s drop 1 frame of btc-updown-15m-*[0-9]; at 30s wrong-hash 1 frame of eth-*[0-9]")


def test_ghost_books_restarts_and_stale_listings() -> None:
    async def steps(guest: Visit) -> None:
        market = guest.world.find("BTC", "15m", START)
        url = f"{CLOB}/book?token_id={market.tokens[0]}"
        _, body = await guest.get(url)
        book = json.loads(body)
        assert [(len(book[side]), book[side][0]["price"]) for side in ("bids", "asks")] == [(1, "0.01"), (1, "0.99")]
        assert prove_answer(read_book(body))
        assert [(await guest.get(url))[0] for _ in range(2)] == [425, 425]
        await clock_sleep(100)
        assert len(json.loads((await guest.get(url))[1])["bids"]) > 5
        assert '"price_change"' not in url
        _, before = await guest.get(f"{GAMMA}/events/slug/{market.slug}")
        await clock_sleep(100)
        _, after = await guest.get(f"{GAMMA}/events/slug/{market.slug}")
        assert before == after
        await clock_sleep(100)
        assert (await guest.get(f"{GAMMA}/events/slug/{market.slug}"))[1] != after

    visit(steps, faults="ghost 60s; after 1 425 for 2 requests of /book; at 90s stale 150s of /events*")


def test_odd_markets_late_split_unknown_and_unsaid() -> None:
    async def steps(guest: Visit) -> None:
        split, late = guest.world.find("SOL", "5m", START), guest.world.find("ETH", "5m", START)
        _, body = await guest.get(f"{GAMMA}/events/slug/{guest.world.find('XRP', '5m', START).slug}")
        assert json.loads(body)["version"] == "v3"
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(split))
            events = list_events(await listen(socket, 500))
            assert socket.close_code == 1000
            assert not [e for e in events if e["event_type"] == "market_resolved"]
        await clock_sleep(120)
        (found,), _ = read_markets((await guest.get(f"{GAMMA}/events/slug/{split.slug}"))[1])
        assert found.prices == {"Up": 0.5, "Down": 0.5}
        (found,), _ = read_markets((await guest.get(f"{GAMMA}/events/slug/{late.slug}"))[1])
        assert (found.is_closed, found.resolution_status) == (False, "proposed")

    visit(steps, faults="split of sol-*; late 3600s of eth-*; version of xrp-*; drop 9 frames of *:resolved")


def test_the_oracle_misses_a_boundary_for_everybody() -> None:
    async def steps(guest: Visit) -> None:
        async def watch(seconds: float) -> set[int]:
            async with guest.connect("rtds") as socket:
                await socket.send_str(VENUE.subscribe(FEEDS["rtds"], ["crypto_prices_chainlink"], 1).decode())
                frames = [json.loads(frame)["payload"] for frame in await listen(socket, seconds)]
            mine = [payload for payload in frames if payload["symbol"] == "btc/usd"]
            points = [point for payload in mine for point in payload.get("data", [payload])]
            return {point["timestamp"] // 1000 for point in points}

        gone = set(range(START - 3, START + 4))
        seen = await watch(30)
        assert not seen & gone
        assert {START - 4, START + 4} <= seen
        assert not await watch(3) & gone  # nor does a snapshot heal it

    visit(steps, faults="miss 3s of btc-updown-15m-*", start=START - 15)


def test_markets_of_protocol_2_name_their_positions() -> None:
    # The server's seed is 1, too: the market is known beforehand, and nobody waits for its window.
    windows = Prediction(1).list_markets(START, START + 86_400, ("BTC",), ("5m",))
    market = next(m for m in windows if m.version == "v2")

    async def steps(guest: Visit) -> None:
        _, body = await guest.get(f"{GAMMA}/events/slug/{market.slug}")
        (told,) = json.loads(body)["markets"]
        assert told["clobTokenIds"] is None
        assert told["positionIds"] == list(market.tokens)
        assert int(market.tokens[1]) == int(market.condition, 16) << 8 | 1
        await guest.decode(f"{GAMMA}/events/slug/{market.slug}")
        on_message = guest.decoder.open("clob", "c")
        async with guest.connect("clob") as socket:
            await socket.send_str(subscribe(market))
            frames = await listen(socket, market.resolved_s + 10 - clock.wall_ns() / 1e9)
        assert {event["market"] for event in list_events(frames, "price_change")} == {market.condition + "00"}
        for number, frame in enumerate(frames):
            on_message(frame.encode(), clock.wall_ns(), number)
        assert "clob_socket" in guest.rows.plain["resolution"][-1]
        assert all(market.condition in row for row in guest.rows.plain["resolution"])
        assert guest.rows.wishes

    visit(steps, start=market.opens_s)
