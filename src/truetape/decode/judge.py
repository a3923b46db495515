"""Sequence rules for whole runs: what goes on without a flaw is taken at one blow, the rest is looked at row by row."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from truetape.decode.kept import Keeper
from truetape.decode.state import BUFFER_SYNCED_MAX, Diff, StreamState
from truetape.events.rows import BOOK_DIFF, Rows, tell_offset
from truetape.events.run import UNKNOWN, BookRun, Floats, Integers, QuoteRun, TextRun, TradeRun

Flags = npt.NDArray[np.bool_]


class Part(NamedTuple):
    """What the rows of one stream in a run have in common."""

    stream: int
    begin: int
    """Its rows among those of the run, sorted by stream."""
    end: int
    known: int
    """The id that the stream must stand at for its rows to go on from there."""
    last: int
    seen_ns: int
    exchange_us: int
    is_whole: bool
    """Each row follows the one before."""


Change = tuple[int, int, int, Floats, int, int, int]
"""A book change that may yet be joined to a snapshot: first, last and previous id; then its levels: the numbers that
they are among, where its bids begin and end, and where its asks end."""


def _unpack_change(change: Change) -> Diff:
    first, last, previous = (None if number == UNKNOWN else number for number in change[:3])
    flat, begin, middle, end = change[3:]
    sides = (side.tolist() for side in (flat[begin:middle], flat[middle:end]))
    return Diff(first, last, previous, *(list(zip(side[0::2], side[1::2], strict=True)) for side in sides))


class Backlog:
    """Changes of one stream that its state's buffer would hold, had they come one by one."""

    def __init__(self, length: int) -> None:
        self.length = length
        """Of the buffer, with these."""
        self.changes: list[Change] = []

    def extend(self, changes: Iterable[Change], count: int) -> None:
        """Add changes; the oldest are cut off as the buffer's would be, rarely."""
        self.changes.extend(changes)
        most = 2 * BUFFER_SYNCED_MAX
        if self.length >= most:
            self.length, count = BUFFER_SYNCED_MAX, count - 1
        if self.length + count > most:
            self.length = BUFFER_SYNCED_MAX + (self.length + count - most - 1) % (BUFFER_SYNCED_MAX + 1)
        else:
            self.length += count
        if len(self.changes) > 2 * most:
            del self.changes[:-most]


