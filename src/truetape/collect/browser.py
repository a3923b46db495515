"""The last resort: a venue's own web pages in one headless browser, whose answers go onto the tape like any.

Nothing is read off the screen: what the page asks its server is listened to, and decoded as if we had asked it.
"""

import asyncio
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from truetape import clock
from truetape.collect.connection import find_first
from truetape.collect.http import HEADERS_KEPT, HttpOptions
from truetape.collect.poll import choose_subjects, describe
from truetape.collect.recorder import Recorder
from truetape.collect.retry import GiveUp
from truetape.collect.status import ConnectionStatus, State
from truetape.config import VenueSettings, rewrite_url
from truetape.errors import ConfigError, MissingExtra, VenueUnreachable
from truetape.tape.frame import FrameKind, Source
from truetape.venues._contract import BrowserPage, Venue

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Request, Response, Route

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Programs looked for, in this order; else the one that Playwright installed itself."""
FLAGS = ("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync")
IGNORED = frozenset({"image", "media", "font"})
"""What a page may do without."""
LOAD_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0
"""A page that hangs may hang on closing, too: then the whole browser is replaced."""
FAILURES_MAX = 5
STABLE_NS = 60_000_000_000
"""A browser that lived so long starts counting attempts anew."""


class BrowserReader:
    """Keeps a page open for each subject in one browser; a page that crashes or falls silent is loaded anew."""

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        page: BrowserPage,
        recorder: Recorder,
        *,
        options: HttpOptions | None = None,
    ) -> None:
        check_extra()
        self.name = f"{venue.name}/{page.name}"
        self._venue = venue
        self._page = page
        self._override = settings.url
        self._recorder = recorder
        self._source = recorder.register(Source(venue.name, page.feed, self.name))
        self._options = options or HttpOptions()
        self._views = {subject: PageView(self, subject) for subject in choose_subjects(venue, settings, page)}
        self._state: State = "connecting"
        self._reason = ""
        self._frames = self._bytes = 0
        self._answered_ns: int | None = None

    async def run(self) -> None:
        """Read pages until cancelled, with a new browser whenever one is lost."""
        self._recorder.note(self._source, "opened", poll=self._page.name)
        attempt = 0
        try:
            while True:
                began_ns = clock.monotonic_ns()
                try:
                    await self._read_all()
                except* ConfigError as errors:
                    self._state, self._reason = "refused", str(find_first(errors))
                    self._recorder.note(self._source, "feed_refused", poll=self._page.name, reason=self._reason)
                except* Exception as errors:  # noqa: BLE001 - supervisor: whatever a browser does, another one may do
                    attempt = 1 if clock.monotonic_ns() - began_ns > STABLE_NS else attempt + 1
                    await self._heal(_first_line(find_first(errors)), attempt)
                if self._state == "refused":
                    return
        except asyncio.CancelledError:
            self._state = "stopped"
            self._recorder.note(self._source, "closed", code=None, reason="", cause="shutdown")
            raise

    def status(self) -> ConnectionStatus:
        """Return how it is doing."""
        age_s = None if self._answered_ns is None else (clock.monotonic_ns() - self._answered_ns) / 1e9
        attempts = max(view.failures for view in self._views.values())
        return ConnectionStatus(
            self._venue.name, self._page.feed, self.name, self._state, self._frames, self._bytes, age_s, attempts,
            len(self._views), self._reason,
            f"{attempts} loads in a row failed: {self._reason}" if attempts >= FAILURES_MAX else "",
        )  # fmt: skip

    async def _read_all(self) -> None:
        """Run one browser; raises VenueUnreachable when it is lost, ConfigError when there is none."""
        from playwright.async_api import Error, async_playwright

        async with async_playwright() as playwright:
            program = next(filter(None, map(shutil.which, BROWSERS)), None)
            flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else [*FLAGS]  # Chromium has no sandbox for root
            try:
                browser = await playwright.chromium.launch(executable_path=program, args=flags)
            except Error as error:
                if program is None:
                    how = "install Chromium, or let Playwright do it: playwright install chromium"
                    raise ConfigError(f"venues.{self._venue.name}: no browser found for {self.name}; {how}") from error
                raise VenueUnreachable(f"{program} does not start: {_first_line(error)}") from error
            self._recorder.note(self._source, "browser_opened", version=browser.version)
            try:
                await self._watch(browser)
            finally:
                with suppress(Error, TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await browser.close()

    async def _watch(self, browser: "Browser") -> None:
        lost = asyncio.Event()
        browser.on("disconnected", lambda _: lost.set())
        context = await browser.new_context(service_workers="block")
        await context.route("**/*", self._pass_on)
        async with asyncio.TaskGroup() as group:
            for view in self._views.values():
                group.create_task(view.run(context))
            await lost.wait()
            raise VenueUnreachable("the browser is gone")

    async def _heal(self, reason: str, attempt: int) -> None:
        self._state, self._reason = "waiting", reason
        for view in self._views.values():
            view.miss("disconnect", reason)
        verdict = self._options.decide(VenueUnreachable(reason), attempt)
        await asyncio.sleep(1.0 if isinstance(verdict, GiveUp) else verdict.delay_s)

    async def _pass_on(self, route: "Route") -> None:
        """Let a page's request through, to the server that stands for the venue's."""
        from playwright.async_api import Error

        with suppress(Error):  # the page went away meanwhile
            if route.request.resource_type in IGNORED:
                await route.abort()
            elif not self._override:
                await route.continue_()
            else:
                try:
                    reply = await route.fetch(url=rewrite_url(route.request.url, self._override), max_redirects=0)
                except Error:
                    await route.abort()
                else:
                    await route.fulfill(response=reply)

    # -- what pages share ---------------------------------------------------------------------------------

    @property
    def page(self) -> BrowserPage:
        """Return what is read."""
        return self._page

    @property
    def options(self) -> HttpOptions:
        """Return how patient we are."""
        return self._options

    def note(self, event: str, subject: str, **facts: object) -> None:
        """Say on the tape what became of a page."""
        self._recorder.note(self._source, event, poll=self._page.name, subject=subject, **facts)

    def note_request(self, request: "Request") -> None:
        """Put what a page asks on the tape."""
        if self._page.is_wanted(request.url):
            about = {"method": request.method, "url": request.url, "reason": "page"}
            self._recorder.put(self._source, FrameKind.REQUEST, b"", msgspec.json.encode(about).decode())

    def put(self, response: "Response", body: bytes) -> None:
        """Put an answer on the tape."""
        headers = {name: value for name, value in response.headers.items() if name in HEADERS_KEPT}
        about: dict[str, Any] = {
            "method": response.request.method,
            "url": response.url,
            "status": response.status,
            "headers": headers,
        }
        self._recorder.put(self._source, FrameKind.RESPONSE, body, msgspec.json.encode(about).decode())
        self._frames += 1
        self._bytes += len(body)
        self._answered_ns = clock.monotonic_ns()
        self._state, self._reason = "open", ""

    def complain(self, reason: str) -> None:
        """Take what went wrong last, for the status."""
        self._reason = reason


class PageView:
    """One subject's page: loaded, listened to, loaded anew when it crashes, fails or falls silent."""

    def __init__(self, reader: BrowserReader, subject: str) -> None:
        self.failures = 0
        """Loads since the last answer."""
        self._reader = reader
        self._subject = subject
        self._streams = reader.page.name_streams(subject)
        self._url = reader.page.name_url(subject)
        self._is_missing = True
        self._good_ns = 0
        self._answered = asyncio.Event()
        self._crashed = asyncio.Event()
        self._reading: set[asyncio.Task[None]] = set()

    async def run(self, context: "BrowserContext") -> None:
        """Keep the page; raises VenueUnreachable when only another browser can help."""
        if not self._good_ns:
            self._reader.note("subscribed", self._subject, streams=describe(self._streams))
        while True:
            gap, reason = await self._read(context)
            self.miss(gap, reason)
            self.failures += 1
            self._reader.complain(reason)
            if self.failures == FAILURES_MAX:
                self._reader.note("poll_failing", self._subject, failures=self.failures, reason=reason)
            verdict = self._reader.options.decide(VenueUnreachable(reason), self.failures)
            await asyncio.sleep(1.0 if isinstance(verdict, GiveUp) else verdict.delay_s)

    def miss(self, gap: str, reason: str) -> None:
        """Declare that the page tells nothing from here on."""
        facts = {"from_ns": self._good_ns} if self._good_ns else {}
        self._is_missing = True
        streams = describe(self._streams)
        self._reader.note("poll_missed", self._subject, gap=gap, reason=reason, turns=1, streams=streams, **facts)

    async def _read(self, context: "BrowserContext") -> tuple[str, str]:
        """Load the page and listen until something is wrong with it; return the gap's reason and what is wrong."""
        from playwright.async_api import Error

        page: Page | None = None
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                page = await context.new_page()
                self._listen(page)
                await page.goto(self._url, wait_until="commit", timeout=LOAD_TIMEOUT_S * 1000)
            return await self._wait_for_silence()
        except TimeoutError:
            return "disconnect", f"{self._url} did not load within {LOAD_TIMEOUT_S:g} s"
        except Error as error:
            return "disconnect", f"{self._url}: {_first_line(error)}"
        finally:
            if page is not None:
                await self._close(page)

    def _listen(self, page: "Page") -> None:
        self._answered.clear()
        self._crashed.clear()
        page.on("request", self._reader.note_request)
        page.on("response", self._hear)
        page.on("crash", lambda _: self._crashed.set())

    async def _wait_for_silence(self) -> tuple[str, str]:
        crashed = asyncio.create_task(self._crashed.wait())
        try:
            while True:
                answered = asyncio.create_task(self._answered.wait())
                try:
                    silence_s = self._reader.page.silence_s
                    await asyncio.wait([crashed, answered], timeout=silence_s, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    answered.cancel()
                if crashed.done():
                    return "disconnect", "the page crashed"
                if not self._answered.is_set():
                    return "silence", f"the page got no answer for {silence_s:g} s"
                self._answered.clear()
        finally:
            crashed.cancel()

    def _hear(self, response: "Response") -> None:
        if self._reader.page.is_wanted(response.url):
            task = asyncio.ensure_future(self._take(response))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _take(self, response: "Response") -> None:
        """Read one answer to its end and put it on the tape."""
        from playwright.async_api import Error

        try:
            body = await response.body()
        except Error as error:  # the page went away before the answer was whole
            self._reader.note("request_failed", self._subject, url=response.url, error=_first_line(error))
            return
        self._reader.put(response, body)
        if response.status != 200:
            return
        self._good_ns = clock.wall_ns()
        self._answered.set()
        if self._is_missing:
            self._is_missing = False
            self._reader.note("poll_resumed", self._subject, streams=describe(self._streams))
        if self.failures >= FAILURES_MAX:
            self._reader.note("poll_recovered", self._subject, failures=self.failures)
        self.failures = 0

    async def _close(self, page: "Page") -> None:
        from playwright.async_api import Error

        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await page.close()
        except Error:
            return  # it is closed, with its browser
        except TimeoutError as error:
            raise VenueUnreachable("a page does not close") from error


def check_extra() -> None:
    """Raise MissingExtra when nothing that drives a browser is installed."""
    try:
        import playwright.async_api  # noqa: F401
    except ImportError as error:
        raise MissingExtra("reading pages in a browser", "browser") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
