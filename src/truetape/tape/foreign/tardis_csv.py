"""Tardis' CSV datasets, plain or .gz: header and a block of lines make one frame, so that decoding is by the column.

A book's frames are cut so that each picture begins a frame and is whole in it, as if the venue had sent it.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from truetape.errors import DecodeError, TapeError
from truetape.events.tardis import DATASETS, find_dataset, read_block, read_header, read_rows
from truetape.tape.foreign.lines import LINE_BYTES_MAX, read_blocks
from truetape.tape.foreign.origin import Origin, make_event
from truetape.tape.frame import Frame, FrameKind

BLOCK_BYTES = 8 * 1024 * 1024
"""Bytes of lines in one frame, about: bounds what importing and decoding hold."""
VENUE = "tardis"
"""Frames are the vendor's; the exchange is in the lines."""


def read_dataset(origin: Origin, *, skip_bad: bool, ratio_max: int, block_bytes: int = BLOCK_BYTES) -> Iterator[Frame]:
    """Yield a file's frames: `opened`, then blocks of lines, each received with its last line.

    A bad line raises one `TapeError` that names file and line; with `skip_bad` an EVENT frame says so, and it is left out.
    """
    blocks = read_blocks(origin.path, block_bytes, ratio_max, origin.on_read)
    header, _, first = next(blocks, b"").partition(b"\n")
    header = header.removesuffix(b"\r") + b"\n"
    try:
        name = origin.feed or find_dataset(header, str(origin.path))
        read_block(name, header)
    except (DecodeError, KeyError) as error:
        raise TapeError(f"{origin.path} line 1: {_tell(error)}") from error
    template = Frame(0, 0, FrameKind.TEXT, VENUE, name, origin.connection, b"")
    pieces = _read_pieces(origin, _Form(name, read_header(header), skip_bad), first, blocks)
    is_first = True
    for piece in pieces:
        frame = template._replace(received_ns=piece.end_ns, payload=header + piece.lines)
        if is_first:
            opened = template._replace(received_ns=piece.begin_ns)
            yield make_event(opened, event="opened", file=origin.path.name, dataset=name)
            is_first = False
        for number, reason in piece.bad:
            yield make_event(frame, event="bad_line", file=origin.path.name, line=number, reason=reason)
        if piece.lines:
            yield frame


class _Form(NamedTuple):
    """How the lines of one file are read."""

    name: str
    columns: list[str]
    skip_bad: bool

    def read(self, lines: bytes) -> pa.Table:
        return read_rows(self.name, self.columns, pa.py_buffer(lines))


class _Piece(NamedTuple):
    """Lines that become one frame, and what was wrong among them."""

    lines: bytes
    begin_ns: int
    end_ns: int
    bad: list[tuple[int, str]]


Edges = npt.NDArray[np.int64] | dict[int, int]
"""Line → where it begins, and where the last one ends; of lines that stay together, for the first and the last only."""


def _read_pieces(origin: Origin, form: _Form, first: bytes, blocks: Iterator[bytes]) -> Iterator[_Piece]:
    cutter = _Cutter() if "is_snapshot" in DATASETS[form.name].columns else None
    number, held, end_ns = 2, b"", 0
    lines: bytes | None = first
    while lines is not None:
        following = next(blocks, None)
        count = lines.count(b"\n")
        try:
            bad: list[tuple[int, str]] = []
            table = form.read(held + lines)
        except DecodeError:
            lines, bad = _sift(origin, form, lines, number)
            table = form.read(held + lines)
        number += count
        body = held + lines
        if table.num_rows != body.count(b"\n"):  # empty lines mean nothing
            body = b"".join(line for line in body.splitlines(keepends=True) if line.strip())
        cuts = cutter.cut(table, is_last=following is None) if cutter else [0, table.num_rows]
        edges = _find_edges(body) if cutter else {0: 0, table.num_rows: len(body)}
        if len(body) > LINE_BYTES_MAX and len(cuts) == 1:
            raise TapeError(f"{origin.path} line {number}: one picture of a book has more than {LINE_BYTES_MAX} bytes")
        for piece in _slice(body, edges, table, cuts, bad, end_ns):
            yield piece
            end_ns, bad = piece.end_ns, []
        held = body[edges[cuts[-1]] :]
        lines = following


