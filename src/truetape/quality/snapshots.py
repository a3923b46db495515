"""Snapshots of services against their schedule: what should be there, what is, and what of it makes no sense.

A market is expected in every turn from the one in which it was first asked for to the one in which it was let go of,
or to the service's last. A turn without its snapshot is explained when the gap ledger covers it, and only then.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

import msgspec

from truetape.lake import Lake
from truetape.quality.pace import Pace, Turn

CHANNEL = "market_snapshot"
STALE_TURNS = 8
"""A price that has stood still over so many turns in a row is stale."""
SUM_SLACK = 0.1
"""Prices of Yes and No whose sum is further from 1 than this make no sense."""
LINES_MAX = 20
_TURN_EVENTS = ("subscribed", "poll_missed", "poll_resumed", "listing_failed")


class MarketLine(msgspec.Struct, frozen=True):
    """One market."""

    symbol: str
    question: str | None
    category: str | None
    expected: int
    """Turns in which it was to be asked for."""
    observed: int
    explained: int
    """Turns without a snapshot that the gap ledger covers."""
    first_us: int
    last_us: int
    """First and last turn of these."""
    prices: tuple[tuple[int, float], ...]
    """(due in microseconds, price of Yes or of the first outcome)."""
    volume: float | None
    is_final: bool

    @property
    def missing(self) -> int:
        """Turns without a snapshot."""
        return self.expected - self.observed

    @property
    def completeness(self) -> float:
        """Share of turns that have one."""
        return self.observed / self.expected if self.expected else 1.0

    @property
    def volatility(self) -> float:
        """Standard deviation of the price's steps from one snapshot to the next; being paid is no step."""
        traded = self.prices[:-1] if self.is_final else self.prices
        steps = [after - before for (_, before), (_, after) in pairwise(traded)]
        return pstdev(steps) if len(steps) > 1 else 0.0

    @property
    def stale_turns(self) -> int:
        """Snapshots at the end that have one and the same price."""
        if not self.prices:
            return 0
        last = self.prices[-1][1]
        return next((i for i, (_, price) in enumerate(reversed(self.prices)) if price != last), len(self.prices))


class Hole(msgspec.Struct, frozen=True):
    """Turns in a row in which a market has no snapshot."""

    symbol: str
    from_us: int
    to_us: int
    """When the turn after the last of these was due."""
    turns: int
    reason: str
    """As the ledger has it; `unexplained` when it has nothing."""


class ServiceLine(msgspec.Struct, frozen=True):
    """One service."""

    service: str
    interval_s: float
    """The newest one."""
    turns: int
    """Of the schedule, from the first to the last."""
    markets: int
    expected: int
    observed: int
    explained: int
    failures: int
    """Requests that failed, each a row of `error`."""
    overround: float | None
    """Mean of what all outcomes cost together, minus 1; null where the service states one side only."""
    overround_max: float | None
    listings_failed: int = 0
    """Turns in which nobody knows what markets there were; those that were known before were asked for all the same."""

    @property
    def completeness(self) -> float | None:
        """Share of expected snapshots that are there; null where no market was known."""
        return self.observed / self.expected if self.expected else None


class Oddity(msgspec.Struct, frozen=True):
    """A snapshot that makes no sense."""

    symbol: str
    due_us: int
    what: str


class SnapshotSurvey(msgspec.Struct, frozen=True):
    """All that can be said of snapshots."""

    services: tuple[ServiceLine, ...]
    markets: tuple[MarketLine, ...]
    holes: tuple[Hole, ...]
    """Longest first."""
    categories: tuple[tuple[str, int], ...]
    """(category, markets), most first."""
    oddities: tuple[Oddity, ...]
    repeats: int
    """Snapshots of a market and turn that has one already: always 0."""

    @property
    def expected(self) -> int:
        """Snapshots that should be there."""
        return sum(line.expected for line in self.services)

    @property
    def observed(self) -> int:
        """Snapshots that are."""
        return sum(line.observed for line in self.services)

    @property
    def explained(self) -> int:
        """Snapshots that are not, and the ledger says why."""
        return sum(line.explained for line in self.services)

    @property
    def unexplained(self) -> int:
        """Snapshots that are not, and nothing says why: always 0."""
        return self.expected - self.observed - self.explained

    @property
    def listings_failed(self) -> int:
        """Listings of markets that failed."""
        return sum(line.listings_failed for line in self.services)

    @property
    def volatile(self) -> list[MarketLine]:
        """Markets by how much they move, most first."""
        moving = [market for market in self.markets if market.volatility > 0]
        return sorted(moving, key=lambda market: (-market.volatility, market.symbol))

    @property
    def stale(self) -> list[MarketLine]:
        """Markets that trade and whose price stands still, longest first."""
        still = [market for market in self.markets if market.stale_turns >= STALE_TURNS and not market.is_final]
        return sorted(still, key=lambda market: (-market.stale_turns, market.symbol))


class _Story(msgspec.Struct):
    """What the lake holds of one market."""

    symbol: str
    rows: list[dict[str, Any]] = []
    gaps: list[tuple[int, int, str]] = []
    began_us: int | None = None
    ended_us: int | None = None


