"""What to connect to and what to subscribe there, from settings, listings and what a venue offers. Pure."""

import difflib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from truetape.config import Settings, VenueSettings
from truetape.errors import ConfigError, suggest
from truetape.events.instrument import Instrument
from truetape.venues import list_venues, load_venue
from truetape.venues._contract import BrowserPage, Discovery, Feed, Listing, Poll, Venue, Wanted


class StreamPlan(msgspec.Struct, frozen=True):
    """One stream to subscribe; spelled on the tape in the event `subscribed`."""

    channel: str
    market: str
    venue_symbol: str
    topic: str


class ConnectionPlan(msgspec.Struct, frozen=True):
    """One connection to hold: number `number` of its feed."""

    feed: Feed
    number: int
    topics: tuple[str, ...]
    streams: tuple[StreamPlan, ...]


def live_feeds(venue: Venue) -> tuple[Feed, ...]:
    """Return the feeds that the venue still serves."""
    return tuple(feed for feed in venue.feeds if feed.dates[1] is None)


def check_venues(settings: Settings) -> None:
    """Refuse venues that there are not, and channels and markets that a venue does not have."""
    _check("venues", [*settings.venues], list_venues())
    for name, chosen in settings.venues.items():
        check_venue(load_venue(name), chosen)


def check_venue(venue: Venue, settings: VenueSettings) -> None:
    """Refuse channels and markets that the venue does not have; ConfigError says which it has."""
    feeds = live_feeds(venue)
    parts: list[Feed | Poll | BrowserPage] = [*feeds, *venue.polls, *venue.pages]
    _check(f"venues.{venue.name}.markets", settings.markets, sorted({part.market for part in parts}))
    markets = _choose_markets(venue, settings)
    chosen = [part for part in parts if part.market in markets]
    _check(f"venues.{venue.name}.channels", settings.channels, sorted({c for part in chosen for c in part.channels}))
    discovery = venue.discovery
    _check(f"venues.{venue.name}.series", settings.series, discovery.series if discovery else ())
    assets = [asset.upper() for asset in settings.assets]
    _check(f"venues.{venue.name}.assets", assets, discovery.assets if discovery else ())
    given = [name for name in ("ids", "slugs", "tags", "categories", "volume_min") if getattr(settings.filters, name)]
    if discovery is None and given:
        raise ConfigError(f"venues.{venue.name}.filters: {venue.title} has no prediction markets to choose from")
    _check(f"venues.{venue.name}.filters", given, discovery.filters if discovery else ())


def is_subscribing(venue: Venue, settings: VenueSettings) -> bool:
    """Tell whether the settings want something of a feed, and not only what is polled."""
    markets, channels = _choose_markets(venue, settings), set(settings.channels)
    return any(feed.market in markets and channels & set(feed.channels) for feed in live_feeds(venue))


def make_wanted(settings: VenueSettings) -> Wanted:
    """Say which prediction markets the settings ask for."""
    filters = settings.filters
    assets = tuple(asset.upper() for asset in settings.assets)
    chosen = filters.ids, filters.slugs, filters.tags, filters.categories, filters.status, filters.volume_min
    return Wanted(settings.series, assets, *chosen)


def find_discovery(venue: Venue, settings: VenueSettings) -> Discovery | None:
    """Return how the venue's prediction markets are found, where the settings ask for series or by filters."""
    wanted, discovery = make_wanted(settings), venue.discovery
    if discovery is None or not (wanted.series or wanted.is_generic):
        return None
    return discovery if discovery.market in _choose_markets(venue, settings) else None


def choose_listings(venue: Venue, settings: VenueSettings) -> tuple[Listing, ...]:
    """Return the listings needed to find the instruments."""
    markets = _choose_listed(venue, settings)
    return tuple(listing for listing in venue.listings if listing.market in markets)


