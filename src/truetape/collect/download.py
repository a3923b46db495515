"""Files from a server onto disk: piece by piece, under another name until whole, and on from where it broke off."""

import asyncio
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

import aiohttp

from truetape import clock
from truetape.collect.gate import Gate
from truetape.collect.http import REFUSALS, HttpOptions, persist
from truetape.collect.socket import read_retry_after
from truetape.errors import Fatal, RateLimited, Refused, VenueUnreachable
from truetape.venues._contract import Venue

SUFFIX = ".part"
"""Files that are not whole yet: `<name>.<what the server calls this version>.part`."""
FILE_BYTES_MAX = 64 * 1024**3
ABSENT = 404
_PIECE_BYTES = 256 * 1024
_EXCERPT_CHARS = 200

Prove = Callable[[Path], None]
"""Raises ValueError on a file that is not what it should be: it is thrown away then, and fetched anew."""


class Absent(Fatal):
    """The server has no such file."""


class Downloader:
    """Fetches files of one venue; use within `async with`."""

    def __init__(
        self,
        venue: Venue,
        gate: Gate,
        options: HttpOptions | None = None,
        encoding: str = "gzip",
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._venue, self._gate = venue, gate
        self._on_bytes = on_bytes
        self._encoding = encoding
        """How the server may send files (Accept-Encoding); they are kept as they come."""
        self._options = options or HttpOptions()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Downloader":
        options = self._options
        # A large file may take as long as it likes, while bytes come.
        timeout = aiohttp.ClientTimeout(connect=options.connect_timeout_s, sock_read=options.total_timeout_s)
        headers = {"User-Agent": "truetape", "Accept-Encoding": self._encoding}
        self._session = aiohttp.ClientSession(timeout=timeout, headers=headers, auto_decompress=False)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str, path: Path, prove: Prove | None = None, bytes_max: int = FILE_BYTES_MAX) -> bool:
        """Fetch a file, whole and proven (default: gzipped, and it unpacks to its end); false when it is there already.

        Raises Absent where there is none, Refused when the server wants another key, VenueUnreachable in the end.
        """
        if not _make_room(path):
            return False

        async def attempt() -> None:
            part = await self._fetch_part(url, path, bytes_max)
            await asyncio.to_thread(_finish, part, path, url, prove or prove_gzipped)

        await persist(attempt, self._options, self._gate)
        return True

    async def _fetch_part(self, url: str, path: Path, bytes_max: int) -> Path:
        """Make one attempt; what came of it stays."""
        if self._session is None:
            raise RuntimeError("Downloader is used outside `async with`")
        await self._gate.pay(1)
        part, tag = _find_part(path)
        headers = {"Range": f"bytes={part.stat().st_size}-", "If-Range": tag} if part is not None else {}
        key = self._gate.key
        if key is not None and key.signs(url):
            headers |= key.sign("GET", url, b"", clock.wall_ns())
        # A redirection must not carry our key to another host.
        try:
            async with self._session.get(
                url, headers=headers, ssl=self._options.trust or True, allow_redirects=key is None
            ) as response:
                if response.status == 416 and part is not None:  # it has changed, or nothing is left
                    part.unlink()
                    raise VenueUnreachable(f"{url}: what was fetched of it is not of this file any more")
                await self._check(url, response)
                begun = part if response.status == 206 else None
                return await _write(response, path, begun, bytes_max, self._on_bytes)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise VenueUnreachable(f"{url}: {error or type(error).__name__}") from error

    async def _check(self, url: str, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status in {200, 206}:
            return
        said = (await response.content.read(_EXCERPT_CHARS)).decode(errors="replace")
        told = f"{url} answered {status}: {said}"
        if status == ABSENT:
            raise Absent(told)
        if status in self._venue.rest.ban_statuses:
            wait_s = read_retry_after(response.headers.get("retry-after")) or self._venue.rest.ban_default_s
            raise RateLimited(told, wait_s)
        if status in REFUSALS:
            key = self._gate.key
            whose = f"; its key is {key.variables}" if key else "; it wants a key" if self._venue.credentials else ""
            raise Refused(f"{told}: refused, trying again does not help{whose}")
        if status < 500:
            raise Fatal(told)
        raise VenueUnreachable(told)


def _make_room(path: Path) -> bool:
    """Make a file's folder; false when the file is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return not path.exists()


def _find_part(path: Path) -> tuple[Path | None, str]:
    """Return what there is of a file, and the server's name of that version."""
    prefix = f"{path.name}."
    for part in sorted(path.parent.glob("*" + SUFFIX)):
        tag = unquote(part.name.removeprefix(prefix).removesuffix(SUFFIX)) if part.name.startswith(prefix) else ""
        if tag.startswith('"') and part.stat().st_size:
            return part, tag
    return None, ""


async def _write(
    response: aiohttp.ClientResponse, path: Path, part: Path | None, bytes_max: int, on_bytes: Callable[[int], None]
) -> Path:
    """Write what comes to the end of a part, or to a new one."""
    if part is None:
        tag = response.headers.get("ETag", "")
        part = path.with_name(f"{path.name}.{quote(tag, safe='')[:150]}{SUFFIX}")
        part.unlink(missing_ok=True)
    with part.open("ab") as file:
        async for piece in response.content.iter_chunked(_PIECE_BYTES):
            file.write(piece)
            on_bytes(len(piece))
            if file.tell() > bytes_max:
                raise Fatal(f"{response.url}: larger than {bytes_max:,} bytes")
    return part


def _finish(part: Path, path: Path, url: str, prove: Prove) -> None:
    """Prove a file, and give it its name."""
    try:
        prove(part)
    except ValueError as error:
        part.unlink()
        raise VenueUnreachable(f"{url}: {error}") from error
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def prove_gzipped(path: Path) -> None:
    """Raise ValueError when a gzipped file does not unpack to its end."""
    unpack(path, lambda piece: None)


def prove_packed(path: Path, suffix: str) -> None:
    """Raise ValueError when a file of a name that ends so (.gz, .zip) does not unpack to its end."""
    if suffix != ".zip":
        prove_gzipped(path)
        return
    try:
        with zipfile.ZipFile(path) as packed:
            broken = packed.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"does not unpack: {error}") from error
    if broken is not None:
        raise ValueError(f"does not unpack: {broken} is broken")


def unpack(path: Path, take: Callable[[bytes], None]) -> None:
    """Hand on what a gzipped file holds, piece by piece; ValueError when it is cut off or broken."""
    unpacker = zlib.decompressobj(31)
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                while piece:
                    take(unpacker.decompress(piece, 16 * _PIECE_BYTES))
                    piece = unpacker.unconsumed_tail or unpacker.unused_data
                    if unpacker.eof and piece:
                        unpacker = zlib.decompressobj(31)
            take(unpacker.flush())
    except zlib.error as error:
        raise ValueError(f"does not unpack: {error}") from error
    if not unpacker.eof:
        raise ValueError("does not unpack: it is cut off")
