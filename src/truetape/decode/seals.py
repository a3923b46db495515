"""Sealed books: a hash after each batch proves the rebuilt book, or tells that frames were lost.

A seal is that of the whole book after all rows of its batch, which may come in several frames: so a batch that
does not come out is in doubt until another begins, and only then broken.
"""

from collections.abc import Callable
from typing import Any

from truetape.decode.gaps import Ledger
from truetape.decode.minute import MINUTE_NS, At, Minutes
from truetape.decode.remedy import BROKEN, Remedies
from truetape.decode.sealed import Doubt, Late, Rival, SealedBook, Tally, is_crossed, mirrors_best
from truetape.decode.shelf import Live, Shelf
from truetape.decode.state import BUFFER_UNSYNCED_MAX, StreamState
from truetape.events.rows import BOOK_DIFF, BOOK_FETCHED, BookRow, Rows, Seal

DOUBT_ROWS_MAX = 64
TAKE_OVER_NS = 1_000_000_000
"""A broken book is left to another connection when its own says nothing for so long."""
ON_THE_WAY = frozenset({"not_started", "checksum", "crossed", "sequence", "disk", "decode"})
"""Reasons of a gap that a fetched book may end: the stream flows. After others a picture in the stream must."""
FROZEN_NS = 2_000_000_000
"""A change so much older than the gap, and never seen, says that the stream was frozen before: clocks may differ less."""
Close = Callable[[StreamState, tuple[Any, ...], dict[str, Any] | None, str, int | None], None]
"""(state, row, evidence, outcome, missing): close the stream's gap and attach it to the row's connection."""


