"""History that was asked for again: rows that are not there yet are taken, gaps that it fills are repaired.

What answers tell of the past says nothing of the stream now: no state of the stream moves, but for its holes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from truetape.decode.continuity import Continuity, FindState
from truetape.decode.gaps import Ledger
from truetape.decode.hearing import Hearing
from truetape.decode.state import StreamState, fill_hole
from truetape.events.backfill import Began, Ended, Lost, Range, find_number
from truetape.events.rows import PlainRow, Rows
from truetape.tape.frame import Source
from truetape.venues import load_venue

At = tuple[int, int]
"""(received_ns, tape offset)."""
AMOUNT_SLACK = 1e-9
"""Sums of amounts that differ by so little are the same."""
_NUMBER, _TEXT, _PRICE, _AMOUNT = 4, 5, 7, 8
"""Places in a row of trades."""


class Past(msgspec.Struct):
    """One backfill under way."""

    stream: int
    began: Began
    left: list[list[Range]]
    """What is still missing of each range."""
    rows: int = 0
    """Rows that were taken."""
    pages: int = 0
    first: int | None = None
    """Lowest number told; with `last`, for rows whose numbers have holes, all between is told."""
    last: int | None = None
    oldest_us: int | None = None
    """Exchange times told; receive times of rows that are told apart by these."""
    newest_us: int | None = None
    heard: list[Hearing] = []
    """What was told of each range, of rows that are told apart by when they were received."""
    is_over: bool = False
    """Whether it has ended, and waits for the next piece."""
    is_failed: bool = False
    """Whether a piece before it has failed."""
    why: str = ""
    """Why a piece before it is not whole; empty: they are."""


class Backfills:
    """Takes what backfills bring, and writes what became of the gaps they were for."""

    def __init__(self, rows: Rows, ledger: Ledger, continuity: Continuity, find_state: FindState) -> None:
        self._rows = rows
        self._ledger = ledger
        self._continuity = continuity
        self._find_state = find_state
        self.past: dict[str, Past] = {}
        """Connection → what it asks for now."""
        self._known: tuple[Past | None, set[str]] = None, set()
        """A backfill, and the text ids that are there already."""

    def take_event(self, event: dict[str, Any], source: Source, at: At) -> None:
        """Take the beginning or the end of a backfill."""
        if event["event"] == "backfill_began":
            began = msgspec.convert(event, Began)
            venue, feed = began.venue or source.venue, began.feed or source.feed
            instrument = self._rows.instruments.get((venue, began.market, began.venue_symbol))
            instrument = instrument or load_venue(venue).name_instrument(began.market, began.venue_symbol)
            if began.product:
                instrument = msgspec.structs.replace(instrument, market=f"{instrument.market}-{began.product}")
            stream = self._rows.add_stream(venue, began.channel, feed, instrument)
            self._find_state(stream.index, at)
            past = Past(
                stream.index, began, [[span] for span in began.missing], heard=[Hearing() for _ in began.missing]
            )
            _go_on(past, self.past.get(source.connection))
            self.past[source.connection] = past
        elif event["event"] == "backfill_ended":
            over = self.past.pop(source.connection, None)
            if over is not None and not over.is_over:
                self._end(over, msgspec.convert(event, Ended), source, at)

    def _end(self, past: Past, ended: Ended, source: Source, at: At) -> None:
        if past.began.place == past.began.places:
            self._conclude(past, ended, at)
            return
        past.is_over, past.is_failed = True, past.is_failed or ended.status == "failed"
        is_whole = _reaches_back(past) and ended.status == "answered"
        past.why = past.why or ("" if is_whole else self._explain(past, ended))
        self.past[source.connection] = past

    def settle(self, source: Source, at: At) -> None:
        """Judge the rows of one answer."""
        past = self.past.get(source.connection)
        if past is not None and past.is_over:
            past = None
        if past is not None:
            past.pages += 1
        self._continuity.settle_history(lambda kind, rows: self._choose(past, kind, rows, at))
        if past is not None and past.began.identity == "time":
            _cut_told(past)

    # -- one page -----------------------------------------------------------------------------------------

    def _choose(self, past: Past | None, kind: str, rows: Sequence[PlainRow], at: At) -> list[bool]:
        """Tell which rows of a page are new."""
        if past is not None and past.began.identity == "time":
            return self._choose_timed(past, kind, rows, at)
        if past is None or kind != past.began.channel:
            return [False] * len(rows)
        own = [row[0] == past.stream and (kind != "candle" or row[4] == past.began.interval) for row in rows]
        page = [row for row, is_own in zip(rows, own, strict=True) if is_own]
        if not page:
            return own
        state = self._find_state(past.stream, at)
        if self._known[0] is not past:
            self._known = past, set(past.began.known_ids)
        known = self._known[1]
        if past.began.identity == "text":
            taken = [
                not is_there and row[5] not in known and self._is_new_text(past, state, row)
                for row, is_there in zip(page, past.began.mark_known(len(page)), strict=True)
            ]
        else:
            taken = _choose_numbered(past, page, state, known)
        _measure(past, page)
        past.rows += sum(taken)
        verdicts = iter(taken)
        return [is_own and next(verdicts) for is_own in own]

    def _choose_timed(self, past: Past, kind: str, rows: Sequence[PlainRow], at: At) -> list[bool]:
        """Take what was received where nothing was; rows of one moment come in one page."""
        wanted = self._rows.streams[past.stream]
        whose = wanted.venue, wanted.market, wanted.venue_symbol
        streams = self._rows.streams
        for index in {row[0] for row in rows}:
            self._find_state(index, at)
        own = [(s.venue, s.market, s.venue_symbol) == whose for s in (streams[row[0]] for row in rows)]
        if past.began.gaps:
            own = [row[0] == past.stream for row in rows]
        _hear(past, [row[2] // 1000 for row in rows if row[0] == past.stream])
        known = set(past.began.known_ids) if kind == "trade" else set()
        taken = [
            is_own
            and any(span.holds(row[2] // 1000, row[1]) for left in past.left for span in left)
            and not (known and (row[_TEXT] or str(row[_NUMBER])) in known)
            for row, is_own in zip(rows, own, strict=True)
        ]
        past.rows += sum(taken)
        return taken

    def _is_new_text(self, past: Past, state: StreamState, row: PlainRow) -> bool:
        is_wanted = row[1] is not None and past.began.from_us <= row[1] <= past.began.to_us
        return is_wanted and self._continuity.is_new(state, row[5])

    # -- the end ------------------------------------------------------------------------------------------

    def _conclude(self, past: Past, ended: Ended, at: At) -> None:
        if ended.status == "failed" or past.is_failed:
            self._keep(past, ended, at)
            return
        whole = [_is_whole(past, i, ended) for i in range(len(past.left))]
        stream = self._rows.streams[past.stream]
        facts: dict[str, Any] = {"by": _name_teller(past), "pages": past.pages, "rows": past.rows}
        for lost in past.began.gaps:
            is_whole = all(whole[i] for i in lost.ranges) and ended.status == "answered"
            if past.began.identity == "text" and not past.began.file:
                is_whole = is_whole and _reaches_back(past) and not past.why
            outcome = "repaired" if is_whole else "unrecoverable"
            proof = (
                self._prove(past, lost) if is_whole else {"why": past.why or self._explain(past, ended, lost.ranges)}
            )
            missing = 0 if is_whole else _count_missing(past, lost)
            if missing:
                proof["left"] = [(span.low, span.high) for i in lost.ranges for span in past.left[i]]
            self._ledger.judge(stream, lost, outcome, at, evidence=facts | proof, missing=missing)

    def _keep(self, past: Past, ended: Ended, at: At) -> None:
        """Let gaps stay as they are; where rows do not bear their numbers, say what is still missing."""
        stream = self._rows.streams[past.stream]
        for lost in past.began.gaps:
            left = [(span.low, span.high) for i in lost.ranges for span in past.left[i]]
            if past.rows and past.began.identity == "step" and all(None not in span for span in left):
                facts = {"by": _name_teller(past), "why": ended.reason, "left": left}
                self._ledger.judge(stream, lost, "closed", at, evidence=facts, missing=_count_missing(past, lost))

    def _prove(self, past: Past, lost: Lost) -> dict[str, Any]:
        if past.began.file and not past.began.missing:
            return {"proof": "the venue's file of that time was taken whole", "file": past.began.file}
        if not past.pages:
            is_timed = past.began.identity == "time"
            return {"proof": "rows are there all through it" if is_timed else "ids step by one through it"}
        if past.began.identity == "time":
            silence_us = max((past.heard[i].silence_us for i in lost.ranges), default=0)
            facts = {"longest_silence_us": silence_us, "quiet_us": past.began.quiet_us}
            return {"proof": "the relay told all of it"} | facts
        spans = [[past.began.missing[i].low, past.began.missing[i].high] for i in lost.ranges]
        return {"proof": f"{_name_source(past)} told all of it", "missing": spans, "oldest_us": past.oldest_us}

    def _explain(self, past: Past, ended: Ended, ranges: Sequence[int] = ()) -> str:
        """Say in a line why a gap stays."""
        if ended.status == "impossible":
            return ended.reason
        told = _name_source(past)
        if past.oldest_us is None:
            return f"{told} has nothing of it" + (f": {ended.reason}" if ended.reason else "")
        if past.began.identity == "time":
            begin_us, end_us = next(filter(None, (_find_silence(past, i) for i in ranges)), (0, 0))
            return f"{told} has nothing between {begin_us} us and {end_us} us: it may have missed it, too"
        if past.oldest_us > past.began.from_us and (past.first is None or any(_begins_before(past, i) for i in ranges)):
            return f"what {told} still tells begins at {past.oldest_us} us, it was wanted from {past.began.from_us} us"
        return f"{told} does not tell all of it"


def _go_on(past: Past, before: Past | None) -> None:
    """Take over what became of the pieces before; one that is not there has failed."""
    began = past.began
    if began.place == 1:
        return
    if before is None or not before.is_over or (before.began.place + 1, before.began.gaps) != (began.place, began.gaps):
        past.is_failed = True
        return
    past.rows, past.pages = before.rows, before.pages
    past.is_failed, past.why = before.is_failed, before.why


def _name_teller(past: Past) -> str:
    return "relay" if past.began.venue else "backfill"


def _name_source(past: Past) -> str:
    return "the relay" if past.began.venue else "the venue"


def _is_whole(past: Past, index: int, ended: Ended) -> bool:
    if past.began.identity == "time":
        return _find_silence(past, index) is None
    return is_covered(past, past.left[index], ended)


def _find_silence(past: Past, index: int) -> tuple[int, int] | None:
    return past.heard[index].find_silence(past.began.missing[index], past.began.quiet_us)


def _hear(past: Past, times: Sequence[int]) -> None:
    """Note when rows were received that a page tells."""
    for at_us in times:
        past.oldest_us = at_us if past.oldest_us is None else min(past.oldest_us, at_us)
        past.newest_us = at_us if past.newest_us is None else max(past.newest_us, at_us)
    for hearing, span in zip(past.heard, past.began.missing, strict=True):
        for at_us in times:
            hearing.hear(span, at_us)


def _cut_told(past: Past) -> None:
    """Leave out what was told until now: what is asked for around one range may reach into the next."""
    if past.newest_us is not None:
        newest = past.newest_us
        past.left = [[part for piece in left for part in _subtract(piece, 0, newest)] for left in past.left]


def _reaches_back(past: Past) -> bool:
    """Tell whether what was told begins no later than what was wanted."""
    return past.oldest_us is not None and past.oldest_us <= past.began.from_us


def is_covered(past: Past, left: Sequence[Range], ended: Ended) -> bool:
    """Tell whether nothing that is left of a range can have been missed."""
    return all(_is_void(past, span, ended) for span in left)


def _is_void(past: Past, span: Range, ended: Ended) -> bool:
    if past.oldest_us is None or past.newest_us is None or past.first is None or past.last is None:
        return False
    is_before = span.high is not None and span.high < past.first
    is_after = span.low is not None and span.low > past.last
    if is_before:  # numbers before the first told: only its time can say that none of them was wanted
        return span.since_us is not None and past.oldest_us <= span.since_us
    if is_after:
        is_over = span.before_us is not None and (past.newest_us >= span.before_us or ended.status == "answered")
        return is_over or past.began.channel != "trade"
    return False


def _choose_numbered(past: Past, page: Sequence[PlainRow], state: StreamState, known_ids: set[str]) -> list[bool]:
    began = past.began
    numbers = [find_number(began.channel, row) for row in page]
    _cut_merged(past, page, numbers)
    _cut_known(past, page, numbers)
    known, seen, taken = set(began.known), set[int](), []
    for row, number, is_there in zip(page, numbers, began.mark_known(len(page)), strict=True):
        is_wanted = number is not None and number not in known and number not in seen and _is_wanted(past, row, number)
        is_wanted = is_wanted and not is_there and not (known_ids and row[_TEXT] in known_ids)
        taken.append(is_wanted)
        if number is not None:
            seen.add(number)
            if is_wanted and began.identity == "step":
                fill_hole(state.holes, number)  # a repeat should it come again
    spans = _join_steps(sorted(seen)) if began.identity == "step" else _span(past, seen)
    for low, high in spans:
        past.left = [[part for piece in left for part in _subtract(piece, low, high)] for left in past.left]
    return taken


def _is_wanted(past: Past, row: PlainRow, number: int) -> bool:
    return any(span.holds(number, row[1]) for left in past.left for span in left)


def _cut_merged(past: Past, page: Sequence[PlainRow], numbers: Sequence[int | None]) -> None:
    """Leave out fills that the row after a range is made of: it bears the number of their last."""
    for i, span in enumerate(past.began.missing):
        if span.merged is None or span.high is None or span.high + 1 not in numbers:
            continue
        at = numbers.index(span.high + 1)
        amount = page[at][_AMOUNT] or 0.0
        while at > 0 and amount < span.merged * (1 - AMOUNT_SLACK) and page[at - 1][_PRICE] == page[at][_PRICE]:
            at -= 1
            amount += page[at][_AMOUNT] or 0.0
        first = numbers[at]
        assert first is not None
        past.left[i] = [part for piece in past.left[i] for part in _subtract(piece, first, span.high)]


def _cut_known(past: Past, page: Sequence[PlainRow], numbers: Sequence[int | None]) -> None:
    """End ranges before the row that is known by its text id."""
    for i, span in enumerate(past.began.missing):
        for row, number in zip(page, numbers, strict=True):
            if span.until is not None and row[_TEXT] == span.until and number is not None:
                past.left[i] = [part for piece in past.left[i] for part in _end(piece, number - 1)]


def _end(span: Range, high: int) -> list[Range]:
    if span.low is not None and span.low > high:
        return []
    return [msgspec.structs.replace(span, high=high if span.high is None else min(span.high, high))]


def _span(past: Past, seen: set[int]) -> list[tuple[int, int]]:
    """Return all between what was told so far: pages follow each other without holes."""
    ends = [*seen, *(number for number in (past.first, past.last) if number is not None)]
    return [(min(ends), max(ends))] if ends else []


def _join_steps(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Join numbers that step by one."""
    if not numbers:
        return []
    breaks = [i for i, (one, two) in enumerate(pairwise(numbers), 1) if two != one + 1]
    edges = [0, *breaks, len(numbers)]
    return [(numbers[begin], numbers[end - 1]) for begin, end in pairwise(edges)]


