"""A real Chromium reads a local copy of a stream's page, and is healed when it hangs, crashes or dies."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from aiohttp import web

from truetape.collect.browser import BROWSERS, BrowserReader
from truetape.collect.http import HttpOptions
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.config import RecordSettings, VenueSettings
from truetape.errors import ConfigError
from truetape.events.rows import Response, Rows, Scribe
from truetape.tape.frame import FrameKind
from truetape.venues import load_venue
from truetape.venues.chainlink import FEED_IDS

CHAINLINK = load_venue("chainlink")
PAGE = msgspec.structs.replace(CHAINLINK.pages[0], silence_s=1.5)
OPTIONS = HttpOptions(decide=make_decide(Backoff(0.01, 0.05, 0.05)))
SCRIPT = """<html><body><img src="/logo.png"><script>
let left = %d;
async function ask() {
  const variables = encodeURIComponent(JSON.stringify({feedId: "%s"}));
  await fetch("/api/query-timescale?query=LIVE_STREAM_REPORTS_QUERY&variables=" + variables).then(r => r.text());
  left -= 1;
  if (left == 0) { while (true) {} }
  setTimeout(ask, 100);
}
ask();
</script></body></html>"""


@pytest.fixture(autouse=True)
def browser() -> None:
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium on this machine: apt-get install chromium")


class Site:
    """The stream pages, as far as a browser can tell; the first page loaded may hang after so many answers."""

    def __init__(self, hangs_after: int = 0) -> None:
        self.hangs_after = hangs_after
        self.seconds = 1_770_000_000
        self.loads: list[str] = []
        self.others: list[str] = []

    async def load(self, request: web.Request) -> web.Response:
        symbol = request.match_info["name"].upper()
        self.loads.append(symbol)
        left, self.hangs_after = self.hangs_after, 0
        return web.Response(text=SCRIPT % (left, FEED_IDS[symbol]), content_type="text/html")

    async def tell(self, request: web.Request) -> web.Response:
        self.seconds += 1
        node = {"validFromTimestamp": self.seconds, "price": "64000000000000000000000", "bid": "1", "ask": "2"}
        return web.json_response({"data": {"liveStreamReports": {"nodes": [node]}}})

    async def other(self, request: web.Request) -> web.Response:
        self.others.append(request.path)
        return web.Response(status=404)


@asynccontextmanager
async def reading(tape: Any, site: Site, *symbols: str) -> AsyncIterator[BrowserReader]:
    app = web.Application()
    app.router.add_get("/data.chain.link/streams/{name}", site.load)
    app.router.add_get("/data.chain.link/api/query-timescale", site.tell)
    app.router.add_get("/{rest:.*}", site.other)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    url = f"http://127.0.0.1:{server._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    recorder = Recorder(tape, RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5))
    settings = VenueSettings(instruments=symbols, channels=("oracle_price",), markets=("browser",), url=url)
    reader = BrowserReader(CHAINLINK, settings, PAGE, recorder, options=OPTIONS)
    async with asyncio.TaskGroup() as above:
        above.create_task(recorder.run())
        try:
            running = asyncio.create_task(reader.run())
            yield reader
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        finally:
            recorder.close("done")
            await runner.cleanup()


def responses(tape: Any) -> list[Any]:
    return [frame for frame in tape.frames if frame.kind == FrameKind.RESPONSE]


async def test_what_pages_are_answered_is_on_the_tape_and_decodes(tape: Any) -> None:
    site = Site()
    async with reading(tape, site, "BTC-USD", "ETH-USD") as reader:
        await tape.until(lambda: len(tape.events("poll_resumed")) == 2 and len(responses(tape)) >= 6, 40)
        status = reader.status()
    assert (status.connection, status.state, status.topics) == ("chainlink/browser", "open", 2)
    assert sorted(site.loads) == ["BTC-USD", "ETH-USD"]
    assert "/data.chain.link/logo.png" not in site.others  # pictures are not loaded
    scribe = Scribe("chainlink", Rows())
    decoder = CHAINLINK.make_decoder(scribe)
    for offset, frame in enumerate(responses(tape)):
        meta = json.loads(frame.meta)
        assert (meta["method"], meta["status"]) == ("GET", 200)
        assert urlsplit(meta["url"]).hostname == "data.chain.link"
        decoder.respond(
            Response(frame.feed, frame.connection, meta["url"], 200, frame.payload, frame.received_ns, offset)
        )
    rows = scribe.rows.plain["oracle_price"]
    assert len(rows) == len(responses(tape))
    assert {scribe.rows.streams[row[0]].symbol for row in rows} == {"BTC-USD", "ETH-USD"}
    assert {row[4:8] for row in rows} == {
        ("chainlink_page", feed, None, 64000.0) for feed in map(FEED_IDS.get, site.loads)
    }
    asked = [json.loads(f.meta) for f in tape.frames if f.kind == FrameKind.REQUEST]
    assert {parse_qs(urlsplit(a["url"]).query)["query"][0] for a in asked} == {"LIVE_STREAM_REPORTS_QUERY"}
    names = [event["event"] for event in tape.events(connection="chainlink/browser")]
    assert names[0] == "opened"
    assert names[-1] == "closed"


async def test_a_page_that_hangs_is_loaded_anew(tape: Any) -> None:
    site = Site(hangs_after=3)
    async with reading(tape, site, "BTC-USD"):
        await tape.until(lambda: len(tape.events("poll_resumed")) == 2, 40)
    (missed,) = tape.events("poll_missed")
    assert (missed["gap"], missed["reason"]) == ("silence", "the page got no answer for 1.5 s")
    assert missed["streams"][0]["venue_symbol"] == FEED_IDS["BTC-USD"]
    assert missed["from_ns"] > 0
    assert len(site.loads) == 2


async def test_a_crash_of_the_page_and_of_the_browser_is_healed_and_noted(tape: Any) -> None:
    site = Site()
    async with reading(tape, site, "BTC-USD"):
        await tape.until(lambda: tape.events("poll_resumed"), 40)
        for pid in find_processes("--type=renderer"):
            os.kill(pid, signal.SIGKILL)
        await tape.until(lambda: len(tape.events("poll_resumed")) == 2, 40)
        assert tape.events("poll_missed")[-1]["reason"] == "the page crashed"
        for pid in find_processes("--remote-debugging-pipe"):
            os.kill(pid, signal.SIGKILL)
        await tape.until(lambda: len(tape.events("poll_resumed")) == 3, 40)
    assert len(tape.events("browser_opened")) == 2
    assert len(site.loads) == 3


def find_processes(flag: str) -> list[int]:
    """Return those of our own descendants that were started with a flag."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
    ours = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= new
    found = []
    for pid in ours - {os.getpid()}:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        is_main = b"--type=" not in command  # forked ones join their arguments with spaces
        if flag.encode() in command and (is_main or flag.startswith("--type=")):
            found.append(pid)
    return found


async def test_no_such_page_is_refused_at_once(tape: Any) -> None:
    settings = VenueSettings(instruments=("DOGE-USD",), channels=("oracle_price",), markets=("browser",))
    with pytest.raises(ConfigError, match=r"venues\.chainlink\.instruments: DOGE-USD: browser has none of these"):
        BrowserReader(CHAINLINK, settings, PAGE, Recorder(tape, RecordSettings()))


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['playwright'] = None\n"
        "from truetape.collect.browser import check_extra\n"
        "from truetape.errors import MissingExtra\n"
        "try:\n    check_extra()\nexcept MissingExtra as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "reading pages in a browser needs an optional part: pip install 'truetape[browser]'"
