"""What the lake has of a stream around its gaps, and what therefore is to be asked of the past."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec

from truetape.errors import ConfigError
from truetape.events.backfill import Began, Lost, Range
from truetape.flow.coverage import Work, find_covered, find_told, list_works, subtract
from truetape.flow.hole import SLACK_US, bound_range, find_ranges, fit_hole, is_too_wide, read_evidence, touch
from truetape.flow.subject import Subject
from truetape.lake import Lake
from truetape.venues._contract import Backfill

INTERVALS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
MILLISECOND_US = 1000
KNOWN_IDS_MAX = 200_000
"""Text ids of one piece of work that are told to decoding, so that it leaves out what is there."""
LEAD_US = 600_000_000
"""So much earlier is asked for, that a row of before shows that the venue still tells of then."""
DAY_US = 86_400_000_000

_IDS = """
    with ids as (
        select try_cast(trade_id as bigint) as id, epoch_us(min(exchange_at)) as us from trade
        where venue = $venue and symbol = $symbol and coalesce(flag = 'aggregate', false) = $is_aggregate group by all
    ),
    steps as (select id, us, lag(id) over (order by id) as id_before, lag(us) over (order by id) as us_before
        from ids where id is not null)
    select id_before + 1 as low, id - 1 as high, us_before, us from steps where id > id_before + 1 order by id"""
_ENDS = """
    select min(id) as first, arg_min(us, id) as first_us, max(id) as last, arg_max(us, id) as last_us from (
        select try_cast(trade_id as bigint) as id, epoch_us(exchange_at) as us from trade
        where venue = $venue and symbol = $symbol and coalesce(flag = 'aggregate', false) = $is_aggregate) where id is not null"""
_WINDOW = """
    with ids as (
        select distinct try_cast(trade_id as bigint) as id from trade
        where venue = $venue and symbol = $symbol and coalesce(flag = 'aggregate', false) = $is_aggregate
            and epoch_us(exchange_at) between $from_us and $to_us
    ),
    steps as (select id, lag(id) over (order by id) as id_before from ids where id is not null)
    select id_before + 1 as low, id - 1 as high from steps where id_before is null or id > id_before + 1
    union all select max(id) + 1, null from ids having count(*) > 0
    order by low nulls first"""
"""Ids that are not there: before the first (no low), between, and after the last (no high)."""
_BEFORE = """
    select max(try_cast(trade_id as bigint)) as id, epoch_us(max(exchange_at)) as us from trade
    where venue = $venue and symbol = $symbol and epoch_us(received_at) <= $from_us"""
_BEFORE_TIME = """
    select max(try_cast(trade_id as bigint)) as id, epoch_us(max(exchange_at)) as us from trade
    where venue = $venue and symbol = $symbol and epoch_us(exchange_at) <= $from_us"""
"""The same for what was asked for later than it happened."""
_AFTER = """
    select try_cast(trade_id as bigint) as id, epoch_us(exchange_at) as us, amount from trade
    where venue = $venue and symbol = $symbol and try_cast(trade_id as bigint) > coalesce($low, -1)
        and epoch_us(exchange_at) >= $since_us order by 1 limit 1"""
_AFTER_TEXT = """
    select epoch_us(min(exchange_at)) as us from trade
    where venue = $venue and symbol = $symbol and epoch_us(received_at) >= $to_us
        and epoch_us(exchange_at) >= $since_us"""
_FIRST = """
    select trade_id as id, epoch_us(exchange_at) as us from trade where venue = $venue and symbol = $symbol
    order by exchange_at, tape_offset, tape_row limit 1"""
_KNOWN_IDS = """
    select distinct trade_id as id from trade where venue = $venue and symbol = $symbol and trade_id is not null
        and epoch_us(exchange_at) between $from_us and $to_us
        and exists (select 1 from (select unnest($begins) as begin_us, unnest($ends) as end_us)
            where epoch_us(exchange_at) between begin_us and end_us)
    order by 1 limit $most"""
_PIECES = """
    with ids as (
        select epoch_us(exchange_at) as us from trade where venue = $venue and symbol = $symbol
            and trade_id is not null and epoch_us(exchange_at) between $from_us and $to_us group by trade_id, us
    ),
    numbered as (select us, (row_number() over (order by us) - 1) // $most as piece from ids)
    select min(us) as us from numbered where piece > 0 group by piece order by us"""
_QUOTES = """
    select min(sequence) as first, epoch_us(arg_min(exchange_at, sequence)) as first_us,
        max(sequence) as last, epoch_us(arg_max(exchange_at, sequence)) as last_us from quote
    where venue = $venue and symbol = $symbol and epoch_us(exchange_at) between $from_us and $to_us"""
_AROUND = """
    select max(sequence) filter (epoch_us(received_at) <= $from_us) as low,
        min(sequence) filter (epoch_us(received_at) >= $to_us) as high from quote
    where venue = $venue and symbol = $symbol"""
_INTEREST = """
    select distinct epoch_us(exchange_at) as number from derivative
    where venue = $venue and symbol = $symbol and coalesce(open_interest, open_interest_contracts) is not null
        and epoch_us(exchange_at) between $low and $high"""
_BARS = """
    select distinct epoch_us(open_at) as number from candle
    where venue = $venue and symbol = $symbol and "interval" = $interval and epoch_us(open_at) between $low and $high
        and (is_closed or received_at > open_at + to_microseconds($length))"""
_CHARGES = """
    select distinct epoch_us(funding_at) as number from funding
    where venue = $venue and symbol = $symbol and is_settled and epoch_us(funding_at) between $low and $high"""


class Past:
    """Asks the lake what there is of a stream."""

    def __init__(self, lake: Lake, subject: Subject, backfill: Backfill, known_max: int = KNOWN_IDS_MAX) -> None:
        self._lake = lake
        self._known_max = known_max
        self._subject = subject
        self._backfill = backfill
        is_aggregate = backfill.product == "aggregate"
        self._named = {"venue": subject.venue, "symbol": subject.symbol, "is_aggregate": is_aggregate}
        self._kind = name_kind(backfill)
        self._has_table = self._kind in lake.versions()

    def plan(self, gaps: Sequence[Lost]) -> list[Began]:
        """Return the work that gaps need; gaps that need none are in it, too, to be proven whole."""
        if self._kind != "trade":
            return [began for gap in gaps for began in self._plan_times(gap)]
        if self._backfill.is_numbered_apart:
            return self._plan_evidence(gaps)
        if self._backfill.identity == "step":
            return self._plan_steps(gaps)
        if self._backfill.identity == "text":
            return [self._plan_text(gap) for gap in gaps]
        return self._plan_numbers(gaps)

    @cached_property
    def _works(self) -> list[Work]:
        """What was asked of the stream's past before."""
        return list_works(self._lake, self._subject, self._kind)

    @property
    def _is_told_by_time(self) -> bool:
        """Whether nothing but the time of trades tells which of them are missing where the ledger knows of no gap."""
        is_apart = self._backfill.is_numbered_apart or self._backfill.identity != "step"
        return self._kind == "trade" and is_apart

    def list_pieces(self, span: Lost) -> list[Lost]:
        """List the parts of a time that were neither told nor heard, where it cannot be planned as a whole."""
        if not self._is_told_by_time:
            return [span]
        whole = span.from_us, span.to_us
        covered = find_covered(self._lake, self._subject, self._kind, self._works, whole)
        return [Lost("", begin_us, end_us, "") for begin_us, end_us in subtract(whole, covered)]

    def plan_piece(self, piece: Lost) -> list[Began]:
        """Return the work that a part of a time needs."""
        if not self._is_told_by_time:
            return self.plan([piece])
        if self._backfill.identity == "number":
            return self._plan_numbers([piece], _BEFORE_TIME)
        # Venues cut times to milliseconds: a trade just after the beginning bears a time just before it.
        begin_us, end_us = piece.from_us - piece.from_us % MILLISECOND_US, piece.to_us
        whole = Range(from_us=begin_us - LEAD_US, to_us=end_us, since_us=begin_us, before_us=end_us)
        return [self._begin(begin_us, end_us, (whole,) if self._backfill.is_numbered_apart else (), (piece,))]

    def plan_file(self, span: Lost, gaps: Sequence[Lost] = ()) -> Began:
        """Return what of a file's time is missing; `gaps` are those of the ledger within it."""
        if self._kind == "quote":
            return self._plan_quotes(span, gaps)
        if self._kind != "trade":
            (began,) = self._plan_times(span)
            return msgspec.structs.replace(began, gaps=())
        is_step = self._backfill.identity == "step"  # else each block of the file is compared with what there is
        holes = self._ask(_WINDOW, from_us=span.from_us, to_us=span.to_us) if is_step else []
        missing = [bound_range(hole["low"], hole["high"], span) for hole in holes] or [bound_range(None, None, span)]
        return self._begin(span.from_us, span.to_us, tuple(missing), ())

    def _plan_quotes(self, span: Lost, gaps: Sequence[Lost]) -> Began:
        """Between its gaps a stream is whole: what lies in them is missing, and before its first row and after its last."""
        ends = (self._ask(_QUOTES, from_us=span.from_us, to_us=span.to_us) or [{}])[0]
        if ends.get("first") is None:
            whole = tuple(msgspec.structs.replace(gap, ranges=(0,)) for gap in gaps)
            return self._begin(span.from_us, span.to_us, (bound_range(None, None, span),), whole)
        missing = [bound_range(None, ends["first"] - 1, span), bound_range(ends["last"] + 1, None, span)]
        lost = []
        for gap in gaps:
            around = self._ask(_AROUND, from_us=gap.from_us, to_us=gap.to_us)[0]
            low, high = around["low"], around["high"]
            hole = bound_range(None if low is None else low + 1, None if high is None else high - 1, span)
            lost.append(msgspec.structs.replace(gap, ranges=(len(missing),)))
            missing.append(hole)
        return self._begin(span.from_us, span.to_us, tuple(missing), tuple(lost))

    # -- trades whose ids step by one -----------------------------------------------------------------------

    def _plan_steps(self, gaps: Sequence[Lost]) -> list[Began]:
        """Ids tell what is missing, whatever the ledger says of when."""
        holes = self._ask(_IDS)
        ends = (self._ask(_ENDS) or [{}])[0]
        ranges: list[Range] = []
        lost = []
        for gap in gaps:
            places = []
            for span in find_ranges(gap, holes, ends):
                if span not in ranges:
                    ranges.append(span)
                places.append(ranges.index(span))
            lost.append(msgspec.structs.replace(gap, ranges=tuple(places)))
        far = [gap for gap in lost if any(is_too_wide(ranges[i]) for i in gap.ranges)]
        near = [gap for gap in lost if gap not in far]
        return [self._begin_some(group, ranges) for group in (near, far) if group]

    def _begin_some(self, gaps: Sequence[Lost], ranges: Sequence[Range]) -> Began:
        """Put gaps into one piece of work, with the ranges that are theirs."""
        used = sorted({i for gap in gaps for i in gap.ranges})
        own = [msgspec.structs.replace(gap, ranges=tuple(used.index(i) for i in gap.ranges)) for gap in gaps]
        from_us, to_us = min(gap.from_us for gap in gaps), max(gap.to_us for gap in gaps)
        return self._begin(from_us, to_us, tuple(ranges[i] for i in used), tuple(own))

    # -- trades whose numbers only the ledger tells ---------------------------------------------------------------

    def _plan_evidence(self, gaps: Sequence[Lost]) -> list[Began]:
        """Rows do not bear the numbers: what is missing is what the ledger says, else what lies before the first row."""
        told = {gap.gap_id: spans for gap in gaps if (spans := read_evidence(gap.evidence))}
        ranges = list(dict.fromkeys(span for spans in told.values() for span in spans))
        lost: list[Lost] = []
        bare: list[Lost] = []
        for gap in gaps:
            if gap.gap_id not in told and self._is_first(gap):
                bare.append(gap)
                continue
            near = [one for one in gaps if one.gap_id in told and touch(one, gap)]
            spans = told.get(gap.gap_id) or [span for one in near for span in told[one.gap_id]]
            places = tuple(dict.fromkeys(ranges.index(span) for span in spans))
            lost.append(msgspec.structs.replace(gap, ranges=places))
        found = [self._plan_first(gap) for gap in bare]
        return [*found, self._begin_some(lost, ranges)] if lost else found

    def _is_first(self, gap: Lost) -> bool:
        return all(row["us"] is None for row in self._ask(_BEFORE, from_us=gap.from_us))

    def _plan_first(self, gap: Lost) -> Began:
        """Plan what lies before all rows; the answer tells the number of the first."""
        first = (self._ask(_FIRST) or [{}])[0]
        end_us = max(gap.to_us, first.get("us") or 0)
        span = Range(
            until=first.get("id"), from_us=gap.from_us - LEAD_US, to_us=end_us, since_us=gap.from_us, before_us=end_us
        )
        lost = msgspec.structs.replace(gap, ranges=(0,))
        return self._begin(gap.from_us, gap.to_us, (span,), (lost,))

    # -- trades whose ids only grow --------------------------------------------------------------------------

    def _plan_numbers(self, gaps: Sequence[Lost], find_before: str = _BEFORE) -> list[Began]:
        clusters: dict[Range, list[Lost]] = {}
        for gap in gaps:
            before = (self._ask(find_before, from_us=gap.from_us) or [{}])[0]
            low, us_before = before.get("id"), before.get("us")
            after = (self._ask(_AFTER, low=low, since_us=us_before or gap.from_us) or [{}])[0]
            high, us_after = after.get("id"), after.get("us")
            hole = {
                "low": None if low is None else low + 1, "high": None if high is None else high - 1,
                "us_before": us_before, "us": us_after,
            }  # fmt: skip
            merged = after.get("amount") if self._backfill.is_merged else None
            span = msgspec.structs.replace(fit_hole(gap, hole), merged=merged)
            clusters.setdefault(span, []).append(msgspec.structs.replace(gap, ranges=(0,)))
        return [self._begin_some(lost, [span]) for span, lost in clusters.items()]

    def _plan_text(self, gap: Lost) -> Began:
        before = (self._ask(_BEFORE, from_us=gap.from_us) or [{}])[0].get("us")
        after = (self._ask(_AFTER_TEXT, to_us=gap.to_us, since_us=before or gap.from_us) or [{}])[0].get("us")
        # Venues cut times to milliseconds: a trade just after the beginning bears a time just before it.
        begin_us = before or gap.from_us - gap.from_us % MILLISECOND_US
        # What an earlier backfill brought in between is no row after the gap.
        return self._begin(begin_us, max(after or 0, gap.to_us), (), (gap,))

    def divide(self, began: Began) -> list[Began]:
        """Cut what is told apart by text ids into pieces that have no more known ones than decoding is to be told."""
        if began.identity != "text":
            return [began]
        pieces = self.cut((began.from_us, began.to_us))
        return [
            msgspec.structs.replace(began, from_us=begin, to_us=end, place=place, places=len(pieces))
            for place, (begin, end) in enumerate(pieces, 1)
        ]

    def cut(self, span: tuple[int, int]) -> list[tuple[int, int]]:
        """Cut a time, both ends included, where there are more known trades than decoding is to be told at once."""
        if self._kind != "trade":
            return [span]
        # As many again may be of the moment at which a piece ends.
        cuts = self._ask(_PIECES, from_us=span[0], to_us=span[1], most=max(self._known_max // 2, 1))
        begins = [span[0], *dict.fromkeys(row["us"] for row in cuts if row["us"] > span[0])]
        ends = [*(begin - 1 for begin in begins[1:]), span[1]]
        return list(zip(begins, ends, strict=True))

    @property
    def identity(self) -> str:
        """How rows of the stream are told apart."""
        return self._backfill.identity

    def complete(self, began: Began) -> Began:
        """Add the text ids that the lake has of a piece's time; ConfigError when there are too many at once."""
        is_by_time = self._backfill.is_numbered_apart and not began.gaps
        if self._kind != "trade" or not (began.identity in {"text", "time"} or is_by_time):
            return began
        # Stream and history may differ in what is below a millisecond.
        times = [(begin_us - MILLISECOND_US, end_us + MILLISECOND_US) for begin_us, end_us in _list_times(began)]
        begins, ends = [begin_us for begin_us, _ in times], [end_us for _, end_us in times]
        around = {"from_us": min(begins), "to_us": max(ends), "begins": begins, "ends": ends}
        ids = self._ask(_KNOWN_IDS, **around, most=self._known_max + 1)
        if len(ids) > self._known_max:
            told, most = f"{self._subject.venue} {self._subject.symbol}", f"{self._known_max:,}"
            raise ConfigError(f"{told}: the lake has more than {most} trades of a time that cannot be divided")
        return msgspec.structs.replace(began, known_ids=tuple(row["id"] for row in ids))

    # -- rows that are about a time ---------------------------------------------------------------------------

    def _plan_times(self, gap: Lost) -> list[Began]:
        """Ask from well before, so that the answer shows that it reaches back far enough."""
        if self._subject.channel == "candle":
            length = read_interval(self._subject.interval)
            low, high, lead = gap.from_us - gap.from_us % length, gap.to_us, 60 * length
            values = {"interval": self._subject.interval, "length": length}
            known = [row["number"] for row in self._ask(_BARS, low=low, high=high, **values)]
        else:
            low, high, lead = gap.from_us, gap.to_us, DAY_US
            query = _CHARGES if self._kind == "funding" else _INTEREST
            known = [row["number"] for row in self._ask(query, low=low, high=high)]
        told = find_told(self._lake, self._subject, self._kind, self._works, (low, high))
        ranges = tuple(
            Range(begin, end, from_us=begin - lead if begin == low else begin, to_us=end)
            for begin, end in subtract((low, high), told) or [(high, high)]
        )
        lost = msgspec.structs.replace(gap, ranges=tuple(range(len(ranges))))
        began = self._begin(low - lead, high, ranges, (lost,))
        return [msgspec.structs.replace(began, known=tuple(sorted(known)))]

    def _begin(self, from_us: int, to_us: int, missing: tuple[Range, ...], gaps: tuple[Lost, ...]) -> Began:
        subject = self._subject
        gaps = tuple(msgspec.structs.replace(gap, evidence="") for gap in gaps)
        return Began(
            market=subject.market, channel=self._kind, venue_symbol=subject.venue_symbol,
            identity=self._backfill.identity, from_us=from_us, to_us=to_us, missing=missing, gaps=gaps,
            interval=subject.interval, product=self._backfill.product,
            part=subject.channel if subject.channel != self._kind else "",
        )  # fmt: skip

    def _ask(self, query: str, **values: object) -> list[dict[str, Any]]:
        if not self._has_table:
            return []
        wanted = {name: value for name, value in (self._named | values).items() if f"${name}" in query}
        rows: list[dict[str, Any]] = self._lake.sql(query, wanted).arrow().to_pylist()
        return rows


def _list_times(began: Began) -> list[tuple[int, int]]:
    """Return exchange times that rows of a piece of work may have: those of its stretches, where it is told apart by these."""
    if began.identity != "time" or not began.missing:
        return [(began.from_us, began.to_us)]
    return [
        (
            (span.low or began.from_us) - SLACK_US if span.since_us is None else span.since_us,
            (span.high or began.to_us) + SLACK_US if span.before_us is None else span.before_us,
        )
        for span in began.missing
    ]


def name_kind(backfill: Backfill) -> str:
    """Return the kind of rows that a backfill brings."""
    return backfill.kind or backfill.channel


def read_interval(name: str) -> int:
    """Return the length of a bar in microseconds; ConfigError when it has none that is always the same."""
    if not name[:-1].isdigit() or name[-1] not in INTERVALS_US:
        raise ConfigError(f"interval {name!r} (allowed: a number and one of {', '.join(INTERVALS_US)})")
    return int(name[:-1]) * INTERVALS_US[name[-1]]
