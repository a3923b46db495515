"""What no socket streams is made of the settings, runs beside what does, and is refused when there is no such thing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from truetape.collect.collector import collect, load_venues
from truetape.collect.connection import Tuning
from truetape.collect.polled import check_polled, group_outcomes
from truetape.collect.retry import Backoff, make_decide
from truetape.config import RecordSettings, Settings, VenueSettings
from truetape.errors import ConfigError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Rows, Scribe
from truetape.venues import load_venue
from truetape.venues._contract import Followed, Round
from truetape.venues.polymarket.wallets import (
    LARGEST_QUERY,
    PAGE_ROWS,
    WALK_PAGES,
    ask_balances,
    find_balances_fault,
    find_data_fault,
    follow_balances,
    follow_data,
)

RECORD = RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5, tick_seconds=60)
TUNING = Tuning(decide=make_decide(Backoff(0.001, 0.01, 0.05)))


@asynccontextmanager
async def collecting(tape: Any, answer: Any, **venues: VenueSettings) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    there = {
        name: VenueSettings(chosen.instruments, chosen.channels, chosen.markets, url=url)
        for name, chosen in venues.items()
    }
    stop = asyncio.Event()
    task = asyncio.create_task(collect(Settings(venues=there, record=RECORD), tape, None, stop, tuning=TUNING))
    try:
        yield
        stop.set()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


async def test_chainlink_without_a_key_is_read_off_its_page_and_says_so(tape: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/data.chain.link/api/query-timescale"
        return web.json_response({"data": {"liveStreamReports": {"nodes": []}}})

    settings = VenueSettings(instruments=("BTC-USD", "XRP-USD"), channels=("oracle_price",))
    async with collecting(tape, answer, chainlink=settings):
        await tape.until(lambda: len(tape.events("poll_resumed")) == 2)
    assert {e["subject"] for e in tape.events("subscribed")} == {"BTC-USD", "XRP-USD"}
    (line,) = tape.events("left_out")
    assert line["reason"].startswith(
        "venues.chainlink: streams is left out, it needs a key: set TRUETAPE_KEY_CHAINLINK"
    )


async def test_kalshi_without_a_key_is_asked_for_its_books(tape: Any) -> None:
    market = {
        "ticker": "KXBTC-1",
        "event_ticker": "KXBTC",
        "status": "active",
        "title": "?",
        "open_time": "2026-11-21T10:00:00Z",
        "close_time": "2026-11-21T10:15:00Z",
    }
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path.endswith("/orderbook"):
            return web.json_response({"orderbook_fp": {"yes_dollars": [], "no_dollars": []}})
        return web.json_response({"markets": [market], "cursor": ""})

    settings = VenueSettings(instruments=("KXBTC-*",), channels=("book_snapshot",))
    async with collecting(tape, answer, kalshi=settings):
        await tape.until(lambda: tape.events("poll_resumed"))
    assert asked[:2] == [f"/api.elections.kalshi.com/trade-api/v2/markets{end}" for end in ("", "/KXBTC-1/orderbook")]
    (told,) = tape.events("subscribed")
    assert [s["venue_symbol"] for s in told["streams"]] == ["KXBTC-1:Yes", "KXBTC-1:No"]


def test_names_that_a_poll_does_not_know_are_refused_before_anything_starts() -> None:
    chainlink = load_venue("chainlink")
    settings = VenueSettings(instruments=("DOGE-USD",), channels=("oracle_price",), markets=("page",))
    with pytest.raises(ConfigError, match=r"venues\.chainlink\.instruments: DOGE-USD: page has none of these"):
        check_polled(chainlink, settings)
    with pytest.raises(ConfigError, match="page has none of these"):
        load_venues(Settings(venues={"chainlink": settings}))
    wrong = VenueSettings(instruments=("all",), channels=("trade",), markets=("page",))
    with pytest.raises(
        ConfigError, match=r"venues\.chainlink\.channels: 'trade' is not there \(allowed: oracle_price\)"
    ):
        load_venues(Settings(venues={"chainlink": wrong}))


def test_outcomes_of_a_listing_are_markets() -> None:
    listed = [
        Instrument("kalshi", "m", f"{t}:{side}", f"{t}:{side}", "outcome")
        for t in ("A-1", "B-1")
        for side in ("Yes", "No")
    ]
    listed.append(Instrument("kalshi", "m", "A-1", "A-1", "oracle"))
    settings = VenueSettings(instruments=("A-*",))
    assert group_outcomes(settings, listed) == (Followed("A-1", "", ("A-1:Yes", "A-1:No"), 0, 0, "open"),)


# -- wallets of Polymarket --------------------------------------------------------------------------------

MARKET = Followed("btc-updown-15m-1", "0xc0", ("11", "22"), 0, 900_000_000, "open")


def page(rows: int, block: int = 7, first: int = 0) -> bytes:
    balances = [{"id": f"0x{first + n:06d}"} for n in range(rows)]
    return json.dumps({"data": {"_meta": {"block": {"number": block}}, "userBalances": balances}}).encode()


def turn(*markets: Followed) -> Any:
    return Round(1, "", markets)


def test_balances_are_asked_of_open_markets_only() -> None:
    (ask,) = ask_balances(
        turn(MARKET, Followed("x", "0xc1", ("33",), 0, 1, "listed"), Followed("y", "0xc2", ("4",), 0, 1, "resolved"))
    )
    assert ask.url.endswith("/gn#0xc0")
    assert json.loads(ask.body)["variables"] == {"tokens": ["11", "22"], "after": "", "first": PAGE_ROWS}
    assert {(told.channel, told.market, told.venue_symbol) for told in ask.streams} == {
        ("position", "goldsky", "11"),
        ("position", "goldsky", "22"),
    }
    assert follow_balances(ask, page(0)) is None
    assert follow_balances(ask, page(PAGE_ROWS - 1)) is None


def test_pages_of_balances_go_by_id_at_one_block_and_end_with_the_largest() -> None:
    (ask,) = ask_balances(turn(MARKET))
    pages = [ask]
    while following := follow_balances(pages[-1], page(PAGE_ROWS, 7, len(pages) * PAGE_ROWS)):
        pages.append(following)
    assert len(pages) == WALK_PAGES + 1
    asked = [json.loads(one.body) for one in pages]
    assert [one["variables"].get("block") for one in asked] == [None] + [7] * WALK_PAGES
    assert [one["variables"].get("after") for one in asked[:3]] == ["", "0x001999", "0x002999"]
    assert asked[-1]["query"] == LARGEST_QUERY
    assert all(one.streams == ask.streams and one.url == ask.url for one in pages)


def test_faults_of_the_services_are_seen() -> None:
    assert find_balances_fault(b'{"errors":[{"message":"block not indexed"}]}') == "block not indexed"
    assert find_balances_fault(page(1)) == ""
    assert find_data_fault(b'{"error":"bad condition"}') == "bad condition"
    assert find_data_fault(b"[]") == "not an object"
    assert find_data_fault(b'{"data":[],"pagination":{}}') == ""


def test_the_data_api_is_followed_by_its_cursor() -> None:
    holders = next(poll for poll in load_venue("polymarket").polls if poll.name == "holders")
    (ask,) = holders.make_asks(turn(MARKET))
    assert ask.url == "https://data-api.polymarket.com/v2/holders?condition=0xc0&limit=500"
    more = follow_data(ask, b'{"data":[],"pagination":{"next_cursor":"z","has_more":true}}')
    assert more is not None
    assert more.url.endswith("cursor=z")
    assert follow_data(more, b'{"data":[],"pagination":{"next_cursor":null,"has_more":false}}') is None


def test_trades_are_walked_back_to_the_last_good_turn() -> None:
    trades = next(poll for poll in load_venue("polymarket").polls if poll.name == "trades")
    (ask,) = trades.make_asks(Round(2_000_000_000, "", (MARKET,), since_us=1_000_000_000))
    assert ask.url == "https://data-api.polymarket.com/v2/trades?condition=0xc0&limit=500#670"

    def answer(*times: int) -> bytes:
        data = [{"timestamp": second} for second in times]
        return json.dumps({"data": data, "pagination": {"next_cursor": "n", "has_more": True}}).encode()

    more = trades.follow(ask, answer(900, 800))
    assert more is not None
    assert (more.url, more.page) == (
        "https://data-api.polymarket.com/v2/trades?condition=0xc0&limit=500&cursor=n#670",
        2,
    )
    assert trades.follow(more, answer(700, 660)) is None
    assert trades.follow(more, answer()) is None
    assert trades.make_asks(turn(msgspec.structs.replace(MARKET, condition=""))) == []


def test_an_empty_snapshot_is_a_row_that_names_its_market() -> None:
    polymarket = load_venue("polymarket")
    (ask,) = ask_balances(turn(MARKET))
    scribe = Scribe("polymarket", Rows())
    decoder = polymarket.make_decoder(scribe)
    assert decoder.respond(Response("goldsky", "polymarket/balances", ask.url, 200, page(0), 1, 0))
    (row,) = scribe.rows.plain["position"]
    stream = scribe.rows.streams[row[0]]
    assert (stream.venue_symbol, row[4], row[-2]) == ("0xc0", None, 7)
