"""Fake CoinGecko: prices follow from seed and second alone, so that every answer agrees with every other.

Coins that exchanges have cost about what they cost there.

Keys are `DEMO_KEY` at the free address and `PRO_KEY` at the other; a key at the wrong address is refused as there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from truetape.sim.fake import FakeVenue, Line, NoDesk
from truetape.sim.oracle import COINS as KNOWN
from truetape.sim.oracle import E18, Asset, Oracle
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.world import World

DEMO_HOST, PRO_HOST = "api.coingecko.com", "pro-api.coingecko.com"
DEMO_KEY, PRO_KEY = "CG-fake-demo-key", "CG-fake-pro-key"
COINS = 320
"""More than one page of ranks."""
PER_MINUTE = {DEMO_HOST: 30, PRO_HOST: 500}
CACHE_S = 30
NAMES = ("bitcoin", "ethereum", "tether", "solana", "ripple", "dogecoin")
TICKERS = ("btc", "eth", "usdt", "sol", "xrp", "doge")
HOUR_S, DAY_S = 3600, 86_400
BAR_DAYS = (1, 7, 14, 30, 90, 180, 365)
CURRENCIES = ("usd", "eur", "btc")
EURO = 0.9
DOLLAR_COIN = "USDT"
MARKET_CAP = 1.68e12
"""Of the first coin; the others have ever less."""
EXCHANGED: Mapping[str, Asset] = MappingProxyType({t.upper(): KNOWN[t.upper()] for t in TICKERS if t.upper() in KNOWN})
"""Coins that exchanges have."""


def name_coin(number: int) -> str:
    """Name a coin by its number."""
    return NAMES[number] if number < len(NAMES) else f"coin-{number:03d}"


def name_ticker(number: int) -> str:
    """Give a coin its short name; some share one."""
    return TICKERS[number] if number < len(TICKERS) else f"c{number // 2}"


_NUMBERS = {name_coin(number): number for number in range(COINS)}


class Board:
    """What coins cost: those that exchanges have go where their prices go, the others in slow waves."""

    def __init__(self, oracle: Oracle, currency: str = "usd") -> None:
        self._oracle, self._currency = oracle, currency

    def price(self, number: int, second: float) -> float:
        """Return the price of a coin at a second, in the board's currency."""
        dollars = self._find_dollars(number, second)
        rates = {"usd": 1.0, "eur": EURO}
        return dollars * (rates.get(self._currency) or 1 / self._find_dollars(0, second))

    def rank(self, second: int) -> list[int]:
        """List the numbers of all coins, the largest market cap first."""
        return sorted(range(COINS), key=lambda number: -self._find_dollars(number, second) * count_supply(number))

    def _find_dollars(self, number: int, second: float) -> float:
        ticker = name_ticker(number).upper()
        if ticker in EXCHANGED:
            return float(f"{self._oracle.trend(ticker, second):.8g}")
        waves = 0.05 * math.sin(second / 40_000 + number) + 0.01 * math.sin(second / 2_000 + 2 * number)
        reach = 0.01 if ticker == DOLLAR_COIN else 1.0
        return float(f"{_find_usual(number) * (1 + waves * reach):.8g}")


def count_supply(number: int) -> float:
    """Return how many there are of a coin: neighbours come close enough to change places."""
    return MARKET_CAP / math.pow(number + 1, 1.1) / _find_usual(number)


def _find_usual(number: int) -> float:
    """Return what a coin usually costs, in USD."""
    ticker = name_ticker(number).upper()
    if ticker == DOLLAR_COIN:
        return 1.0
    return EXCHANGED[ticker].price / E18 if ticker in EXCHANGED else 60_000 / math.pow(number + 1, 1.5)


# -- answers ----------------------------------------------------------------------------------------------------