def survey_snapshots(lake: Lake) -> SnapshotSurvey:
    """Judge all snapshots of a lake."""
    stories = _read_stories(lake)
    events = _ask(lake, _EVENTS)
    paces = _read_paces(lake, stories, events)
    turns = _find_last_turns(stories, events, paces)
    failures = Counter({row["feed"]: row["n"] for row in _ask(lake, _FAILURES)})
    listings = Counter({row["feed"]: row["n"] for row in events if row["event"] == "listing_failed"})
    services, markets, holes, repeats = [], [], [], 0
    for service, pace in sorted(paces.items()):
        lines = []
        for story in sorted(_list_own(stories, service), key=lambda story: story.symbol):
            dues = [row["due_us"] for row in story.rows]
            repeats += len(dues) - len(set(dues))
            line, missed = _judge_market(story, pace, turns.get(service, 0))
            lines.append(line)
            holes += missed
        total = _sum_service(service, pace, lines, failures[service], stories)
        services.append(msgspec.structs.replace(total, listings_failed=listings[service]))
        markets += lines
    holes.sort(key=lambda hole: (-hole.turns, hole.from_us, hole.symbol))
    categories = Counter(market.category or "none" for market in markets).most_common()
    return SnapshotSurvey(
        tuple(services),
        tuple(markets),
        tuple(holes),
        tuple(categories),
        tuple(_find_oddities(stories.values())),
        repeats,
    )


def _list_own(stories: dict[str, _Story], service: str) -> list[_Story]:
    return [story for story in stories.values() if story.symbol.split("/")[0] == service]


def _judge_market(story: _Story, pace: Pace, service_last_us: int) -> tuple[MarketLine, list[Hole]]:
    """Compare a market's snapshots with its turns."""
    dues = sorted({row["due_us"] for row in story.rows})
    newest: dict[str, Any] = story.rows[-1] if story.rows else {}
    began_us = min([pace.floor(story.began_us)] if story.began_us else dues[:1], default=0)
    first_us = min([began_us, *dues[:1]])
    is_final = bool(newest.get("is_final"))
    last_us = max([first_us, service_last_us, *dues[-1:]])
    if is_final:
        last_us = dues[-1]
    elif story.ended_us is not None and story.ended_us > (dues[-1] if dues else 0):
        last_us = max(first_us, pace.floor(story.ended_us))
    wanted, known = pace.list_turns(first_us, last_us), set(dues)
    missed = [turn for turn in wanted if turn.due_us not in known]
    reasons = [_explain(story.gaps, turn) for turn in missed]
    expected = len(wanted)
    explained = sum(reason != "unexplained" for reason in reasons)
    prices = tuple((row["due_us"], row["price"]) for row in story.rows if row["price"] is not None)
    line = MarketLine(
        story.symbol, newest.get("question"), newest.get("category"), expected, expected - len(missed), explained,
        first_us, last_us, prices, newest.get("volume"), is_final,
    )  # fmt: skip
    return line, _join_holes(story.symbol, missed, reasons)


def _explain(gaps: Sequence[tuple[int, int, str]], turn: Turn) -> str:
    """Return the reason of the ledger's gap that covers most of a turn."""
    best, reason = 0, "unexplained"
    stop = bisect_left(gaps, (turn.end_us, 0, ""))
    for from_us, to_us, why in gaps[:stop]:
        overlap = min(to_us, turn.end_us) - max(from_us, turn.due_us)
        if overlap > best:
            best, reason = overlap, why
    return reason


def _join_holes(symbol: str, missed: list[Turn], reasons: list[str]) -> list[Hole]:
    holes: list[Hole] = []
    for turn, reason in zip(missed, reasons, strict=True):
        last = holes[-1] if holes else None
        if last and last.reason == reason and last.to_us == turn.due_us:
            holes[-1] = msgspec.structs.replace(last, to_us=turn.end_us, turns=last.turns + 1)
        else:
            holes.append(Hole(symbol, turn.due_us, turn.end_us, 1, reason))
    return holes


def _sum_service(
    service: str, pace: Pace, lines: list[MarketLine], failures: int, stories: dict[str, _Story]
) -> ServiceLine:
    sums = [
        row["price_sum"] - 1
        for line in lines
        for row in stories[line.symbol].rows
        if row["price_sum"] is not None and not row["is_final"]
    ]
    first_us, last_us = (
        min((line.first_us for line in lines), default=1),
        max((line.last_us for line in lines), default=0),
    )
    return ServiceLine(
        service, pace.interval_us / 1e6, len(pace.list_turns(first_us, last_us)), len(lines),
        sum(line.expected for line in lines), sum(line.observed for line in lines),
        sum(line.explained for line in lines), failures, fmean(sums) if sums else None, max(sums, default=None),
    )  # fmt: skip


