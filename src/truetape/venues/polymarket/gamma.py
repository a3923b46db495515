"""Gamma: events and markets, with JSON inside JSON and numbers of mixed sorts.

Outcomes, tokens and prices are three lists that pair by position; nothing else here relies on their order.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.number import Real, Size
from truetape.venues.polymarket.market import Market, list_instruments, pair_outcomes
from truetape.venues.polymarket.naming import list_oracles
from truetape.venues.polymarket.times import read_time

VERSIONS = (None, "v1", "v2")
"""Protocol versions known; a market of another one is refused. Markets of before 2026-04 say none."""

TextList = str | list[str] | None
"""A list, or (as Gamma sends it) the JSON text of one."""

_STREAM = re.compile(r"https://data\.chain\.link/streams/([a-z0-9]+-[a-z0-9]+?)(?:-twap-(\d+)s-streams)?/?")


class _Fee(msgspec.Struct, gc=False):
    rate: Size | None = None
    exponent: Size | None = None
    takerOnly: bool | None = None
    rebateRate: Size | None = None


class _CryptoConfig(msgspec.Struct, gc=False):
    twapEnabled: bool | None = None
    twapLookbackSeconds: int | None = None


class _Metadata(msgspec.Struct, gc=False):
    priceToBeat: Real | None = None
    finalPrice: Real | None = None


class _Slug(msgspec.Struct, gc=False):
    slug: str | None = None


class _EventReference(msgspec.Struct, gc=False):
    """The event as a market object names it."""

    slug: str | None = None
    seriesSlug: str | None = None
    series: list[_Slug] | None = None
    startTime: str | None = None
    eventMetadata: _Metadata | None = None
    resolutionSource: str | None = None
    cryptoMarketConfig: _CryptoConfig | None = None
    version: str | None = None
    tags: list[_Slug] | None = None


class _Market(msgspec.Struct, gc=False):
    conditionId: str
    id: str | None = None
    slug: str = ""
    question: str | None = None
    outcomes: TextList = None
    outcomePrices: TextList = None
    clobTokenIds: TextList = None
    positionIds: TextList = None
    version: str | None = None
    resolutionSource: str | None = None
    cryptoMarketConfig: _CryptoConfig | None = None
    eventStartTime: str | None = None
    endDate: str | None = None
    closedTime: str | None = None
    updatedAt: str | None = None
    active: bool | None = None
    closed: bool | None = None
    acceptingOrders: bool | None = None
    negRisk: bool | None = None
    orderPriceMinTickSize: Size | None = None
    orderMinSize: Size | None = None
    feeSchedule: _Fee | None = None
    umaResolutionStatus: str | None = None
    umaResolutionStatuses: TextList = None
    resolutionStatus: str | None = None
    volumeNum: Size | None = None
    category: str | None = None
    tags: list[_Slug] | None = None
    events: list[_EventReference] | None = None


class _Event(_EventReference):
    markets: list[_Market] = []


class _Page(msgspec.Struct, gc=False):
    """A page of a keyset list, or of a search."""

    events: list[_Event] | None = None
    markets: list[_Market] | None = None
    next_cursor: str | None = None


class _Skipped(msgspec.Struct, gc=False):
    """An object whose fields do not matter."""


class _Shape(msgspec.Struct, gc=False):
    """What tells one object apart from another."""

    conditionId: str | None = None
    markets: list[_Skipped] | None = None
    events: list[_Skipped] | None = None
    slug: str | None = None


_decode_shape = Decoder(_Shape).decode
_decode_shapes = Decoder(list[_Shape]).decode
_decode_event = Decoder(_Event, strict=False).decode
_decode_events = Decoder(list[_Event], strict=False).decode
_decode_market = Decoder(_Market, strict=False).decode
_decode_markets = Decoder(list[_Market], strict=False).decode
_decode_page = Decoder(_Page, strict=False).decode
_decode_texts = Decoder(list[str], strict=False).decode


def read_texts(value: TextList) -> list[str]:
    """Return the list that a text holds, or the list itself."""
    if value is None or value == "":
        return []
    return _decode_texts(value) if isinstance(value, str) else value


def read_rule(source: str | None, config: _CryptoConfig | None) -> tuple[str | None, int | None]:
    """Tell how a market's own metadata say it settles: spot or twap, and the seconds of the average.

    Null where they do not say, and where the stream and the settings of the market disagree.
    """
    found = _STREAM.fullmatch(source or "")
    told = config is not None and config.twapEnabled is not None
    of_config = (
        (("twap", config.twapLookbackSeconds) if config.twapEnabled else ("spot", None)) if told and config else None
    )
    if found is None:
        return of_config if of_config is not None and of_config[0] == "twap" else (None, None)
    of_stream = ("twap", int(found[2])) if found[2] else ("spot", None)
    return of_stream if of_config in (None, of_stream) else (None, None)


def read_markets(body: bytes) -> tuple[list[Market], list[str]]:
    """Read any of Gamma's answers; return the markets, and why others were refused.

    Raises DecodeError when no market of the answer can be read.
    """
    markets, refused = sift_markets(body)
    if refused and not markets:
        raise DecodeError(refused[0])
    return markets, refused


def sift_markets(body: bytes) -> tuple[list[Market], list[str]]:
    """Read any of Gamma's answers; return the markets that can be read, and why others cannot."""
    markets, refused = [], []
    for event, market in _list_markets(body):
        try:
            markets.append(_read_market(event, market))
        except DecodeError as error:
            refused.append(f"market {market.slug or market.conditionId}: {error.reason}")
    return markets, refused


