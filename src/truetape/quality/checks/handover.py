"""From one market to the next: subscribed early enough, and no second lost at the boundary."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome, Severity
from truetape.quality.ledger import Gap, list_gaps
from truetape.quality.limit import LIMITS
from truetape.quality.market import Window, has_table, list_windows, read_clock

_LEAD = timedelta(seconds=LIMITS.handover_lead_s_min)
_HEARD = """
    select venue, split_part(symbol, ':', 1) as slug, min(received_at) as first, max(received_at) as last
    from (select venue, symbol, received_at from quote union all select venue, symbol, received_at from book_change)
    where symbol like '%:%' group by all"""
_EDGES = f"""
    select venue, market_id, place <= {LIMITS.handover_span_s} as is_start,
        count(*) filter (where 'gap' in (oracle_state, up_state, down_state)) as gaps,
        count(*) filter (where 'missing' in (oracle_state, up_state, down_state)) as missing
    from (
        select *, row_number() over (partition by venue, market_id order by t) as place,
            row_number() over (partition by venue, market_id order by t desc) as left_over
        from canonical
    ) where least(place, left_over) <= {LIMITS.handover_span_s} group by all"""  # noqa: S608  # a number of ours

Span = tuple[datetime, datetime]
Key = tuple[str, str]


def _run(lake: Lake) -> Outcome:
    now = read_clock(lake)
    pairs = list(_pair_markets(list_windows(lake)))
    heard: dict[Key, Span] = {
        (row["venue"], row["slug"]): (row["first"], row["last"]) for row in lake.sql(_HEARD).arrow().to_pylist()
    }
    edges: dict[tuple[str, str, bool], tuple[int, int]] = {}
    if has_table(lake, "canonical"):
        for row in lake.sql(_EDGES).arrow().to_pylist():
            edges[row["venue"], row["market_id"], row["is_start"]] = (row["gaps"], row["missing"])
    gaps = [gap for gap in list_gaps(lake) if gap.state != "repaired" and gap.reason != "not_started"]
    examined, findings = 0, []
    for before, after in pairs:
        if now is None or after.opens_at is None or now < after.opens_at or not _was_running(before, after, heard):
            continue
        examined += 1
        findings += _judge_lead(after, heard.get((after.venue, after.slug)), gaps)
        for market, is_start in ((before, False), (after, True)):
            findings += _judge_edge(market, edges.get((market.venue, market.slug, is_start)), is_start)
    return Outcome(examined, tuple(findings), len(pairs))


def _pair_markets(markets: list[Window]) -> Iterator[tuple[Window, Window]]:
    """Pair each market with the one of its series that opens when it ends."""
    series = defaultdict(list)
    for market in markets:
        if market.opens_at is not None:
            series[market.venue, market.asset, market.series, market.duration_s].append(market)
    for followers in series.values():
        yield from ((a, b) for a, b in pairwise(followers) if a.ends_at == b.opens_at)


def _was_running(before: Window, after: Window, heard: dict[Key, Span]) -> bool:
    """Say whether the recorder could have been early: it was at work on the market before."""
    span = heard.get((before.venue, before.slug))
    return bool(span and after.opens_at and span[0] <= after.opens_at - _LEAD <= span[1])


def _judge_lead(market: Window, heard: Span | None, gaps: list[Gap]) -> list[Finding]:
    assert market.opens_at is not None  # only such are paired
    due = market.opens_at - _LEAD
    if heard is not None and heard[0] <= due:
        return []
    if heard is None:
        what, span = "its books were never received, though the market before it was recorded", (due, market.opens_at)
    else:
        lead_s = (market.opens_at - heard[0]).total_seconds()
        when = f"{abs(lead_s):.0f} s {'before' if lead_s >= 0 else 'after'} it opened"
        what, span = f"first book {when}, due {LIMITS.handover_lead_s_min:.0f} s before", (due, heard[0])
    is_declared = any(
        gap.covers(market.venue, f"{market.slug}:{side}", "book_change", *span)
        for gap in gaps
        for side in ("Up", "Down")
    )
    severity: Severity = "warning" if is_declared else "error"
    return [Finding(severity, market.venue, market.slug, what, 1, market.opens_at)]


def _judge_edge(market: Window, edge: tuple[int, int] | None, is_start: bool) -> list[Finding]:
    if edge is None:
        return []
    gaps, missing = edge
    span = f"in the {'first' if is_start else 'last'} {LIMITS.handover_span_s} s"
    at = market.opens_at if is_start else market.ends_at
    found = []
    if missing:
        found.append(Finding("error", market.venue, market.slug, f"seconds missing {span}", missing, at))
    if gaps:
        found.append(Finding("warning", market.venue, market.slug, f"seconds in a gap {span}", gaps, at))
    return found


CHECK = Check(
    "handover",
    f"The next market's books flow {LIMITS.handover_lead_s_min:.0f} s before it opens, and no second is missing around "
    "the boundary.",
    "boundaries between markets",
    _run,
)
