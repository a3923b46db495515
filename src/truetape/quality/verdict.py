"""How far a market's dataset can be trusted, in one word with reasons; and a day's, from its markets."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Literal

import msgspec

from truetape.quality.limit import LIMITS, Limits
from truetape.quality.market import Market, StreamCoverage

Grade = Literal["good", "degraded", "bad", "unfinished"]
"""good: use it; degraded: usable, read the reasons; bad: do not; unfinished: the lake does not reach its end yet."""

_ORDER: tuple[Grade, ...] = ("unfinished", "good", "degraded", "bad")

Reason = tuple[Grade, str]


class Verdict(msgspec.Struct, frozen=True):
    """A grade and why."""

    grade: Grade
    reasons: tuple[str, ...] = ()


class DayVerdict(msgspec.Struct, frozen=True):
    """A day of one asset's series at one venue, by when its markets opened."""

    venue: str
    asset: str
    series: str
    day: date
    markets: int
    good: int
    degraded: int
    bad: int
    unfinished: int
    grade: Grade
    reasons: tuple[str, ...]
    """The markets' reasons, most frequent first, each with its number of markets."""


def judge_market(market: Market, limits: Limits = LIMITS) -> Verdict:
    """Judge one market; the worst reason decides."""
    if not market.is_ended:
        return Verdict("unfinished", ("the lake does not reach its end",))
    reasons = [*_judge_label(market), *_judge_streams(market, limits), *_judge_sums(market, limits)]
    grades: list[Grade] = [grade for grade, _ in reasons]
    grade = max(grades, key=_ORDER.index, default=_ORDER[1])
    return Verdict(grade, tuple(text for _, text in sorted(reasons, key=lambda r: -_ORDER.index(r[0]))))


def _judge_label(market: Market) -> list[Reason]:
    truth = market.truth
    if truth is None:
        return [("bad", "no truth row: truetape build makes it")]
    reasons: list[Reason] = []
    if truth.is_match is False:
        reasons.append(("bad", f"computed {truth.computed_outcome} but officially {truth.official_outcome}"))
    if truth.label in (None, "unknown"):
        reasons.append(("bad", "no label: " + (truth.reason or "no reason given")))
    elif truth.label == "split":
        reasons.append(("degraded", "paid 0.5/0.5"))
    elif truth.computed_outcome == "indeterminate":
        reasons.append(("degraded", "outcome not reproduced: " + (truth.reason or "no reason given")))
    if truth.label in ("Up", "Down") and truth.official_outcome in (None, "unknown"):
        reasons.append(("degraded", "label computed, no official outcome yet"))
    if truth.is_disputed:
        reasons.append(("degraded", "disputed"))
    return reasons


def _judge_streams(market: Market, limits: Limits) -> list[Reason]:
    if not market.coverage:
        return [("bad", "no canonical rows: truetape build makes them")]
    reasons = [reason for c in market.coverage if c.stream != "spot" for reason in _judge_stream(c, limits)]
    oracle = market.find_coverage("oracle")
    if oracle is not None and oracle.blind < oracle.seconds:
        fresh = oracle.observed / oracle.seconds
        if fresh < limits.fresh_share_good_min:
            grade: Grade = "bad" if fresh < limits.fresh_share_bad_min else "degraded"
            reasons.append((grade, f"oracle observed in only {fresh:.1%} of seconds"))
    spot = market.find_coverage("spot")
    if spot is not None and spot.missing < spot.seconds and spot.blind_share > limits.blind_share_good_max:
        reasons.append(("degraded", f"spot blind in {spot.blind_share:.1%} of seconds"))  # no label rests on it
    return reasons


def _judge_stream(coverage: StreamCoverage, limits: Limits) -> list[Reason]:
    share = coverage.blind_share
    if share <= limits.blind_share_good_max:
        return []
    grade: Grade = "bad" if share > limits.blind_share_bad_max else "degraded"
    return [(grade, f"{coverage.stream} blind in {share:.1%} of seconds")]


def _judge_sums(market: Market, limits: Limits) -> list[Reason]:
    books = [c.known for c in market.coverage if c.stream in ("up", "down")]
    judged = min(books, default=0)
    if not judged or not market.crossed_seconds:
        return []
    share = market.crossed_seconds / judged
    grade: Grade = "bad" if share > limits.arbitrage_share_max else "degraded"
    return [(grade, f"bids or asks add up to free money in {share:.1%} of seconds")]


def judge_days(markets: Sequence[Market], verdicts: Sequence[Verdict], limits: Limits = LIMITS) -> list[DayVerdict]:
    """Judge each day of each series from the verdicts of its markets."""
    days: dict[tuple[str, str, str, date], list[Verdict]] = defaultdict(list)
    for market, verdict in zip(markets, verdicts, strict=True):
        if market.opens_at is not None:
            days[market.venue, market.asset, market.series, market.opens_at.date()].append(verdict)
    return [_judge_day(*key, days[key], limits) for key in sorted(days)]


def _judge_day(venue: str, asset: str, series: str, day: date, verdicts: list[Verdict], limits: Limits) -> DayVerdict:
    counts = {grade: sum(v.grade == grade for v in verdicts) for grade in _ORDER}
    finished = len(verdicts) - counts["unfinished"]
    grade: Grade = "degraded"
    if not finished:
        grade = "unfinished"
    elif counts["bad"] > limits.day_bad_share_max * finished:
        grade = "bad"
    elif not counts["bad"] and counts["good"] >= limits.day_good_share_min * finished:
        grade = "good"
    return DayVerdict(
        venue=venue, asset=asset, series=series, day=day, markets=len(verdicts), grade=grade,
        good=counts["good"], degraded=counts["degraded"], bad=counts["bad"], unfinished=counts["unfinished"],
        reasons=_count_reasons(verdicts),
    )  # fmt: skip


def _count_reasons(verdicts: list[Verdict]) -> tuple[str, ...]:
    counts: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        if verdict.grade in ("degraded", "bad"):
            for reason in {_strip_number(text) for text in verdict.reasons}:
                counts[reason] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(f"{text}: {count}" for text, count in ordered)


def _strip_number(text: str) -> str:
    """Leave a reason's own number out, so that equal reasons count together."""
    return text.split(" in ")[0].split(": ")[0]
