"""Frames that did not decode."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import count_rows


def _run(lake: Lake) -> Outcome:
    rows = lake.sql(
        """
        select venue, feed, reason, path, count(*) as count, min(received_at) as at,
            arg_min(tape_offset, received_at) as tape_offset
        from quarantine group by all order by count desc, venue, feed, reason, path
        """
    ).arrow()
    findings = [
        Finding(
            "error",
            row["venue"],
            "",
            f"{row['feed']}: {row['reason']} at {row['path']}",
            row["count"],
            row["at"],
            row["tape_offset"],
        )
        for row in rows.to_pylist()
    ]
    return Outcome(count_rows(lake) + len(findings), tuple(findings))


CHECK = Check("quarantine", "Every frame decoded.", "rows", _run)