def respond(world: World, query: Query) -> Reply:
    """Answer a request; counts against the quota of its address."""
    refused = check_key(query)
    if refused is not None:
        return refused
    reply = _find_answer(query, world.now_ms // 1000, world.prediction.oracle)
    headers = {"Cache-Control": f"public, max-age={CACHE_S}"}
    return Reply(reply.body, reply.status, quota=query.host or DEMO_HOST, headers=headers)


def check_key(query: Query) -> Reply | None:
    """Refuse a request without the key of its address."""
    demo, pro = query.headers.get("x-cg-demo-api-key"), query.headers.get("x-cg-pro-api-key")
    own, other, code = (pro, demo, 10011) if query.host == PRO_HOST else (demo, pro, 10010)
    if other:
        return _fail(400, code, "the key is of another plan: use its own address")
    if own != (PRO_KEY if query.host == PRO_HOST else DEMO_KEY):
        return _fail(401, 10002, "API key missing or unknown")
    return None


def _find_answer(query: Query, now_s: int, oracle: Oracle) -> Reply:
    parts = query.path.removeprefix("/api/v3").strip("/").split("/")
    match parts:
        case ["ping"]:
            return _ok({"gecko_says": "(V3) To the Moon!"})
        case ["coins", "list"]:
            return _ok([{"id": n, "symbol": name_ticker(i), "name": n.title()} for n, i in _NUMBERS.items()])
        case ["global"]:
            return _ok({"data": _describe_total(now_s, oracle)})
        case ["coins", "markets"]:
            return _with_currency(query, oracle, lambda board: _list_ranks(query, now_s, board))
        case ["coins", coin, "ohlc" | "market_chart" as what]:
            if coin not in _NUMBERS:
                return Reply(encode_json({"error": "coin not found"}), 404)
            make = _list_bars if what == "ohlc" else _draw_chart
            return _with_currency(query, oracle, lambda board: make(query, now_s, board, _NUMBERS[coin]))
    return Reply(encode_json({"error": "Incorrect path. Please check https://www.coingecko.com/api/"}), 404)


def _with_currency(query: Query, oracle: Oracle, answer: Callable[[Board], Reply]) -> Reply:
    currency = query.args.get("vs_currency", "")
    if currency not in CURRENCIES:
        return Reply(encode_json({"error": "Missing parameter vs_currency"}), 422)
    return answer(Board(oracle, currency))


def _list_ranks(query: Query, now_s: int, board: Board) -> Reply:
    size, page = query.number("per_page", 100, 250), query.number("page", 1)
    ranks = {number: rank for rank, number in enumerate(board.rank(now_s), 1)}
    wanted: Sequence[int] = list(ranks)
    if ids := query.args.get("ids"):
        wanted = [number for number in ranks if name_coin(number) in ids.split(",")]
    chosen = wanted[(page - 1) * size : page * size]
    return _ok([_describe_coin(number, ranks[number], now_s, board) for number in chosen])


def _describe_coin(number: int, rank: int, now_s: int, board: Board) -> dict[str, object]:
    price, supply = board.price(number, now_s), count_supply(number)
    past = board.price(number, now_s - DAY_S)
    at = f"{datetime.fromtimestamp(now_s - now_s % CACHE_S, UTC):%Y-%m-%dT%H:%M:%S}.123Z"
    return {
        "id": name_coin(number), "symbol": name_ticker(number), "name": name_coin(number).title(),
        "image": "", "current_price": price, "market_cap": price * supply, "market_cap_rank": rank,
        "fully_diluted_valuation": price * supply * 1.1, "total_volume": price * supply / 20,
        "high_24h": max(price, past), "low_24h": min(price, past), "price_change_24h": price - past,
        "price_change_percentage_24h": (price / past - 1) * 100, "circulating_supply": supply,
        "total_supply": supply * 1.1, "max_supply": None if number % 3 else supply * 1.1, "ath": price * 2,
        "ath_date": "2025-10-06T18:57:42.558Z", "atl": price / 1000, "atl_date": "2013-07-06T00:00:00.000Z",
        "roi": None, "last_updated": at,
    }  # fmt: skip


def _describe_total(now_s: int, oracle: Oracle) -> dict[str, object]:
    boards = {currency: Board(oracle, currency) for currency in CURRENCIES}
    caps = [boards["usd"].price(number, now_s) * count_supply(number) for number in range(COINS)]
    total = sum(caps)
    rates = {currency: board.price(0, now_s) * count_supply(0) / caps[0] for currency, board in boards.items()}
    return {
        "active_cryptocurrencies": COINS, "upcoming_icos": 0, "ongoing_icos": 0, "ended_icos": 0, "markets": 9,
        "total_market_cap": {currency: total * rate for currency, rate in rates.items()},
        "total_volume": {currency: total * rate / 20 for currency, rate in rates.items()},
        "market_cap_percentage": {"btc": caps[0] / total * 100, "eth": caps[1] / total * 100},
        "market_cap_change_percentage_24h_usd": 0.5, "updated_at": now_s,
    }  # fmt: skip


def _list_bars(query: Query, now_s: int, board: Board, number: int) -> Reply:
    days = query.number("days", 0)
    interval = query.args.get("interval", "")
    if days not in BAR_DAYS:
        return Reply(encode_json({"error": f"days must be one of {', '.join(map(str, BAR_DAYS))}"}), 422)
    if interval and query.host != PRO_HOST:
        return _fail(401, 10005, "interval is for paid plans")
    given = {"hourly": HOUR_S, "daily": DAY_S}.get(interval)
    width = given or (HOUR_S // 2 if days <= 2 else 4 * HOUR_S if days <= 30 else 4 * DAY_S)
    last = now_s - now_s % width + width  # the time of a bar is its end: the last one is open
    ends = range(last - days * DAY_S // width * width, last + 1, width)
    return _ok([[end * 1000, *make_bar(board, number, end - width, min(end, now_s))] for end in ends])


def make_bar(board: Board, number: int, begin_s: int, end_s: int) -> list[float]:
    """Return open, high, low and close of a stretch."""
    seen = [board.price(number, begin_s + (end_s - begin_s) * part / 8) for part in range(9)]
    return [seen[0], max(seen), min(seen), seen[-1]]


def _draw_chart(query: Query, now_s: int, board: Board, number: int) -> Reply:
    days = query.number("days", 1, 365)
    is_daily = query.args.get("interval") == "daily" or days > 90
    spacing = DAY_S if is_daily else 300 if days < 2 else HOUR_S
    first = now_s - days * DAY_S
    grid = range(first - first % spacing + spacing, now_s, spacing)
    # Points of a day are at midnight; the others come a little after their time, each by another while.
    ms = [at * 1000 + (0 if is_daily else at * 7919 % 100_000) for at in grid]
    times = [*(at for at in ms if at < now_s * 1000), now_s * 1000]  # the last one is now
    prices = [board.price(number, at / 1000) for at in times]
    caps = [price * count_supply(number) for price in prices]
    series: Mapping[str, list[float]] = {
        "prices": prices,
        "market_caps": caps,
        "total_volumes": [cap / 20 for cap in caps],
    }
    return _ok({name: [list(point) for point in zip(times, values, strict=True)] for name, values in series.items()})


def _ok(body: object) -> Reply:
    return Reply(encode_json(body))


def _fail(status: int, code: int, text: str) -> Reply:
    return Reply(refuse(code, text), status)


def refuse(code: int, text: str = "You've exceeded the Rate Limit.") -> bytes:
    """Write an error as it does."""
    return encode_json({"status": {"error_code": code, "error_message": text}})


def connect(query: Query) -> Line | Reply | None:
    """Have nothing to connect to."""
    return None


FAKE = FakeVenue(
    name="coingecko",
    hosts=(DEMO_HOST, PRO_HOST),
    specs=(),
    connect=connect,
    respond=respond,
    make_desk=NoDesk,
    quotas={host: Quota(count) for host, count in PER_MINUTE.items()},
    refuse=refuse,
    keys={"DEMO": DEMO_KEY},
)
