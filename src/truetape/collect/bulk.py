"""Files that venues publish of their past: fetched, proven by their checksums, and put onto the tape a block of lines to a frame.

Nothing is held whole: a file goes to disk piece by piece, and from there to the tape block by block.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from truetape.collect.backfill import Quill
from truetape.collect.gate import Gate
from truetape.collect.http import REFUSALS, HttpOptions
from truetape.collect.retry import GiveUp
from truetape.collect.socket import read_retry_after
from truetape.config import rewrite_url
from truetape.errors import DecodeError, Fatal, RateLimited, Refused, TapeError, TruetapeError, VenueUnreachable
from truetape.events.backfill import BACKFILL, Began, Ended
from truetape.tape import TapeWriter
from truetape.tape.foreign.lines import read_blocks
from truetape.tape.frame import FrameKind, Source
from truetape.venues._contract import Bulk, BulkFile, Venue

BLOCK_BYTES = 1024 * 1024
"""Bytes of lines in one frame, about: bounds what importing and decoding hold."""
CHECK_BYTES = 16 * 1024
FILE_BYTES_MAX = 16 * 1024**3
"""A file that is larger is refused."""
CHECKSUM_BYTES_MAX = 4096
ABSENT = 404
_PIECE_BYTES = 256 * 1024
_SHA256 = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


class Absent(Fatal):
    """The venue has no such file: it is not published yet, or was never."""


class Fetcher:
    """Fetches one venue's files; use within `async with`."""

    def __init__(self, venue: Venue, bulk: Bulk, url: str, options: HttpOptions | None = None) -> None:
        self._venue, self._bulk, self._url = venue, bulk, url
        self._options = options or HttpOptions()
        self._gate = Gate(venue, None, bulk.allowance)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Fetcher":
        options = self._options
        # A large file may take as long as it likes, while bytes come.
        timeout = aiohttp.ClientTimeout(connect=options.connect_timeout_s, sock_read=options.total_timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "truetape"})
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch_checksum(self, file: BulkFile) -> str:
        """Return the SHA-256 that the venue publishes of a file, empty where it publishes none; raises Absent."""
        if not self._bulk.checksum_suffix:
            return ""
        said = bytearray()
        await self._fetch(file.url + self._bulk.checksum_suffix, said.clear, said.extend, CHECKSUM_BYTES_MAX)
        return read_checksum(bytes(said), file.name)

    async def fetch(self, file: BulkFile, sha256: str, folder: Path) -> tuple[Path, str]:
        """Fetch a file and prove it; return where it is, and its SHA-256. Raises Absent."""
        path = folder / file.name
        for attempt in range(1, self._options.attempts_max + 1):
            found = await self._download(file.url, path)
            if sha256 in ("", found):
                return path, found
            if attempt == self._options.attempts_max:
                raise VenueUnreachable(f"{file.url}: its SHA-256 is {found}, the venue says {sha256}: not taken")
        raise AssertionError("attempts_max is at least 1")

    async def _download(self, url: str, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("wb") as out:

            def begin() -> None:
                nonlocal digest
                digest = hashlib.sha256()
                out.seek(0)
                out.truncate()

            def take(piece: bytes) -> None:
                digest.update(piece)
                out.write(piece)

            await self._fetch(url, begin, take, FILE_BYTES_MAX)
        return digest.hexdigest()

    async def _fetch(
        self, url: str, begin: Callable[[], None], take: Callable[[bytes], object], bytes_max: int
    ) -> None:
        """Ask until a whole answer comes; `begin` is called before each try."""
        attempt = 0
        while True:
            begin()
            try:
                await self._exchange(url, take, bytes_max)
            except TruetapeError as error:
                attempt += 1
                verdict = self._options.decide(error, attempt)
                if isinstance(error, RateLimited):
                    self._gate.ban(error.retry_after_s)
                if isinstance(verdict, GiveUp) or attempt >= self._options.attempts_max:
                    raise
                if not isinstance(error, RateLimited):
                    await asyncio.sleep(verdict.delay_s)
            else:
                return

    async def _exchange(self, url: str, take: Callable[[bytes], object], bytes_max: int) -> None:
        if self._session is None:
            raise RuntimeError("Fetcher is used outside `async with`")
        await self._gate.pay(1)
        size = 0
        try:
            async with self._session.get(rewrite_url(url, self._url), ssl=self._options.trust or True) as response:
                self._check(url, response)
                async for piece in response.content.iter_chunked(_PIECE_BYTES):
                    size += len(piece)
                    if size > bytes_max:
                        raise Fatal(f"{url}: larger than {bytes_max:,} bytes")
                    take(piece)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise VenueUnreachable(f"{url}: {error or type(error).__name__}") from error

    def _check(self, url: str, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status == ABSENT:
            raise Absent(f"{url}: the venue has no such file")
        if status in self._venue.rest.ban_statuses and status not in REFUSALS:
            wait_s = read_retry_after(response.headers.get("retry-after")) or self._venue.rest.ban_default_s
            raise RateLimited(f"{url} answered {status}", wait_s)
        if status in REFUSALS:
            raise Refused(f"{url} answered {status}: refused, trying again does not help")
        if status != 200:
            raise VenueUnreachable(f"{url} answered {status}")


def read_checksum(body: bytes, name: str) -> str:
    """Return the SHA-256 of a checksum file, `<hex>  <name>`; TapeError when it is of another form or file."""
    match = _SHA256.fullmatch(body.decode(errors="replace"))
    if match is None or match[2] != name:
        raise TapeError(f"checksum of {name}: {body[:100].decode(errors='replace')!r} is not its SHA-256 and its name")
    return match[1].lower()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Shelver:
    """Puts files onto a tape, each between two events that say what it is about."""

    def __init__(self, venue: Venue, writer: TapeWriter, block_bytes: int = BLOCK_BYTES) -> None:
        self._venue, self._writer, self._block_bytes = venue, writer, block_bytes
        self._quill = Quill(writer)

    def put(self, file: BulkFile, path: Path, began: Began) -> int:
        """Write a file's lines; return the frames. What is missing of it is durable then.

        TapeError when it cannot be unpacked: what was read of it until then is kept, and it can be put again.
        """
        self._check(file, path)
        source = self._quill.register(Source(self._venue.name, file.backfill.feed, f"{self._venue.name}/{BACKFILL}"))
        self._note(source, "backfill_began", began)
        pages = 0
        try:
            for line, block in _number_blocks(path, self._block_bytes):
                meta = {"method": "GET", "url": file.url, "status": 200, "line": line}
                self._quill.put(source, FrameKind.RESPONSE, block, msgspec.json.encode(meta).decode())
                self._writer.flush()
                pages += 1
        except TapeError as error:
            self._note(source, "backfill_ended", Ended(status="failed", reason=str(error), pages=pages))
            raise
        self._note(source, "backfill_ended", Ended(status="answered", pages=pages))
        return pages

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


def _number_blocks(path: Path, block_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of lines, each with the number of its first one, from 1."""
    line = 1
    for block in read_blocks(path, block_bytes):
        yield line, block
        line += block.count(b"\n")
