"""Fake CoinGecko: coins whose prices follow from the second alone, so that every answer agrees with every other.

Keys are `DEMO_KEY` at the free address and `PRO_KEY` at the other; a key at the wrong address is refused as there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from truetape.sim.protocol import FakeVenue, Line, NoDesk, Query, Quota, Reply, encode_json
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
RATES = MappingProxyType({"usd": 1.0, "eur": 0.9, "btc": 1 / 60_000})

Answer = Callable[[Query, int], Reply]


def name_coin(number: int) -> str:
    """Name a coin by its number."""
    return NAMES[number] if number < len(NAMES) else f"coin-{number:03d}"


def name_ticker(number: int) -> str:
    """Give a coin its short name; some share one."""
    return TICKERS[number] if number < len(TICKERS) else f"c{number // 2}"


_NUMBERS = {name_coin(number): number for number in range(COINS)}


def price_coin(number: int, second: float) -> float:
    """Return the price of a coin in USD at a second: slow waves around what it usually costs."""
    usual = 60_000 / math.pow(number + 1, 1.5)
    waves = 0.05 * math.sin(second / 40_000 + number) + 0.01 * math.sin(second / 2_000 + 2 * number)
    return float(f"{usual * (1 + waves):.8g}")


def count_supply(number: int) -> float:
    """Return how many there are of a coin: neighbours come close enough to change places."""
    return 20_000_000 * math.pow(number + 1, 0.4)


def rank_coins(second: int) -> list[int]:
    """List the numbers of all coins, the largest market cap first."""
    return sorted(range(COINS), key=lambda number: -price_coin(number, second) * count_supply(number))


# -- answers ----------------------------------------------------------------------------------------------------


def respond(world: World, query: Query) -> Reply:
    """Answer a request; counts against the quota of its address."""
    refused = check_key(query)
    if refused is not None:
        return refused
    reply = _find_answer(query, world.now_ms // 1000)
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


def _find_answer(query: Query, now_s: int) -> Reply:
    parts = query.path.removeprefix("/api/v3").strip("/").split("/")
    match parts:
        case ["ping"]:
            return _ok({"gecko_says": "(V3) To the Moon!"})
        case ["coins", "list"]:
            return _ok([{"id": n, "symbol": name_ticker(i), "name": n.title()} for n, i in _NUMBERS.items()])
        case ["global"]:
            return _ok({"data": _describe_total(now_s)})
        case ["coins", "markets"]:
            return _with_currency(query, now_s, _list_ranks)
        case ["coins", coin, "ohlc" | "market_chart" as what]:
            if coin not in _NUMBERS:
                return Reply(encode_json({"error": "coin not found"}), 404)
            make = _list_bars if what == "ohlc" else _draw_chart
            return _with_currency(query, now_s, lambda query, now: make(query, now, _NUMBERS[coin]))
    return Reply(encode_json({"error": "Incorrect path. Please check https://www.coingecko.com/api/"}), 404)


def _with_currency(query: Query, now_s: int, answer: Answer) -> Reply:
    if query.args.get("vs_currency") not in RATES:
        return Reply(encode_json({"error": "Missing parameter vs_currency"}), 422)
    return answer(query, now_s)


def _list_ranks(query: Query, now_s: int) -> Reply:
    size, page = query.number("per_page", 100, 250), query.number("page", 1)
    ranks = {number: rank for rank, number in enumerate(rank_coins(now_s), 1)}
    wanted: Sequence[int] = list(ranks)
    if ids := query.args.get("ids"):
        wanted = [number for number in ranks if name_coin(number) in ids.split(",")]
    chosen = wanted[(page - 1) * size : page * size]
    rate = RATES[query.args["vs_currency"]]
    return _ok([_describe_coin(number, ranks[number], now_s, rate) for number in chosen])


def _describe_coin(number: int, rank: int, now_s: int, rate: float) -> dict[str, object]:
    price, supply = price_coin(number, now_s) * rate, count_supply(number)
    past = price_coin(number, now_s - DAY_S) * rate
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


def _describe_total(now_s: int) -> dict[str, object]:
    caps = [price_coin(number, now_s) * count_supply(number) for number in range(COINS)]
    total = sum(caps)
    return {
        "active_cryptocurrencies": COINS, "upcoming_icos": 0, "ongoing_icos": 0, "ended_icos": 0, "markets": 9,
        "total_market_cap": {currency: total * rate for currency, rate in RATES.items()},
        "total_volume": {currency: total * rate / 20 for currency, rate in RATES.items()},
        "market_cap_percentage": {"btc": caps[0] / total * 100, "eth": caps[1] / total * 100},
        "market_cap_change_percentage_24h_usd": 0.5, "updated_at": now_s,
    }  # fmt: skip


def _list_bars(query: Query, now_s: int, number: int) -> Reply:
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
    return _ok([[end * 1000, *make_bar(number, end - width, min(end, now_s), query)] for end in ends])


def make_bar(number: int, begin_s: int, end_s: int, query: Query) -> list[float]:
    """Return open, high, low and close of a stretch."""
    rate = RATES[query.args["vs_currency"]]
    seen = [price_coin(number, begin_s + (end_s - begin_s) * part / 8) * rate for part in range(9)]
    return [seen[0], max(seen), min(seen), seen[-1]]


def _draw_chart(query: Query, now_s: int, number: int) -> Reply:
    days = query.number("days", 1, 365)
    is_daily = query.args.get("interval") == "daily" or days > 90
    spacing = DAY_S if is_daily else 300 if days < 2 else HOUR_S
    first = now_s - days * DAY_S
    grid = range(first - first % spacing + spacing, now_s, spacing)
    # Points of a day are at midnight; the others come a little after their time, each by another while.
    ms = [at * 1000 + (0 if is_daily else at * 7919 % 100_000) for at in grid]
    times = [*(at for at in ms if at < now_s * 1000), now_s * 1000]  # the last one is now
    rate = RATES[query.args["vs_currency"]]
    prices = [price_coin(number, at / 1000) * rate for at in times]
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
