"""The outcome computed from the oracle against the official one."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.market import has_table

_QUERY = """
    select venue, market_id, ends_at, computed_outcome as computed, official_outcome as official, strike, settlement,
        case when settlement >= strike then 'Up' else 'Down' end as implied  -- a tie resolves to Up
    from truth where computed_outcome in ('Up', 'Down') or official_outcome in ('Up', 'Down', 'split')
    order by ends_at, venue, market_id"""


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "truth"):
        return Outcome(0)
    findings, examined = [], 0
    rows = lake.sql(_QUERY).arrow().to_pylist()
    for row in rows:
        what = ""
        if row["computed"] in ("Up", "Down"):
            if row["strike"] is None or row["settlement"] is None or row["implied"] != row["computed"]:
                what = f"computed {row['computed']} does not follow from strike and settlement"
            if row["official"] in ("Up", "Down"):
                examined += 1
                if row["official"] != row["computed"]:
                    prices = f"strike {row['strike']}, settlement {row['settlement']}"
                    what = f"computed {row['computed']}, officially {row['official']} ({prices})"
        if what:
            findings.append(Finding("error", row["venue"], row["market_id"], what, 1, row["ends_at"]))
    return Outcome(examined, tuple(findings), len(rows))


CHECK = Check(
    "outcome_reproduced",
    "Where the oracle was observed at both boundaries, the computed outcome is the official one.",
    "markets with both outcomes",
    _run,
)
