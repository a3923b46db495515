"""Cells that show what nobody could have known in their second."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.market import has_table

# A price may repeat: the first row that has it is judged, so what is found is certain, and what is not may remain.
# The auditor of the datasets, which builds again from truncated history, finds the rest.
_QUERY = """
    with oracle as (
        select split_part(symbol, '-', 1) as asset, price, min(available_at) as available_at
        from oracle_price group by all
    ),
    spot as (
        select split_part(symbol, '-', 1) as asset, price, min(available_at) as available_at
        from trade where symbol like '%-USD' group by all
    ),
    judged as (
        select c.venue, c.market_id, c.t,
            c.oracle_mid is not null as has_oracle,
            c.oracle_mid is not null and oracle.available_at is null as is_unknown,
            coalesce(oracle.available_at > c.t, false) as is_oracle_ahead,
            spot.available_at is not null as has_spot,
            coalesce(spot.available_at > c.t, false) as is_spot_ahead,
            coalesce(least(c.oracle_age_ms, c.up_age_ms, c.down_age_ms, c.spot_age_ms) < 0, false) as is_younger
        from canonical as c
            left join oracle on oracle.asset = c.asset and oracle.price = c.oracle_mid
            left join spot on spot.asset = c.asset and spot.price = c.spot_price
    )
    select venue, market_id, count(*) filter (where has_oracle) + count(*) filter (where has_spot) as cells,
        count(*) filter (where is_unknown) as unknown, count(*) filter (where is_oracle_ahead) as oracle,
        count(*) filter (where is_spot_ahead) as spot, count(*) filter (where is_younger) as younger,
        min(t) filter (where is_unknown or is_oracle_ahead or is_spot_ahead or is_younger) as first_at
    from judged group by all order by market_id, venue"""
_WORDS = {
    "oracle": "oracle price of a second before it was received",
    "spot": "spot price of a second before it was received",
    "younger": "age below zero: younger than its second",
    "unknown": "oracle price that no recorded row has",
}


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "canonical"):
        return Outcome(0)
    rows = lake.sql(_QUERY).arrow().to_pylist()
    findings = [
        Finding("error", row["venue"], row["market_id"], what, row[name], row["first_at"])
        for row in rows
        for name, what in _WORDS.items()
        if row[name]
    ]
    return Outcome(sum(row["cells"] for row in rows), tuple(findings))


CHECK = Check("look_ahead", "No cell shows a price that was received after its second.", "cells with a price", _run)
