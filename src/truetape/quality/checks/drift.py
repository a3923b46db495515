"""Fields that appeared, vanished or changed their type."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import count_rows


def _run(lake: Lake) -> Outcome:
    rows = lake.sql(
        """
        select venue, feed, message, change, path, was, now, count(*) as count, min(received_at) as at,
            arg_min(tape_offset, received_at) as tape_offset
        from drift group by all order by venue, min(received_at), feed, message, path, change, was, now
        """
    ).arrow()
    findings = [
        Finding("warning", row["venue"], "", _describe(row), row["count"], row["at"], row["tape_offset"])
        for row in rows.to_pylist()
    ]
    return Outcome(count_rows(lake) + len(findings), tuple(findings))


def _describe(row: dict[str, str]) -> str:
    types = f": {row['was'] or 'absent'} to {row['now'] or 'absent'}" if row["was"] or row["now"] else ""
    return f"{row['feed']} {row['message']}: {row['path']} {row['change']}{types}"


CHECK = Check("drift", "Messages have the fields and types they always had.", "rows", _run)
