"""Files that venues publish of their past: fetched, proven by their checksums, and put onto the tape a block of lines to a frame.

Nothing is held whole: a file goes to disk piece by piece, and from there to the tape block by block.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from truetape.collect.backfill import Quill
from truetape.collect.download import FILE_BYTES_MAX, Downloader, Prove, prove_packed
from truetape.collect.gate import Gate
from truetape.collect.http import HttpOptions
from truetape.config import rewrite_url
from truetape.errors import DecodeError, TapeError
from truetape.events.backfill import BACKFILL, Began, Ended
from truetape.tape import TapeWriter, hash_file
from truetape.tape.foreign.lines import OnRead, ignore_read, read_blocks
from truetape.tape.frame import FrameKind, Source
from truetape.venues._contract import Bulk, BulkFile, Venue

BLOCK_BYTES = 1024 * 1024
"""Bytes of lines in one frame, about: bounds what importing and decoding hold."""
CHECK_BYTES = 16 * 1024
CHECKSUM_BYTES_MAX = 4096
_SHA256 = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


FindKnown = Callable[[bytes, bytes], Began | None]
"""(block of lines, the following one) → what is to be told before it of what is there already; null: nothing new."""


def find_nothing(block: bytes, following: bytes) -> None:
    """Know nothing."""


class Fetcher:
    """Fetches one venue's files; use within `async with`."""

    def __init__(
        self,
        venue: Venue,
        bulk: Bulk,
        url: str,
        options: HttpOptions | None = None,
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._bulk, self._url = bulk, url
        gate = Gate(venue, None, bulk.allowance)
        self._downloader = Downloader(venue, gate, options, encoding="identity", on_bytes=on_bytes)

    async def __aenter__(self) -> "Fetcher":
        await self._downloader.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._downloader.__aexit__(*exc)

    async def fetch_checksum(self, file: BulkFile, folder: Path) -> str:
        """Return the SHA-256 that the venue publishes of a file, empty where it publishes none; raises Absent."""
        suffix = self._bulk.checksum_suffix
        if not suffix:
            return ""
        path = folder / f"{file.name}{suffix}"
        path.unlink(missing_ok=True)
        await self._fetch(file.url + suffix, path, lambda part: None, CHECKSUM_BYTES_MAX)
        return read_checksum(path.read_bytes(), file.name)

    async def fetch(self, file: BulkFile, sha256: str, folder: Path) -> tuple[Path, str]:
        """Fetch a file and prove it; return where it is, and its SHA-256. Raises Absent."""
        path = folder / file.name

        def prove(part: Path) -> None:
            if not sha256:
                prove_packed(part, path.suffix)
            elif (found := hash_file(part)) != sha256:
                raise ValueError(f"its SHA-256 is {found}, the venue says {sha256}: not taken")

        await self._fetch(file.url, path, prove, FILE_BYTES_MAX)
        return path, sha256 or hash_file(path)

    async def _fetch(self, url: str, path: Path, prove: Prove, bytes_max: int) -> None:
        await self._downloader.fetch(rewrite_url(url, self._url), path, prove, bytes_max)


def read_checksum(body: bytes, name: str) -> str:
    """Return the SHA-256 of a checksum file, `<hex>  <name>`; TapeError when it is of another form or file."""
    match = _SHA256.fullmatch(body.decode(errors="replace"))
    if match is None or match[2] != name:
        raise TapeError(f"checksum of {name}: {body[:100].decode(errors='replace')!r} is not its SHA-256 and its name")
    return match[1].lower()


class Shelver:
    """Puts files onto a tape, each between two events that say what it is about."""

    def __init__(
        self, venue: Venue, writer: TapeWriter, block_bytes: int = BLOCK_BYTES, on_read: OnRead = ignore_read
    ) -> None:
        self._venue, self._writer, self._block_bytes, self._on_read = venue, writer, block_bytes, on_read
        self._quill = Quill(writer)

    def put(self, file: BulkFile, path: Path, began: Began, find_known: FindKnown = find_nothing) -> int:
        """Write a file's lines; return the frames. What is missing of it is durable then.

        TapeError when it cannot be unpacked: what was read of it until then is kept, and it can be put again.
        """
        self._check(file, path)
        source = self._find_source(file)
        self._note(source, "backfill_began", began)
        pages = 0
        try:
            for line, block, following in _number_blocks(path, self._block_bytes, self._on_read):
                known = find_known(block, following)
                if known is not None:
                    self._quill.note(source, "backfill_began", **msgspec.to_builtins(known))
                meta = {"method": "GET", "url": file.url, "status": 200, "line": line}
                self._quill.put(source, FrameKind.RESPONSE, block, msgspec.json.encode(meta).decode())
                self._writer.flush()
                pages += 1
        except TapeError as error:
            self._note(source, "backfill_ended", Ended(status="failed", reason=str(error), pages=pages))
            raise
        self._note(source, "backfill_ended", Ended(status="answered", pages=pages))
        return pages

    def close_gaps(self, file: BulkFile, began: Began) -> None:
        """Say that a file which was put and decoded whole has all that the gaps of `began` are missing."""
        source = self._find_source(file)
        self._note(source, "backfill_began", began)
        self._note(source, "backfill_ended", Ended(status="answered"))

    def _find_source(self, file: BulkFile) -> int:
        return self._quill.register(Source(self._venue.name, file.backfill.feed, f"{self._venue.name}/{BACKFILL}"))

    def _check(self, file: BulkFile, path: Path) -> None:
        """Look at the first lines, so that a file of another form leaves nothing on the tape."""
        first = next(read_blocks(path, CHECK_BYTES), b"")
        try:
            if self._venue.bulk is not None:
                self._venue.bulk.check_lines(file.url, first)
        except (msgspec.DecodeError, DecodeError) as error:
            raise TapeError(f"{path} is not what {file.url} is: {error}") from error

    def _note(self, source: int, event: str, told: Any) -> None:
        self._quill.note(source, event, **msgspec.to_builtins(told))
        self._writer.flush()
        self._writer.sync()


def _number_blocks(path: Path, block_bytes: int, on_read: OnRead) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the number of the first line, from 1, a block of lines, and the block that follows."""
    line, block = 1, b""
    blocks = read_blocks(path, block_bytes, on_read=on_read)
    broken: TapeError | None = None
    while True:
        try:
            following = next(blocks, b"")
        except TapeError as error:
            following, broken = b"", error
        if block:
            yield line, block, following
            line += block.count(b"\n")
        if broken is not None:
            raise broken
        if not following:
            return
        block = following
