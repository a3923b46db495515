"""Asks a relay of Tardis' tables for the past of a venue's stream; the tape must be nobody else's then.

Answers go onto the tape and from there the way of all frames. Trades whose ids step by one are told apart by these, as
in every backfill; of other rows the relay is asked for the stretches in which the lake has nothing. Either way what
came once is not asked for again, so that a run that was killed goes on where it ended.
"""

from datetime import datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import msgspec

from truetape import clock
from truetape.collect.backfill import Backfiller, Order, Result
from truetape.collect.http import HttpOptions
from truetape.collect.key import Key
from truetape.config import Settings, load_keys, name_key
from truetape.errors import ConfigError, Transient, VenueUnreachable
from truetape.events.backfill import Began, Lost, Range
from truetape.events.instrument import Instrument
from truetape.flow.history import (
    OnProgress,
    bound_began,
    count_rows,
    find_lake,
    find_subject,
    hold_tape,
    ignore_progress,
    settle_lake,
)
from truetape.flow.loss import Past, Subject, to_us
from truetape.flow.repair import OnResult
from truetape.lake import Lake
from truetape.tape import TapeWriter
from truetape.venues import load_venue
from truetape.venues._contract import Backfill
from truetape.venues.tardis import NAME
from truetape.venues.tardis.exchange import list_markets
from truetape.venues.tardis.relay import KEY, Relay, find_carrier, list_channels, make_backfill, make_credentials

QUIET_US = 60_000_000
"""Rows that follow each other within this have nothing missing between them."""
STRETCHES_MAX = 10_000
"""Stretches without a row that are asked for in one run."""

_ENDS = """
    select epoch_us(min(received_at)) as first, epoch_us(max(received_at)) as last from {table}
    where venue = $venue and symbol = $symbol and epoch_us(received_at) between $begin and $end"""
_HOLES = """
    with rows as (
        select epoch_us(received_at) as us, lag(epoch_us(received_at)) over (order by received_at) as before
        from {table} where venue = $venue and symbol = $symbol and epoch_us(received_at) between $begin and $end)
    select before, us from rows where us - before > $quiet order by us limit $most"""


