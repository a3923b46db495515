"""One denominator: a market has exactly its seconds, each stream is exactly one thing in each, values fit states."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.market import STATES, STREAMS, has_table

_STATES = ", ".join(f"'{state}'" for state in STATES)
_VALUES = {
    "oracle": "oracle_mid",
    "up": "coalesce(up_bid, up_ask)",
    "down": "coalesce(down_bid, down_ask)",
    "spot": "spot_price",
}

_RULES = (
    *((f"{s} is in no known state", f"{s}_state is null or {s}_state not in ({_STATES})") for s in STREAMS),
    *(
        # One-sided and even empty books are legal near the end: a state without a value is only judged of prices.
        (f"{s} has a price though it is not known then", f"{s}_state in ('gap', 'missing') and {v} is not null")
        for s, v in _VALUES.items()
    ),
    *(
        (f"{s} is known but has no price", f"{s}_state in ('observed', 'carried') and {_VALUES[s]} is null")
        for s in ("oracle", "spot")
    ),
    ("oracle is carried but not marked", "(oracle_state = 'carried') <> coalesce(oracle_ffill, false)"),
    ("second does not lie in its market", "t < begins_at or t >= ends_at"),
)

_QUERY = f"""
    with row_of as (
        select canonical.*, truth.opens_at as begins_at, truth.ends_at, truth.duration_s
        from canonical left join truth using (venue, market_id)
    )
    select venue, market_id, min(t) as first_at, count(*) as rows, count(distinct t) as seconds,
        any_value(duration_s) as duration_s, count(*) filter (where epoch_us(t) % 1000000 <> 0) as uneven,
        {", ".join(f"count(*) filter (where {rule}) as rule{i}" for i, (_, rule) in enumerate(_RULES))}
    from row_of group by all order by first_at, venue, market_id"""  # noqa: S608  # texts of this file


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "canonical") or not has_table(lake, "truth"):
        return Outcome(0)
    findings, examined = [], 0
    for row in lake.sql(_QUERY).arrow().to_pylist():
        examined += row["rows"]
        texts = [
            (
                f"{row['rows']} rows where its {row['duration_s']} seconds belong",
                abs(row["rows"] - (row["duration_s"] or 0)),
            ),
            ("seconds stored twice", row["rows"] - row["seconds"]),
            ("rows between whole seconds", row["uneven"]),
            *((what, row[f"rule{i}"]) for i, (what, _) in enumerate(_RULES)),
        ]
        findings += [
            Finding("error", row["venue"], row["market_id"], what, count, row["first_at"])
            for what, count in texts
            if count
        ]
    return Outcome(examined, tuple(findings))


CHECK = Check(
    "canonical_coverage",
    "Every market has exactly its seconds, and every stream is in each of them exactly one of observed, carried, gap, "
    "before_open, after_end, missing, with values that fit.",
    "market-seconds",
    _run,
)
