"""Quotes whose bid is not below the ask."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome


def _run(lake: Lake) -> Outcome:
    rows = lake.sql(
        """
        select venue, symbol, bid_price > ask_price as crossed, count(*) as count, min(received_at) as at,
            arg_min(tape_offset, received_at) as tape_offset
        from quote where bid_price >= ask_price group by all order by all
        """
    ).arrow()
    ((examined,),) = lake.sql("select count(*) from quote").duckdb().fetchall()
    findings = [
        Finding(
            "error" if row["crossed"] else "warning",
            row["venue"],
            row["symbol"],
            "bid above ask" if row["crossed"] else "bid equal to ask",
            row["count"],
            row["at"],
            row["tape_offset"],
        )
        for row in rows.to_pylist()
    ]
    return Outcome(examined, tuple(findings))


CHECK = Check("book_crossed", "The best bid is below the best ask in every quote.", "quotes", _run)
