"""CoinGecko: coins with market caps and ranks, the whole market, bars and charts; asked by jobs, never streamed.

Bars carry the time they close at, the last one may still be open. The last point of a chart is "now", not on its
grid, and is not kept. Answers overlap: a closed bar and a chart's point are rows once, when first told.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Ask, Credentials, Feed, OnMessage, Rest, Venue

NAME = "coingecko"
FEED = "rest"
LIST_MARKET = "list"
"""Product line of coins as listed; those with prices are of the currency's (`usd`)."""
PAGE_COINS_MAX = 250
CACHE_S = 60.0
"""Asked again sooner, it gives the same answer."""
PAUSE_S = 60.0
"""Wait after a 429 that does not say how long."""
BAR_DAYS = (1, 7, 14, 30, 90, 180, 365)
"""Spans that bars can be asked for."""
DAYS_MAX = 365
"""How far back the free plan goes."""
HOURLY_DAYS = (2, 90)
"""Charts of such spans are hourly; shorter ones have a point each five minutes, longer ones one a day."""
SPANS_MAX = 16
"""Spans of a chart that are remembered as told, the newest of them."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = MappingProxyType(
    {"5m": 300_000, "30m": 1_800_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000, "4d": 345_600_000}
)
_KEY_CODES = (10002, 10005, 10006, 10010, 10011)
"""No key; not of this plan; no such key; a key of one plan at the other's address."""


# -- plans, and what to ask -------------------------------------------------------------------------------------


class Plan(msgspec.Struct, frozen=True):
    """What a key opens: an address of its own, and more of it."""

    name: str
    root: str
    credentials: Credentials
    has_intervals: bool = False
    """Whether bars can be asked for by the hour and the day."""


def _make_plan(name: str, host: str, header: str, *, has_intervals: bool) -> Plan:
    def sign(values: Mapping[str, str], method: str, url: str, body: bytes, now_ms: int) -> dict[str, str]:
        return {header: values[name]}

    origin = "https://www.coingecko.com/en/developers/dashboard"
    return Plan(name, f"https://{host}/api/v3", Credentials((name,), origin, sign, (host,)), has_intervals)


PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        "PRO": _make_plan("PRO", "pro-api.coingecko.com", "x-cg-pro-api-key", has_intervals=True),
        "DEMO": _make_plan("DEMO", "api.coingecko.com", "x-cg-demo-api-key", has_intervals=False),
    }
)
"""By the name of the key, the better one first."""


def ask_list(plan: Plan) -> Ask:
    """Ask for all coins there are."""
    return Ask(FEED, f"{plan.root}/coins/list", reason="coins")


def ask_ranks(plan: Plan, currency: str, page: int) -> Ask:
    """Ask for one page of the list by market cap."""
    query = {"vs_currency": currency, "order": "market_cap_desc", "per_page": PAGE_COINS_MAX, "page": page}
    return Ask(FEED, f"{plan.root}/coins/markets?{urlencode(query)}", reason="ranks", page=page)


def ask_coins(plan: Plan, currency: str, ids: tuple[str, ...]) -> Ask:
    """Ask for the same of coins by their ids, at most a page of them."""
    query = {"vs_currency": currency, "ids": ",".join(ids), "per_page": PAGE_COINS_MAX, "page": 1}
    return Ask(FEED, f"{plan.root}/coins/markets?{urlencode(query)}", reason="coins by id")


def ask_total(plan: Plan) -> Ask:
    """Ask for the whole market."""
    return Ask(FEED, f"{plan.root}/global", reason="total")


def ask_bars(plan: Plan, coin: str, currency: str, days: int, interval: str) -> Ask:
    """Ask for bars of at least so many days; `interval` (hourly, daily) is for plans that have it."""
    span = next((one for one in BAR_DAYS if one >= days), BAR_DAYS[-1])
    query = {"vs_currency": currency, "days": span} | ({"interval": interval} if plan.has_intervals else {})
    return Ask(FEED, f"{plan.root}/coins/{coin}/ohlc?{urlencode(query)}", reason=f"bars {interval}")


