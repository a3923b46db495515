"""What to connect to and what to subscribe."""

from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import pytest

from truetape.collect.plan import (
    ConnectionPlan,
    amend_connections,
    batch_topics,
    check_venue,
    choose_instruments,
    choose_listings,
    find_discovery,
    plan_connections,
)
from truetape.config import MarketFilters, VenueSettings
from truetape.errors import ConfigError
from truetape.events.instrument import Instrument
from truetape.venues import load_venue
from truetape.venues._contract import Feed, Limits, Listing, Venue

NewVenue = Callable[..., Venue]


def list_instruments(*names: str, market: str = "spot") -> list[Instrument]:
    return [Instrument("fake", market, name.replace("-", ""), name, "spot") for name in names]


LISTED = list_instruments("BTC-USDT", "ETH-USDT", "BTC-USD", "SOL-USDT")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (("BTC-USDT",), ["BTC-USDT"]),
        (("BTCUSDT",), ["BTC-USDT"]),
        (("*-USDT",), ["BTC-USDT", "ETH-USDT", "SOL-USDT"]),
        (("SOL-USDT", "BTC-*"), ["BTC-USDT", "BTC-USD", "SOL-USDT"]),
        (("all",), ["BTC-USDT", "ETH-USDT", "BTC-USD", "SOL-USDT"]),
    ],
)
def test_choose(new_venue: NewVenue, wanted: tuple[str, ...], found: list[str]) -> None:
    chosen = choose_instruments(new_venue(), VenueSettings(instruments=wanted), LISTED)
    assert [instrument.symbol for instrument in chosen] == found


def test_unknown_name_names_the_nearest(new_venue: NewVenue) -> None:
    with pytest.raises(
        ConfigError, match=r"venues\.fake\.instruments: 'BTC-USTD' matches none .*nearest: BTC-USD, BTC-USDT"
    ):
        choose_instruments(new_venue(), VenueSettings(instruments=("BTC-USTD",)), LISTED)
    with pytest.raises(ConfigError, match="lists no instruments"):
        choose_instruments(new_venue(), VenueSettings(instruments=("all",)), [])


def test_unknown_channel_names_what_there_is(new_venue: NewVenue) -> None:
    check_venue(new_venue(), VenueSettings(instruments=("all",), channels=("trade",)))
    with pytest.raises(
        ConfigError, match=r"venues\.fake\.channels: 'trades' .*allowed: quote, trade.*did you mean trade"
    ):
        check_venue(new_venue(), VenueSettings(instruments=("all",), channels=("trades",)))
    with pytest.raises(ConfigError, match=r"venues\.fake\.markets: 'swap'.*allowed: spot"):
        check_venue(new_venue(), VenueSettings(instruments=("all",), channels=("trade",), markets=("swap",)))


def test_topics_are_spread_over_connections(new_venue: NewVenue) -> None:
    venue = new_venue(limits=Limits(topics_per_connection_max=3))
    settings = VenueSettings(instruments=("all",), channels=("trade", "quote", "candle"))
    plans = plan_connections(venue, settings, LISTED)
    assert [(plan.number, len(plan.topics)) for plan in plans] == [(1, 3), (2, 3), (3, 2)]
    assert [t for plan in plans for t in plan.topics][:3] == ["trade.BTCUSDT", "quote.BTCUSDT", "trade.ETHUSDT"]
    for plan in plans:
        assert {stream.topic for stream in plan.streams} == set(plan.topics)


def test_topic_shared_by_channels_is_subscribed_once(new_venue: NewVenue) -> None:
    venue = new_venue(venue_list_topics=lambda feed, channel, instrument: (f"all.{instrument.venue_symbol}",))
    (plan,) = plan_connections(venue, VenueSettings(instruments=("all",), channels=("trade", "quote")), LISTED[:1])
    assert plan.topics == ("all.BTCUSDT",)
    assert [stream.channel for stream in plan.streams] == ["trade", "quote"]


