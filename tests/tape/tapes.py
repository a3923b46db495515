"""Write and read small tapes in tests."""

import os
from collections.abc import Sequence
from pathlib import Path

from truetape.tape import FrameKind, Source, TapeReader, TapeSettings, open_reader, open_writer

SOURCE = Source("binance", "spot", "binance/spot/1#1")


def payload_of(offset: int) -> bytes:
    return b'{"n":%d}' % offset


def write_tape(
    folder: Path, batches: Sequence[int], *, settings: TapeSettings | None = None, close: bool = True
) -> None:
    """Write numbered frames in batches of these sizes; without `close` leave it as a crash would."""
    writer = open_writer(folder, settings)
    source = writer.register(SOURCE)
    for count in batches:
        for _ in range(count):
            offset = writer.next_offset
            writer.append(source, 1000 + offset, offset, FrameKind.TEXT, payload_of(offset))
        writer.flush()
    if close:
        writer.close()
    else:
        crash(writer)


def crash(writer: object) -> None:
    """Let go of the files as the end of a process does: nothing sealed, nothing said."""
    writer.sync()
    live, lock = writer._live, writer._lock
    if live:
        os.close(live.descriptor)
    os.close(lock._descriptor)


def read_rows(reader: TapeReader, offset: int = 0) -> list[tuple[int, bytes, str]]:
    """Return offset, payload and meta of every frame from `offset`."""
    rows = []
    for batch in reader.read(offset):
        columns = batch.data.to_pydict()
        rows += zip(
            range(batch.offset, batch.offset + batch.data.num_rows), columns["payload"], columns["meta"], strict=True
        )
    return rows


def read_all(folder: Path, offset: int = 0) -> list[tuple[int, bytes, str]]:
    reader = open_reader(folder)
    try:
        return read_rows(reader, offset)
    finally:
        reader.close()
