"""Finding markets: windows whose names can be counted, listings for all others, questions by slug.

A list hides closed events unless asked for them, and shows past ones that nobody closed: so a market that is
followed is asked for by its slug, and many at once are asked for twice, as open and as closed ones.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from truetape.venues._contract import Discovery, MarketVersion, Phase, Wanted
from truetape.venues.polymarket.gamma import sift_markets
from truetape.venues.polymarket.market import Market, list_instruments
from truetape.venues.polymarket.naming import CLOB
from truetape.venues.polymarket.window import COUNTED, SECONDS, name_event_url, name_window, read_window

_GAMMA = "https://gamma-api.polymarket.com"
_WORDS = {
    "BTC": "bitcoin", "ETH": "ethereum", "SOL": "solana", "XRP": "xrp", "DOGE": "dogecoin", "BNB": "bnb",
    "HYPE": "hyperliquid", "ZEC": "zcash",
}  # fmt: skip
"""Asset → how names in words call it."""
_ASSETS = {word: asset for asset, word in _WORDS.items()} | {asset.lower(): asset for asset in _WORDS}
_ENDINGS = {"5m": "5m", "15m": "15m", "1h": "hourly", "4h": "4h", "daily": "daily"}
"""Series → how its slug ends."""
_LENGTHS_US = {name: SECONDS.get(name, 0) * 1_000_000 for name in _ENDINGS} | {
    "1h": 3_600_000_000,
    "daily": 86_400_000_000,
}
_SERIES = re.compile(rf"([a-z]+)-up-or-down-({'|'.join(_ENDINGS.values())})")
_IN_WORDS = re.compile(r"([a-z]+)-up-or-down-(on-)?[a-z]+-\d{1,2}(?:-\d{4})?(-\d{1,2}[ap]m-et)?")
"""bitcoin-up-or-down-january-23-1pm-et, bitcoin-up-or-down-on-january-23"""

AHEAD_S = 26 * 3600
"""Markets are made a day before their window."""
SINGLES_MAX = 8
"""So many are asked for one by one, which no hidden filter touches; more in batches."""
BATCH_MAX = 50
PAGE = 100


def name_windows(wanted: Wanted, now_s: int) -> tuple[tuple[str, int, int], ...]:
    """Name this window's and the next window's markets of the series that can be counted."""
    named = []
    for series in wanted.series:
        for asset in (wanted.assets or _WORDS) if series in COUNTED else ():
            for ahead in (0, 1):
                begin_s = (now_s // SECONDS[series] + ahead) * SECONDS[series]
                named.append((name_window(asset, series, now_s, ahead), begin_s, begin_s + SECONDS[series]))
    return tuple(named)


def list_urls(wanted: Wanted, now_s: int) -> tuple[str, ...]:
    """Name the listings of all that cannot be counted: other series, and whatever the filters ask for."""
    return (*_list_series(wanted, now_s), *(_list_generic(wanted) if wanted.is_generic else ()))


def _list_series(wanted: Wanted, now_s: int) -> Iterator[str]:
    ends = {"end_date_min": _write_time(now_s), "end_date_max": _write_time(now_s + AHEAD_S)}
    for series in wanted.series:
        for asset in (wanted.assets or _WORDS) if series not in COUNTED else ():
            # Both spellings are in use, not the same one for all assets and series.
            for name in dict.fromkeys((asset.lower(), _WORDS[asset])):
                yield _list_events(series_slug=f"{name}-up-or-down-{_ENDINGS[series]}", closed="false", **ends)


def _list_generic(wanted: Wanted) -> Iterator[str]:
    """Ask by what tells most; what else must hold is looked at in the answers."""
    closed = {"open": ("false",), "closed": ("true",)}.get(wanted.status, ("false", "true"))
    if wanted.ids:
        for key, ids in (("condition_ids", True), ("id", False)):
            asked = [one for one in wanted.ids if one.startswith("0x") is ids]
            for is_closed in closed if asked else ():
                yield f"{_GAMMA}/markets/keyset?{urlencode([*((key, one) for one in asked), ('closed', is_closed), ('limit', PAGE)])}"
    elif wanted.slugs:
        for slug in wanted.slugs:
            yield f"{_GAMMA}/events/slug/{slug}"
            yield f"{_GAMMA}/markets/slug/{slug}"
    else:
        more = {"volume_min": f"{wanted.volume_min:g}"} if wanted.volume_min else {}
        for is_closed in closed:
            for tag in wanted.tags or ("",):
                yield _list_events(**({"tag_slug": tag} if tag else {}), closed=is_closed, **more)


def _list_events(**query: str) -> str:
    return f"{_GAMMA}/events/keyset?{urlencode({**query, 'limit': PAGE})}"


def _write_time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ask_urls(handles: Sequence[str]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Name the requests that tell of events by their slugs."""
    if len(handles) <= SINGLES_MAX:
        return tuple(((name_event_url(slug),), (slug,)) for slug in handles)
    batches = [tuple(handles[start : start + BATCH_MAX]) for start in range(0, len(handles), BATCH_MAX)]
    return tuple((tuple(_name_batch(slugs, closed) for closed in ("false", "true")), slugs) for slugs in batches)