def test_feeds_that_ended_and_markets_not_chosen_are_left_out(new_venue: NewVenue) -> None:
    base = new_venue()
    old = msgspec.structs.replace(base.feeds[0], name="old", dates=(date(2017, 1, 1), date(2020, 1, 1)))
    swap = msgspec.structs.replace(base.feeds[0], name="swap", market="swap")
    listings = (*base.listings, Listing("swap", "https://fake.test/swaps"))
    venue = msgspec.structs.replace(base, feeds=(old, base.feeds[0], swap), listings=listings)
    listed = LISTED + list_instruments("BTC-USDT-PERP", market="swap")

    def plan(**changes: Any) -> list[tuple[str, int]]:
        settings = VenueSettings(instruments=("BTC-*",), channels=("trade",), **changes)
        chosen = choose_instruments(venue, settings, listed)
        return [(p.feed.name, len(p.topics)) for p in plan_connections(venue, settings, chosen)]

    assert plan() == [("spot", 2), ("swap", 1)]
    assert plan(markets=("swap",)) == [("swap", 1)]
    only_swap = VenueSettings(instruments=("all",), markets=("swap",))
    assert [listing.market for listing in choose_listings(venue, only_swap)] == ["swap"]


def test_nothing_to_subscribe_is_refused(new_venue: NewVenue) -> None:
    venue = new_venue(venue_list_topics=lambda feed, channel, instrument: ())
    with pytest.raises(ConfigError, match="has none of the streams asked for"):
        plan_connections(venue, VenueSettings(instruments=("all",), channels=("trade",)), LISTED)


def test_batches_hold_one_group(new_venue: NewVenue) -> None:
    venue = new_venue(
        limits=Limits(topics_per_message_max=2), venue_group_topic=lambda feed, topic: topic.partition(".")[0]
    )
    topics = [f"{channel}.{name}" for name in "ABC" for channel in ("trade", "quote")]
    assert batch_topics(venue, venue.feeds[0], topics) == [
        ("trade.A", "trade.B"), ("trade.C",), ("quote.A", "quote.B"), ("quote.C",),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "feed_name"), [("kraken", "spot"), ("kraken", "futures"), ("coinbase", "advanced")])
def test_venue_with_one_channel_a_message_takes_many_instruments_in_it(name: str, feed_name: str) -> None:
    venue = load_venue(name)
    feed = next(feed for feed in venue.feeds if feed.name == feed_name)
    listed = [
        Instrument(name, feed.market, f"BASE{number}/USD", f"BASE{number}-USD", "perpetual") for number in range(40)
    ]
    settings = VenueSettings(instruments=("all",), channels=("trade", "book_change", "quote"), markets=(feed.market,))
    for plan in plan_connections(venue, settings, listed):
        messages = [venue.subscribe(feed, batch, 1) for batch in batch_topics(venue, feed, plan.topics)]
        assert len(messages) == 3
        assert sum(message.count(b"BASE") for message in messages) == len(plan.topics)


def test_batches_keep_to_count_and_bytes(new_venue: NewVenue) -> None:
    feed: Feed = new_venue(limits=Limits(topics_per_message_max=10, message_bytes_max=120)).feeds[0]
    venue = new_venue()
    topics = [f"trade.{'X' * (i % 7)}{i}" for i in range(57)]
    batches = batch_topics(venue, feed, topics)
    assert [topic for batch in batches for topic in batch] == topics
    assert all(len(batch) <= 10 and len(venue.subscribe(feed, batch, 1)) <= 120 for batch in batches)


def list_outcomes(first: int, count: int) -> list[Instrument]:
    return [
        Instrument("polymarket", "clob", str(number), f"m:{number}", "outcome")
        for number in range(first, first + count)
    ]


SERIES = VenueSettings(instruments=(), series=("15m",), assets=("btc",))