def choose_instruments(
    venue: Venue, settings: VenueSettings, listed: Iterable[Instrument], *, is_complete: bool = True
) -> tuple[Instrument, ...]:
    """Choose by name, pattern or `all`, in listing order; ConfigError names what is nearest to an unknown one.

    Without `is_complete` names that are not listed (any more) are left out.
    """
    markets = {feed.market for feed in live_feeds(venue)} & _choose_listed(venue, settings)
    candidates = [instrument for instrument in listed if instrument.market in markets]
    chosen: dict[tuple[str, str], Instrument] = {}
    for wanted in settings.instruments:
        found = [instrument for instrument in candidates if _matches(instrument, wanted)]
        if not found and is_complete:
            raise ConfigError(_explain_unknown(venue, wanted, candidates))
        chosen.update({(instrument.market, instrument.venue_symbol): instrument for instrument in found})
    order = {(instrument.market, instrument.venue_symbol): None for instrument in candidates}
    return tuple(chosen[key] for key in order if key in chosen)


def plan_connections(
    venue: Venue, settings: VenueSettings, instruments: Sequence[Instrument]
) -> tuple[ConnectionPlan, ...]:
    """Spread the topics of the chosen instruments and channels over as few connections as the venue allows."""
    return revise_connections(venue, settings, (), instruments)


def revise_connections(
    venue: Venue, settings: VenueSettings, held: Sequence[ConnectionPlan], instruments: Sequence[Instrument]
) -> tuple[ConnectionPlan, ...]:
    """Plan anew, leaving what is subscribed where it is: new topics go where there is room, then to new connections."""
    plans: list[ConnectionPlan] = []
    markets = _choose_listed(venue, settings)
    for feed in live_feeds(venue):
        if feed.market in markets:
            streams = _list_streams(venue, feed, settings.channels, instruments)
            plans += _place_streams(feed, [plan for plan in held if plan.feed == feed], streams)
    if not plans and find_discovery(venue, settings) is None:
        wanted = f"{', '.join(settings.channels)} of {', '.join(settings.instruments)}"
        raise ConfigError(f"venues.{venue.name}: {venue.title} has none of the streams asked for ({wanted})")
    return tuple(plans)


def amend_connections(
    venue: Venue,
    settings: VenueSettings,
    held: Sequence[ConnectionPlan],
    added: Sequence[Instrument],
    removed: Sequence[Instrument],
) -> tuple[ConnectionPlan, ...]:
    """Plan a change of some instruments and return the plans that it changes; one without topics is to end."""
    changed: list[ConnectionPlan] = []
    for feed in live_feeds(venue):
        new = _group_streams(_list_streams(venue, feed, settings.channels, added))
        gone = _group_streams(_list_streams(venue, feed, settings.channels, removed))
        if new or gone:
            own = {plan.number: plan for plan in held if plan.feed.name == feed.name}
            changed += _amend_feed(feed, own, new, set(gone) - set(new))
    return tuple(changed)


def _amend_feed(
    feed: Feed, own: dict[int, ConnectionPlan], new: dict[str, list[StreamPlan]], gone: set[str]
) -> Iterator[ConnectionPlan]:
    left = dict(own)
    for number, plan in own.items():
        if not gone.isdisjoint(plan.topics):
            topics = tuple(topic for topic in plan.topics if topic not in gone)
            left[number] = ConnectionPlan(feed, number, topics, tuple(s for s in plan.streams if s.topic not in gone))
    placed = {topic for plan in left.values() for topic in plan.topics if topic in new}
    waiting = deque(topic for topic in new if topic not in placed)
    number = 1
    while waiting:
        plan = left.get(number) or ConnectionPlan(feed, number, (), ())
        room = feed.limits.topics_per_connection_max - len(plan.topics)
        taken = [waiting.popleft() for _ in range(min(room, len(waiting)))]
        if taken:
            streams = tuple(stream for topic in taken for stream in new[topic])
            left[number] = ConnectionPlan(feed, number, (*plan.topics, *taken), (*plan.streams, *streams))
        number += 1
    yield from (plan for number, plan in left.items() if plan is not own.get(number))


def _group_streams(streams: Iterable[StreamPlan]) -> dict[str, list[StreamPlan]]:
    by_topic: dict[str, list[StreamPlan]] = {}
    for stream in streams:
        by_topic.setdefault(stream.topic, []).append(stream)
    return by_topic