def _subtract(span: Range, low: int, high: int) -> list[Range]:
    if not ((span.low is None or span.low <= high) and (span.high is None or span.high >= low)):
        return [span]
    parts = []
    if span.low is None or span.low < low:
        parts.append(msgspec.structs.replace(span, high=low - 1))
    if span.high is None or span.high > high:
        parts.append(msgspec.structs.replace(span, low=high + 1))
    return parts


def _measure(past: Past, page: Sequence[PlainRow]) -> None:
    """Note how far numbers and times reach."""
    numbers = [number for row in page if (number := find_number(past.began.channel, row)) is not None]
    times = [row[1] for row in page if row[1] is not None] or numbers  # candles are numbered by their times
    if numbers:
        past.first = min(numbers) if past.first is None else min(past.first, *numbers)
        past.last = max(numbers) if past.last is None else max(past.last, *numbers)
    if times:
        past.oldest_us = min(times) if past.oldest_us is None else min(past.oldest_us, *times)
        past.newest_us = max(times) if past.newest_us is None else max(past.newest_us, *times)


def _begins_before(past: Past, index: int) -> bool:
    assert past.first is not None
    return any(span.low is None or span.low < past.first for span in past.left[index])


def _count_missing(past: Past, lost: Lost) -> int | None:
    if past.began.identity != "step":
        return None
    spans = [span for i in lost.ranges for span in past.left[i]]
    if any(span.low is None or span.high is None for span in spans):
        return None
    return sum(span.high - span.low + 1 for span in spans if span.low is not None and span.high is not None)
