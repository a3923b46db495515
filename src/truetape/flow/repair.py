"""Asks venues for what the ledger says is missing, or for any part of the past; the tape must be nobody else's then.

What comes goes onto the tape and from there the way of all frames: decoding tells what is new and closes the gaps.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

import msgspec

from truetape import clock
from truetape.collect.backfill import Backfiller, Order, Result
from truetape.collect.http import HttpOptions
from truetape.collect.key import load_key
from truetape.config import Settings, find_url
from truetape.errors import ConfigError, TapeLocked, VenueUnreachable
from truetape.events.backfill import Began, Lost
from truetape.events.schema import KINDS
from truetape.flow.history import (
    OnProgress,
    bound_began,
    count_rows,
    find_lake,
    find_subject,
    hold_tape,
    ignore_progress,
    list_streams,
    settle_lake,
)
from truetape.flow.hole import IDS_MAX, is_too_wide
from truetape.flow.loss import Past, name_kind
from truetape.flow.spool import Outcome, hand_over
from truetape.flow.subject import Subject, to_us
from truetape.lake import Lake
from truetape.quality.ledger import Gap, list_gaps
from truetape.tape import TapeWriter
from truetape.venues import list_venues, load_venue
from truetape.venues._contract import Backfill, Venue

ASKABLE = frozenset({"trade", "candle", "funding"})
"""Channels whose past venues tell; of the others, what was not heard is gone."""
SETTLED = timedelta(seconds=120)
"""A gap that ended so long ago: what was late has arrived."""
RELAY = "relay"
"""By whom the evidence says that a gap was judged, where it was not the venue."""
OnResult = Callable[[Result], None]


class Repair(msgspec.Struct, frozen=True):
    """What became of the gaps that were closed, and of those that were not."""

    repaired: int
    unrecoverable: int
    failed: int
    """The venue did not answer: worth another try."""
    waiting: int
    """Still open: they can be repaired once the stream is back."""
    left: int
    """Of no stream that could be asked for."""
    troubles: tuple[str, ...]
    """One line for each reason why something failed."""


class Handed(msgspec.Struct, frozen=True):
    """What a recorder did of the work that was handed to it; the ledger shows it when it is delivered."""

    asked: tuple[str, ...]
    """Ids of the gaps that the venues were asked for, or that nobody can be asked for."""
    failed: tuple[str, ...]
    """The venue did not answer: worth another try."""
    waiting: int
    """Gaps of streams whose last work is not in the lake yet."""
    troubles: tuple[str, ...]


class Scope(msgspec.Struct, frozen=True):
    """Which gaps; empty: all."""

    venue: str = ""
    symbol: str = ""
    channel: str = ""

    def check(self) -> None:
        """Raise ConfigError when there is no such venue or channel."""
        if self.venue:
            load_venue(self.venue)
        if self.channel and self.channel not in KINDS:
            raise ConfigError(f"channel: {self.channel!r} is not known (allowed: {', '.join(KINDS)})")

    def holds(self, gap: Gap) -> bool:
        """Tell whether a gap is in it."""
        given = ((self.venue, gap.venue), (self.symbol, gap.symbol), (self.channel, gap.channel))
        return all(wanted in ("", told) for wanted, told in given)


def repair_gaps(
    settings: Settings,
    scope: Scope | None = None,
    *,
    again: bool = False,
    on_result: OnResult = lambda result: None,
    on_progress: OnProgress = ignore_progress,
    options: HttpOptions | None = None,
) -> Repair:
    """Ask for everything that gaps are missing; `again` takes those, too, that were found to be unrecoverable.

    Raises TapeLocked when a recorder holds the tape.
    """
    scope = scope or Scope()
    scope.check()
    with hold_tape(settings) as writer:
        lake = settle_lake(settings, writer)
        gaps = [gap for gap in list_gaps(lake) if scope.holds(gap)]
        wanted = {gap.gap_id for gap in gaps if is_wanted(gap, again=again) or _is_left_by_relay(gap)}
        orders = _plan_repairs(lake, [gap for gap in gaps if gap.gap_id in wanted])
        results = _run(settings, orders, writer, on_result, on_progress, options)
    return sum_up(settings, gaps, wanted, results)


def is_wanted(gap: Gap, *, again: bool) -> bool:
    """Tell whether a gap is to be repaired."""
    return gap.state == "closed" or (again and gap.state == "unrecoverable")


def name_judge(gap: Gap) -> str:
    """Name who was asked for a gap: `backfill` is the venue, `relay` a relay; empty: nobody."""
    return str(msgspec.json.decode(gap.evidence or "{}").get("by", "")) if gap.state == "unrecoverable" else ""


def _is_left_by_relay(gap: Gap) -> bool:
    """Tell whether a relay had nothing of what the venue may still tell."""
    return name_judge(gap) == RELAY and any(one.channel == gap.channel for one in load_venue(gap.venue).backfills)


def sum_up(settings: Settings, gaps: Sequence[Gap], wanted: Collection[str], results: Sequence[Result]) -> Repair:
    """Say what became of gaps, given what the work for them came to; the lake must have it."""
    lake = find_lake(settings)
    failed = {lost.gap_id for result in results if result.ended.status == "failed" for lost in result.order.began.gaps}
    asked = {lost.gap_id for result in results for lost in result.order.began.gaps} - failed
    now = Counter(gap.state for gap in list_gaps(lake) if gap.gap_id in asked)
    waiting = sum(gap.state == "open" for gap in gaps)
    troubles = dict.fromkeys(result.ended.reason for result in results if result.ended.status == "failed")
    left = len(wanted) - len(asked | failed)
    return Repair(now["repaired"], now["unrecoverable"], len(failed), waiting, left, tuple(troubles))


def repair_beside(
    settings: Settings,
    *,
    pending: Collection[str] = (),
    now: datetime,
    on_result: OnResult = lambda result: None,
    on_hand: Callable[[tuple[str, ...]], None] = lambda gaps: None,
) -> Repair | Handed:
    """Repair gaps, whether or not a recorder holds the tape: one that does is handed the work.

    What is handed over shows in the ledger when it is delivered. `pending` are the gaps that were handed over before; a
    stream that has one of them still is left for later, as the lake does not show yet what came. `on_hand` hears of the
    gaps before they are handed over: who dies then has told already.

    Raises Busy when a recorder holds the tape and does not take the work.
    """
    try:
        return repair_gaps(settings, on_result=on_result)
    except TapeLocked:
        lake = find_lake(settings)
    gaps = [gap for gap in list_gaps(lake) if gap.state == "closed" and gap.to_at and gap.to_at < now - SETTLED]
    free = leave_busy(gaps, pending, gaps)
    orders = {name: own for name, own in _plan_repairs(lake, free).items() if own}
    on_hand(tuple(dict.fromkeys(lost.gap_id for own in orders.values() for one in own for lost in one.began.gaps)))
    outcomes = clock.run(hand_over(settings, orders)) if orders else []
    return count_handed(outcomes, len(gaps) - len(free))


def leave_busy(gaps: Sequence[Gap], pending: Collection[str], ledger: Sequence[Gap]) -> list[Gap]:
    """Return the gaps of streams of which nothing of the ledger is pending."""
    busy = {_name_stream(gap) for gap in ledger if gap.gap_id in pending}
    return [gap for gap in gaps if _name_stream(gap) not in busy]


def count_handed(outcomes: Sequence[Outcome], waiting: int) -> Handed:
    """Say what became of work that was handed over; so many gaps wait for what was before."""
    failed = tuple(dict.fromkeys(gap for one in outcomes if one.ended.status == "failed" for gap in one.gaps))
    asked = tuple(dict.fromkeys(gap for one in outcomes for gap in one.gaps if gap not in failed))
    troubles = tuple(dict.fromkeys(one.ended.reason for one in outcomes if one.ended.status == "failed"))
    return Handed(asked, failed, waiting, troubles)


def _name_stream(gap: Gap) -> tuple[str, str, str]:
    return gap.venue, gap.symbol, gap.channel


def backfill(
    settings: Settings,
    wanted: Subject,
    begin: datetime,
    end: datetime,
    *,
    on_result: OnResult = lambda result: None,
    on_progress: OnProgress = ignore_progress,
    options: HttpOptions | None = None,
) -> int:
    """Ask for a stream's past between two moments, as far as the lake has none of it; return the new rows.

    What `wanted` leaves empty, its market and the venue's own name, is looked up on the tape, else in the listings.
    Raises ConfigError when the venue tells no past of it, TapeLocked when a recorder holds the tape.
    """
    if begin >= end:
        raise ConfigError(f"--from {begin.isoformat()} is not before --to {end.isoformat()}")
    venue = load_venue(wanted.venue)
    markets = _find_markets(venue, wanted)
    with hold_tape(settings, is_new=True) as writer:
        lake = settle_lake(settings, writer)
        subject = find_subject(settings, lake, wanted, markets, writer, options)
        found = find_backfill(venue, subject)
        _check_interval(found, subject.interval)
        before = count_rows(lake, subject, name_kind(found))
        span = Lost("", to_us(begin), min(to_us(end), clock.wall_ns() // 1000), "")
        past = Past(lake, subject, found)
        plan = [bound_began(began, piece) for piece in past.list_pieces(span) for began in past.plan_piece(piece)]
        orders = [Order(one, found, complete=past.complete) for began in plan for one in past.divide(began)]
        results = _run(settings, {subject.venue: orders}, writer, on_result, on_progress, options)
    rows = count_rows(find_lake(settings), subject, name_kind(found)) - before
    failed = [result.ended.reason for result in results if result.ended.status == "failed"]
    if failed:
        raise VenueUnreachable(f"{rows:,} rows came, then it failed, and can be asked again: {failed[0]}")
    absent = [result.ended.reason for result in results if result.ended.reason]
    if absent and not rows:
        raise ConfigError(f"the venue tells nothing of it: {absent[0]}")
    return rows


def find_backfill(venue: Venue, subject: Subject) -> Backfill:
    """Return how a stream's past is asked for; ConfigError when it cannot be."""
    for one in venue.backfills:
        if (one.market, one.channel) == (subject.market, subject.channel):
            return one
    markets = dict.fromkeys(one.market for one in venue.backfills)
    if subject.market and subject.market not in markets:
        allowed = ", ".join(filter(None, markets)) or "nothing"
        raise ConfigError(f"{venue.name}: no past of market {subject.market!r} (allowed: {allowed})")
    channels = dict.fromkeys(one.channel for one in venue.backfills if subject.market in ("", one.market))
    allowed = ", ".join(channels) or "nothing"
    told = f"{f'{venue.name} {subject.market}'.strip()}: no past of {subject.channel!r} (allowed: {allowed}"
    others = ", ".join(_list_tellers(subject.channel))
    raise ConfigError(f"{told}; {subject.channel} of {others})" if others else f"{told})")


