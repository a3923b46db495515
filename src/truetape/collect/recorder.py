"""Frames from every socket → the tape, in bounded memory, without the socket ever waiting for the disk.

The event loop stamps and holds frames; encoding with writing, and syncing, happen in a thread each. Measured
at 50,000 frames/s on one core: with a disk that stalls 300 ms each second, writing in the loop makes the
receive stamps themselves late (p99 297 ms), the thread does not (p99 8 ms on a quiet machine). Without stalls
both show frames to readers within 9 ms (p99).
"""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from truetape import clock
from truetape.collect.worker import Result, Worker
from truetape.config import RecordSettings
from truetape.errors import TapeError
from truetape.tape.contract import TapeWriter
from truetape.tape.frame import FrameKind, Source

Row = tuple[int, int, int, int, bytes, str]
"""One held frame: source, received_ns, monotonic_ns, kind, payload, meta."""

ROW_OVERHEAD_BYTES = 224
"""What Python keeps for a held frame besides its payload: tuple, two integers, the header of the bytes."""

FLUSH_FRAMES = 50
"""So many held frames are worth writing after `flush_interval_ms`; fewer wait for more, at most the idle interval.

A batch costs 0.5 ms of a core however small it is, a quarter of it encoding, and 750 bytes for its head. Measured:
1,000 frames/s took 14.7 % of a core and 454 bytes a frame in batches of 5 ms, 6.2 % and 79 bytes in batches of 50.
"""

CHUNK_FRAMES = 2000
"""Frames written in one go: the thread holds the interpreter for about a millisecond at most."""

RESUME_SHARE = 0.75
"""After an overflow frames are taken again once the buffer is this full: one hole instead of thousands."""

CLOCK_STEP_NS = 50_000_000
"""The wall clock departing this far from the monotonic one between two ticks is a step."""

SLOW_SYNC_S = 1.0
"""A sync that takes longer is worth an event."""


class RecorderStatus(msgspec.Struct, frozen=True):
    """How the recorder is doing."""

    end: int
    """One more than the offset of the last frame given to the tape."""
    durable: int
    """Everything below this offset survives a power cut."""
    held_frames: int
    held_bytes: int
    dropped_frames: int
    sync_ms: float
    """How long the last sync took."""


class _Drop:
    """What was dropped of one source and not yet declared."""

    def __init__(self, since_ns: int) -> None:
        self.frames = 0
        self.bytes = 0
        self.from_ns = since_ns
        self.to_ns = since_ns