def _find_oddities(stories: Iterable[_Story]) -> list[Oddity]:
    """Find prices outside of 0 and 1, and pairs whose sum is far from 1."""
    found = []
    for story in stories:
        for row in story.rows:
            outside = {
                name: price for name, price in msgspec.json.decode(row["outcomes"]).items() if not 0 <= price <= 1
            }
            if outside:
                told = ", ".join(f"{name} {price:g}" for name, price in outside.items())
                found.append(Oddity(story.symbol, row["due_us"], f"price out of 0 to 1: {told}"))
            yes, no = row["yes_price"], row["no_price"]
            is_pair = yes is not None and no is not None and not row["is_final"]  # what is over may cost anything
            if is_pair and abs(yes + no - 1) > SUM_SLACK:
                found.append(Oddity(story.symbol, row["due_us"], f"Yes {yes:g} and No {no:g} make {yes + no:.4g}"))
    return sorted(found, key=lambda oddity: (oddity.due_us, oddity.symbol))


# -- reading ----------------------------------------------------------------------------------------------


_ROWS = """
    select symbol, epoch_us(due_at) as due_us, interval_s, question, category, is_final, outcomes, yes_price, no_price,
        price_sum, volume,
        coalesce(yes_price, try_cast(json_extract_string(outcomes, '$.*')[1] as double)) as price
    from market_snapshot order by symbol, due_at, tape_offset"""
_GAPS = """
    select symbol, epoch_us(min(received_at)) as noted_us, epoch_us(arg_max(from_at, (tape_offset, tape_row))) as from_us,
        epoch_us(arg_max(to_at, (tape_offset, tape_row)) filter (to_at is not null)) as to_us,
        arg_max(reason, (tape_offset, tape_row)) as reason
    from gap where venue = 'snapshot' and channel = 'market_snapshot' and symbol <> ''
    group by symbol, gap_id order by symbol, from_us"""
_ENDS = """
    select symbol, epoch_us(max(received_at)) as ended_us from market_state
    where venue = 'snapshot' and state in ('settled', 'unknown') group by symbol"""
_EVENTS = """
    select feed, event, count(*) as n, epoch_us(max(received_at)) as at_us from connection
    where venue = 'snapshot' group by feed, event"""
_INTERVALS = """
    select service, epoch_us(due_at) as at_us, max(interval_s) as every from market_snapshot group by all"""
_OPENED = """
    select feed as service, epoch_us(received_at) as at_us, detail from connection
    where venue = 'snapshot' and event = 'opened'"""
INTERVAL_US = 900_000_000
"""Of a service that nothing tells it of."""
_FAILURES = "select feed, count(*) as n from error where venue = 'snapshot' group by feed"
_FOREVER = 1 << 62


def _read_stories(lake: Lake) -> dict[str, _Story]:
    stories: dict[str, _Story] = {}
    for row in _ask(lake, _ROWS):
        stories.setdefault(row["symbol"], _Story(row["symbol"])).rows.append(row)
    for row in _ask(lake, _GAPS):
        story = stories.setdefault(row["symbol"], _Story(row["symbol"]))
        story.gaps.append((row["from_us"], _FOREVER if row["to_us"] is None else row["to_us"], row["reason"]))
        story.began_us = min(story.began_us or row["noted_us"], row["noted_us"])
    for row in _ask(lake, _ENDS):
        if row["symbol"] in stories:
            stories[row["symbol"]].ended_us = row["ended_us"]
    for story in stories.values():
        story.gaps.sort()
    return stories


def _read_paces(lake: Lake, stories: dict[str, _Story], events: Sequence[dict[str, Any]]) -> dict[str, Pace]:
    """Return how often each service was asked; one that never answered says it itself, when it begins."""
    told: dict[str, list[tuple[int, int]]] = {}
    for row in _ask(lake, _INTERVALS):
        told.setdefault(row["service"], []).append((row["at_us"], round(row["every"] * 1e6)))
    own = {story.symbol.split("/")[0] for story in stories.values()}
    silent = (own | {row["feed"] for row in events if row["event"] in _TURN_EVENTS}) - set(told)
    for row in _ask(lake, _OPENED):
        if row["service"] in silent:
            interval_s = msgspec.json.decode(row["detail"]).get("interval_s")
            told.setdefault(row["service"], []).append(
                (row["at_us"], round(interval_s * 1e6) if interval_s else INTERVAL_US)
            )
    return {service: Pace(told.get(service, [(0, INTERVAL_US)])) for service in {*told, *silent}}


def _find_last_turns(
    stories: dict[str, _Story], events: Sequence[dict[str, Any]], paces: dict[str, Pace]
) -> dict[str, int]:
    """Return the newest turn of each service that anything is known of (due, in microseconds)."""
    turns: dict[str, int] = {}
    for story in stories.values():
        for row in story.rows[-1:]:
            service = story.symbol.split("/")[0]
            turns[service] = max(turns.get(service, 0), row["due_us"])
    for row in events:
        if row["event"] in _TURN_EVENTS and row["feed"] in turns:
            turns[row["feed"]] = max(turns[row["feed"]], paces[row["feed"]].floor(row["at_us"]))
    return turns


def _ask(lake: Lake, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake.sql(query).arrow().to_pylist()
    return rows


def show_time(at_us: int) -> str:
    """Write a turn's time."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
