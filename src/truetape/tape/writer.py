"""Write a tape in files: pending frames, batches, segments, durability."""

import os
import threading
from pathlib import Path

import msgspec

from truetape import clock
from truetape.errors import TapeError
from truetape.tape.contract import TapeSettings
from truetape.tape.folder import (
    TapeLock,
    append_manifest,
    check_identity,
    create_folder,
    explain_os_error,
    segment_path,
    sync_folder,
)
from truetape.tape.frame import FrameKind, Source
from truetape.tape.message import Row, build_batch, encode_batch, options_for
from truetape.tape.notice import find_notice
from truetape.tape.recovery import recover_tape
from truetape.tape.segment import SegmentFile


class FileTapeWriter:
    """The one writer of a tape in `folder`; makes the folder, repairs what a crash left, and holds the lock.

    `append` and `flush` belong to one thread; `sync` may run in another meanwhile.
    """

    def __init__(self, folder: Path, settings: TapeSettings | None = None) -> None:
        self.folder = Path(folder)
        self._settings = settings or TapeSettings()
        create_folder(self.folder)
        check_identity(self.folder)
        self._options = options_for(self._settings.compression_level)
        self._indexes: dict[Source, int] = {}
        self._sources: list[Source] = []
        self._rows: list[Row] = []
        self._room = self._settings.batch_bytes_max
        self._frames_max = self._settings.batch_frames_max
        self._live: SegmentFile | None = None
        self._opened_ns = 0
        self._finished: list[tuple[SegmentFile, str]] = []
        self._names_pending = False
        self._state = threading.Lock()
        self._syncing = threading.Lock()
        self._closed = False
        self._notice = find_notice(self.folder)
        self._lock = TapeLock(self.folder)
        try:
            recovered = recover_tape(self.folder, self._lock.rebooted)
            self._flushed = recovered.next_offset
            self._declare(recovered.events)
        except BaseException:
            self._lock.release(clean=False)
            raise

    @property
    def next_offset(self) -> int:
        """The offset that the next appended frame gets."""
        return self._flushed + len(self._rows)

    @property
    def pending(self) -> int:
        """Frames appended and not yet flushed."""
        return len(self._rows)

    def register(self, source: Source) -> int:
        """Return the index that stands for `source` in `append`."""
        index = self._indexes.setdefault(source, len(self._indexes))
        if index == len(self._sources):
            self._sources.append(source)
        return index

    def append(
        self, source_index: int, received_ns: int, monotonic_ns: int, kind: int, payload: bytes, meta: str = ""
    ) -> None:
        """Take one frame; raises `TapeError` without taking it when the tape cannot be written."""
        rows = self._rows
        if self._room <= 0 or len(rows) >= self._frames_max:
            self.flush()
            rows = self._rows
        rows.append((source_index, received_ns, monotonic_ns, kind, payload, meta))
        self._room -= len(payload)

    def flush(self) -> None:
        """Make what is pending visible to readers, and seal the segment when it is due.

        After a `TapeError` everything is as before: the frames are still pending and the tape is whole.
        """
        if self._closed:
            raise TapeError(f"tape {self.folder} is closed for writing")
        rows = self._rows
        if rows:
            batch = build_batch(rows, self._sources)
            message = encode_batch(batch, self._flushed, self._options)
            live = self._live or self._open_segment()
            live.write(message, batch, self._flushed)
            self._rows = []
            self._room = self._settings.batch_bytes_max
            self._flushed += len(rows)
            self._notice.ring()
        self._seal_when_due()

    def sync(self) -> int:
        """Make what was flushed durable and return the first offset that is not; safe in another thread."""
        with self._syncing:
            with self._state:
                durable = self._flushed
                finished = list(self._finished)
                live = os.dup(self._live.descriptor) if self._live else -1
                names, self._names_pending = self._names_pending, False
            try:
                for segment, reason in finished:
                    self._settle(segment, reason)
                if live >= 0:
                    with explain_os_error(self.folder, "sync"):
                        os.fsync(live)
                if names:
                    sync_folder(self.folder / "segments")
            except TapeError:
                self._names_pending = True
                raise
            finally:
                if live >= 0:
                    os.close(live)
            return durable

    def close(self) -> None:
        """Flush, seal, make durable and let go of the tape; what cannot be written raises, and the lock is freed."""
        if self._closed:
            return
        clean = False
        try:
            self.flush()
            self._seal("close")
            self.sync()
            clean = True
        finally:
            self._closed = True
            if self._live:
                os.close(self._live.descriptor)
            self._lock.release(clean)

    def abandon(self) -> None:
        """Never write again, `close` included: a thread hangs in here. The end of the process lets go of the tape."""
        self._closed = True

    def _open_segment(self) -> SegmentFile:
        segment = SegmentFile(segment_path(self.folder, self._flushed), self._flushed)
        with self._state:
            self._live = segment
            self._names_pending = True
        self._opened_ns = clock.monotonic_ns()
        return segment

    def _seal_when_due(self) -> None:
        live = self._live
        if live is None:
            return
        if live.size >= self._settings.segment_bytes_max:
            self._seal("size")
        elif clock.monotonic_ns() - self._opened_ns >= self._settings.segment_seconds * 1_000_000_000:
            self._seal("time")

    def _seal(self, reason: str) -> None:
        """End the live segment; `sync` does the slow rest, so that appending never waits for the disk."""
        if self._live is None:
            return
        self._live.finish()
        with self._state:
            self._finished.append((self._live, reason))
            self._live = None
        self._notice.ring()

    def _settle(self, segment: SegmentFile, reason: str) -> None:
        with explain_os_error(segment.path, "sync"):
            os.fsync(segment.descriptor)
        sync_folder(self.folder / "segments")
        append_manifest(self.folder, segment.describe(reason))
        with self._state:
            self._finished.remove((segment, reason))
        os.close(segment.descriptor)

    def _declare(self, events: tuple[dict[str, int | str], ...]) -> None:
        """Begin with what recovery found, durable before anything else."""
        if not events:
            return
        index = self.register(Source("", "", "recorder"))
        for event in events:
            meta = msgspec.json.encode(event).decode()
            self.append(index, clock.wall_ns(), clock.monotonic_ns(), FrameKind.EVENT, b"", meta)
        self.flush()
        self.sync()