def follow(plans: tuple[ConnectionPlan, ...], changed: tuple[ConnectionPlan, ...]) -> tuple[ConnectionPlan, ...]:
    by_number = {plan.number: plan for plan in plans} | {plan.number: plan for plan in changed}
    return tuple(plan for plan in by_number.values() if plan.topics)


def test_prediction_markets_are_not_listed_but_found() -> None:
    venue = load_venue("polymarket")
    assert find_discovery(venue, SERIES) is venue.discovery
    assert [listing.market for listing in choose_listings(venue, SERIES)] == ["rtds"]
    assert plan_connections(venue, SERIES, ()) == ()
    plain = VenueSettings(instruments=("all",))
    assert find_discovery(venue, plain) is None
    assert {listing.market for listing in choose_listings(venue, plain)} == {"clob", "rtds"}
    assert find_discovery(venue, msgspec.structs.replace(SERIES, markets=("rtds",))) is None


@pytest.mark.parametrize(
    ("venue", "settings", "told"),
    [
        ("polymarket", VenueSettings(instruments=(), series=("15min",)), "venues.polymarket.series: '15min'"),
        ("polymarket", VenueSettings(instruments=(), series=("15m",), assets=("BCT",)), "did you mean BTC?"),
        ("coinbase", VenueSettings(instruments=(), series=("15m",)), "venues.coinbase.series"),
        ("coinbase", VenueSettings(instruments=(), filters=MarketFilters(tags=("x",))), "has no prediction markets"),
        ("kalshi", VenueSettings(instruments=(), series=("daily",)), "venues.kalshi.series: 'daily'"),
    ],
)
def test_series_and_filters_that_a_venue_does_not_have_are_refused(
    venue: str, settings: VenueSettings, told: str
) -> None:
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        check_venue(load_venue(venue), settings)


def test_a_change_touches_only_the_connections_it_concerns() -> None:
    venue, tokens = load_venue("polymarket"), list_outcomes(0, 1000)
    plans = amend_connections(venue, SERIES, (), tokens, ())
    assert [len(plan.topics) for plan in plans] == [400, 400, 200]
    assert amend_connections(venue, SERIES, plans, tokens[:2], ()) == ()
    gone = amend_connections(venue, SERIES, plans, (), tokens[400:402])
    assert [(plan.number, len(plan.topics)) for plan in gone] == [(2, 398)]
    plans = follow(plans, gone)
    new = amend_connections(venue, SERIES, plans, list_outcomes(2000, 4), tokens[800:802])
    assert sorted((plan.number, len(plan.topics)) for plan in new) == [(2, 400), (3, 200)]
    plans = follow(plans, new)
    assert len({topic for plan in plans for topic in plan.topics}) == 1000
    assert all(len(plan.streams) == 3 * len(plan.topics) for plan in plans)
    ended = amend_connections(venue, SERIES, plans, (), tokens[:400])
    assert [(plan.number, plan.topics) for plan in ended] == [(1, ())]


def test_what_a_topic_brings_along_is_planned_with_it() -> None:
    """Coinbase's ticker tells quotes, too: both live and end with the topic, whichever was asked for."""
    venue = load_venue("coinbase")
    market = venue.default_markets[0]
    instruments = [venue.name_instrument(market, name) for name in ("BTC-USD", "ETH-USD")]
    for channels, known in (
        (("quote",), {"quote", "ticker"}),
        (("ticker", "trade"), {"quote", "ticker", "trade"}),
        (("trade",), {"trade"}),
    ):
        (plan,) = plan_connections(venue, VenueSettings(instruments=("all",), channels=channels), instruments)
        assert {(stream.channel, stream.venue_symbol) for stream in plan.streams} == {
            (channel, name) for channel in known for name in ("BTC-USD", "ETH-USD")
        }
        assert {stream.topic for stream in plan.streams} == set(plan.topics)
