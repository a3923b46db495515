"""Requests over HTTP, paced by the venue's rules; every request, answer and failure goes onto the tape."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec

from truetape import clock
from truetape.collect.gate import Gate
from truetape.collect.retry import Decide, GiveUp, decide
from truetape.collect.socket import read_retry_after
from truetape.config import rewrite_url
from truetape.errors import Fatal, RateLimited, Refused, TruetapeError, VenueUnreachable
from truetape.tape.frame import FrameKind, Source
from truetape.venues._contract import Ask as Ask
from truetape.venues._contract import Venue

HEADERS_KEPT = frozenset({"retry-after", "date", "content-type", "age", "cache-control"})
HEADER_PREFIXES_KEPT = ("x-bapi-", "x-mbx-", "ratelimit-", "x-ratelimit-")
"""Headers that say how a body came about or what we may still ask."""
REFUSALS = (401, 403, 451)
_PIECE_BYTES = 256 * 1024

Result = TypeVar("Result")


class Pen(Protocol):
    """Writes frames: the recorder, or whoever else holds the tape."""

    def register(self, source: Source) -> int:
        """Return the number that stands for `source`."""
        ...

    def put(self, source: int, kind: FrameKind, payload: bytes, meta: str = "") -> None:
        """Take one frame, stamped now."""
        ...

    def note(self, source: int, event: str, **facts: Any) -> None:
        """Write an EVENT frame."""
        ...


class Reply(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]


class HttpOptions(msgspec.Struct, frozen=True):
    """Limits of requests."""

    body_bytes_max: int = 64 * 1024 * 1024
    connect_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    attempts_max: int = 5
    """Tries of one request, the first included."""
    decide: Decide = decide
    trust: ssl.SSLContext | None = None
    """Whom to trust as a venue; null: the certificate authorities this machine trusts."""


async def persist(work: Callable[[], Awaitable[Result]], options: HttpOptions, gate: Gate) -> Result:
    """Try until it goes well, as the options say; a ban holds everything to the venue. Raises what the last try did."""
    attempt = 0
    while True:
        try:
            return await work()
        except TruetapeError as error:
            attempt += 1
            verdict = options.decide(error, attempt)
            if isinstance(error, RateLimited):
                gate.ban(error.retry_after_s)
            if isinstance(verdict, GiveUp) or attempt >= options.attempts_max:
                raise
            if not isinstance(error, RateLimited):
                await asyncio.sleep(verdict.delay_s)


class Http:
    """Asks one venue; use within `async with`."""

    def __init__(
        self,
        venue: Venue,
        override: str,
        recorder: Pen,
        gate: Gate,
        options: HttpOptions | None = None,
        *,
        name: str = "http",
    ) -> None:
        self._connection = f"{venue.name}/{name}"
        self._venue = venue
        self._override = override
        self._recorder = recorder
        self._gate = gate
        self._options = options or HttpOptions()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Http":
        timeout = aiohttp.ClientTimeout(total=self._options.total_timeout_s, connect=self._options.connect_timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "truetape"})
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, ask: Ask) -> Reply:
        """Ask until an answer that stands (status below 500, no ban) comes; raises what the last try failed with."""
        return await persist(partial(self.ask_once, ask), self._options, self._gate)

    async def ask_once(self, ask: Ask) -> Reply:
        """Ask one time; raises RateLimited, VenueUnreachable or Refused when that was no answer."""
        await self._gate.pay(ask.weight)
        source = self._recorder.register(Source(self._venue.name, ask.feed, self._connection))
        shown = {"method": ask.method, "url": self._hide(ask.url)}
        body = ask.body if self._gate.key is None else self._gate.key.hide(ask.body)
        self._recorder.put(source, FrameKind.REQUEST, body, _json({**shown, "reason": ask.reason}))
        began_ns = clock.monotonic_ns()
        try:
            reply = await self._exchange(ask)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = self._hide(str(error) or type(error).__name__)
            self._recorder.note(source, "request_failed", url=shown["url"], error=reason)
            raise VenueUnreachable(f"{shown['url']}: {reason}") from error
        except Fatal as error:
            self._recorder.note(source, "request_failed", url=shown["url"], error=str(error))
            raise
        except asyncio.CancelledError:
            self._recorder.note(source, "request_failed", url=shown["url"], error="given up")
            raise
        elapsed_ms = round((clock.monotonic_ns() - began_ns) / 1e6, 3)
        meta = {**shown, "status": reply.status, "headers": reply.headers, "elapsed_ms": elapsed_ms}
        self._recorder.put(source, FrameKind.RESPONSE, reply.body, _json(meta))
        self._obey(ask, reply)
        return reply

    def _hide(self, text: str) -> str:
        return text if self._gate.key is None else self._gate.key.hide_text(text)

    async def _exchange(self, ask: Ask) -> Reply:
        if self._session is None:
            raise RuntimeError("Http is used outside `async with`")
        url = rewrite_url(ask.url, self._override)
        trust = self._options.trust or True  # True: verify, against what this machine trusts
        key, headers = self._gate.key, dict(ask.headers)
        is_signed = key is not None and key.signs(ask.url)
        if key is not None and is_signed:
            headers |= key.sign(ask.method, ask.url, ask.body, clock.wall_ns())
        # A redirection must not carry a signature to another host.
        async with self._session.request(
            ask.method, url, data=ask.body or None, ssl=trust, headers=headers, allow_redirects=not is_signed
        ) as response:
            body = bytearray()
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                body += piece
                if len(body) > self._options.body_bytes_max:
                    raise Fatal(f"{ask.url}: body larger than {self._options.body_bytes_max} bytes")
            kept = {name.lower(): value for name, value in response.headers.items() if self._is_kept(name.lower())}
            return Reply(response.status, bytes(body) if key is None else key.hide(bytes(body)), kept)

    def _is_kept(self, name: str) -> bool:
        return (
            name in HEADERS_KEPT
            or name == self._venue.rest.weight_header.lower()
            or name.startswith(HEADER_PREFIXES_KEPT)
        )

    def _obey(self, ask: Ask, reply: Reply) -> None:
        """Do what the answer says about asking on; raises when it is no answer."""
        rest = self._venue.rest
        used = reply.headers.get(rest.weight_header.lower(), "") if rest.weight_header else ""
        if used.isdigit():
            self._gate.observe(int(used))
        said = self._venue.explain(reply.body) if reply.status >= 400 else ""
        told = f"{self._hide(ask.url)} answered {reply.status}{said and f' ({said})'}"
        if reply.status in rest.ban_statuses:
            raise RateLimited(told, read_retry_after(reply.headers.get("retry-after")) or rest.ban_default_s)
        if reply.status in REFUSALS:
            name, key = f"venues.{self._venue.name}", self._gate.key
            whose = f"its key is {key.variables}" if key and key.signs(ask.url) else f"where it asks is {name}.url"
            raise Refused(f"{name}: {told}: refused, trying again does not help; {whose}")
        if reply.status >= 500:
            raise VenueUnreachable(told)


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