def backfill_from_relay(
    settings: Settings,
    wanted: Subject,
    begin: datetime,
    end: datetime,
    *,
    on_result: OnResult = lambda result: None,
    on_progress: OnProgress = ignore_progress,
    options: HttpOptions | None = None,
) -> int:
    """Ask the relay of the settings for a stream between two moments, as far as the lake has none; return the new rows.

    Moments are the vendor's arrival times. Raises ConfigError when the relay cannot be asked or has none of it,
    VenueUnreachable when it failed half-way, TapeLocked when a recorder holds the tape.
    """
    if begin >= end:
        raise ConfigError(f"--from {begin.isoformat()} is not before --to {end.isoformat()}")
    if wanted.channel not in list_channels():
        raise ConfigError(f"a relay tells no {wanted.channel!r} (allowed: {', '.join(list_channels())})")
    key = load_relay_key(settings)
    venue = msgspec.structs.replace(load_venue(NAME), credentials=make_credentials(KEY, _find_host(settings)))
    with hold_tape(settings, is_new=True) as writer:
        lake = settle_lake(settings, writer)
        instrument = _find_instrument(settings, lake, wanted, writer, options)
        subject = Subject(
            instrument.venue, instrument.market, instrument.symbol, instrument.venue_symbol, wanted.channel
        )
        found = _find_backfill(settings, subject, instrument)
        before = count_rows(lake, subject)
        span = Lost("", to_us(begin), min(to_us(end), clock.wall_ns() // 1000), "")
        orders = [Order(began, found) for began in _plan(lake, subject, instrument, found, span)]
        pages = count(1)
        turn_page = lambda: on_progress("pages answered", next(pages), 0)  # noqa: E731
        asker = Backfiller(venue, "", writer, key, options, on_page=turn_page)
        results = _run(asker, orders, on_result, on_progress)
    rows = count_rows(find_lake(settings), subject) - before
    _judge(results, rows)
    return rows


def load_relay_key(settings: Settings) -> Key:
    """Return the relay's key; ConfigError names what is not set."""
    values = load_keys(NAME, (KEY,))
    if not settings.tardis.relay_url:
        raise ConfigError("tardis.relay_url: not set (allowed: the base address of a relay, https://…)")
    if not values:
        raise ConfigError(
            f"tardis: no key: set {name_key(NAME, KEY)} in the environment or .env (get it from whoever runs the relay)"
        )
    return Key(NAME, make_credentials(KEY, _find_host(settings)), values)


def _find_host(settings: Settings) -> str:
    return urlsplit(settings.tardis.relay_url).hostname or ""


def _find_instrument(
    settings: Settings, lake: Lake, wanted: Subject, writer: TapeWriter, options: HttpOptions | None
) -> Instrument:
    """Find an instrument; one that is listed no more is called by the venue's own name, with its market given."""
    venue, markets = load_venue(wanted.venue), list_markets(wanted.venue)
    if wanted.market:
        markets &= {wanted.market}
    if not markets:
        allowed = ", ".join(sorted(list_markets(wanted.venue))) or "nothing"
        raise ConfigError(f"{wanted.venue} {wanted.market}: Tardis has no such market (allowed: {allowed})")
    try:
        found = find_subject(settings, lake, wanted, markets, writer, options)
    except (ConfigError, Transient):
        if not wanted.market:
            raise
        return venue.name_instrument(wanted.market, wanted.symbol)
    return venue.name_instrument(found.market, found.venue_symbol)


def _find_backfill(settings: Settings, subject: Subject, instrument: Instrument) -> Backfill:
    tardis = settings.tardis
    relay = Relay(tardis.relay_url, tardis.relay_limit, tardis.relay_times, tardis.book_levels)
    found = make_backfill(relay, subject.channel, instrument)
    if found is None:
        raise ConfigError(f"{subject.venue} {subject.symbol}: Tardis has no {subject.channel!r} of it")
    return msgspec.structs.replace(found, allowance=(tardis.relay_requests_per_minute_max, 60.0))


def _plan(lake: Lake, subject: Subject, instrument: Instrument, found: Backfill, span: Lost) -> list[Began]:
    carrier = find_carrier(subject.channel, instrument)
    if found.identity == "step":
        began = [bound_began(one, span) for one in Past(lake, subject, found).plan([span])]
    else:
        began = [_begin(subject, stretch) for stretch in find_stretches(lake, subject, span.from_us, span.to_us)]
    return [msgspec.structs.replace(one, venue=subject.venue, feed=carrier) for one in began]


def _begin(subject: Subject, stretch: tuple[int, int]) -> Began:
    low, high = stretch
    return Began(
        market=subject.market, channel=subject.channel, venue_symbol=subject.venue_symbol, identity="time",
        from_us=low, to_us=high, missing=(Range(low, high, from_us=low, to_us=high),),
    )  # fmt: skip


def find_stretches(lake: Lake, subject: Subject, begin_us: int, end_us: int) -> list[tuple[int, int]]:
    """Return the stretches, both ends included, in which the lake has no row of a stream, by their receive times.

    What is shorter than a minute and lies between two rows is quiet, not missing.
    """
    ends = _ask(lake, subject, _ENDS, begin=begin_us, end=end_us - 1)
    if not ends or ends[0]["first"] is None:
        return [(begin_us, end_us - 1)]
    holes = _ask(lake, subject, _HOLES, begin=begin_us, end=end_us - 1, quiet=QUIET_US, most=STRETCHES_MAX)
    found = [(begin_us, ends[0]["first"] - 1)]
    found += [(hole["before"] + 1, hole["us"] - 1) for hole in holes]
    found.append((ends[0]["last"] + 1, end_us - 1))
    return [(low, high) for low, high in found if low <= high]


def _ask(lake: Lake, subject: Subject, query: str, **values: int) -> list[dict[str, Any]]:
    if subject.channel not in lake.versions():
        return []
    named = {"venue": subject.venue, "symbol": subject.symbol} | values
    rows: list[dict[str, Any]] = lake.sql(query.format(table=subject.channel), named).arrow().to_pylist()
    return rows


def _run(asker: Backfiller, orders: list[Order], on_result: OnResult, on_progress: OnProgress) -> list[Result]:
    results: list[Result] = []

    def take(result: Result) -> None:
        results.append(result)
        on_result(result)
        on_progress("stretches asked for", len(results), len(orders))

    clock.run(asker.run(orders, take))
    return results


def _judge(results: list[Result], rows: int) -> None:
    failed = [result.ended.reason for result in results if result.ended.status == "failed"]
    if failed:
        raise VenueUnreachable(f"{rows:,} rows came, then the relay failed (they are not asked for again): {failed[0]}")
    absent = [result.ended.reason for result in results if result.ended.reason]
    if absent:
        raise ConfigError(f"{rows:,} rows came; the relay has none of the rest: {absent[0]}")
