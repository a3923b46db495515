"""Prediction markets found, subscribed in time and followed to their label, on real sockets in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from counted_gamma import Gamma, make_event, name_tokens

from calm import Calm
from truetape import clock
from truetape.collect.collector import collect
from truetape.collect.connection import Tuning
from truetape.collect.memory import Followed
from truetape.config import MarketFilters, RecordSettings, Settings, VenueSettings
from truetape.events.wish import Fetch, Wish
from truetape.tape.frame import FrameKind
from truetape.venues import load_venue

START_S = 1_777_470_300
"""A quarter of an hour begins."""
RECORD = RecordSettings(
    flush_interval_ms=100, flush_interval_idle_ms=100, fsync_interval_ms=30_000, tick_seconds=60, stop_seconds=10**7
)


def choose(**more: Any) -> VenueSettings:
    chosen = {"instruments": (), "channels": ("trade", "book_change", "quote"), "markets": ("clob",), **more}
    return VenueSettings(**chosen)


@asynccontextmanager
async def recording(
    tape: Any, gamma: Gamma, chosen: VenueSettings, followed: Followed | None, wishes: AsyncIterator[Wish] | None
) -> AsyncIterator[None]:
    runner = web.AppRunner(gamma.make_app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    settings = Settings(
        venues={"polymarket": msgspec.structs.replace(chosen, url=f"http://127.0.0.1:{port}")}, record=RECORD
    )
    more: Any = {"venues": {"polymarket": load_venue("polymarket")}, "tuning": Tuning(draw=lambda: 0.5)}
    stop = asyncio.Event()
    calm = Calm()
    calm.hold()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(collect(settings, tape, wishes, stop, followed=followed, **more))
            await tape.until(lambda: tape.events("market_roster"), 60)
            calm.let_go()
            yield
            calm.hold()
            stop.set()
    finally:
        await runner.cleanup()
        calm.let_go()


def record(
    tape: Any,
    gamma: Gamma,
    chosen: VenueSettings,
    seconds: float,
    *,
    start_s: float = START_S,
    followed: Followed | None = None,
    during: Callable[[], Any] | None = None,
    wishes: Callable[[], AsyncIterator[Wish]] | None = None,
) -> None:
    """Record so many seconds of virtual time."""

    async def main() -> None:
        async with recording(tape, gamma, chosen, followed, wishes() if wishes else None):
            if during is not None:
                await during()
            await asyncio.sleep(start_s + seconds - clock.wall_ns() / 1e9)

    with clock.step_virtual(start_s):
        clock.run(main())


def list_states(tape: Any, slug: str) -> list[str]:
    return [event["state"] for event in tape.events("market_state") if event["slug"] == slug]


def test_every_market_is_subscribed_in_time_and_followed_to_its_label(tape: Any) -> None:
    gamma = Gamma()
    record(tape, gamma, choose(series=("15m",), assets=("btc",)), 2735, start_s=START_S + 10)
    first, second, third = (f"btc-updown-15m-{START_S + 900 * i}" for i in range(3))
    assert list_states(tape, first) == ["listed", "open", "ending", "ended", "proposed", "resolved", "settled"]
    assert list_states(tape, second)[-2:] == ["proposed", "resolved"]
    assert list_states(tape, third) == ["listed", "open", "ending", "ended", "proposed"]
    for number, slug in enumerate((second, third), 1):
        begin_s = START_S + 900 * number
        for token in name_tokens(slug):
            since_s, until_s = gamma.tokens[token]
            assert begin_s - 125 <= since_s <= begin_s - 115
            if slug == second:
                assert until_s is not None
                assert begin_s + 900 + 115 <= until_s <= begin_s + 900 + 125
    # the listing's answer comes before the first frame of its tokens
    frames = tape.frames
    answered = next(i for i, f in enumerate(frames) if f.kind == FrameKind.RESPONSE and second.encode() in f.payload)
    wanted = name_tokens(second)[0].encode()
    asked = next(i for i, f in enumerate(frames) if f.kind == FrameKind.REQUEST and wanted in f.payload)
    assert answered < asked


def test_a_market_listed_late_is_subscribed_as_soon_as_it_is_there(tape: Any) -> None:
    slug = f"btc-updown-15m-{START_S + 900}"
    gamma = Gamma(hidden={slug})

    async def show() -> None:
        await asyncio.sleep(870)
        gamma.hidden.clear()

    record(tape, gamma, choose(series=("15m",), assets=("BTC",)), 950, during=show)
    since_s, _ = gamma.tokens[name_tokens(slug)[0]]
    assert START_S + 870 <= since_s <= START_S + 880
    assert list_states(tape, slug) == ["listed", "open"]


def test_an_unknown_protocol_is_refused_and_the_others_go_on(tape: Any) -> None:
    slug = f"btc-updown-15m-{START_S}"
    gamma = Gamma(changes={slug: {"version": "v9"}})
    record(tape, gamma, choose(series=("15m",), assets=("BTC", "ETH")), 100)
    assert list_states(tape, slug) == []
    assert list_states(tape, f"eth-updown-15m-{START_S}") == ["listed", "open"]
    (refused,) = tape.events("market_refused")
    assert "v9" in refused["reason"]


def test_a_market_never_seen_is_unknown_when_its_window_is_over(tape: Any) -> None:
    slug = f"btc-updown-15m-{START_S}"
    gamma = Gamma(hidden={slug})
    record(tape, gamma, choose(series=("15m",), assets=("BTC",)), 905)
    assert list_states(tape, slug) == ["unknown"]


def test_without_answers_the_clock_still_ends_markets_and_lets_go(tape: Any) -> None:
    gamma = Gamma()

    async def fail() -> None:
        await asyncio.sleep(100)
        gamma.is_down = True
        await asyncio.sleep(1200)
        gamma.is_down = False

    slug = f"btc-updown-15m-{START_S}"
    record(tape, gamma, choose(series=("15m",), assets=("BTC",)), 1500, during=fail)
    assert list_states(tape, slug) == ["listed", "open", "ending", "ended", "resolved"]
    assert gamma.tokens[name_tokens(slug)[0]][1] is not None
    second = f"btc-updown-15m-{START_S + 900}"  # known before the outage, so subscribed in time
    assert gamma.tokens[name_tokens(second)[0]][0] <= START_S + 900 - 60


def test_a_venue_that_asks_for_patience_gets_it(tape: Any) -> None:
    gamma = Gamma(refusals=1)
    record(tape, gamma, choose(series=("15m",), assets=("BTC",)), 100)
    assert list_states(tape, f"btc-updown-15m-{START_S}") == ["listed", "open"]
    assert tape.events("request_failed") == []
    assert min(since_s for since_s, _ in gamma.tokens.values()) >= START_S + 40


def test_a_later_run_goes_on_where_the_first_one_stopped(tape: Any, new_tape: Callable[[], Any]) -> None:
    gamma, chosen = Gamma(), choose(series=("15m",), assets=("BTC",))
    record(tape, gamma, chosen, 800)
    slug = f"btc-updown-15m-{START_S}"
    rosters = tape.events("market_roster")
    assert slug in {market["slug"] for market in rosters[-1]["markets"]}
    later = new_tape()
    record(later, gamma, chosen, 300, start_s=START_S + 1000, followed={"polymarket": rosters[-1]["markets"]})
    assert list_states(later, slug) == ["ending", "ended", "resolved"]
    assert later.events("market_state")[0]["previous"] == "open"


def test_looking_for_new_instruments_lets_go_of_no_market(tape: Any) -> None:
    oracles = {"markets": ("clob", "rtds"), "instruments": ("BTC-USD:rtds_chainlink",), "listing_seconds": 60}
    gamma = Gamma()
    chosen = choose(series=("15m",), assets=("BTC",), **oracles, channels=("book_change", "oracle_price"))
    record(tape, gamma, chosen, 600)
    assert gamma.asked.count("time") >= 5
    assert tape.events("unsubscribed") == []
    assert {event["connection"].partition("#")[0] for event in tape.events("opened")} == {
        "polymarket/clob/1",
        "polymarket/rtds/1",
    }


def test_the_answer_to_a_wish_is_heard(tape: Any) -> None:
    """The decoder wishes for a market when the socket says that it is resolved: long before it would be asked for."""
    gamma = Gamma(changes={f"btc-updown-15m-{START_S}": {"proposed": -500, "resolved": -400}})
    slug = f"btc-updown-15m-{START_S}"
    url = f"https://gamma-api.polymarket.com/events/slug/{slug}"

    async def wish() -> AsyncIterator[Wish]:
        await asyncio.sleep(520)
        yield Fetch("polymarket", "clob", url, "resolved")

    record(tape, gamma, choose(series=("15m",), assets=("BTC",)), 560, wishes=wish)
    resolved = next(event for event in tape.events("market_state") if event["state"] == "resolved")
    assert (resolved["slug"], resolved["previous"]) == (slug, "open")


def test_filters_choose_other_markets_and_zombies_stay_out(tape: Any) -> None:
    live, dead = make_event(f"sol-updown-15m-{START_S}", START_S), make_event(f"sol-updown-15m-{START_S - 9000}", 0)
    gamma = Gamma(extra=[live, dead])
    record(tape, gamma, choose(filters=MarketFilters(tags=("up-or-down",), volume_min=50)), 60)
    assert {event["slug"] for event in tape.events("market_state")} == {live["slug"]}
    assert set(gamma.tokens) == set(name_tokens(live["slug"]))
    assert "tag_slug=up-or-down" in gamma.asked[0]


def test_a_market_that_leaves_the_listing_is_followed_on(tape: Any) -> None:
    live = make_event(f"sol-updown-15m-{START_S}", START_S)
    gamma = Gamma(extra=[live])

    async def vanish() -> None:
        await asyncio.sleep(500)
        gamma.extra.clear()

    record(tape, gamma, choose(filters=MarketFilters(tags=("up-or-down",))), 1000, during=vanish)
    assert list_states(tape, live["slug"]) == ["listed", "open", "ending", "ended", "proposed", "resolved"]


def test_no_more_markets_are_followed_than_the_settings_allow(tape: Any) -> None:
    gamma = Gamma(extra=[make_event(f"sol-updown-15m-{START_S + 900 * i}", START_S) for i in range(5)])
    record(tape, gamma, choose(filters=MarketFilters(tags=("up-or-down",), markets_max=3)), 60)
    assert len({event["slug"] for event in tape.events("market_state")}) == 3
    assert tape.events("markets_left_out")[0]["count"] == 2
