"""What of a stream's time needs no asking: told by earlier answers, by runs that broke off, or recorded."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from truetape.events.backfill import Began, Ended
from truetape.flow.subject import Subject, to_us
from truetape.lake import Lake
from truetape.quality.ledger import list_gaps

Span = tuple[int, int]
"""Microseconds, or other numbers; both ends included."""
QUIET_US = 3_600_000_000
"""Rows that are farther apart do not show that somebody listened in between."""
LATE_US = 60_000_000
"""What happened so short before it was asked for may have been told later."""

_EVENTS = """
    select tape_offset as at, epoch_us(received_at) as us, event, detail from connection
    where venue = $venue and event in ('backfill_began', 'backfill_ended') order by tape_offset"""
_ROWS = """
    with works as (select unnest($begins::bigint[]) as first, unnest($ends::bigint[]) as last),
    own as (
        select {number} as us, works.first as work from {kind} left join works on tape_offset between first and last
        where venue = $venue and symbol = $symbol and ($interval = '' or {interval} = $interval)
            and {number} between $low and $high
    ),
    steps as (select *, work is null and us - lag(us) over (partition by work order by us) > $quiet as is_new from own),
    runs as (select *, count(*) filter (is_new) over (partition by work order by us rows unbounded preceding) as run from steps)
    select work, min(us) as first, max(us) as last from runs group by work, run order by first"""
_NUMBERS = {"candle": "open_at", "funding": "funding_at"}
"""Times that rows of a kind are about; others: when they happened."""


class Work(msgspec.Struct, frozen=True):
    """One backfill of a stream, as the tape tells of it."""

    first: int
    last: int
    """Offsets of its two events."""
    began: Began
    is_answered: bool
    ended_us: int


def find_told(lake: Lake, subject: Subject, kind: str, works: Sequence[Work], span: Span) -> list[Span]:
    """Return what runs that broke off had been told: pages follow each other, so all between is there."""
    works = [work for work in works if not work.is_answered and work.began.is_alone]
    if not works:
        return []
    return [(row["first"], row["last"]) for row in _ask(lake, subject, kind, works, span) if row["work"] is not None]


def find_covered(lake: Lake, subject: Subject, kind: str, works: Sequence[Work], span: Span) -> list[Span]:
    """Return what was told of a time, by answers as by the stream itself outside of its gaps."""
    if kind not in lake.versions():
        return []
    (first,) = lake.sql(f"select epoch_us(min(received_at)) as us from {kind}").arrow()["us"].to_pylist()  # noqa: S608
    if first is None:
        return []
    # What earlier works had brought, if anything, retention has taken out since.
    works = [one for one in works if (one.is_answered or one.began.is_alone) and one.ended_us >= first]
    rows = _ask(lake, subject, kind, works, span)
    gaps = [
        (to_us(gap.from_at), span[1] if gap.to_at is None else to_us(gap.to_at))
        for gap in list_gaps(lake)
        if (gap.venue, gap.symbol, gap.channel) == (subject.venue, subject.symbol, subject.channel)
        and gap.state != "repaired"
    ]
    heard = [(row["first"], row["last"]) for row in rows if row["work"] is None]
    told = [(row["first"], row["last"]) for row in rows if row["work"] is not None]
    answered = [
        (work.began.from_us, min(work.began.to_us, work.ended_us - LATE_US))
        for work in works
        if work.is_answered and not work.began.gaps
    ]
    return [piece for one in heard for piece in subtract(one, gaps)] + told + answered


def subtract(span: Span, covered: Iterable[Span]) -> list[Span]:
    """Return what is left of a span; its pieces meet what is covered in one moment, as others may have happened then."""
    left, (begin, end) = [], span
    for low, high in sorted(covered):
        if high < begin or low > end or high < low:
            continue
        if low > begin:
            left.append((begin, low))
        begin = max(begin, high)
    return [*left, (begin, end)] if begin < end else left


def list_works(lake: Lake, subject: Subject, kind: str) -> list[Work]:
    """List the backfills of a stream that are over, files not counted."""
    if "connection" not in lake.versions() or kind not in lake.versions():
        return []
    wanted = (subject.market, kind, subject.venue_symbol, subject.interval)
    works, under_way = [], None
    for row in lake.sql(_EVENTS, {"venue": subject.venue}).arrow().to_pylist():
        if row["event"] == "backfill_began":
            under_way = row["at"], msgspec.json.decode(row["detail"], type=Began)
            continue
        if under_way is None:
            continue
        (first, began), under_way = under_way, None
        part = subject.channel if subject.channel != kind else ""
        told = (began.market, began.channel, began.venue_symbol, began.interval)
        if told == wanted and (began.part, began.product, began.file, began.venue) == (part, "", "", ""):
            is_answered = msgspec.json.decode(row["detail"], type=Ended).status == "answered"
            works.append(Work(first, row["at"], began, is_answered, row["us"]))
    return works


def _ask(lake: Lake, subject: Subject, kind: str, works: Sequence[Work], span: Span) -> list[dict[str, Any]]:
    """Return from when to when there are rows of a span: of each work, and of what was heard without long silence."""
    number, interval = f"epoch_us({_NUMBERS.get(kind, 'exchange_at')})", '"interval"' if kind == "candle" else "''"
    query = _ROWS.format(number=number, kind=kind, interval=interval)
    values = {
        "venue": subject.venue, "symbol": subject.symbol, "low": span[0], "high": span[1], "quiet": QUIET_US,
        "interval": subject.interval if kind == "candle" else "",
        "begins": [work.first for work in works], "ends": [work.last for work in works],
    }  # fmt: skip
    rows: list[dict[str, Any]] = lake.sql(query, values).arrow().to_pylist()
    return rows