class Judge:
    """Looks at runs before anybody looks at rows."""

    def __init__(self, rows: Rows, states: list[StreamState | None]) -> None:
        self._rows = rows
        self._states = states
        self.keeper = Keeper(rows.streams)
        self._backlogs: dict[int, Backlog] = {}

    def judge(self, trades_done: int, quotes_done: int, books_done: int) -> None:
        """Take what is flawless; put the rest into the lists of rows, the first rows of which are done."""
        rows, runs = self._rows, list(self._rows.runs)
        rows.runs.clear()
        trades = [run for run in runs if isinstance(run, TradeRun)]
        quotes = [run for run in runs if isinstance(run, QuoteRun)]
        books = [run for run in runs if isinstance(run, BookRun | TextRun)]
        if trades:
            rows.trade_runs += self._sift(trades, rows.trades, trades_done, self._take_trades)
        if quotes:
            rows.quote_runs += self._sift(quotes, rows.quotes, quotes_done, self._take_quotes)
        if books:
            taken = self._sift(books, rows.books, books_done, self._take_books)
            rows.book_runs += [run.books if isinstance(run, TextRun) else run for run in taken]

    def recall(self, index: int, state: StreamState) -> None:
        """Give a stream's state the changes that its buffer should hold."""
        backlog = self._backlogs.pop(index, None)
        if backlog is not None:
            state.buffer.extend(_unpack_change(change) for change in backlog.changes[-backlog.length :])
            del state.buffer[: -backlog.length]

    def recall_all(self) -> None:
        """Give all streams' states what their buffers should hold."""
        for index in list(self._backlogs):
            state = self._states[index]
            if state is not None:
                self.recall(index, state)
        self.keeper.put_back_all(self._states)

    # -- runs ---------------------------------------------------------------------------------------------

    def _sift(
        self, runs: list[Any], rows: list[Any], done: int, take: Callable[[Any, set[int]], dict[int, int]]
    ) -> list[Any]:
        """Return the runs without the rows that must be looked at one by one: of streams, those from an offset on."""
        busy = {row[0] for row in rows[done:]}
        if len(runs) > 1:
            met = Counter(chain.from_iterable(np.unique(run.stream).tolist() for run in runs))
            busy |= {stream for stream, times in met.items() if times > 1}
        kept, loose = [], []
        for run in runs:
            refused = take(run, busy)
            if not refused:
                kept.append(run)
                continue
            is_refused = np.isin(run.stream, np.fromiter(refused, np.int64, len(refused)))
            for stream, offset in refused.items():
                if offset:
                    is_refused &= (run.stream != stream) | (run.offset >= offset)
            loose += run.pick(is_refused).unpack()
            if not is_refused.all():
                kept.append(run.pick(~is_refused))
        if loose:
            rows[done:] = sorted([*rows[done:], *loose], key=tell_offset)
        return kept

    def _find_state(self, part: Part, rule: str) -> StreamState | None:
        """Return the state of a stream without a flaw, where its part goes on from."""
        state = self._states[part.stream] if part.stream < len(self._states) else None
        if state is None or state.gap or not state.is_synced or state.rule.rule != rule or not part.is_whole:
            return None
        if rule == "none":
            return state if state.last is None else None
        if state.last is None:
            return None
        goes_on = state.last <= part.known if rule == "monotone" else state.last == part.known
        return state if goes_on else None

    def _take_trades(self, run: TradeRun, busy: set[int]) -> dict[int, int]:
        """Take the rows of streams whose ids step by one; return the other streams."""
        refused: dict[int, int] = {}
        for part in _Sorted(run).list_parts(run.number - 1, run.number):
            state = self._find_state(part, "step")
            if state is None or part.stream in busy:
                refused[part.stream] = 0
                continue
            state.last, state.seen_ns, state.exchange_us = part.last, part.seen_ns, part.exchange_us
            state.rows += part.end - part.begin
        return refused

    def _take_quotes(self, run: QuoteRun, busy: set[int]) -> dict[int, int]:
        """Take the rows of streams whose numbers grow; return the other streams."""
        refused: dict[int, int] = {}
        for part in _Sorted(run).list_parts(run.number - 1, run.number, is_dense=False):
            state = self._find_state(part, "monotone")
            if state is None or part.stream in busy:
                refused[part.stream] = 0
                continue
            state.last, state.seen_ns = part.last, part.seen_ns
            state.rows += part.end - part.begin
        return refused

    def _take_books(self, run: BookRun | TextRun, busy: set[int]) -> dict[int, int]:
        """Take the changes of whole books that follow on; return the other streams, and those that go wrong midway."""
        refused: dict[int, int] = {}
        books = run.books if isinstance(run, TextRun) else run
        rule, known, is_sound = _find_rule(books)
        ordered = _Sorted(books)
        for part in ordered.list_parts(known, books.last, is_sound=is_sound):
            refused[part.stream] = 0
            state = self._find_state(part, rule)
            if state is None or part.stream in busy or not _is_plain(state, books.connection):
                continue
            taken = part.end - part.begin
            if state.book is not None:
                taken = self.keeper.apply(
                    state, part.stream, run, partial(ordered.pick_levels, part), ordered.list_frames(part)
                )
            if taken == part.end - part.begin:
                del refused[part.stream]
            elif taken:
                part = ordered.cut(part, taken)
                refused[part.stream] = ordered.find_offset(part.end)
            else:
                continue
            state.last = part.last if part.last != UNKNOWN else None
            state.seen_ns, state.exchange_us = part.seen_ns, part.exchange_us
            state.rows += taken
            if state.rule.recovery == "fetch":
                self._remember(state, part, ordered.list_changes(part))
        return refused

    def _remember(self, state: StreamState, part: Part, changes: Iterable[Change]) -> None:
        backlog = self._backlogs.get(part.stream)
        if backlog is None:
            backlog = self._backlogs[part.stream] = Backlog(len(state.buffer))
        backlog.extend(changes, part.end - part.begin)
        if len(backlog.changes) >= backlog.length:
            state.buffer.clear()


def _is_plain(state: StreamState, connection: str) -> bool:
    """Tell whether changes only have to follow on."""
    is_heard = not state.rule.is_connection_scoped or state.owner == connection
    return state.is_joined and is_heard and state.sealed is None