def _list_markets(body: bytes) -> Iterator[tuple[_EventReference, _Market]]:
    is_list = body.lstrip()[:1] == b"["
    shapes = _decode_shapes(body) if is_list else [_decode_shape(body)]
    nobody = _EventReference()
    first = shapes[0] if shapes else _Shape()
    if is_list and first.conditionId is not None:
        loose = _decode_markets(body)
    elif is_list:
        yield from ((event, market) for event in _decode_events(body) for market in event.markets)
        return
    elif first.conditionId is not None:
        loose = [_decode_market(body)]
    elif first.slug is not None and first.markets is not None:
        event = _decode_event(body)
        yield from ((event, market) for market in event.markets)
        return
    elif first.events is not None or first.markets is not None:
        page = _decode_page(body)
        yield from ((event, market) for event in page.events or () for market in event.markets)
        loose = page.markets or []
    else:
        raise DecodeError("neither an event, a market nor a page of either")
    yield from ((market.events[0] if market.events else nobody, market) for market in loose)


def check_version(version: str | None) -> None:
    """Refuse a protocol that is not known."""
    if version not in VERSIONS:
        raise DecodeError(f"protocol version {version!r} is not known (known: v1, v2)", "$.version")


def _read_market(event: _EventReference, m: _Market) -> Market:
    version = m.version or event.version
    check_version(version)
    outcomes = read_texts(m.outcomes)
    tokens = read_texts(m.positionIds if version == "v2" else m.clobTokenIds)
    source = m.resolutionSource or event.resolutionSource or None
    rule, window_s = read_rule(source, m.cryptoMarketConfig or event.cryptoMarketConfig)
    series = event.seriesSlug or next((one.slug for one in event.series or () if one.slug), None)
    fee, metadata = m.feeSchedule or _Fee(), event.eventMetadata or _Metadata()
    statuses = read_texts(m.umaResolutionStatuses)
    tags = tuple(tag.slug for tag in m.tags or event.tags or () if tag.slug)
    return Market(
        m.slug or m.conditionId,
        m.conditionId,
        pair_outcomes(outcomes, tokens),
        _read_prices(outcomes, read_texts(m.outcomePrices)),
        version=version,
        question=m.question,
        event_slug=event.slug,
        series=series,
        opens_us=read_time(m.eventStartTime or event.startTime),
        ends_us=read_time(m.endDate),
        resolution_source=source,
        rule=rule,
        rule_window_s=window_s,
        strike=metadata.priceToBeat,
        final_price=metadata.finalPrice,
        tick=m.orderPriceMinTickSize,
        order_min=m.orderMinSize,
        fee_rate=fee.rate,
        fee_exponent=fee.exponent,
        is_taker_fee_only=fee.takerOnly,
        fee_rebate=fee.rebateRate,
        is_negative_risk=m.negRisk,
        is_active=m.active,
        is_closed=m.closed,
        is_accepting_orders=m.acceptingOrders,
        resolution_status=(m.resolutionStatus if version == "v2" else m.umaResolutionStatus) or None,
        is_disputed=True if "disputed" in (*statuses, m.umaResolutionStatus) else None,
        closed_us=read_time(m.closedTime),
        updated_us=read_time(m.updatedAt),
        volume=m.volumeNum,
        category=m.category,
        tags=tags,
        id=m.id,
    )


def _read_prices(outcomes: list[str], prices: list[str]) -> dict[str, float]:
    if not prices:
        return {}
    if len(prices) != len(outcomes):
        raise DecodeError(f"{len(prices)} prices for outcomes {outcomes}", "$.outcomePrices")
    try:
        return {name: float(price) for name, price in zip(outcomes, prices, strict=True)}
    except ValueError as error:
        raise DecodeError(f"an outcome's price is no number: {error}", "$.outcomePrices") from error


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read a listing: outcomes of Gamma's markets; the oracles, which nothing lists, from any answer to /time."""
    if urlsplit(url).path == "/time":
        msgspec.json.decode(body, type=int)
        return list_oracles()
    return [instrument for market in read_markets(body)[0] for instrument in list_instruments(market)]


class _Cursor(msgspec.Struct, gc=False):
    next_cursor: str | None = None
    has_more: bool = True


class _CursorPage(msgspec.Struct, gc=False):
    next_cursor: str | None = None
    pagination: _Cursor | None = None


_decode_cursor = Decoder(_CursorPage).decode
_CLOB_END = "LTE="
"""The CLOB's cursor of the page after the last."""


def find_next_page(url: str, body: bytes) -> str | None:
    """Return the URL of the page after this one: of Gamma's keyset lists, the Data API's, the CLOB's markets."""
    parts = urlsplit(url)
    if parts.path.endswith("/keyset"):
        name = "after_cursor"
    elif parts.path.startswith("/v2/"):
        name = "cursor"
    elif parts.path == "/markets" and (parts.hostname or "").startswith("clob."):
        name = "next_cursor"
    else:
        return None
    page = _decode_cursor(body)
    within = page.pagination
    cursor = page.next_cursor if within is None else within.next_cursor if within.has_more else None
    if not cursor or cursor == _CLOB_END:
        return None
    query: dict[str, Any] = parse_qs(parts.query, keep_blank_values=True)
    query[name] = [cursor]
    return urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
