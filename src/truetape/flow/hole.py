"""Numbers that are missing of a stream: holes between rows, cut to the time of a gap; what a gap's evidence says."""

from collections.abc import Sequence
from typing import Any

import msgspec

from truetape.events.backfill import Lost, Range

SLACK_US = 5_000_000
"""Between a moment at the venue and the same moment here."""
WIDE_US = 3_600_000_000
"""A hole that reaches so far beyond a gap is asked for by the gap's time, not as a whole."""
IDS_MAX = 5_000_000
"""Ids missing at one place that are worth asking for."""


class _Evidence(msgspec.Struct):
    last_id: int | None = None
    next_id: int | None = None
    left: list[tuple[int, int]] | None = None
    """What an earlier backfill did not get to."""


def bound_range(low: int | None, high: int | None, span: Lost) -> Range:
    """Return numbers that are missing, of what happened in a time."""
    return Range(low, high, since_us=span.from_us, before_us=span.to_us)


def find_ranges(gap: Lost, holes: Sequence[dict[str, Any]], ends: dict[str, Any]) -> list[Range]:
    """Return which ids are missing in a gap: holes around its time, and what lies before all rows or after them."""
    if ends.get("first") is None:
        return [Range(since_us=gap.from_us, before_us=gap.to_us)]
    begin_us, end_us = gap.from_us - SLACK_US, gap.to_us + SLACK_US
    found = [
        fit_hole(gap, hole)
        for hole in holes
        if (hole["us_before"] or 0) <= end_us and (hole["us"] or end_us) >= begin_us
    ]
    if ends["first_us"] > gap.from_us:
        found.append(fit_hole(gap, {"low": None, "high": ends["first"] - 1, "us_before": None, "us": ends["first_us"]}))
    slack_us = SLACK_US if gap.gap_id else 0  # of a time that is asked for, the end is wanted, too
    if ends["last_us"] + slack_us < gap.to_us:
        found.append(fit_hole(gap, {"low": ends["last"] + 1, "high": None, "us_before": ends["last_us"], "us": None}))
    return found


def fit_hole(gap: Lost, hole: dict[str, Any]) -> Range:
    """Return a hole, cut to the time of the gap where it is far wider or has no end."""
    before_us, after_us = hole["us_before"], hole["us"]
    is_wide_before = before_us is None or before_us < gap.from_us - WIDE_US
    is_wide_after = after_us is None or after_us > gap.to_us + WIDE_US
    return Range(
        hole["low"],
        hole["high"],
        from_us=gap.from_us if is_wide_before else before_us,
        to_us=gap.to_us if is_wide_after else after_us,
        since_us=gap.from_us if is_wide_before else None,
        before_us=gap.to_us if is_wide_after else None,
    )


def is_too_wide(span: Range) -> bool:
    """Tell holes that come of ids that started over."""
    is_bounded = span.since_us is None and span.before_us is None and span.low is not None and span.high is not None
    return is_bounded and (span.high or 0) - (span.low or 0) >= IDS_MAX


def touch(one: Lost, other: Lost) -> bool:
    """Tell whether two gaps are next to each other."""
    return one.from_us <= other.to_us + SLACK_US and other.from_us <= one.to_us + SLACK_US


def read_evidence(text: str) -> list[Range]:
    """Return the numbers that a gap's evidence says are missing."""
    told = msgspec.json.decode(text or "{}", type=_Evidence)
    if told.left is not None:
        return [Range(low, high) for low, high in told.left]
    if told.last_id is None or told.next_id is None or told.next_id <= told.last_id + 1:
        return []
    return [Range(told.last_id + 1, told.next_id - 1)]
