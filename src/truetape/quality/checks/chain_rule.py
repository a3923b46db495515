"""A market's final price is the next one's strike."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome, Severity
from truetape.quality.limit import LIMITS
from truetape.quality.market import has_table

_QUERY = """
    select now.venue, now.market_id, now.ends_at, after.market_id as next_id, now.settlement, now.venue_final,
        now.next_strike, abs(coalesce(now.settlement_age_ms, 0)) + abs(coalesce(after.strike_age_ms, 0)) as age_ms,
        after.strike, after.venue_strike
    from truth as now join truth as after
        on after.venue = now.venue and after.asset = now.asset and after.series is not distinct from now.series
        and after.opens_at = now.ends_at and after.duration_s = now.duration_s
        -- Where the rule changes between them, they are read off different streams.
        and after.rule is not distinct from now.rule and after.rule_window_s is not distinct from now.rule_window_s
    order by now.ends_at, now.venue, now.market_id"""


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "truth"):
        return Outcome(0)
    rows = lake.sql(_QUERY).arrow().to_pylist()
    examined, findings = 0, []
    for row in rows:
        links = [
            ("settlement", row["settlement"], "the next strike", row["strike"], bool(row["age_ms"])),
            ("finalPrice", row["venue_final"], "the next priceToBeat", row["venue_strike"], False),
            ("next_strike", row["next_strike"], "the next strike", row["strike"], False),
        ]
        known = [link for link in links if link[1] is not None and link[3] is not None]
        examined += bool(known)
        for name, value, other, told, is_aged in known:
            apart_bps = abs(value / told - 1) * 10_000 if told else float("inf")
            if apart_bps > LIMITS.price_difference_bps_max:
                what = f"{name} {value} is not {other} {told} ({row['next_id']})"
                severity: Severity = "warning" if is_aged else "error"
                findings.append(Finding(severity, row["venue"], row["market_id"], what, 1, row["ends_at"]))
    return Outcome(examined, tuple(findings), len(rows))


CHECK = Check(
    "chain_rule",
    "A market's settlement and finalPrice are the strike and priceToBeat of the market that follows it.",
    "pairs of markets",
    _run,
)