def _place_streams(
    feed: Feed, held: Sequence[ConnectionPlan], streams: Sequence[StreamPlan]
) -> Iterator[ConnectionPlan]:
    by_topic = _group_streams(streams)
    parts = {plan.number: [topic for topic in plan.topics if topic in by_topic] for plan in held}
    placed = {topic for part in parts.values() for topic in part}
    new = deque(topic for topic in by_topic if topic not in placed)
    number = 1
    while new:
        part = parts.setdefault(number, [])
        while new and len(part) < feed.limits.topics_per_connection_max:
            part.append(new.popleft())
        number += 1
    for number, part in sorted(parts.items()):
        if part:
            yield ConnectionPlan(feed, number, tuple(part), tuple(s for topic in part for s in by_topic[topic]))


def batch_topics(venue: Venue, feed: Feed, topics: Sequence[str]) -> list[tuple[str, ...]]:
    """Split topics so that each subscribe message holds one group and stays within the venue's limits."""
    batches: list[tuple[str, ...]] = []
    groups: dict[str, list[str]] = {}
    for topic in topics:
        groups.setdefault(venue.group_topic(feed, topic), []).append(topic)
    size = feed.limits.topics_per_message_max
    parts = deque(
        tuple(group[start : start + size]) for group in groups.values() for start in range(0, len(group), size)
    )
    while parts:
        part = parts.popleft()
        if len(part) > 1 and len(venue.subscribe(feed, part, 1_000_000)) > feed.limits.message_bytes_max:
            parts.extendleft((part[len(part) // 2 :], part[: len(part) // 2]))
        else:
            batches.append(part)
    return batches


def _choose_markets(venue: Venue, settings: VenueSettings) -> set[str]:
    return set(settings.markets or venue.default_markets or [part.market for part in venue.feeds or venue.polls])


def _choose_listed(venue: Venue, settings: VenueSettings) -> set[str]:
    """Choose the markets whose instruments come from listings; those of prediction markets are found otherwise."""
    discovery = find_discovery(venue, settings)
    return _choose_markets(venue, settings) - ({discovery.market} if discovery else set())


def _list_streams(
    venue: Venue, feed: Feed, channels: Sequence[str], instruments: Sequence[Instrument]
) -> list[StreamPlan]:
    """Instrument by instrument, so that what belongs together shares a connection.

    A topic may bring more channels than were asked for: these streams are named, too, for they live and end with it.
    """
    carried = [channel for channel in channels if channel in feed.channels]
    others = [channel for channel in feed.channels if channel not in carried] if carried else []
    streams: list[StreamPlan] = []
    for instrument in instruments:
        if instrument.market != feed.market:
            continue
        asked = _list_own(venue, feed, carried, instrument)
        topics = {stream.topic for stream in asked}
        along = (_list_own(venue, feed, [channel], instrument) for channel in others)
        streams += asked
        streams += [stream for part in along if all(s.topic in topics for s in part) for stream in part]
    return streams


def _list_own(venue: Venue, feed: Feed, channels: Sequence[str], instrument: Instrument) -> list[StreamPlan]:
    return [
        StreamPlan(channel, instrument.market, instrument.venue_symbol, topic)
        for channel in channels
        for topic in venue.list_topics(feed, channel, instrument)
    ]


def _matches(instrument: Instrument, wanted: str) -> bool:
    if wanted == "all":
        return True
    names = (instrument.symbol, instrument.venue_symbol)
    return any(fnmatchcase(name, wanted) or name == wanted for name in names)


def _explain_unknown(venue: Venue, wanted: str, candidates: Sequence[Instrument]) -> str:
    key = f"venues.{venue.name}.instruments"
    if not candidates:
        return f"{key}: {venue.title} lists no instruments in the chosen markets"
    near = difflib.get_close_matches(wanted.upper(), [instrument.symbol for instrument in candidates], n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return f"{key}: {wanted!r} matches none of the {len(candidates)} instruments of {venue.title}{hint}"


def _check(key: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            hint = suggest(name, allowed)
            raise ConfigError(f"{key}: {name!r} is not there (allowed: {', '.join(allowed)}){hint}")
