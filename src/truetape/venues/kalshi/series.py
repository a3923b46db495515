"""Finding markets: windows of 15 minutes and thresholds of the hour by their series, all else by ticker, series, category
or volume; questions by ticker."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode, urlsplit

from truetape.venues._contract import Discovery, MarketVersion, Phase, Wanted
from truetape.venues.kalshi.market import MARKET, Market, describe_result, find_payouts, list_outcomes, read_markets
from truetape.venues.kalshi.times import read_time

REST_URL = "https://api.elections.kalshi.com/trade-api/v2"
SERIES = ("15m", "1h")
ASSETS = ("BTC", "ETH", "SOL", "XRP")
BATCH_MAX = 50
AHEAD_S = 3600
"""Windows that close within this time are listed: this one and the next three."""
LIST_S = 60.0
"""Tickers are not counted but listed, and nobody says how long before a window they are."""

_STATUSES = {
    "open": ("open", "unopened"),
    "closed": ("closed", "settled"),
    "all": ("open", "unopened", "closed", "settled"),
}
_PHASES: dict[str, Phase] = {
    "closed": "closed", "determined": "proposed", "disputed": "disputed", "amended": "disputed",
}  # fmt: skip
"""The venue's status → phase, where it is neither trading nor final."""
_TICKERS = {f"KX{asset}{ending}": (asset, name) for ending, name in (("15M", "15m"), ("D", "1h")) for asset in ASSETS}
"""Series ticker → asset and series. Thresholds of an hour's end are `…D`, and so are those of a day's: no field parts them."""
EVENTS_MAX = 200
"""Events of a page."""


def name_windows(wanted: Wanted, now_s: int) -> tuple[tuple[str, int, int], ...]:
    """Name nothing: tickers are read in listings."""
    return ()


def list_urls(wanted: Wanted, now_s: int) -> tuple[str, ...]:
    """Name the listings: by series, and what the filters ask for."""
    series = [ticker for ticker, (asset, name) in _TICKERS.items() if name in wanted.series and _has(wanted, asset)]
    # A time of closing goes with no status.
    closing = {"min_close_ts": str(now_s), "max_close_ts": str(now_s + AHEAD_S)}
    urls = [_list_markets(series_ticker=ticker, **closing) for ticker in series]
    tickers = wanted.ids or wanted.slugs
    if tickers:
        urls += [_list_markets(tickers=",".join(part)) for part in _cut(tickers)]
        urls += [_list_markets(event_ticker=ticker) for ticker in wanted.slugs]
    elif wanted.is_generic:  # only events tell the category, and no listing is by volume
        list_some = _list_markets if wanted.tags and not wanted.categories else _list_events
        chosen = [{"series_ticker": tag} for tag in wanted.tags] or [{}]
        urls += [list_some(**one, status=status) for one in chosen for status in _STATUSES[wanted.status]]
    return tuple(urls)


def ask_urls(handles: Sequence[str]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Name the requests that tell of markets by their tickers."""
    if len(handles) == 1:
        return (((f"{REST_URL}/markets/{quote(handles[0])}",), tuple(handles)),)
    return tuple(((_list_markets(tickers=",".join(part)),), part) for part in _cut(handles))


def _list_markets(**query: str) -> str:
    return f"{REST_URL}/markets?{urlencode({'limit': 1000, **query})}"


def _list_events(**query: str) -> str:
    return f"{REST_URL}/events?{urlencode({'limit': EVENTS_MAX, 'with_nested_markets': 'true', **query})}"


def _cut(tickers: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(tickers[start : start + BATCH_MAX]) for start in range(0, len(tickers), BATCH_MAX)]


def _has(wanted: Wanted, asset: str) -> bool:
    return not wanted.assets or asset in wanted.assets


def read_versions(url: str, body: bytes) -> tuple[list[MarketVersion], list[str]]:
    """Read the markets of an answer."""
    return [make_version(market) for market in read_markets(body)], []


def make_version(market: Market) -> MarketVersion:
    """Tell of a market what following it needs."""
    ticker = market.event_ticker.partition("-")[0]
    asset, series = _TICKERS.get(ticker, ("", ""))
    return MarketVersion(
        market.ticker,
        market.ticker,
        {one.venue_symbol.rpartition(":")[2]: one for one in list_outcomes(market)},
        _find_phase(market),
        opens_us=read_time(market.open_time) if series == "15m" else None,
        ends_us=read_time(market.close_time),
        payouts=dict(zip(("Yes", "No"), find_payouts(market) or (), strict=False)) if _is_final(market) else {},
        is_priced=bool(market.expiration_value) and market.floor_strike is not None,
        asset=asset,
        series=series,
        id=market.event_ticker,
        tags=(ticker,),
        category=market.category,
        volume=market.volume_fp,
    )


def _is_final(market: Market) -> bool:
    return bool(describe_result(market)[4])


def _find_phase(market: Market) -> Phase:
    if market.status == "finalized":
        return "resolved" if _is_final(market) else "closed"
    return _PHASES.get(market.status, "trading")


def is_wanted(wanted: Wanted, market: MarketVersion) -> bool:
    """Tell whether the settings ask for this market: as one of a series, or by all its filters."""
    if market.series in wanted.series and _has(wanted, market.asset):
        return True
    is_open = market.phase in ("trading", "proposed", "disputed")
    return wanted.is_generic and all(
        (
            not wanted.ids or market.slug in wanted.ids,
            not wanted.slugs or market.slug in wanted.slugs or market.id in wanted.slugs,
            not wanted.tags or bool(set(wanted.tags) & set(market.tags)),
            not wanted.categories or market.category in wanted.categories,
            not wanted.volume_min or (market.volume or 0.0) >= wanted.volume_min,
            wanted.status == "all" or is_open is (wanted.status == "open"),
        )
    )


def tells(url: str) -> bool:
    """Tell whether the answer to a URL tells of markets."""
    path = urlsplit(url).path.removeprefix(urlsplit(REST_URL).path)
    return path.startswith(("/markets", "/events")) and not path.endswith(("/orderbook", "/trades"))


DISCOVERY = Discovery(
    market=MARKET,
    series=SERIES,
    assets=ASSETS,
    name_windows=name_windows,
    list_urls=list_urls,
    ask_urls=ask_urls,
    read=read_versions,
    tells=tells,
    is_wanted=is_wanted,
    list_s=LIST_S,
)