def _list_tellers(channel: str) -> list[str]:
    """Return the venues that tell the past of a channel."""
    return [name for name in list_venues() if any(one.channel == channel for one in load_venue(name).backfills)]


def _find_markets(venue: Venue, wanted: Subject) -> set[str]:
    """Return the product lines that may be meant; ConfigError, before anybody is asked, when none can be."""
    meant = [one for one in venue.backfills if one.channel == wanted.channel and wanted.market in ("", one.market)] or [
        find_backfill(venue, wanted)
    ]
    if all(one.intervals and wanted.interval not in one.intervals for one in meant):
        _check_interval(meant[0], wanted.interval)
    return {one.market for one in meant}


def _check_interval(found: Backfill, interval: str) -> None:
    if found.intervals and interval not in found.intervals:
        raise ConfigError(f"--interval {interval!r} (allowed: {', '.join(found.intervals)})")


# -- the work -------------------------------------------------------------------------------------------------


def _run(
    settings: Settings,
    orders: dict[str, list[Order]],
    writer: TapeWriter,
    on_result: OnResult,
    on_progress: OnProgress,
    options: HttpOptions | None,
) -> list[Result]:
    results: list[Result] = []
    total, pages = sum(map(len, orders.values())), 0

    def take(result: Result) -> None:
        results.append(result)
        on_result(result)
        on_progress("stretches asked for", len(results), total)

    def turn_page() -> None:
        nonlocal pages
        pages += 1
        on_progress("pages answered", pages, 0)

    async def ask_all() -> None:
        for name, own in orders.items():
            venue = load_venue(name)
            await Backfiller(venue, find_url(settings, name), writer, load_key(venue), options, on_page=turn_page).run(
                own, take
            )

    clock.run(ask_all())
    return results


