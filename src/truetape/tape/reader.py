"""Read a tape in files, from any offset, also while another process writes it."""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from truetape import clock
from truetape.errors import TapeError
from truetape.events.checkpoint import Checkpoint
from truetape.tape.folder import Listing, check_identity, segment_path
from truetape.tape.frame import FrameBatch
from truetape.tape.message import PREFIX_SIZE, Head, decode_batch, is_intact
from truetape.tape.notice import Notice, find_notice
from truetape.tape.pruning import read_pruned
from truetape.tape.segment import HEAD_AHEAD, READ_AHEAD, Window, read_message_head

_NAP_SHORT_S, _NAP_LONG_S = 0.001, 0.003
"""How often another process's writing is looked for; the longest nap bounds the delay."""
_NAPS_SHORT_MAX = 50
_NAPS_BLIND_MAX = 16
"""After so many naps look for new segments even though the last one has not grown."""


class Cursor:
    """A position in one segment file; keeps reading the same file when archiving replaces it."""

    def __init__(self, folder: Path, first: int) -> None:
        self.first = first
        self.window = Window(segment_path(folder, first))
        self.byte = 0
        self.offset = first
        """The next offset expected here."""
        self.is_over = False
        """The end of the stream was reached."""
        self.problem = ""
        """Why nothing can be read here, as far as it is there."""

    def next_head(self, ahead: int) -> Head | None:
        """Return the head of the next batch, None where the file ends for now or for good."""
        self.problem = ""
        while not self.is_over:
            try:
                head = read_message_head(self.window, self.byte, ahead)
            except ValueError as error:
                self.problem = str(error)
                return None
            if head is None:
                return None
            if head.size == PREFIX_SIZE:
                self.is_over = True
            elif head.is_schema:
                self.byte += head.size
            else:
                return head
        return None

    def next_message(self, head: Head) -> memoryview | None:
        """Return the batch message with this head; None when it is cut off or damaged."""
        for _ in range(2):
            message = self.window.view(self.byte, head.size)
            if len(message) < head.size:
                self.problem = "message is cut off"
                return None
            if is_intact(message, head):
                return message
            # A writer on a full disk takes back what it wrote: look again before calling it damage.
            self.window.forget()
        self.problem = "checksum does not match"
        return None

    def step(self, head: Head) -> None:
        """Go past the message with this head."""
        self.byte += head.size
        self.offset = head.offset + head.frames


