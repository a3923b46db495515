"""Markets that ended have a label, or a reason why not."""

from datetime import timedelta
from typing import Any

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome, Severity
from truetape.quality.limit import LIMITS
from truetape.quality.market import has_table, list_windows, read_clock

_WAIT = timedelta(seconds=LIMITS.label_wait_s_max)
_QUERY = """
    select venue, market_id, ends_at, coalesce(label, '') as label, coalesce(label_source, '') as source,
        coalesce(reason, '') as reason, coalesce(official_outcome, 'unknown') as official,
        coalesce(computed_outcome, 'indeterminate') as computed
    from truth order by ends_at, venue, market_id"""
_SOURCES = {"official": "official", "computed": "computed"}


def _run(lake: Lake) -> Outcome:
    now = read_clock(lake)
    if not has_table(lake, "truth") or now is None:
        return Outcome(0)
    rows = [row for row in lake.sql(_QUERY).arrow().to_pylist() if row["ends_at"] and row["ends_at"] <= now]
    findings = []
    for row in rows:
        found = _judge_label(row, is_due=row["ends_at"] + _WAIT <= now)
        if found is not None:
            severity, what = found
            findings.append(Finding(severity, row["venue"], row["market_id"], what, 1, row["ends_at"]))
    known = {(row["venue"], row["market_id"]) for row in rows}
    due = [m for m in list_windows(lake) if m.opens_at and m.ends_at and m.ends_at + _WAIT <= now]
    lost = [window for window in due if (window.venue, window.slug) not in known]
    for window in lost:
        what = "ended, and the table truth has no row of it: truetape build makes it"
        findings.append(Finding("error", window.venue, window.slug, what, 1, window.ends_at))
    return Outcome(len(rows) + len(lost), tuple(findings))


def _judge_label(row: dict[str, Any], *, is_due: bool) -> tuple[Severity, str] | None:
    label, source = row["label"], row["source"]
    if label not in ("Up", "Down", "split", "unknown"):
        return "error", f"label {label!r} is none (allowed: Up, Down, split, unknown)"
    if label == "unknown":
        if not row["reason"]:
            return "error", "no label and no reason why"
        return ("warning", f"no label: {row['reason']}") if is_due else None
    if source not in _SOURCES:
        return "error", f"label {label} without a source"
    if label != row[_SOURCES[source]]:
        return "error", f"label {label} is not the {source} outcome {row[_SOURCES[source]]}"
    if row["official"] == "unknown" and is_due:
        return "warning", f"label {label} is computed; no official outcome so long after its end"
    return None


CHECK = Check(
    "labels_complete",
    "Every label is what its source says, and a market without one says why; official ones come within "
    f"{LIMITS.label_wait_s_max / 60:.0f} minutes.",
    "ended markets",
    _run,
)