class Recorder:
    """Holds frames and carries them to the tape; `run` must be running, `close` ends it after the last frame."""

    def __init__(
        self,
        writer: TapeWriter,
        settings: RecordSettings,
        about: dict[str, Any] | None = None,
        wall_ns: Callable[[], int] | None = None,
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._about = about or {}
        self._wall_ns = wall_ns or clock.wall_ns
        self._frames_max = settings.buffer_frames_max
        self._bytes_max = settings.buffer_bytes_max
        self._sources: list[Source] = []
        self._known: dict[Source, int] = {}
        self._writer_sources: list[int] = []
        self._rows: list[Row] = []
        # The loop counts in, the write thread counts out: each number has one writer, so no lock is needed.
        self._in_frames = self._in_bytes = 0
        self._out_frames = self._out_bytes = 0
        self._refused: list[Row] = []
        self._drops: dict[int, _Drop] = {}
        self._dropped = 0
        self._wake_at = 0
        """Frames taken at which whoever writes wants to be woken."""
        self._pending = asyncio.Event()
        self._closing = asyncio.Event()
        self.begun = asyncio.Event()
        """The tape has its first frame: it can be written, and what the first batch alone costs (0.3 s) is paid."""
        self._reason = ""
        self._is_dirty = False
        self._taken = 0
        self._durable = writer.next_offset
        self._sync_ms = 0.0
        self._self = self.register(Source("", "", "recorder"))
        # One thread each: a write never waits for a sync, and nothing is written out of order.
        self._write_thread = Worker("tape-write")
        self._sync_thread = Worker("tape-sync")
        self._expired: asyncio.Future[None] | None = None
        """Done when stopping has taken longer than it may."""
        self._patience: asyncio.TimerHandle | None = None

    def register(self, source: Source) -> int:
        """Return the number that stands for `source` in `take`."""
        index = self._known.get(source)
        if index is None:
            index = self._known[source] = len(self._sources)
            self._sources.append(source)
        return index

    def take(self, row: Row) -> None:  # hot: bench/collect
        """Take one frame, or count it as dropped when the buffer is full."""
        taken = self._in_bytes + len(row[4]) + ROW_OVERHEAD_BYTES
        is_full = taken - self._out_bytes > self._bytes_max or self._in_frames - self._out_frames >= self._frames_max
        if is_full or self._drops:
            self._drop(row)
            return
        self._in_bytes = taken
        self._in_frames += 1
        self._rows.append(row)
        if self._in_frames >= self._wake_at:
            self._wake()

    def put(self, source: int, kind: FrameKind, payload: bytes, meta: str = "") -> None:
        """Take one frame that is ours or came whole (a request, a response), stamped now."""
        self.take((source, self._wall_ns(), clock.monotonic_ns(), int(kind), payload, meta))

    def note(self, source: int, event: str, **facts: Any) -> None:
        """Write an EVENT frame; never dropped, since it is what declares the others."""
        meta = msgspec.json.encode({"event": event, **facts}).decode()
        self._in_bytes += ROW_OVERHEAD_BYTES
        self._in_frames += 1
        self._rows.append((source, self._wall_ns(), clock.monotonic_ns(), FrameKind.EVENT, b"", meta))
        if self._in_frames >= self._wake_at:
            self._wake()

    def note_self(self, event: str, **facts: Any) -> None:
        """Write an EVENT frame about the recorder itself."""
        self.note(self._self, event, **facts)

    def status(self) -> RecorderStatus:
        """Return how the recorder is doing."""
        return RecorderStatus(
            end=self._writer.next_offset,
            durable=self._durable,
            held_frames=self._in_frames - self._out_frames,
            held_bytes=self._in_bytes - self._out_bytes,
            dropped_frames=self._dropped,
            sync_ms=self._sync_ms,
        )

    def close(self, reason: str) -> None:
        """Let `run` write what is held, sync and end."""
        self._reason = self._reason or reason
        self._closing.set()
        self._pending.set()
        self._limit_patience()

    async def run(self) -> None:
        """Carry frames to the tape until `close`; raises `TapeError` when the tape cannot be written."""
        self._expired = asyncio.get_running_loop().create_future()
        self.note_self("started", **self._about)
        failure: TapeError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write_always())
                group.create_task(self._sync_always())
                group.create_task(self._tick_always())
        except* TapeError as errors:
            failure = next(error for error in errors.exceptions if isinstance(error, TapeError))
        finally:
            try:
                await self._finish(failure)
            finally:
                self._write_thread.end()
                self._sync_thread.end()
                if self._patience:
                    self._patience.cancel()
        if failure:
            raise failure

    async def _finish(self, failure: TapeError | None) -> None:
        if self._is_hung:
            self._writer.abandon()
            return
        self._limit_patience()
        if failure:
            for row in self._refused + self._rows:
                self._drop(row)
            self._rows = []
        self._declare_drops()
        self.note_self("stopped", reason=str(failure) if failure else self._reason or "cancelled")
        try:
            await self._write_held()
            await self._sync()
        except TapeError:
            if self._is_hung:
                self._writer.abandon()
            # The tape is already known to be broken: what could be declared is.
            if failure is None:
                raise

    async def _write_always(self) -> None:
        await self._write_held()
        self.begun.set()
        while not self._closing.is_set():
            await self._pending.wait()
            await self._gather_batch()
            await self._write_held()

    async def _gather_batch(self) -> None:
        """Let frames gather: briefly when many come, longer when few do."""
        brief_s = self._settings.flush_interval_ms / 1000
        await asyncio.sleep(brief_s)
        missing = FLUSH_FRAMES - len(self._rows)
        idle_s = self._settings.flush_interval_idle_ms / 1000
        if missing <= 0 or idle_s <= brief_s or self._drops or self._closing.is_set():
            return
        self._pending.clear()
        self._wake_at = self._in_frames + missing
        try:
            async with asyncio.timeout(idle_s - brief_s):
                await self._pending.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._wake_at = sys.maxsize
        self._pending.set()

    async def _write_held(self) -> None:
        """Write what is held now."""
        self._pending.clear()
        self._wake_at = 0
        rows, self._rows = self._rows, []
        try:
            if rows:
                await self._run(self._write_thread, partial(self._write, rows))
        finally:
            self._is_dirty = self._is_dirty or bool(rows)
            self._declare_drops()

    def _write(self, rows: list[Row]) -> None:
        """Give rows to the tape and make them visible, giving room back piece by piece. Runs in the write thread."""
        known = self._writer_sources
        while len(known) < len(self._sources):
            known.append(self._writer.register(self._sources[len(known)]))
        for start in range(0, len(rows), CHUNK_FRAMES):
            try:
                self._write_chunk(rows[start : start + CHUNK_FRAMES])
            except TapeError:
                # What the writer took stays pending there and may yet be written; the rest is lost.
                self._refused = rows[start + self._taken :]
                raise

    def _write_chunk(self, rows: list[Row]) -> None:
        append, known = self._writer.append, self._writer_sources
        size = taken = 0
        try:
            for source, received_ns, monotonic_ns, kind, payload, meta in rows:
                append(known[source], received_ns, monotonic_ns, kind, payload, meta)
                size += len(payload)
                taken += 1
            self._writer.flush()
        finally:
            self._taken = taken
            self._out_frames += taken
            self._out_bytes += size + taken * ROW_OVERHEAD_BYTES

    async def _sync_always(self) -> None:
        interval = self._settings.fsync_interval_ms / 1000
        spent = 0.0
        while not await self._pause(max(interval - spent, 0.0)):
            spent = 0.0
            if self._is_dirty:
                self._is_dirty = False
                spent = await self._sync()

    async def _sync(self) -> float:
        began = clock.monotonic_ns()
        self._durable = await self._run(self._sync_thread, self._writer.sync)
        spent = (clock.monotonic_ns() - began) / 1e9
        self._sync_ms = spent * 1000
        if spent >= SLOW_SYNC_S:
            self.note_self("sync_slow", elapsed_ms=round(self._sync_ms))
        return spent

    async def _tick_always(self) -> None:
        drift = self._wall_ns() - clock.monotonic_ns()
        while not await self._pause(self._settings.tick_seconds):
            now = self._wall_ns() - clock.monotonic_ns()
            if abs(now - drift) > CLOCK_STEP_NS:
                self.note_self("clock_step", step_ns=now - drift)
            drift = now
            self.note_self("tick")

    async def _pause(self, seconds: float) -> bool:
        """Sleep; True as soon as the recorder is closing."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def _run(self, thread: Worker, work: Callable[[], Result]) -> Result:
        """Run in a thread; when we are cancelled the work still completes. TapeError when stopping takes too long."""
        assert self._expired is not None
        doing = thread.do(work)
        await asyncio.wait((doing, self._expired), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise TapeError(self._describe_hang())
        return doing.result()

    def _limit_patience(self) -> None:
        """From now on the disk has so long; nothing that hangs may keep us from ending."""
        if self._expired is not None and self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self._settings.stop_seconds, self._expired.set_result, None)

    @property
    def _is_hung(self) -> bool:
        return self._expired is not None and self._expired.done()

    def _describe_hang(self) -> str:
        status = self.status()
        unsafe = self._writer.next_offset - self._writer.pending - self._durable
        return (
            f"the disk of the tape hangs: stopped after record.stop_seconds {self._settings.stop_seconds:g} with "
            f"{status.held_frames} frames ({status.held_bytes} bytes) not written, {unsafe} written but not known to "
            "be durable"
        )

    def _drop(self, row: Row) -> None:
        drop = self._drops.get(row[0])
        if drop is None:
            drop = self._drops[row[0]] = _Drop(row[1])
        drop.frames += 1
        drop.bytes += len(row[4])
        drop.to_ns = row[1]
        self._dropped += 1
        self._pending.set()

    def _declare_drops(self) -> None:
        """Say on each connection what it lost, once there is room again."""
        if not self._drops:
            return
        status = self.status()
        is_full = (
            status.held_bytes > self._bytes_max * RESUME_SHARE or status.held_frames > self._frames_max * RESUME_SHARE
        )
        if is_full and not self._closing.is_set():
            return
        drops, self._drops = self._drops, {}
        for source, drop in drops.items():
            self.note(source, "dropped", frames=drop.frames, bytes=drop.bytes, from_ns=drop.from_ns, to_ns=drop.to_ns)