def _slice(
    body: bytes, edges: Edges, table: pa.Table, cuts: list[int], bad: list[tuple[int, str]], end_ns: int
) -> Iterator[_Piece]:
    local = table.column("local_timestamp").to_numpy()
    for begin, end in pairwise(cuts):
        if begin < end:
            end_ns = int(local[begin:end].max()) * 1000
            yield _Piece(body[edges[begin] : edges[end]], int(local[begin]) * 1000, end_ns, bad)
            bad = []
    if bad:
        yield _Piece(b"", end_ns, end_ns, bad)


def _find_edges(body: bytes) -> npt.NDArray[np.int64]:
    """Return where each line begins, and where the last one ends."""
    ends = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n"))
    return np.append(np.int64(0), ends + 1)


def _sift(origin: Origin, form: _Form, lines: bytes, number: int) -> tuple[bytes, list[tuple[int, str]]]:
    """Look at lines one by one; return the good ones, and number and reason of the others."""
    good: list[bytes] = []
    bad: list[tuple[int, str]] = []
    for at, line in enumerate(lines.splitlines(keepends=True), number):
        try:
            form.read(line)
        except DecodeError as error:
            if not form.skip_bad:
                raise TapeError(f"{origin.path} line {at}: {_tell(error)}") from error
            bad.append((at, _tell(error)))
        else:
            good.append(line)
    return b"".join(good), bad


def _tell(error: Exception) -> str:
    """Return what is wrong, without a path into JSON."""
    return error.reason if isinstance(error, DecodeError) else str(error)


class _Cutter:
    """Cuts a book's rows: each picture begins a frame, and neither pictures nor messages are torn."""

    def __init__(self) -> None:
        self._was: dict[str, bool] = {}
        """Symbol → whether its last row was of a picture."""

    def cut(self, table: pa.Table, *, is_last: bool) -> list[int]:
        """Return where frames begin, and where the last one ends; what is left over comes again."""
        count = table.num_rows
        names = pc.binary_join_element_wise(table.column("exchange"), table.column("symbol"), " ")
        coded = names.combine_chunks().dictionary_encode()
        codes, symbols = coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()
        is_picture = table.column("is_snapshot").to_numpy()
        before = self._look_back(codes, symbols, is_picture)
        local = table.column("local_timestamp").to_numpy()
        is_new = np.ones(count, bool)
        is_new[1:] = (codes[1:] != codes[:-1]) | (local[1:] != local[:-1])
        end = count
        if not is_last:
            free = np.flatnonzero(is_new & ~(is_picture & before))
            end = int(free[-1]) if len(free) else 0
        begins = np.flatnonzero(is_picture & ~before)
        for code, symbol in enumerate(symbols):
            own = np.flatnonzero(codes[:end] == code)
            if len(own):
                self._was[symbol] = bool(is_picture[own[-1]])
        return sorted({0, end, *(int(at) for at in begins if at < end)})

    def _look_back(
        self, codes: npt.NDArray[np.int64], symbols: list[str], is_picture: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Tell of each row whether the row before it of the same symbol was of a picture."""
        order = np.argsort(codes, kind="stable")
        ordered, pictures = codes[order], is_picture[order]
        before = np.empty(len(codes), bool)
        before[1:] = pictures[:-1]
        firsts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(codes) else order
        before[firsts] = [self._was.get(symbols[code], False) for code in ordered[firsts].tolist()]
        found = np.empty(len(codes), bool)
        found[order] = before
        return found
