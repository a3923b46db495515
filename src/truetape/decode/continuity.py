"""Sequence rules: what proves that nothing is missing between two frames of a stream.

Runs over the rows of a stretch of frames at once, in tape order; drops repeats, writes gaps, wishes for
what heals a broken book.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

from truetape.decode.book import Book
from truetape.decode.gaps import Ledger
from truetape.decode.judge import Judge
from truetape.decode.observation import follows_on, is_older, take_observation
from truetape.decode.seals import Seals
from truetape.decode.second import Seconds
from truetape.decode.state import (
    BUFFER_SYNCED_MAX,
    BUFFER_UNSYNCED_MAX,
    HOLES_MAX,
    RECENT_IDS_MAX,
    Diff,
    Hole,
    StreamState,
    fill_hole,
)
from truetape.events.columns import pack_books
from truetape.events.instrument import Instrument, Stream
from truetape.events.rows import (
    BOOK_DIFF,
    BOOK_FETCHED,
    BOOK_SNAPSHOT,
    BookRow,
    PlainRow,
    QuoteRow,
    Rows,
    Seal,
    TradeRow,
)
from truetape.events.schema import CHANNELS
from truetape.events.wish import Fetch, Reconnect, Resubscribe
from truetape.venues import load_venue

OF_SOCKETS = frozenset({"disconnect", "silence", "sequence"})
"""Reasons of gaps that only the stream itself ends."""
ID_LENGTH_MAX = 24
"""Longer ids are remembered by their digests."""
WISH_AGAIN_NS = 5_000_000_000
"""A wish that was not answered is made again after this time of the tape."""
WISH_ANSWERED_NS = 1_500_000_000
"""A wish that was answered may be made again after this time: longer than the collector takes two for one."""
EPOCH_NS = 60_000_000_000
"""Frames received so much earlier than what came before are another recording, not a clock that was put right."""
RESTART_US = 5_000_000
"""An id that is not new, of something that happened so much later than the newest, says that ids started over."""

FindState = Callable[[int, tuple[int, int]], StreamState]
"""(stream index, (received_ns, tape offset)) → its state, made when new."""


class Loss(NamedTuple):
    """Ids of a stream prove that frames were lost between two of its rows."""

    stream: int
    from_ns: int
    to_ns: int
    offset: int


class Continuity:
    """Checks rows of trades, quotes and books against the rules of their streams."""

    def __init__(
        self,
        rows: Rows,
        ledger: Ledger,
        find_state: FindState,
        adopt: Callable[[Stream, StreamState, int], None],
        *,
        books: bool,
    ) -> None:
        self._rows = rows
        self._ledger = ledger
        self._find_state = find_state
        self._adopt = adopt
        self._keep_books = books
        self.states: list[StreamState | None] = []
        self._judge = Judge(rows, self.states)
        self.duplicates: dict[str, int] = {}
        self._trades_done = self._quotes_done = self._books_done = 0
        self._plain_done: dict[str, int] = {}
        self._named: dict[int, Instrument] = {}
        self.topics: dict[int, tuple[str, ...]] = {}
        """Stream index → the venue's topics, where the tape says; else asked of the venue."""
        self.losses: list[Loss] = []
        """What ids proved to be missing since somebody last looked."""
        self.is_answer = False
        """What is judged came over HTTP."""
        self._seconds = Seconds(rows, ledger)
        self.seals = Seals(rows, ledger, self.states, self.topics, self._close)

    def settle(self) -> None:
        """Check everything decoded since the last call."""
        if self._rows.runs:
            if self._rows.books and self._books_done == len(self._rows.books):
                pack_books(self._rows)  # what is packed in tape order need not be sorted
                self._books_done = 0
            self._judge.judge(self._trades_done, self._quotes_done, self._books_done)
        # Rows of earlier stretches stay in the lists until they become columns: checked ones are skipped by mark.
        rows = self._rows
        if len(rows.trades) > self._trades_done:
            self._settle_trades()
        if len(rows.quotes) > self._quotes_done:
            self._settle_quotes()
        if len(rows.books) > self._books_done:
            self._settle_books()
        for kind in CHANNELS:  # not in the order of `plain`, which another start of decoding need not share
            plain = rows.plain.get(kind)
            if plain and len(plain) > self._plain_done.get(kind, 0):
                self._settle_plain(kind, plain)

    def drop_frame(self, offset: int, *, is_repeat: bool) -> None:
        """Take back all rows of the newest frame: it does not decode, or repeats an earlier one."""
        for kind, rows in self._rows.list_channels():
            while rows and rows[-1][3] == offset:
                self._drop(kind, rows, [len(rows) - 1], is_counted=is_repeat)

    def settle_history(self, choose: Callable[[str, list[Any]], list[bool]]) -> None:
        """Check what an answer tells of the past: (kind, its rows) → which are taken. The rest are repeats."""
        for kind, rows in self._rows.list_channels():
            own = {"trade": self._trades_done, "quote": self._quotes_done, "book_change": self._books_done}
            start = own.get(kind, self._plain_done.get(kind, 0))
            if len(rows) > start:
                taken = choose(kind, rows[start:])
                self._drop(kind, rows, [start + i for i, is_taken in enumerate(taken) if not is_taken])
            if kind not in own:
                self._plain_done[kind] = len(rows)
        self._trades_done, self._quotes_done = len(self._rows.trades), len(self._rows.quotes)
        self._books_done = len(self._rows.books)

    def forget_books(self) -> None:
        """Say that the list of book frames was emptied."""
        self._books_done = 0

    def recall(self) -> None:
        """Make the states whole, for a checkpoint."""
        self._judge.recall_all()

    def forget_done(self) -> None:
        """Say that the lists were emptied."""
        self._trades_done = self._quotes_done = self._books_done = 0
        self._plain_done.clear()

    def _settle_plain(self, kind: str, plain: list[PlainRow]) -> None:
        start, dropped = self._plain_done.get(kind, 0), []
        for position, row in enumerate(plain[start:], start):
            state = self._find_state(row[0], (row[2], row[3]))
            if kind != "oracle_price":
                self._see(state, row)
                continue
            self._seconds.note(state, row)
            if not self._observe(state, row):
                dropped.append(position)
        self._seconds.settle()
        self._drop(kind, plain, dropped)
        self._plain_done[kind] = len(plain)

    def _observe(self, state: StreamState, row: PlainRow) -> bool:
        """Take an oracle's observation; false when it is a repeat."""
        observed = state.observed
        if state.gap and _is_other_epoch(state, row[2]):
            observed.clear()
            state.holes.clear()
            state.last = None
        is_old = bool(state.gap) and is_older(observed, row[1])
        is_whole = bool(state.gap) and follows_on(observed, row[1])
        if not take_observation(observed, row):
            return False
        if is_old:  # history of before the gap does not end it
            return True
        if is_whole:
            self._close(state, row, {"proof": "observations go on second by second"}, "repaired", missing=0)
        self._see(state, row)
        return True

    # -- trades -------------------------------------------------------------------------------------------

    def _settle_trades(self) -> None:
        # hot: bench/decode.py
        trades, states = self._rows.trades, self.states
        start = self._trades_done
        fresh = trades[start:] if start else trades
        if self._continue_one(fresh):
            self._trades_done = len(trades)
            return
        dropped: list[int] = []
        for position, row in enumerate(fresh, start):
            index = row[0]
            state = states[index] if index < len(states) else None
            number = row[4]
            if state is not None and number is not None and not state.gap and state.last == number - 1:
                state.last = number
                state.seen_ns = row[2]
                state.exchange_us = row[1] or 0
                state.rows += 1
            elif not self._accept_trade(state or self._find_state(index, (row[2], row[3])), row):
                dropped.append(position)
        self._drop("trade", trades, dropped)
        self._trades_done = len(trades)

    def _continue_one(self, rows: list[TradeRow]) -> bool:
        """Take rows at one blow when all are of one whole stream and their ids step by one."""
        # hot: bench/decode.py
        index = rows[0][0]
        state = self.states[index] if index < len(self.states) else None
        if state is None or state.gap or state.last is None or state.rule.rule != "step":
            return False
        indexes, _, _, _, numbers, *_ = zip(*rows, strict=True)
        if indexes.count(index) != len(rows) or numbers != tuple(range(state.last + 1, state.last + 1 + len(rows))):
            return False
        state.last = numbers[-1]
        state.seen_ns = rows[-1][2]
        state.exchange_us = rows[-1][1] or 0
        state.rows += len(rows)
        return True

    def _accept_trade(self, state: StreamState, row: TradeRow) -> bool:
        rule = state.rule.rule
        if rule == "window" or (rule == "none" and row[5] is not None):
            fresh = self.is_new(state, row[5] if row[5] is not None else str(row[4]))
        elif rule in {"step", "monotone"} and row[4] is not None:
            fresh = self._step(state, row, row[4], is_dense=rule == "step")
        else:
            fresh = True
        if fresh:
            self._see(state, row)
        return fresh

    def _step(self, state: StreamState, row: TradeRow, number: int, *, is_dense: bool) -> bool:
        last = state.last
        if last is not None and number <= last:
            return self._fill(state, row, number)
        state.last = number
        state.exchange_us = row[1] or 0
        if last is None or not is_dense:
            return True
        if number == last + 1:
            self._close(state, row, {"proof": "ids step by one", "id": number}, "repaired", missing=0)
        else:
            self._miss(state, row, last, number)
        return True

    def _miss(self, state: StreamState, row: TradeRow, last: int, number: int) -> None:
        """Declare that ids are missing, and remember which: they may arrive late."""
        stream, at = self._rows.streams[row[0]], (row[2], row[3])
        missing, evidence = number - last - 1, {"last_id": last, "next_id": number}
        gap, from_ns, reason = state.gap, state.gap_from_ns, state.gap_reason
        if gap:
            self._close(state, row, evidence, missing=missing)
        else:
            from_ns, reason = state.seen_ns, "sequence"
            span = (from_ns, row[2])
            gap = self._ledger.declare(stream, span, reason, at, state=state, evidence=evidence, missing=missing)
            self.losses.append(Loss(row[0], *span, row[3]))
        state.holes.append(Hole(last + 1, number - 1, gap, from_ns, row[2], reason))
        del state.holes[:-HOLES_MAX]

    def _fill(self, state: StreamState, row: TradeRow, number: int) -> bool:
        """Take a late trade into a hole; false when it is a repeat."""
        if state.gap and _is_other_epoch(state, row[2]):
            _forget(state)
            state.last, state.exchange_us = number, row[1] or 0
            return True
        is_late, filled = fill_hole(state.holes, number)
        if filled is not None:
            self._ledger.repair(self._rows.streams[row[0]], filled, (row[2], row[3]), {"proof": "arrived late"})
        if is_late:
            return True
        return self._start_over(state, row, number)

    def _start_over(self, state: StreamState, row: TradeRow, number: int) -> bool:
        """Take an old id for a new one when it is of a later trade: the venue numbers from the start again."""
        if not state.exchange_us or row[1] is None or row[1] < state.exchange_us + RESTART_US:
            return False
        evidence = {"last_id": state.last, "next_id": number, "why": "ids started over"}
        if not state.gap:
            self._ledger.open(self._rows.streams[row[0]], state, "sequence", (row[2], row[3]), evidence=evidence)
        self._close(state, row, evidence)
        _forget(state)
        state.last, state.exchange_us = number, row[1]
        return True

    def _close(
        self, state: StreamState, row: tuple[Any, ...], evidence: dict[str, Any] | None = None, outcome: str = "closed",
        missing: int | None = None,
    ) -> None:  # fmt: skip
        """Close the open gap, if any: the row says that the stream is back, and on which connection."""
        if state.gap:
            stream = self._rows.streams[row[0]]
            self._ledger.close(stream, state, (row[2], row[3]), outcome, evidence=evidence, missing=missing)
            if not state.connections:
                self._adopt(stream, state, row[3])

    def is_new(self, state: StreamState, text: str) -> bool:
        """Take a row by its text id; false when it is one of the newest that are remembered."""
        recent = state.recent
        if len(text) > ID_LENGTH_MAX:  # thousands of ids are in each checkpoint
            text = blake2b(text.encode(), digest_size=ID_LENGTH_MAX // 2).hexdigest()
        if text in recent:
            return False
        recent[text] = None
        if len(recent) > RECENT_IDS_MAX:
            del recent[next(iter(recent))]
        return True

    def _see(self, state: StreamState, row: tuple[Any, ...]) -> None:
        state.rows += 1
        if self.is_answer and state.rule.rule == "window" and (state.connections or state.gap_reason in OF_SOCKETS):
            return  # fills fetched beside a stream say nothing of whether it flows
        state.seen_ns = row[2]
        state.is_synced = True
        self._close(state, row)

    def _drop(self, kind: str, rows: list[Any], positions: list[int], *, is_counted: bool = True) -> None:
        """Take repeats out and count them; a book frame counts as many rows as it has levels."""
        for position in reversed(positions):
            row = rows.pop(position)
            count = len(row[9]) + len(row[10]) if kind == "book_change" else 1
            if is_counted and count:
                self.duplicates[kind] = self.duplicates.get(kind, 0) + count

    # -- quotes -------------------------------------------------------------------------------------------

    def _settle_quotes(self) -> None:
        # hot: bench/decode.py
        quotes, states = self._rows.quotes, self.states
        start = self._quotes_done
        dropped: list[int] = []
        for position, row in enumerate(quotes[start:] if start else quotes, start):
            index = row[0]
            state = (states[index] if index < len(states) else None) or self._find_state(index, (row[2], row[3]))
            if self._is_repeat(state, row):
                dropped.append(position)
            elif state.gap or not state.is_synced:
                self._see(state, row)
            else:
                state.seen_ns = row[2]
                state.rows += 1
        self._drop("quote", quotes, dropped)
        self._quotes_done = len(quotes)

    def _is_repeat(self, state: StreamState, row: QuoteRow) -> bool:
        number = row[8]
        if number is None or state.rule.rule != "monotone":
            return False
        last = state.last
        if last is not None and number <= last and not self._renumbers(state, row, number, last):
            return True
        state.last = number
        return False

    def _renumbers(self, state: StreamState, row: QuoteRow, number: int, last: int) -> bool:
        """Tell whether a number that is not new belongs to another count than the last one."""
        if (state.gap and _is_other_epoch(state, row[2])) or (state.rule.is_connection_scoped and number == 1 < last):
            return True  # a count of one connection's begins with 1 when the venue's service starts again
        if number == last or row[2] - state.seen_ns < EPOCH_NS:
            return False
        evidence = {"last": last, "next": number, "why": "no new number for a minute: numbers started over"}
        self._ledger.open(self._rows.streams[row[0]], state, "sequence", (row[2], row[3]), evidence=evidence)
        return True

    # -- books --------------------------------------------------------------------------------------------

    def _settle_books(self) -> None:
        # hot: bench/decode.py
        books, states = self._rows.books, self.states
        start = self._books_done
        dropped: list[int] = []
        for position, row in enumerate(books[start:] if start else books, start):
            index = row[0]
            state = (states[index] if index < len(states) else None) or self._find_state(index, (row[2], row[3]))
            if state.sealed is not None or isinstance(row[12], Seal):
                sealed = self.seals.take(state, row)
                if sealed is None:
                    dropped.append(position)
                elif sealed is not row:
                    books[position] = sealed
                continue
            self._judge.recall(index, state)
            if row[5] == BOOK_DIFF:
                keep: BookRow | None = row if self._accept_diff(state, row) else None
            elif row[5] == BOOK_SNAPSHOT:
                keep = row if self._accept_snapshot(state, row) else None
            else:
                keep = self._splice(state, row)
            if keep is None:
                dropped.append(position)
                continue
            state.seen_ns = row[2]
            state.exchange_us = row[1] or state.exchange_us
            state.rows += 1
            # A book whose ids prove it whole is not kept: that would cost half as much again as decoding it.
            is_unproven = state.rule.rule == "none" or row[12] is not None
            if (is_unproven or self._keep_books or state.book is not None) and state.is_synced:
                keep = self._prove(state, keep)
            if keep is not row:
                books[position] = keep
        self._drop("book_change", books, dropped)
        self._books_done = len(books)

    def _accept_diff(self, state: StreamState, row: BookRow) -> bool:
        rule = state.rule
        if rule.is_connection_scoped and state.owner != row[4] and not self._take_over(state, row):
            return False
        if state.gap and _is_other_epoch(state, row[2]):
            _forget(state)
        if not state.is_synced:
            return self._buffer_diff(state, row)
        known, last = state.last, row[7]
        if known is not None and last is not None and not rule.is_connection_scoped:
            is_covered = last < known if rule.splice == "futures" and not state.is_joined else last <= known
            if is_covered and not _is_later(state, row):
                return False  # the snapshot, or the other connection of a hand-over, said it already
        if not self._follows(state, row):
            if rule.is_connection_scoped and last is not None and last == known:
                return False  # the same frame twice
            evidence = {"last_id": known, "first": row[6], "last": last, "previous": row[8]}
            self._break(state, row, evidence)
            return self._buffer_diff(state, row)
        state.is_joined = True
        if last is not None:
            state.last = last
        if state.gap:
            if known is not None and last is not None and rule.rule in {"range", "chain"}:
                self._close(state, row, {"proof": "ids follow on", "id": last}, "repaired", missing=0)
            else:
                self._close(state, row)
        if rule.recovery == "fetch":
            self._remember(state, row, BUFFER_SYNCED_MAX)
        return True

    def _take_over(self, state: StreamState, row: BookRow) -> bool:
        """Let another connection's changes go on with a broken book; a whole one they only repeat, in other ids."""
        if state.is_synced:
            return False
        state.owner = row[4]
        state.last = None
        return True

    def _follows(self, state: StreamState, row: BookRow) -> bool:
        """Tell whether a change goes on where the book stands."""
        rule, known = state.rule, state.last
        if rule.rule not in {"chain", "range"} or known is None or row[7] is None:
            return True
        if rule.rule == "chain" and state.is_joined:
            return row[8] == known
        diff = Diff(row[6], row[7], row[8], [], [])
        return _joins(diff, known, spot=rule.rule == "range" or rule.splice == "spot")

    def _buffer_diff(self, state: StreamState, row: BookRow) -> bool:
        """Keep a diff of a broken book for the snapshot to come, and wish for one."""
        last = row[7]
        if state.last is not None and last is not None and not state.rule.is_connection_scoped and last <= state.last:
            if not _is_later(state, row):
                return False
            state.buffer.clear()
        follows = row[8] == state.last if state.rule.rule == "chain" else state.last is None or row[6] == state.last + 1
        if state.buffer and not follows:
            state.buffer.clear()
        if last is not None:
            state.last = last
        self._remember(state, row, BUFFER_UNSYNCED_MAX)
        stream = self._rows.streams[row[0]]
        self._ledger.open(stream, state, "not_started", (row[2], row[3]), evidence={"why": "no snapshot yet"})
        self._wish(state, row, "no snapshot yet")
        return True

    def _remember(self, state: StreamState, row: BookRow, most: int) -> None:
        if state.rule.recovery != "fetch":
            return
        state.buffer.append(Diff(row[6], row[7], row[8], row[9], row[10]))
        if len(state.buffer) > 2 * most:  # cut rarely: cutting a list from the front costs its length
            del state.buffer[:-most]

    def _break(self, state: StreamState, row: BookRow, evidence: dict[str, Any]) -> None:
        stream, known, first = self._rows.streams[row[0]], state.last, row[6]
        state.is_synced = False
        state.buffer.clear()
        state.book = None
        state.last = None
        self._ledger.open(stream, state, "sequence", (row[2], row[3]), evidence=evidence)
        self.losses.append(Loss(row[0], state.seen_ns, row[2], row[3]))
        if state.rule.rule == "range" and known is not None and first is not None and first > known + 1:
            state.gap_missing = first - known - 1

    def _accept_snapshot(self, state: StreamState, row: BookRow) -> bool:
        if state.is_synced and state.owner == row[4] and row[7] is not None and row[7] == state.last and not state.gap:
            return False
        state.owner = row[4]
        state.last = row[7]
        state.is_synced = True
        state.is_joined = True
        state.book = None
        state.wished_ns = row[2] - WISH_AGAIN_NS + WISH_ANSWERED_NS
        self._close(state, row, {"snapshot": row[7]})
        return True

    def _splice(self, state: StreamState, row: BookRow) -> BookRow | None:
        """Join a fetched snapshot to the diffs around it; None when it does not join."""
        snapshot = row[7]
        if snapshot is None:
            return None
        spot = state.rule.splice == "spot"
        later = [d for d in state.buffer if d.last is not None and (d.last > snapshot if spot else d.last >= snapshot)]
        if later and not _joins(later[0], snapshot, spot=spot):
            if not state.is_synced:  # older than the buffered changes
                state.wished_ns = row[2] - WISH_AGAIN_NS + WISH_ANSWERED_NS
            return None
        bids, asks = _merge(row[9], [d.bids for d in later]), _merge(row[10], [d.asks for d in later])
        state.is_joined = bool(later)
        state.last = later[-1].last if later else snapshot
        state.is_synced = True
        state.book = None
        state.wished_ns = row[2] - WISH_AGAIN_NS + WISH_ANSWERED_NS
        if not state.rule.is_connection_scoped:
            state.owner = row[4]
        self._close(state, row, {"snapshot": snapshot, "joined": len(later)})
        return (*row[:5], BOOK_FETCHED, row[6], state.last, row[8], bids, asks, row[11], row[12])

    def _prove(self, state: StreamState, row: BookRow) -> BookRow:
        """Keep the book, compare the venue's checksum, look for a crossed book."""
        stream = self._rows.streams[row[0]]
        venue = load_venue(stream.venue)
        book, keeper = state.book, self._judge.keeper
        check = row[12] if isinstance(row[12], int) else None
        if row[5] == BOOK_DIFF and (book is None or keeper.follow(state, row[0], row[9], row[10], check)):
            return row
        keeper.put_back(row[0], state)
        if book is None:
            book = state.book = Book(depth_max=self._rows.find_depth(row[0]) or venue.depth_max)
        if row[5] == BOOK_DIFF:
            book.apply(row[9], row[10])
        else:
            book.replace(row[9], row[10])
        wrong: dict[str, Any] = {}
        if row[12] is not None and venue.proof is not None:
            depth = venue.proof.depth
            try:
                made: int | None = venue.proof.prove(
                    book.list_bids(depth), book.list_asks(depth), self._find_instrument(stream)
                )
            except (TypeError, ValueError):  # levels came as numbers before the venue's digits did
                made = None
            if made != row[12]:
                wrong = {"checksum": row[12], "made": made, "id": row[7]}
        reason = "checksum" if wrong else "crossed"
        if not wrong and book.is_crossed:
            wrong = {"bid": book.list_bids(1)[0], "ask": book.list_asks(1)[0], "id": row[7]}
        if wrong:
            state.is_synced = False
            state.book = None
            self._ledger.open(stream, state, reason, (row[2], row[3]), evidence=wrong)
            self._wish(state, row, f"{reason} broken")
        return row

    def _find_instrument(self, stream: Stream) -> Instrument:
        listed = self._rows.instruments.get((stream.venue, stream.market, stream.venue_symbol))
        if listed is not None:
            return listed
        named = self._named.get(stream.index)
        if named is None:
            venue = load_venue(stream.venue)
            named = self._named[stream.index] = venue.name_instrument(stream.market, stream.venue_symbol)
        return named

    def _wish(self, state: StreamState, row: BookRow, reason: str) -> None:
        if state.wished_ns and row[2] - state.wished_ns < WISH_AGAIN_NS:
            return
        stream = self._rows.streams[row[0]]
        venue = load_venue(stream.venue)
        state.wished_ns = row[2]
        recovery = state.rule.recovery
        if recovery == "fetch" and venue.fetch_book is not None:
            url, weight = venue.fetch_book(stream.feed, stream.venue_symbol)
            self._rows.wishes.append(Fetch(stream.venue, stream.feed, url, f"{stream.venue_symbol}: {reason}", weight))
        elif recovery == "resubscribe":
            topics = self.topics.get(stream.index, ())
            self._rows.wishes.append(
                Resubscribe(stream.venue, stream.feed, row[4], topics, f"{stream.venue_symbol}: {reason}")
            )
        elif recovery == "reconnect":
            self._rows.wishes.append(Reconnect(stream.venue, stream.feed, row[4], f"{stream.venue_symbol}: {reason}"))


def _is_other_epoch(state: StreamState, received_ns: int) -> bool:
    """Tell whether a recording of an earlier time was put on the tape later: its ids repeat nothing."""
    return received_ns < state.seen_ns - EPOCH_NS


def _is_later(state: StreamState, row: BookRow) -> bool:
    """Tell whether a change with an old id happened long after the newest one: the venue's ids started over."""
    return bool(state.exchange_us and row[1] is not None and row[1] > state.exchange_us + EPOCH_NS // 1000)


def _forget(state: StreamState) -> None:
    state.last = None
    state.exchange_us = 0
    state.is_synced = False
    state.book = None
    state.buffer.clear()
    state.holes.clear()


def _joins(diff: Diff, snapshot: int, *, spot: bool) -> bool:
    if diff.first is None or diff.last is None:
        return False
    if spot:
        return diff.first <= snapshot + 1 <= diff.last
    return diff.first <= snapshot <= diff.last or diff.previous == snapshot


def _merge(levels: Any, changes: list[Any]) -> list[Any]:
    """Return the snapshot's levels after the changes; a level changed to zero is gone."""
    sizes = {level[0]: level[1] for level in levels}
    for change in changes:
        sizes.update((level[0], level[1]) for level in change)
    return [(price, size) for price, size in sizes.items() if float(size) != 0.0]