def _name_batch(slugs: Sequence[str], closed: str) -> str:
    return f"{_GAMMA}/events?{urlencode([*(('slug', slug) for slug in slugs), ('closed', closed), ('limit', PAGE)])}"


def read_versions(url: str, body: bytes) -> tuple[list[MarketVersion], list[str]]:
    """Read the markets of an answer, and why others are refused; a list without any is no fault."""
    if urlsplit(url).path == "/events" and body.strip() == b"[]":
        return [], []
    markets, refused = sift_markets(body)
    return [make_version(market) for market in markets], refused


def make_version(market: Market) -> MarketVersion:
    """Tell of a market what following it needs."""
    asset, series = classify(market)
    opens_us, ends_us = market.opens_us, market.ends_us
    if opens_us is None and ends_us is not None and series:
        opens_us = ends_us - _LENGTHS_US[series]
    skip = len(market.slug) + 1
    return MarketVersion(
        market.slug,
        market.condition,
        {instrument.symbol[skip:]: instrument for instrument in list_instruments(market)},
        _find_phase(market),
        handle=market.event_slug or market.slug,
        opens_us=opens_us if series else None,
        ends_us=ends_us,
        payouts=market.prices if market.is_resolved else {},
        is_priced=market.strike is not None and market.final_price is not None,
        asset=asset,
        series=series,
        id=market.id or "",
        category=market.category or "",
        tags=market.tags,
        volume=market.volume,
    )


def _find_phase(market: Market) -> Phase:
    if market.is_resolved:
        return "resolved"
    if market.resolution_status in ("proposed", "disputed"):
        return "proposed" if market.resolution_status == "proposed" else "disputed"
    return "closed" if market.is_closed else "trading"


def classify(market: Market) -> tuple[str, str]:
    """Tell asset and series of an up-or-down market, by its slug or its event's series; empty texts for others."""
    window = read_window(market.slug)
    if window is not None:
        return window.asset, window.series
    found = _SERIES.fullmatch(market.series or "")
    if found is not None:
        series = next(name for name, ending in _ENDINGS.items() if ending == found[2])
        return _ASSETS.get(found[1], ""), series
    words = _IN_WORDS.fullmatch(market.slug)
    if words is None or bool(words[2]) == bool(words[3]):
        return "", ""
    return _ASSETS.get(words[1], ""), "daily" if words[2] else "1h"


def is_wanted(wanted: Wanted, market: MarketVersion) -> bool:
    """Tell whether the settings ask for this market: as one of a series, or by all its filters."""
    if market.asset and market.series in wanted.series and market.asset in (wanted.assets or _WORDS):
        return True
    return wanted.is_generic and all(
        (
            not wanted.ids or market.id in wanted.ids or market.condition in wanted.ids,
            not wanted.slugs or market.slug in wanted.slugs or market.handle in wanted.slugs,
            not wanted.tags or bool(set(wanted.tags) & set(market.tags)),
            not wanted.categories or market.category in wanted.categories,
            wanted.status == "all"
            or (market.phase in ("trading", "proposed", "disputed")) is (wanted.status == "open"),
            not wanted.volume_min or (market.volume or 0) >= wanted.volume_min,
        )
    )


DISCOVERY = Discovery(
    market=CLOB,
    series=tuple(_ENDINGS),
    assets=tuple(_WORDS),
    name_windows=name_windows,
    list_urls=list_urls,
    ask_urls=ask_urls,
    read=read_versions,
    tells=lambda url: url.startswith((f"{_GAMMA}/events", f"{_GAMMA}/markets")),
    is_wanted=is_wanted,
)