class Seals:
    """Judges the books of all streams whose rows are sealed."""

    def __init__(
        self, rows: Rows, ledger: Ledger, states: list[StreamState | None], topics: dict[int, tuple[str, ...]], close: Close
    ) -> None:  # fmt: skip
        self._rows = rows
        self._ledger = ledger
        self._states = states
        self._close = close
        self.remedies = Remedies(rows, topics)
        self.shelf = Shelf(rows, states)
        self.minutes = Minutes(rows, self.shelf)

    # -- rows ---------------------------------------------------------------------------------------------

    def take(self, state: StreamState, row: BookRow) -> BookRow | None:
        """Take a row; return what is to be stored of it, null for a repeat."""
        # hot: bench/prove_books.py
        live = self.shelf.held.get(row[0]) or self._open(state, row)
        if row[2] // MINUTE_NS != self.minutes.now:
            self.minutes.turn((row[2], row[3]))
        what = row[5]
        if what == BOOK_DIFF:
            keep = self._change(live, row)
        elif what == BOOK_FETCHED:
            return self._weigh(live, row)
        else:
            keep = self._picture(live, row)
        if keep is not None:
            state.seen_ns = row[2]
            state.rows += 1
        return keep

    def _open(self, state: StreamState, row: BookRow) -> Live:
        if state.sealed is None:
            state.sealed = SealedBook(tally=Tally(minute=row[2] // MINUTE_NS))
            state.is_synced = False  # nothing is known of it, whatever was before: a picture must come first
        live = self.shelf.find(row[0])
        assert live is not None
        seal = row[12]
        if not live.book.market and isinstance(seal, Seal):
            self.shelf.pair(live, live.sealing.name_market(seal.context))
        return live

    # -- changes ------------------------------------------------------------------------------------------

    def _change(self, live: Live, row: BookRow) -> BookRow | None:
        # hot: bench/prove_books.py
        state, book, seal = live.state, live.book, row[12]
        at_us = row[1] or 0
        if state.owner != row[4]:
            is_live = state.owner in state.connections and row[2] - state.seen_ns < TAKE_OVER_NS
            if state.is_synced or is_live:  # the other connection of a hand-over repeats it
                book.other_us = max(book.other_us, at_us)
                return None
            state.owner = row[4]
            book.late.clear()
        doubt = book.doubt
        if doubt is not None and (not isinstance(seal, Seal) or seal.batch != doubt.seal.batch):
            self.settle_doubt(live, (row[2], row[3]), seal.context if isinstance(seal, Seal) else None)
            doubt = None
        if not state.is_synced:
            return self._wait(live, row)
        if at_us <= book.fetched_us:
            return None  # the fetched picture has it already
        live.bids.apply(row[9])
        live.asks.apply(row[10])
        book.at_us = at_us
        if isinstance(seal, Seal) and not book.is_blind:
            context = live.sealing.carry(seal.context, book.context) if book.context else seal.context
            made = live.make_seal(context)
            if made != seal.expected:
                self._doubt(live, row, seal, made)
                return row
            self._prove(live, seal, context, row)
        else:
            self._pass_unjudged(live, row)
        if state.gap:
            self._close(state, row, {"proof": "hash", "batch": book.batch}, "closed", None)
        if book.sibling >= 0:
            self._mirror(live, row)
        return row

    def _prove(self, live: Live, seal: Seal, context: tuple[Any, ...], row: BookRow) -> None:
        """Note that the book is what the venue sealed."""
        book = live.book
        book.hash, book.proven_ns, book.doubt, book.tries = seal.expected, row[2], None, 0
        tally = book.tally
        if context is not book.context and live.sealing.name_epoch(context) != tally.epoch:
            tally = self.minutes.begin_epoch(live, live.sealing.name_epoch(context), (row[2], row[3]))
        book.context = context
        if seal.batch != book.batch:  # a batch counts once, however many frames repeat its end
            book.batch = seal.batch
            tally.batches += 1
            tally.proven += 1

    def _doubt(self, live: Live, row: BookRow, seal: Seal, made: str) -> None:
        book = live.book
        late = Late(row[1] or 0, row[9], row[10], seal)  # type: ignore[arg-type]
        if book.doubt is None:
            book.doubt = Doubt(seal, made, row[3], row[2], [late])
            return
        doubt = book.doubt
        doubt.seal, doubt.made, doubt.offset, doubt.received_ns = seal, made, row[3], row[2]
        doubt.rows.append(late)
        del doubt.rows[:-DOUBT_ROWS_MAX]

    def settle_doubt(self, live: Live, at: At, context: tuple[Any, ...] | None) -> None:
        """Judge a batch that is over: a trade or a tick may have come a frame after what it is hashed with."""
        book, doubt = live.book, live.book.doubt
        if doubt is None:
            return
        book.doubt = None
        found = live.search(doubt.seal, [c for c in (context, book.context) if c])
        book.tally.batches += 1
        if found is not None:
            book.tally.proven += 1
            book.context, book.batch, book.hash = found, doubt.seal.batch, doubt.seal.expected
            book.proven_ns = doubt.received_ns
            return
        book.tally.broken += 1
        book.late = doubt.rows
        evidence = {
            "expected": doubt.seal.expected, "made": doubt.made, "batch": doubt.seal.batch, "offset": doubt.offset,
            "levels": [len(book.bids), len(book.asks)], "epoch": book.tally.epoch,
        }  # fmt: skip
        self.break_book(live, at, "checksum", evidence)

    def break_book(self, live: Live, at: At, reason: str, evidence: dict[str, Any]) -> None:
        """Declare that a book is not the venue's, from when it was last known to be, and wish for another."""
        state, book = live.state, live.book
        state.is_synced = False
        begin = book.proven_ns if book.proven_ns and not book.is_blind else state.seen_ns
        if state.gap and begin:  # its connection ended meanwhile: the loss was before
            self._ledger.widen(live.stream, state, begin, at, evidence)
        self._ledger.open(live.stream, state, reason, at, from_ns=begin, evidence=evidence)
        if state.connections and state.gap:
            self.remedies.ask(live.stream, state, book, at[0], f"{reason} broken", BROKEN)

    def _pass_unjudged(self, live: Live, row: BookRow) -> None:
        """Take a change that nothing proves: at least the book must not cross."""
        book, seal = live.book, row[12]
        if isinstance(seal, Seal) and seal.batch != book.batch:
            book.batch = seal.batch
            book.tally.batches += 1
            book.tally.unjudged += 1
        if is_crossed(live.bids, live.asks):
            evidence = {"bid": book.bids[-1], "ask": book.asks[-1], "batch": book.batch}
            self.break_book(live, (row[2], row[3]), "crossed", evidence)

    def _wait(self, live: Live, row: BookRow) -> BookRow:
        """Keep a change of a book that cannot be trusted for the picture to come."""
        book, at = live.book, (row[2], row[3])
        seal = row[12] if isinstance(row[12], Seal) else None
        book.late.append(Late(row[1] or 0, row[9], row[10], seal))  # type: ignore[arg-type]
        if len(book.late) > 2 * BUFFER_UNSYNCED_MAX:
            del book.late[:-BUFFER_UNSYNCED_MAX]
        self._ledger.open(live.stream, live.state, "not_started", at, evidence={"why": "no picture yet"})
        if live.state.gap:
            self.remedies.ask(live.stream, live.state, book, row[2], "no whole book", BROKEN)
        return row

    # -- pictures -----------------------------------------------------------------------------------------

    def _picture(self, live: Live, row: BookRow) -> BookRow | None:
        state, book = live.state, live.book
        seal = row[12] if isinstance(row[12], Seal) else None
        at_us, expected = row[1] or 0, seal.expected if seal else ""
        if state.is_synced and state.owner != row[4] and not book.is_blind:
            if at_us < book.at_us:
                return None  # an older one, of the other connection of a hand-over
            if at_us == book.at_us and expected == book.hash:
                state.owner = row[4]
                self._confirm(live, row, {}, is_same=True)
                return None
        if book.doubt is not None:
            self.settle_doubt(live, (row[2], row[3]), seal.context if seal else None)
        is_same = bool(expected) and expected == book.hash
        live.replace(row[9], row[10])
        book.at_us, book.fetched_us, state.owner = at_us, 0, row[4]
        book.late.clear()
        if book.rival is not None and at_us >= book.rival.at_us:
            book.rival = None
        book.tally.pictures += seal is not None
        if not self._judge_picture(live, seal, row):
            return row
        state.is_synced = True
        proof: dict[str, Any] = {"proof": None}
        if not book.is_blind:
            proof = {"proof": "hash", "batch": book.batch, "hash": book.hash}
        self._confirm(live, row, proof, is_same=is_same)
        if book.sibling >= 0:
            self._mirror(live, row, is_whole=True)
        return row

    def _judge_picture(self, live: Live, seal: Seal | None, row: BookRow) -> bool:
        """Prove a picture; False when it is not what the venue sealed."""
        book = live.book
        if seal is None:
            book.is_blind = True
            return True
        context: tuple[Any, ...] | None = seal.context
        if live.make_seal(seal.context) != seal.expected:
            context = live.search(seal, [book.context] if book.context else []) or live.guess(seal)
        if context is not None:
            book.is_blind = False
            book.batch = ""  # a picture is judged even where changes of its moment were
            self._prove(live, seal, context, row)
            return True
        book.tally.batches += 1
        if not seal.is_certain:
            book.is_blind = True
            book.batch = seal.batch
            book.tally.unjudged += 1
            return True
        book.tally.broken += 1
        made = live.make_seal(seal.context)
        evidence = {"expected": seal.expected, "made": made, "batch": seal.batch, "picture": True}
        self.break_book(live, (row[2], row[3]), "checksum", evidence)
        return False

    def _confirm(self, live: Live, row: BookRow, evidence: dict[str, Any], *, is_same: bool) -> None:
        """End the gap of a book, and those of its trades and quotes: a picture says that its connection carries them.

        When the hash is that of before the gap nothing happened in between, for it holds the time of the newest change.
        """
        state = live.state
        was_ns = state.gap_from_ns if state.gap else row[2]
        if state.gap and state.seen_ns and not is_same and (row[1] or 0) * 1000 < was_ns - FROZEN_NS:
            told = {"why": "the picture's newest change is older than the gap and was not seen", "change_us": row[1]}
            self._ledger.widen(live.stream, state, state.seen_ns, (row[2], row[3]), told)
        outcome, missing = ("repaired", 0) if is_same else ("closed", None)
        unchanged: dict[str, Any] = {"unchanged": True}
        if state.gap:
            self._close(state, row, evidence | unchanged if is_same else evidence, outcome, missing)
        key = live.stream
        for channel in ("trade", "quote"):
            index = self._rows.find_stream(key.venue, channel, key.market, key.venue_symbol)
            other = self._states[index] if index is not None and index < len(self._states) else None
            if index is None or other is None or not other.gap or row[4] not in other.connections:
                continue
            is_whole = is_same and other.gap_from_ns >= was_ns
            self._ledger.close(
                self._rows.streams[index], other, (row[2], row[3]), "repaired" if is_whole else "closed",
                evidence={"by": "picture of the book"} | (unchanged if is_whole else {}),
                missing=0 if is_whole else None,
            )  # fmt: skip

    # -- fetched books ------------------------------------------------------------------------------------

    def _weigh(self, live: Live, row: BookRow) -> BookRow:
        """Compare a fetched book with ours, or begin anew with it; only one that its own hash proves counts."""
        unused: BookRow = (*row[:9], [], [], *row[11:])
        state, book, seal = live.state, live.book, row[12]
        if not isinstance(seal, Seal):
            return unused
        other = Live(live.stream, state, SealedBook(), live.sealing)
        other.replace(row[9], row[10])
        if other.make_seal(seal.context) != seal.expected:
            return unused
        book.tally.fetched += 1
        if not state.is_synced:
            return self._splice(live, other, row, seal) or unused
        at_us = row[1] or 0
        if live.make_seal(seal.context) == seal.expected:
            book.confirmed_ns, book.rival = row[2], None
            book.tally.confirmed += 1
        elif at_us > book.at_us:
            book.rival = book.rival or Rival(at_us, seal.expected, row[2], row[3])
        elif at_us == book.at_us and book.doubt is None:
            evidence = {"answer": seal.expected, "made": live.make_seal(seal.context), "batch": seal.batch}
            self.break_book(live, (row[2], row[3]), "checksum", evidence)
            return self._splice(live, other, row, seal) or unused
        return unused

    def _splice(self, live: Live, other: Live, row: BookRow, seal: Seal) -> BookRow | None:
        """Begin anew with a fetched book and the changes since; null when these do not follow on it."""
        state, book = live.state, live.book
        if not state.connections or (state.gap and state.gap_reason not in ON_THE_WAY):
            return None
        later = [late for late in book.late if late.at_us > (row[1] or 0)]
        context, newest = seal.context, seal
        for position, late in enumerate(later):
            other.bids.apply(late.bids)
            other.asks.apply(late.asks)
            if late.seal is None:
                continue
            tried = live.sealing.carry(late.seal.context, context)
            is_last = position + 1 == len(later) or later[position + 1].at_us != late.at_us
            if other.make_seal(tried) == late.seal.expected:
                newest = late.seal
            elif is_last and other.search(late.seal, [context]) is None:
                return None
        live.replace([*other.book.bids], [*other.book.asks])
        book.fetched_us = row[1] or 0
        book.at_us = later[-1].at_us if later else book.fetched_us
        book.is_blind, book.rival, book.batch = False, None, ""
        self._prove(live, newest, live.sealing.carry(newest.context, context), row)
        book.late.clear()
        state.is_synced = True
        if state.owner not in state.connections:
            state.owner = state.connections[-1]
        state.seen_ns = row[2]
        self._close(state, row, {"proof": "fetched", "hash": seal.expected, "joined": len(later)}, "closed", None)
        return (*row[:5], BOOK_FETCHED, *row[6:9], [*live.bids.levels], [*live.asks.levels], row[11], newest)

    # -- the other outcome --------------------------------------------------------------------------------

    def _mirror(self, live: Live, row: BookRow, *, is_whole: bool = False) -> None:
        """Compare with the book of the market's other outcome, when both are of one moment."""
        # hot: bench/prove_books.py
        book = live.book
        other = self.shelf.held.get(book.sibling) or self.shelf.find(book.sibling)
        if other is None or other.book.at_us != book.at_us or not other.state.is_synced or not live.state.is_synced:
            return
        if other.book.doubt is not None:
            return
        tally = book.tally
        tally.mirrored += 1
        is_fine = mirrors_best(live.bids, other.asks) and mirrors_best(other.bids, live.asks)
        if is_fine and is_whole:
            is_fine = self._find_break(live, other) is None
        if is_fine:
            book.is_odd = other.book.is_odd = False
            return
        tally.mirror_broken += 1
        self._blame(live, other, (row[2], row[3]))

    def _find_break(self, live: Live, other: Live) -> dict[str, object] | None:
        return live.sealing.find_mirror_break((live.book.bids, live.book.asks), (other.book.bids, other.book.asks))

    def _blame(self, live: Live, other: Live, at: At) -> None:
        """Declare what does not mirror: a book that nothing else proves is broken, proven ones are the venue's word."""
        evidence: dict[str, Any] = {"mirror": self._find_break(live, other), "of": other.stream.symbol}
        unproven = [one for one in (live, other) if one.book.is_blind]
        if not unproven:
            if live.book.tally.mirror_broken == 1:
                span = (at[0], at[0])
                evidence["why"] = "both books have the venue's hash"
                self._ledger.declare(live.stream, span, "checksum", at, state=live.state, evidence=evidence)
        elif all(one.book.is_odd for one in unproven):  # more of the batch may have been on its way the first time
            for one in unproven:
                self.break_book(one, at, "checksum", evidence)
        for one in unproven:
            one.book.is_odd = True