def _plan_repairs(lake: Lake, gaps: Sequence[Gap]) -> dict[str, list[Order]]:
    """Return what to ask of each venue: gaps of one stream together, those first that can be repaired."""
    orders: dict[str, list[Order]] = defaultdict(list)
    for subject, lost in group_gaps(lake, gaps, lambda name: bool(load_venue(name).backfills)).items():
        orders[subject.venue] += _order(lake, subject, lost)
    return {name: sorted(own, key=lambda order: order.backfill is None) for name, own in orders.items()}


def group_gaps(lake: Lake, gaps: Sequence[Gap], is_told: Callable[[str], bool]) -> dict[Subject, list[Lost]]:
    """Put gaps of one stream together, of venues of which anything is told."""
    by_stream: dict[Subject, list[Lost]] = defaultdict(list)
    places: dict[str, dict[str, tuple[str, str]]] = {}
    for gap in gaps:
        if not gap.symbol or gap.venue not in list_venues() or gap.to_at is None or not is_told(gap.venue):
            continue
        if gap.venue not in places:
            streams = list_streams(lake, gap.venue)
            places[gap.venue] = {row["symbol"]: (row["market"], row["venue_symbol"]) for row in streams}
        place = places[gap.venue].get(gap.symbol)
        if place is None:
            continue
        interval = _find_interval(lake, gap) if gap.channel == "candle" else ""
        lost = Lost(gap.gap_id, to_us(gap.from_at), to_us(gap.to_at), gap.reason, evidence=gap.evidence)
        by_stream[Subject(gap.venue, place[0], gap.symbol, place[1], gap.channel, interval)].append(lost)
    return by_stream