def ask_chart(plan: Plan, coin: str, currency: str, days: int, interval: str) -> Ask:
    """Ask for a chart of at least so many days, with points by the hour or the day."""
    low, high = HOURLY_DAYS
    query: dict[str, str | int] = {"vs_currency": currency, "days": min(days, DAYS_MAX)}
    if interval == "hourly":
        query["days"] = max(low, min(days, high))
    else:
        query["interval"] = "daily"
    return Ask(FEED, f"{plan.root}/coins/{coin}/market_chart?{urlencode(query)}", reason=f"chart {interval}")


# -- what it complains of ---------------------------------------------------------------------------------------


class Complaint(msgspec.Struct, frozen=True):
    """An error that an answer tells, whatever its HTTP status."""

    code: int | None
    text: str

    @property
    def is_about_key(self) -> bool:
        """Whether it is our key that is wrong."""
        return self.code in _KEY_CODES


class _Status(msgspec.Struct):
    error_code: int | None = None
    error_message: str = ""


class _Inner(msgspec.Struct):
    status: _Status | int | None = None


class _Outer(msgspec.Struct):
    status: _Status | int | None = None
    error: _Inner | str | None = None


_read_outer = msgspec.json.Decoder(_Outer).decode


def find_complaint(body: bytes) -> Complaint | None:
    """Return what an answer complains of, in any of the forms the service has for it; null: nothing."""
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        outer = _read_outer(body)
    except msgspec.DecodeError:
        return None  # not JSON, or the fields mean something else there: who reads it will say so
    if isinstance(outer.error, str):
        return Complaint(outer.status if isinstance(outer.status, int) else None, outer.error)
    status = outer.error.status if outer.error is not None else outer.status
    if isinstance(status, _Status) and status.error_code:
        return Complaint(status.error_code, status.error_message)
    return None


# -- decoding ---------------------------------------------------------------------------------------------------


class _Listed(msgspec.Struct):
    id: str
    symbol: str
    name: str


class _Ranked(msgspec.Struct):
    id: str
    symbol: str
    name: str
    current_price: float | None = None
    market_cap: float | None = None
    market_cap_rank: int | None = None
    fully_diluted_valuation: float | None = None
    total_volume: float | None = None
    high_24h: float | None = None
    low_24h: float | None = None
    price_change_percentage_24h: float | None = None
    circulating_supply: float | None = None
    total_supply: float | None = None
    max_supply: float | None = None
    ath: float | None = None
    ath_date: datetime | None = None
    atl: float | None = None
    atl_date: datetime | None = None
    last_updated: datetime | None = None


class _Total(msgspec.Struct):
    active_cryptocurrencies: int
    markets: int
    total_market_cap: dict[str, float]
    total_volume: dict[str, float]
    market_cap_percentage: dict[str, float]
    market_cap_change_percentage_24h_usd: float | None
    updated_at: int


class _Global(msgspec.Struct):
    data: _Total


Point = tuple[int, float | None]


class _Chart(msgspec.Struct):
    prices: list[Point]
    market_caps: list[Point]
    total_volumes: list[Point]


_read_list = msgspec.json.Decoder(list[_Listed]).decode
_read_ranks = msgspec.json.Decoder(list[_Ranked]).decode
_read_total = msgspec.json.Decoder(_Global).decode
_read_bars = msgspec.json.Decoder(list[tuple[int, float, float, float, float]]).decode
_read_chart = msgspec.json.Decoder(_Chart).decode


def check_answer(url: str, body: bytes) -> None:
    """Raise DecodeError when an answer is not of the form that its address has."""
    match _read_address(url).path:
        case ("coins", "list"):
            read: Callable[[bytes], object] = _read_list
        case ("coins", "markets"):
            read = _read_ranks
        case ("global",):
            read = _read_total
        case (_, _, "ohlc"):
            read = _read_bars
        case _:
            read = _read_chart
    try:
        read(body)
    except msgspec.DecodeError as error:
        raise DecodeError(f"{urlsplit(url).path}: {error}") from error


def list_ids(body: bytes) -> list[str]:
    """Return the coins of an answer about ranks, in its order."""
    return [coin.id for coin in _read_ranks(body)]


