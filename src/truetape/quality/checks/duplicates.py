"""Trades stored more than once."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome


def _run(lake: Lake) -> Outcome:
    # A sum of executions (aggregate) has a numbering of its own.
    rows = lake.sql(
        """
        with repeated as (
            select venue, symbol, trade_id, count(*) as times, max(received_at) as seen_at,
                max(tape_offset) as tape_offset
            from trade where trade_id is not null
            group by venue, symbol, trade_id, coalesce(flag = 'aggregate', false) having count(*) > 1
        )
        select venue, symbol, sum(times - 1)::bigint as count, min(seen_at) as first_at,
            arg_min(tape_offset, seen_at) as tape_offset,
            arg_min(trade_id, seen_at) as trade_id
        from repeated group by all order by all
        """
    ).arrow()
    ((examined,),) = lake.sql("select count(trade_id) from trade").duckdb().fetchall()
    findings = [
        Finding(
            "error",
            row["venue"],
            row["symbol"],
            f"trade stored again, first {row['trade_id']}",
            row["count"],
            row["first_at"],
            row["tape_offset"],
        )
        for row in rows.to_pylist()
    ]
    return Outcome(examined, tuple(findings))


CHECK = Check("duplicates", "No trade is stored twice.", "trades with an id", _run)