def _find_rule(run: BookRun) -> tuple[str, Integers, Flags]:
    """Return the rule that a run's ids are for, the id that each frame follows, and which frames are sound."""
    is_change = (run.exchange > 0) & (run.what == BOOK_DIFF)
    if run.last[0] == UNKNOWN:
        is_nameless = (run.last == UNKNOWN) & (run.previous == UNKNOWN) & (run.first == UNKNOWN)
        return "none", run.last, is_change & is_nameless
    rule, known = ("range", run.first - 1) if run.previous[0] == UNKNOWN else ("chain", run.previous)
    return rule, known, is_change & (run.last > known)


class _Sorted:
    """A run's rows sorted by stream."""

    def __init__(self, run: TradeRun | QuoteRun | BookRun) -> None:
        self._run = run
        stream = run.stream
        self._order: Integers | None = None
        if bool((stream == stream[0]).all()):
            self._begins = np.zeros(1, np.int64)
        else:
            self._order = np.argsort(stream, kind="stable")
            stream = stream[self._order]
            self._begins = np.flatnonzero(np.concatenate(([True], stream[1:] != stream[:-1])))
        self._ends = np.append(self._begins[1:], len(stream))
        self._stream = stream

    def list_parts(
        self, known: Integers, last: Integers, *, is_dense: bool = True, is_sound: Flags | None = None
    ) -> list[Part]:
        """Return the parts, given for each row the id that it follows and the one that it leads to."""
        known, last, received, exchange = map(self._sort, (known, last, self._run.received, self._run.exchange))
        follows = np.ones(len(last), bool) if is_sound is None else self._sort(is_sound)
        steps = known[1:] == last[:-1] if is_dense else last[1:] > last[:-1]
        follows[1:] &= steps | (self._stream[1:] != self._stream[:-1])
        is_whole = np.logical_and.reduceat(follows, self._begins)
        newest = self._ends - 1
        columns = (
            self._stream[newest], self._begins, self._ends, known[self._begins], last[newest], received[newest],
            exchange[newest], is_whole,
        )  # fmt: skip
        return list(map(Part._make, zip(*(column.tolist() for column in columns), strict=True)))

    def cut(self, part: Part, frames: int) -> Part:
        """Return the first frames of a part."""
        end = part.begin + frames
        run, newest = self._run, end - 1 if self._order is None else int(self._order[end - 1])
        assert isinstance(run, BookRun)
        last, received, exchange = (int(column[newest]) for column in (run.last, run.received, run.exchange))
        return part._replace(end=end, last=last, seen_ns=received, exchange_us=exchange)

    def find_offset(self, place: int) -> int:
        """Return the tape offset of a row, counted as sorted."""
        return int(self._run.offset[place if self._order is None else self._order[place]])

    def list_frames(self, part: Part) -> list[int]:
        """Return where the rows of a part are in the run."""
        if self._order is None:
            return list(range(part.begin, part.end))
        frames: list[int] = self._order[part.begin : part.end].tolist()
        return frames

    def pick_levels(self, part: Part) -> tuple[Integers, Floats]:
        """Return the levels of each side of a part's frames, and their prices and sizes in turn."""
        _, edges, flat = self._books
        bounds = edges[2 * part.begin : 2 * part.end + 1]
        return np.diff(bounds) // 2, flat[bounds[0] : bounds[-1]]

    def list_changes(self, part: Part) -> Iterable[Change]:
        """Return the changes of one stream of a run of books; of several streams, each gets levels of its own."""
        # hot: bench/decode.py
        ids, edges, flat = self._books
        end = part.end
        begin = max(part.begin, end - 2 * BUFFER_SYNCED_MAX)  # older ones would be cut off at once
        first, last, previous = (column[begin:end].tolist() for column in ids)
        bounds = edges[2 * begin : 2 * end + 1]
        if self._order is not None:
            flat = flat[bounds[0] : bounds[-1]].copy()
            bounds = bounds - bounds[0]
        told = bounds.tolist()
        return zip(first, last, previous, repeat(flat), told[0:-1:2], told[1::2], told[2::2], strict=False)

    @cached_property
    def _books(self) -> tuple[tuple[Integers, ...], Integers, Floats]:
        """First, last and previous ids, where each side ends in the flat numbers, and these, sorted."""
        run = self._run
        assert isinstance(run, BookRun)
        if self._order is not None:
            run = run.arrange(self._order)
        edges = np.zeros(len(run.side_counts) + 1, np.int64)
        np.cumsum(run.side_counts * 2, out=edges[1:])
        return (run.first, run.last, run.previous), edges, run.flat

    def _sort(self, column: Any) -> Any:
        return column if self._order is None else column[self._order]