class _Asked(msgspec.Struct, frozen=True):
    """What an answer is the answer to."""

    path: tuple[str, ...]
    args: dict[str, str]

    @property
    def currency(self) -> str:
        return self._take("vs_currency").lower()

    @property
    def days(self) -> int:
        """The span; what is further back than everything counts as very long."""
        text = self._take("days")
        if text == "max":
            return 1 << 20
        if not text.isdigit():
            raise DecodeError(f"days={text} is neither a number nor max", "url")
        return int(text)

    def _take(self, name: str) -> str:
        if name not in self.args:
            raise DecodeError(f"the address does not say {name}", "url")
        return self.args[name]


def _read_address(url: str) -> _Asked:
    parts = urlsplit(url)
    path = parts.path.partition("/api/v3")[2] or parts.path
    return _Asked(tuple(part for part in path.split("/") if part), dict(parse_qsl(parts.query)))


def _name_bar(asked: _Asked) -> str:
    given = {"hourly": "1h", "daily": "1d"}.get(asked.args.get("interval", ""))
    return given or ("30m" if asked.days <= 2 else "4h" if asked.days <= 30 else "4d")


def _name_spacing(asked: _Asked) -> str:
    given = {"5m": "5m", "hourly": "1h", "daily": "1d"}.get(asked.args.get("interval", ""))
    if given:
        return given
    if "days" in asked.args:
        days: float = asked.days
    else:
        days = (int(asked._take("to")) - int(asked._take("from"))) / 86_400
    low, high = HOURLY_DAYS
    return "5m" if days < low else "1h" if days <= high else "1d"