class FileTapeReader:
    """Read the tape in `folder`; any number of readers work beside its writer."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.tape_id = check_identity(self.folder).id
        self._listing = Listing(self.folder)
        self._listing.read()
        self._cursor: Cursor | None = None
        """Where the last `read` stopped: the next one usually goes on there."""
        self._tail: Cursor | None = None
        self._notice: Notice = find_notice(self.folder)

    @property
    def first(self) -> int:
        """The lowest offset still on the tape."""
        return (self._listing.read() or [0])[0]

    @property
    def pruned(self) -> Checkpoint | None:
        """What decoding of everything that was taken off the tape had led to; null when nothing was."""
        return read_pruned(self.folder)

    @property
    def end(self) -> int:
        """One more than the highest visible offset."""
        while True:
            tail = self._tail
            if tail is None or tail.is_over:
                firsts = self._listing.read()
                if not firsts:
                    return 0
                if tail is None or firsts[-1] > tail.first:
                    tail = self._tail = self._replace(tail, firsts[-1])
            while (head := tail.next_head(HEAD_AHEAD)) and tail.next_message(head) is not None:
                tail.step(head)
            if not tail.is_over and self._is_followed(tail.first):
                tail.is_over = True
            if not tail.is_over or not self._is_followed(tail.first):
                return tail.offset

    def read(self, offset: int, frames_max: int | None = None) -> Iterator[FrameBatch]:
        """Yield batches from `offset` to the present end, then stop.

        Raises `TapeError` naming file, byte and offset at a damaged batch that is not the live tail.
        """
        left = frames_max if frames_max is not None else 1 << 62
        cursor = self._take_cursor(offset)
        try:
            while cursor is not None and left > 0:
                head = cursor.next_head(READ_AHEAD if cursor.offset >= offset else HEAD_AHEAD)
                if head is not None and head.offset + head.frames <= offset:
                    cursor.step(head)
                    continue
                message = cursor.next_message(head) if head else None
                if head is None or message is None:
                    cursor, moved = self._move_on(cursor, offset)
                    if not moved:
                        break
                    continue
                skip = max(offset - head.offset, 0)
                count = min(head.frames - skip, left)
                data = decode_batch(message)
                if count == head.frames - skip:
                    cursor.step(head)
                offset = head.offset + skip + count
                left -= count
                yield FrameBatch(offset - count, data if count == head.frames else data.slice(skip, count))
        finally:
            self._keep_cursor(cursor)

    def wait(self, offset: int, timeout_s: float) -> bool:
        """Block until a frame at `offset` or later is visible; False when `timeout_s` passed first."""
        deadline = clock.monotonic_ns() + int(timeout_s * 1e9)
        naps = 0
        while (naps % _NAPS_BLIND_MAX and self._is_unchanged()) or self.end <= offset:
            left_s = (deadline - clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                return False
            naps += 1
            self._notice.wait(min(left_s, _NAP_SHORT_S if naps < _NAPS_SHORT_MAX else _NAP_LONG_S))
        return True

    def close(self) -> None:
        """Let go of open files."""
        for cursor in (self._cursor, self._tail):
            if cursor is not None:
                cursor.window.close()
        self._cursor = self._tail = None

    def _is_unchanged(self) -> bool:
        tail = self._tail
        return tail is not None and not tail.is_over and tail.window.size() == tail.byte

    def _take_cursor(self, offset: int) -> Cursor | None:
        """Return a cursor at or before `offset`, the one in hand if it fits; None on an empty tape."""
        kept, self._cursor = self._cursor, None
        if kept is not None and kept.offset == offset:
            return kept
        firsts = self._listing.read()
        first = firsts[max(bisect_right(firsts, offset) - 1, 0)] if firsts else None
        if kept is not None:
            if kept.first == first and kept.offset < offset:  # the last read ended within a batch
                return kept
            kept.window.close()
        return None if first is None else Cursor(self.folder, first)

    def _keep_cursor(self, cursor: Cursor | None) -> None:
        if cursor is None or cursor.window.descriptor < 0:
            return
        if self._cursor is not None:
            self._cursor.window.close()
        self._cursor = cursor

    def _move_on(self, cursor: Cursor, offset: int) -> tuple[Cursor, bool]:
        """Go to the next segment if there is one; says whether anything changed."""
        following = self._next_first(cursor.first)
        if following is None:
            return cursor, False
        if cursor.is_over:
            return self._replace(cursor, following), True
        # Not closed and yet followed: the writer closed it just now, or repaired it after a crash. Look once more.
        fresh = self._replace(cursor, cursor.first)
        while (head := fresh.next_head(HEAD_AHEAD)) and head.offset + head.frames <= offset:
            fresh.step(head)
        if fresh.is_over or (head is not None and fresh.next_message(head) is not None):
            return fresh, True
        error = self._damage(fresh)
        fresh.window.close()
        raise error

    def _damage(self, cursor: Cursor) -> TapeError:
        reason = cursor.problem or "message is cut off"
        where = f"{cursor.window.path} is damaged at byte {cursor.byte}, offset {cursor.offset}: {reason}"
        return TapeError(f"{where}; `truetape tape repair` cuts it out and declares what is lost")

    def _next_first(self, first: int) -> int | None:
        firsts = self._listing.read()
        at = bisect_right(firsts, first)
        return firsts[at] if at < len(firsts) else None

    def _is_followed(self, first: int) -> bool:
        return self._next_first(first) is not None

    def _replace(self, cursor: Cursor | None, first: int) -> Cursor:
        if cursor is not None:
            cursor.window.close()
        return Cursor(self.folder, first)