def _order(lake: Lake, subject: Subject, gaps: list[Lost]) -> list[Order]:
    venue = load_venue(subject.venue)
    try:
        found = find_backfill(venue, subject)
    except ConfigError:
        if subject.channel in ASKABLE:
            return []
        feed = next(feed.name for feed in venue.feeds if feed.market == subject.market)
        began = Began(
            market=subject.market, channel=subject.channel, venue_symbol=subject.venue_symbol, identity="number",
            from_us=gaps[0].from_us, to_us=gaps[-1].to_us, gaps=tuple(gaps),
        )  # fmt: skip
        return [Order(began, None, feed, f"{venue.title} tells no {subject.channel} of the past")]
    past = Past(lake, subject, found)
    plan = [one for began in past.plan(gaps) for one in past.divide(began)]
    return [limit_order(Order(one, found, complete=past.complete), venue) for one in plan]


def limit_order(order: Order, venue: Venue) -> Order:
    """Refuse to ask for more than is sensible."""
    is_counted = order.backfill is not None and order.backfill.identity == "step"
    if not is_counted or not any(is_too_wide(span) for span in order.began.missing):
        return order
    reason = f"more than {IDS_MAX:,} ids are missing at one place: {venue.title} may have begun to count anew"
    return msgspec.structs.replace(
        order, backfill=None, feed=order.backfill.feed if order.backfill else "", reason=reason
    )


def _find_interval(lake: Lake, gap: Gap) -> str:
    query = 'select "interval" as name from candle where venue = $venue and symbol = $symbol group by 1 order by count(*) desc'
    named = {"venue": gap.venue, "symbol": gap.symbol}
    rows = lake.sql(query, named).arrow().to_pylist() if "candle" in lake.versions() else []
    return str(rows[0]["name"]) if rows else "1m"