class Decoder:
    """Turns answers into rows."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe

    def open(self, feed: str, connection: str) -> OnMessage:
        """Refuse: it has no streams."""
        raise DecodeError(f"{NAME} streams nothing; frames of feed {feed!r} cannot be its")

    def respond(self, response: Response) -> bool:
        """Decode an answer; what is none of ours to keep is control."""
        complaint = find_complaint(response.body)
        if complaint is not None:
            place = response.connection, response.received_ns, response.offset
            self._scribe.complain(FEED, *place, complaint.code, complaint.text)
            return False
        asked = _read_address(response.url)
        match asked.path:
            case ("coins", "list"):
                self._take_list(response)
            case ("coins", "markets"):
                self._take_ranks(response, asked)
            case ("global",):
                self._take_total(response)
            case ("coins", coin, "ohlc"):
                self._take_bars(response, asked, coin)
            case ("coins", coin, "market_chart") | ("coins", coin, "market_chart", "range"):
                self._take_chart(response, asked, coin)
            case _:
                return False
        return True

    def _take_list(self, response: Response) -> None:
        for coin in _read_list(response.body):
            found = Instrument(
                NAME, LIST_MARKET, coin.id, coin.id, "coin", base=coin.symbol.upper() or None, is_listed=True
            )
            self._scribe.learn(found, response.received_ns, response.offset)

    def _take_ranks(self, response: Response, asked: _Asked) -> None:
        currency, rows = asked.currency, self._scribe.plain("coin")
        for coin in _read_ranks(response.body):
            stream = self._scribe.stream("coin", FEED, name_coin(currency, coin.id))
            rows.append(
                (
                    stream.index, _to_us(coin.last_updated), response.received_ns, response.offset,
                    "snapshot", None, currency.upper(), coin.symbol.upper(), coin.name, coin.current_price,
                    coin.market_cap, coin.market_cap_rank, coin.fully_diluted_valuation, coin.total_volume,
                    coin.high_24h, coin.low_24h, coin.price_change_percentage_24h, coin.circulating_supply,
                    coin.total_supply, coin.max_supply, coin.ath, _to_us(coin.ath_date), coin.atl,
                    _to_us(coin.atl_date),
                )
            )  # fmt: skip

    def _take_total(self, response: Response) -> None:
        total, rows = _read_total(response.body).data, self._scribe.plain("coin_total")
        shares = total.market_cap_percentage
        for currency, cap in total.total_market_cap.items():
            whole = Instrument(NAME, currency, "", f"ALL-{currency.upper()}", "coin")
            stream = self._scribe.stream("coin_total", FEED, whole)
            change = total.market_cap_change_percentage_24h_usd if currency == "usd" else None
            rows.append(
                (
                    stream.index, total.updated_at * 1_000_000, response.received_ns, response.offset,
                    currency.upper(), cap, total.total_volume.get(currency), change, shares.get("btc"),
                    shares.get("eth"), total.active_cryptocurrencies, total.markets,
                )
            )  # fmt: skip

    def _take_bars(self, response: Response, asked: _Asked, coin: str) -> None:
        interval, rows = _name_bar(asked), self._scribe.plain("candle")
        stream = self._scribe.stream("candle", FEED, name_coin(asked.currency, coin))
        bars = _read_bars(response.body)
        closed = [bar for bar in bars if bar[0] * 1_000_000 <= response.received_ns]
        is_told = self._remember(f"candle/{asked.currency}/{coin}/{interval}", [bar[0] for bar in closed])
        for bar in bars:
            is_closed = bar[0] * 1_000_000 <= response.received_ns
            if is_closed and is_told(bar[0]):
                continue
            rows.append(
                (
                    stream.index, bar[0] * 1000 if is_closed else None, response.received_ns, response.offset,
                    interval, (bar[0] - _MS[interval]) * 1000, *bar[1:], None, None, None, None, is_closed,
                )
            )  # fmt: skip

    def _take_chart(self, response: Response, asked: _Asked, coin: str) -> None:
        chart, currency, interval = _read_chart(response.body), asked.currency, _name_spacing(asked)
        caps, volumes = dict(chart.market_caps), dict(chart.total_volumes)
        points = chart.prices if _is_past(asked, response.received_ns) else chart.prices[:-1]
        stream, rows = self._scribe.stream("coin", FEED, name_coin(currency, coin)), self._scribe.plain("coin")
        is_told = self._remember(f"coin/{currency}/{coin}/{interval}", [at for at, _ in points])
        for at, price in points:
            if is_told(at):
                continue
            rows.append(
                (
                    stream.index, at * 1000, response.received_ns, response.offset,
                    "chart", interval, currency.upper(), None, None, price,
                    caps.get(at), None, None, volumes.get(at), *[None] * 10,
                )
            )  # fmt: skip

    def _remember(self, key: str, times: list[int]) -> Callable[[int], bool]:
        """Take that what lies between the first and the last time is told now; return what tells whether it was before."""
        spans: dict[str, list[tuple[int, int]]] = self._scribe.rows.memory.setdefault(NAME, {})
        known = [(low, high) for low, high in spans.get(key, [])]
        if times:
            spans[key] = join_spans([*known, (min(times), max(times))])[-SPANS_MAX:]
        return lambda at: any(low <= at <= high for low, high in known)


def join_spans(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, those that touch as one."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


def _is_past(asked: _Asked, received_ns: int) -> bool:
    """Tell whether a chart was asked for up to a time long gone: it has no point of now."""
    until = asked.args.get("to", "")
    return until.isdigit() and int(until) + 86_400 < received_ns // 1_000_000_000


def name_coin(currency: str, coin: str) -> Instrument:
    """Name a coin in a currency."""
    return Instrument(NAME, currency, coin, f"{coin}-{currency.upper()}", "coin", quote=currency.upper())


def _to_us(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // timedelta(microseconds=1)


def _explain(body: bytes) -> str:
    complaint = find_complaint(body)
    return "" if complaint is None else f"{complaint.code or ''} {complaint.text}".strip()[:200]


def _refuse_listing(url: str, body: bytes) -> list[Instrument]:
    raise DecodeError(f"{NAME} lists coins, which are nothing to subscribe")


def _list_no_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    return ()


def _subscribe_nothing(feed: Feed, topics: object, number: int) -> bytes:
    return b""


VENUE = Venue(
    name=NAME,
    title="CoinGecko",
    feeds=(),
    rest=Rest(weight_per_minute_max=30, ban_statuses=(429,), ban_default_s=PAUSE_S),
    listings=(),
    continuity=(),
    make_decoder=Decoder,
    read_listing=_refuse_listing,
    name_instrument=name_coin,
    list_topics=_list_no_topics,
    subscribe=_subscribe_nothing,
    unsubscribe=_subscribe_nothing,
    find_feed=lambda url: FEED,
    credentials=PLANS["DEMO"].credentials,
    explain=_explain,
)
