"""Asks venues for their past and puts the answers onto a tape that nobody else writes meanwhile.

Each piece of work stands between two events on the tape; when it ends in between, the next one asks for what is left.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import msgspec

from truetape import clock
from truetape.collect.gate import Gate
from truetape.collect.http import Ask, Http, HttpOptions, Pen
from truetape.collect.key import Key
from truetape.collect.listing import fetch_page, list_pages
from truetape.collect.pace import WINDOW_S
from truetape.collect.recorder import Recorder
from truetape.errors import ConfigError, DecodeError, Fatal, Refused, TapeError, Transient
from truetape.events.backfill import BACKFILL, Began, Ended, Range
from truetape.events.instrument import Instrument
from truetape.tape import TapeWriter
from truetape.tape.frame import FrameKind, Source
from truetape.venues._contract import Backfill, Stretch, Venue

PAGES_MAX = 20_000
"""Pages of one range; a venue that has more is asked on by the next run."""
WEIGHT_MIN = 25
"""A share is not made smaller than the dearest request."""
FAILURES_MAX = 3
"""So many pieces of work that fail one after the other: the venue is away."""
ABSENT_STATUSES = (400, 404, 410)
"""Statuses by which a venue says that there is no such thing."""
EXCERPT_CHARS = 200


class Order(msgspec.Struct, frozen=True):
    """One piece of work."""

    began: Began
    backfill: Backfill | None = None
    """Null: the past of this channel cannot be asked for."""
    feed: str = ""
    """What its events are called by; that of the backfill, where there is one."""
    reason: str = ""
    """Why it cannot be asked for."""
    complete: Callable[[Began], Began] | None = None
    """Adds, before it is asked for, what is too much to be held of all orders at once."""

    @property
    def completed(self) -> Began:
        """What goes onto the tape."""
        return self.began if self.complete is None else self.complete(self.began)


class Result(msgspec.Struct, frozen=True):
    """What became of an order."""

    order: Order
    ended: Ended


class Quill:
    """Writes frames straight onto a tape."""

    def __init__(self, writer: TapeWriter) -> None:
        self._writer = writer
        self._known: dict[Source, int] = {}

    def register(self, source: Source) -> int:
        """Return the number that stands for `source`."""
        if source not in self._known:
            self._known[source] = self._writer.register(source)
        return self._known[source]

    def put(self, source: int, kind: FrameKind, payload: bytes, meta: str = "") -> None:
        """Write one frame, stamped now."""
        self._writer.append(source, clock.wall_ns(), clock.monotonic_ns(), int(kind), payload, meta)

    def note(self, source: int, event: str, **facts: Any) -> None:
        """Write an EVENT frame."""
        self.put(source, FrameKind.EVENT, b"", msgspec.json.encode({"event": event, **facts}).decode())


def break_off(writer: TapeWriter, feeds: Sequence[tuple[str, str]]) -> None:
    """Say of (venue, feed) that what an earlier run began has ended, as it may not have said so itself."""
    quill = Quill(writer)
    for venue, feed in feeds:
        source = quill.register(Source(venue, feed, f"{venue}/{BACKFILL}"))
        quill.note(source, "backfill_ended", **msgspec.to_builtins(Ended(status="failed", reason="broken off")))
    writer.flush()


class Backfiller:
    """Asks one venue; `share` of what the venue allows, where others ask it at the same time."""

    def __init__(
        self,
        venue: Venue,
        url: str,
        writer: TapeWriter | Recorder,
        key: Key | None = None,
        options: HttpOptions | None = None,
        *,
        share: float = 1.0,
        on_page: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_page = on_page
        self._venue = venue
        self._url = url
        self._writer = None if isinstance(writer, Recorder) else writer  # a recorder flushes and syncs by itself
        self._quill: Pen = writer if isinstance(writer, Recorder) else Quill(writer)
        self._key = key
        self._options = options
        self._share = share
        self._gates: dict[tuple[int, float] | None, Gate] = {}

    async def run(self, orders: Sequence[Order], on_result: Callable[[Result], None] = lambda result: None) -> None:
        """Do one piece of work after the other; a venue that is away, or refuses us, is not asked on."""
        failures, last = 0, ""
        for order in orders:
            if failures >= FAILURES_MAX and order.backfill is not None:
                on_result(Result(order, Ended(status="failed", reason=last)))
                continue
            try:
                began = order.completed
            except ConfigError as error:  # nobody was asked, and the next one may be possible
                on_result(Result(order, Ended(status="failed", reason=str(error))))
                continue
            ended = await self._do(order, began)
            on_result(Result(order, ended))
            if ended.status == "failed":
                failures, last = failures + 1, ended.reason
            elif order.backfill is not None:
                failures = 0

    async def find_instruments(self, symbol: str, markets: Collection[str]) -> list[Instrument]:
        """Look a name up in the venue's listings, which go onto the tape like all answers."""
        found: list[Instrument] = []
        gate = self._find_gate(None)
        async with Http(self._venue, self._url, self._quill, gate, self._options, name=BACKFILL) as http:
            for listing in self._venue.listings:
                if listing.market not in markets:
                    continue
                feed = next(feed.name for feed in self._venue.feeds if feed.market == listing.market)
                read = partial(fetch_page, http, self._venue, listing, feed)
                async for page in list_pages(self._venue, listing, read):
                    found += page
        self._flush()
        return [
            one for one in dict.fromkeys(found) if symbol in (one.symbol, one.venue_symbol) and one.market in markets
        ]

    async def _do(self, order: Order, began: Began) -> Ended:
        feed = order.backfill.feed if order.backfill else order.feed
        source = self._quill.register(Source(self._venue.name, feed, f"{self._venue.name}/{BACKFILL}"))
        began = msgspec.structs.replace(began, is_alone=self._writer is not None)
        self._quill.note(source, "backfill_began", **msgspec.to_builtins(began))
        if order.backfill is None:
            ended = Ended(status="impossible", reason=order.reason)
        else:
            ended = await self._ask_all(order.began, order.backfill)
        self._quill.note(source, "backfill_ended", **msgspec.to_builtins(ended))
        self._flush(is_last=True)
        return ended

    def _flush(self, *, is_last: bool = False) -> None:
        if self._writer is not None:
            self._writer.flush()
        if self._writer is not None and is_last:
            self._writer.sync()

    def _find_gate(self, allowance: tuple[int, float] | None) -> Gate:
        if allowance not in self._gates:
            weight, window_s = allowance or (self._venue.rest.weight_per_minute_max, WINDOW_S)
            part = (max(int(weight * self._share), min(weight, WEIGHT_MIN)), window_s)
            self._gates[allowance] = Gate(self._venue, self._key, part)
        return self._gates[allowance]

    async def _ask_all(self, began: Began, backfill: Backfill) -> Ended:
        gate = self._find_gate(backfill.allowance)
        pages = 0
        async with Http(self._venue, self._url, self._quill, gate, self._options, name=BACKFILL) as http:
            for stretch in list_stretches(began):
                try:
                    pages += await self._ask_range(http, stretch, backfill)
                except LookupError as error:
                    return Ended(status="answered", reason=str(error), pages=pages)
                except TapeError:
                    raise
                except (Transient, Refused, Fatal, DecodeError, msgspec.DecodeError) as error:
                    return Ended(status="failed", reason=str(error), pages=pages)
        return Ended(status="answered", pages=pages)

    async def _ask_range(self, http: Http, stretch: Stretch, backfill: Backfill) -> int:
        """Ask page by page; raises LookupError with the venue's words when it has nothing of the kind."""
        url = backfill.begin(stretch)
        for page in range(1, PAGES_MAX + 1):
            reply = await http.fetch(Ask(backfill.feed, url, backfill.weight, "backfill"))
            self._flush()
            self._on_page()
            if reply.status in ABSENT_STATUSES:
                raise LookupError(f"{url} answered {reply.status}: {_cut(reply.body)}")
            if reply.status != 200:
                raise DecodeError(f"{url} answered {reply.status}: {_cut(reply.body)}")
            following = backfill.follow(stretch, url, reply.body)
            if following is None or following == url:
                return page
            url = following
        raise DecodeError(f"{url}: more than {PAGES_MAX} pages")


def list_stretches(began: Began) -> list[Stretch]:
    """Return what to ask for, range by range; what is told apart by text ids is asked for by its times."""
    ranges = began.missing or ((Range(),) if began.identity == "text" else ())
    return [_make_stretch(began, span) for span in ranges]


def _make_stretch(began: Began, span: Range) -> Stretch:
    from_us = began.from_us if span.from_us is None else span.from_us
    to_us = began.to_us if span.to_us is None else span.to_us
    # A range may be far wider than the time that is wanted of it.
    low = span.low if span.since_us is None else None
    high = span.high if span.before_us is None else None
    return Stretch(began.venue_symbol, from_us, to_us, low, high, began.interval)


def _cut(body: bytes) -> str:
    return body[:EXCERPT_CHARS].decode(errors="replace")
