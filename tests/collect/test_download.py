"""Files onto disk: on from where it broke off, proven before they get their name, failures told apart."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from truetape.collect.download import Absent, Downloader, unpack
from truetape.collect.gate import Gate
from truetape.collect.http import HttpOptions
from truetape.collect.key import Key
from truetape.collect.retry import Backoff, make_decide
from truetape.errors import Fatal, Refused, VenueUnreachable
from truetape.venues import load_venue
from truetape.venues.tardis.relay import make_credentials

BODY = gzip.compress(random.Random(1).randbytes(700_000), mtime=0)
HASTY = HttpOptions(attempts_max=4, decide=make_decide(Backoff(base_s=0.001, cap_s=0.01)))
VENUE = load_venue("tardis")


class Server:
    """Sends BODY, as far as its script says, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.script: list[object] = []
        """For each request: a status, or the bytes after which the line is cut."""
        self.body, self.tag = BODY, '"one"'
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.headers.get("Range", ""), request.headers.get("Authorization", "")))
        step = self.script.pop(0) if self.script else None
        if isinstance(step, int) and step < 1000:
            return web.Response(status=step, text="no", headers={"Retry-After": "0.01"})
        begin = 0
        if request.headers.get("If-Range") == self.tag:
            begin = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if begin >= len(self.body):
            return web.Response(status=416)
        response = web.StreamResponse(status=206 if begin else 200, headers={"ETag": self.tag} if self.tag else {})
        response.content_length = len(self.body) - begin
        await response.prepare(request)
        if isinstance(step, int):
            await response.write(self.body[begin : begin + step])
            await asyncio.sleep(0.02)
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(self.body[begin:])
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/file", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/file"
    yield server
    await runner.cleanup()


def list_names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


async def fetch(server: Server, path: Path, key: Key | None = None) -> bool:
    async with Downloader(VENUE, Gate(VENUE, key), HASTY) as downloader:
        return await downloader.fetch(server.url, path)


async def test_a_line_that_breaks_costs_only_what_is_left(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.gz"
    server.script = [200_000, 300_000]
    assert await fetch(server, path)
    assert path.read_bytes() == BODY
    ranges = [asked for asked, _ in server.asked]
    assert ranges[0] == "" and len(ranges) == 3
    assert 0 < int(ranges[1][6:-1]) <= 200_000 < int(ranges[2][6:-1]) <= 500_000
    assert list_names(path.parent) == ["file.gz"]
    assert not await fetch(server, path) and len(server.asked) == 3


async def test_the_next_run_goes_on_where_the_last_one_failed(server: Server, tmp_path: Path) -> None:
    server.script = [100_000, 503, 503, 503]
    with pytest.raises(VenueUnreachable, match="503"):
        await fetch(server, tmp_path / "file.gz")
    assert await fetch(server, tmp_path / "file.gz")
    assert server.asked[-1][0] == "bytes=100000-"
    assert (tmp_path / "file.gz").read_bytes() == BODY


@pytest.mark.parametrize("tag", ['"two"', ""])
async def test_a_file_that_changed_meanwhile_begins_anew(server: Server, tmp_path: Path, tag: str) -> None:
    server.script = [100_000, 500, 500, 500]
    with pytest.raises(VenueUnreachable):
        await fetch(server, tmp_path / "file.gz")
    server.body, server.tag = gzip.compress(b"another"), tag
    assert await fetch(server, tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == server.body


@pytest.mark.parametrize("body", [BODY[:-5], BODY[:1000], BODY[:5000] + b"x" * 100 + BODY[5100:], b"not gzip"])
async def test_what_does_not_unpack_gets_no_name(server: Server, tmp_path: Path, body: bytes) -> None:
    server.body = body
    with pytest.raises(VenueUnreachable, match="does not unpack"):
        await fetch(server, tmp_path / "file.gz")
    assert list_names(tmp_path) == []
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("status", "error", "words", "times"),
    [(404, Absent, "404", 1), (401, Refused, "TRUETAPE_KEY_TARDIS_API", 1), (400, Fatal, "400: no", 1),
     (429, None, "", 2), (500, None, "", 2)],
)  # fmt: skip
async def test_answers_that_are_no_file(
    server: Server, tmp_path: Path, status: int, error: type[Exception] | None, words: str, times: int
) -> None:
    server.script = [status]
    key = Key("tardis", make_credentials("API", "127.0.0.1"), {"API": "secret-key"})
    if error is None:
        assert await fetch(server, tmp_path / "file.gz", key)
    else:
        with pytest.raises(error, match=words):
            await fetch(server, tmp_path / "file.gz", key)
    assert [told for _, told in server.asked] == ["Bearer secret-key"] * times


def test_several_members_unpack_to_their_end(tmp_path: Path) -> None:
    parts = [random.Random(n).randbytes(300_000) + b"\n" * 3_000_000 for n in range(3)]
    (tmp_path / "x").write_bytes(b"".join(gzip.compress(part) for part in parts))
    found = bytearray()
    unpack(tmp_path / "x", found.extend)
    assert found == b"".join(parts)
