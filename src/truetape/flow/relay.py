"""Asks a relay of Tardis' tables for the past of a venue's stream; the tape must be nobody else's then.

Answers go onto the tape and from there the way of all frames. Trades whose ids step by one are told apart by these, as
in every backfill; of other rows the relay is asked for the stretches in which the lake has nothing. Either way what
came once is not asked for again, so that a run that was killed goes on where it ended.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from typing import Any

import msgspec

from truetape import clock
from truetape.collect.backfill import Backfiller, Order, Result
from truetape.collect.http import HttpOptions
from truetape.config import Settings
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
from truetape.flow.hole import SLACK_US, WIDE_US
from truetape.flow.loss import LEAD_US, Past
from truetape.flow.repair import (
    RELAY,
    OnResult,
    Repair,
    Scope,
    group_gaps,
    is_wanted,
    limit_order,
    name_judge,
    sum_up,
)
from truetape.flow.subject import Subject, to_us
from truetape.flow.teller import find_relay_backfill, load_relay, load_relay_key
from truetape.lake import Lake
from truetape.quality.ledger import Gap, list_gaps
from truetape.tape import TapeWriter
from truetape.venues import load_venue
from truetape.venues.tardis.exchange import list_markets
from truetape.venues.tardis.relay import find_carrier, list_channels

QUIET_US = 60_000_000
"""Rows that follow each other within this have nothing missing between them."""
QUIET_MIN_US = 1_000_000
"""Rows that a relay tells for a gap need be no nearer to each other than this, however busy the stream is."""
SILENCES_MAX = 1000
"""Silences that are looked at for one that is in no gap."""
Hole = tuple[int, int]
"""(from, to) of a gap."""
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

_NEIGHBOURS = """
    select epoch_us(max(exchange_at) filter (epoch_us(received_at) < $low)) as since,
        epoch_us(arg_min(exchange_at, received_at) filter (epoch_us(received_at) > $high)) as before from {table}
    where venue = $venue and symbol = $symbol and exchange_at is not null
        and (epoch_us(received_at) between $early and $late)"""

_SILENCES = """
    with rows as (
        select epoch_us(received_at) as us, lag(epoch_us(received_at)) over (order by received_at) as before
        from {table} where venue = $venue and symbol = $symbol and epoch_us(received_at) between $early and $late)
    select before, us from rows where us > before order by us - before desc limit $most"""


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
    key, venue = load_relay_key(settings), load_relay(settings)
    with hold_tape(settings, is_new=True) as writer:
        lake = settle_lake(settings, writer)
        instrument = _find_instrument(settings, lake, wanted, writer, options)
        subject = Subject(
            instrument.venue, instrument.market, instrument.symbol, instrument.venue_symbol, wanted.channel
        )
        found = find_relay_backfill(settings, subject.channel, instrument)
        before = count_rows(lake, subject)
        span = Lost("", to_us(begin), min(to_us(end), clock.wall_ns() // 1000), "")
        past = Past(lake, subject, found)
        orders = [Order(one, found, complete=past.complete) for one in _plan(lake, past, subject, instrument, span)]
        asker = Backfiller(venue, "", writer, key, options, on_page=_count_pages(on_progress))
        results = _run(asker, orders, on_result, on_progress)
    rows = count_rows(find_lake(settings), subject) - before
    _judge(results, rows)
    return rows


def repair_from_relay(
    settings: Settings,
    scope: Scope | None = None,
    *,
    again: bool = False,
    on_result: OnResult = lambda result: None,
    on_progress: OnProgress = ignore_progress,
    options: HttpOptions | None = None,
) -> Repair:
    """Ask the relay of the settings for what gaps are missing, also for what the venues have not.

    What the relay was asked for before is asked for once more with `again`. Trades whose ids step by one are whole when all
    ids are there; other rows, when the relay told some from before the gap until after it, none further apart than twice
    what rows of the stream are around it. Raises ConfigError when the relay cannot be asked, TapeLocked when a recorder holds the tape.
    """
    scope = scope or Scope()
    scope.check()
    key, venue = load_relay_key(settings), load_relay(settings)
    with hold_tape(settings) as writer:
        lake = settle_lake(settings, writer)
        ledger = list_gaps(lake)
        gaps = [gap for gap in ledger if scope.holds(gap)]
        wanted = [gap for gap in gaps if is_wanted_of_relay(gap, again=again)]
        orders = plan_relay(settings, lake, wanted, ledger)
        asker = Backfiller(venue, "", writer, key, options, on_page=_count_pages(on_progress))
        results = _run(asker, orders, on_result, on_progress)
    return sum_up(settings, gaps, {gap.gap_id for gap in wanted}, results)


def is_wanted_of_relay(gap: Gap, *, again: bool = False) -> bool:
    """Tell whether a relay is to be asked for a gap: also for one that the venue had nothing of."""
    return is_wanted(gap, again=again or name_judge(gap) not in {"", RELAY})


def plan_relay(settings: Settings, lake: Lake, gaps: Sequence[Gap], ledger: Sequence[Gap]) -> list[Order]:
    """Return what to ask a relay for gaps; `ledger` has all there are."""
    subjects = group_gaps(lake, gaps, lambda name: bool(list_markets(name)))
    return [order for subject, lost in subjects.items() for order in _order(settings, lake, subject, lost, ledger)]


def _order(settings: Settings, lake: Lake, subject: Subject, gaps: list[Lost], ledger: Sequence[Gap]) -> list[Order]:
    """Return what to ask for gaps of one stream; nothing where a relay tells none of it."""
    venue = load_venue(subject.venue)
    instrument = venue.name_instrument(subject.market, subject.venue_symbol)
    if subject.channel not in list_channels() or subject.market not in list_markets(subject.venue):
        return []
    try:
        found = find_relay_backfill(settings, subject.channel, instrument)
    except ConfigError:
        return []
    past = Past(lake, subject, found)
    plan = past.plan(gaps) if found.identity == "step" else _plan_gaps(lake, subject, gaps, ledger)
    carrier = find_carrier(subject.channel, instrument)
    began = [msgspec.structs.replace(one, venue=subject.venue, feed=carrier) for one in plan]
    return [limit_order(Order(one, found, complete=past.complete), venue) for one in began]


def _plan_gaps(lake: Lake, subject: Subject, gaps: list[Lost], ledger: Sequence[Gap]) -> list[Began]:
    """Ask for each time once, however many gaps are of it."""
    whose = subject.venue, subject.symbol, subject.channel
    holes = [
        (to_us(gap.from_at), to_us(gap.to_at or gap.from_at))
        for gap in ledger
        if (gap.venue, gap.symbol, gap.channel) == whose
    ]
    return [_begin_gaps(lake, subject, own, holes) for own in _join_gaps(gaps)]


def _join_gaps(gaps: list[Lost]) -> list[list[Lost]]:
    """Put gaps together that overlap."""
    joined: list[list[Lost]] = []
    for gap in sorted(gaps, key=lambda gap: gap.from_us):
        if joined and gap.from_us < max(one.to_us for one in joined[-1]):
            joined[-1].append(gap)
        else:
            joined.append([gap])
    return joined


def _begin_gaps(lake: Lake, subject: Subject, gaps: list[Lost], holes: Sequence[Hole]) -> Began:
    begin_us, end_us = min(gap.from_us for gap in gaps), max(gap.to_us for gap in gaps)
    # Rows at the ends of a gap are there; between them may be no time at all, and something missing all the same.
    is_short = end_us - begin_us < 2
    stretches = [(begin_us + 1, end_us - 1)] if is_short else find_stretches(lake, subject, begin_us + 1, end_us)
    lost = [
        msgspec.structs.replace(
            gap,
            ranges=tuple(
                i for i, (low, high) in enumerate(stretches) if low - 1 <= gap.to_us and high + 1 >= gap.from_us
            ),
            evidence="",
        )
        for gap in gaps
    ]
    return Began(
        market=subject.market, channel=subject.channel, venue_symbol=subject.venue_symbol, identity="time",
        from_us=begin_us - SLACK_US, to_us=end_us + SLACK_US, gaps=tuple(lost),
        quiet_us=_find_quiet(lake, subject, (begin_us, end_us), holes),
        missing=tuple(_bound(lake, subject, stretch) for stretch in stretches),
    )  # fmt: skip


def _find_quiet(lake: Lake, subject: Subject, span: tuple[int, int], holes: Sequence[Hole]) -> int:
    """Return how far apart rows may be that nothing is missing between them: twice what those around a gap are.

    What lies in `holes`, the gaps of the stream, says nothing of that.
    """
    ends = {"early": span[0] - LEAD_US, "late": span[1] + LEAD_US}
    found = _ask(lake, subject, _SILENCES, **ends, most=SILENCES_MAX)
    whole = [
        row["us"] - row["before"]
        for row in found
        if not any(row["before"] < end_us and row["us"] > begin_us for begin_us, end_us in holes)
    ]
    if not found:
        return QUIET_US
    return min(max(2 * whole[0], QUIET_MIN_US), QUIET_US) if whole else QUIET_MIN_US


def _bound(lake: Lake, subject: Subject, stretch: tuple[int, int]) -> Range:
    """Return what is missing in a stretch without rows, and what to ask for so that the relay shows that it heard it.

    The relay received rows at other times than we: where those around it bear exchange times, these say what is missing.
    """
    low, high = stretch
    ends = {"early": low - WIDE_US, "low": low, "high": high, "late": high + WIDE_US}
    found = (_ask(lake, subject, _NEIGHBOURS, **ends) or [{}])[0]
    since, before = found.get("since"), found.get("before")
    low, high = low - (SLACK_US if since is not None else 0), high + (SLACK_US if before is not None else 0)
    # Several trades may be of one moment: of these, ids tell which are known.
    step = 0 if subject.channel == "trade" else 1
    return Range(
        low, high, from_us=low - QUIET_US, to_us=high + QUIET_US,
        since_us=None if since is None else since + step, before_us=None if before is None else before - step,
    )  # fmt: skip


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


def _plan(lake: Lake, past: Past, subject: Subject, instrument: Instrument, span: Lost) -> list[Began]:
    carrier = find_carrier(subject.channel, instrument)
    if past.identity == "step":
        began = [bound_began(one, span) for one in past.plan([span])]
    else:
        # Trades that the venue told later were received later: they leave a stretch empty, and are known by their ids.
        stretches = find_stretches(lake, subject, span.from_us, span.to_us)
        began = [_begin(subject, piece) for stretch in stretches for piece in past.cut(stretch)]
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


def _count_pages(on_progress: OnProgress) -> Callable[[], None]:
    pages = count(1)
    return lambda: on_progress("pages answered", next(pages), 0)


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
