"""The fake snapshot service: prediction markets of the common form, all of it a function of the seed and the time.

Mounted under `/snapshot`: `GET /markets?status&category&limit&cursor`, `/markets/{id}`, `/markets/{id}/prices`,
`/markets/{id}/history`; a bearer token is taken, not asked for. Markets of `short-…` end every so many hours.
"""

import math
import random
from functools import lru_cache

import msgspec

from truetape.sim.fake import FakeVenue, NoDesk
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.world import World

COUNT = 40
"""Markets that are listed at a time."""
CATEGORIES = ("crypto", "economy", "politics", "science", "sports")
HISTORY_POINTS = 24
HISTORY_STEP_S = 3600
SETTLE_S = 5400
"""A market that has closed is resolved so much later."""
SHORT_EVERY = 8
"""Every so manieth market ends within days, and another takes its place."""
SHORT_S = 36 * 3600


class Market(msgspec.Struct, frozen=True):
    """One market: who it is, and how its price moves."""

    number: int
    generation: int
    """Which of its place it is: short markets follow one another."""
    category: str
    closes_s: int | None
    base: float
    swing: float
    vigor: float
    """How much more than 1 all outcomes together cost."""
    volume: float

    @property
    def id(self) -> str:
        """Return its id."""
        return f"m{self.number:02d}" if self.closes_s is None else f"short-{self.number:02d}-{self.generation}"

    def find_status(self, at_s: float) -> str:
        """Return open, closed or resolved."""
        if self.closes_s is None or at_s < self.closes_s:
            return "open"
        return "closed" if at_s < self.closes_s + SETTLE_S else "resolved"


@lru_cache(maxsize=8192)
def make_market(seed: int, number: int, generation: int) -> Market:
    """Make a market."""
    draw = random.Random(f"{seed}/{number}/{generation}")  # noqa: S311 - a market, not a secret
    is_short = number % SHORT_EVERY == SHORT_EVERY - 1
    phase = number * 5 * 3600
    closes_s = (generation + 1) * SHORT_S + phase if is_short else None
    return Market(
        number, generation if is_short else 0, CATEGORIES[number % len(CATEGORIES)], closes_s,
        draw.uniform(0.15, 0.85), draw.uniform(0.01, 0.12), draw.uniform(0.005, 0.04),
        round(draw.lognormvariate(9, 1.2) + (1e6 if is_short else 0), 2),
    )  # fmt: skip


def list_markets(seed: int, at_s: float) -> list[Market]:
    """List what trades now."""
    found = []
    for number in range(COUNT):
        generation = int((at_s - number * 5 * 3600) // SHORT_S)
        found.append(make_market(seed, number, generation if number % SHORT_EVERY == SHORT_EVERY - 1 else 0))
    return found


def find_market(seed: int, identity: str, at_s: float) -> Market | None:
    """Return a market by its id, ended ones included."""
    parts = identity.removeprefix("short-").split("-") if identity.startswith("short-") else [identity[1:], "0"]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or int(parts[0]) >= COUNT:
        return None
    market = make_market(seed, int(parts[0]), int(parts[1]))
    begins_s = 0 if market.closes_s is None else market.closes_s - SHORT_S
    return market if market.id == identity and at_s >= begins_s else None


def read_prices(market: Market, at_s: float) -> dict[str, float]:
    """Return both prices at a moment; a resolved market pays."""
    if market.find_status(at_s) == "resolved":
        is_yes = market.base >= 0.5
        return {"Yes": float(is_yes), "No": float(not is_yes)}
    minutes = at_s / 60
    wave = math.sin(minutes / 97 + market.number) + 0.6 * math.sin(minutes / 23 + 3 * market.number)
    noise = random.Random(f"{market.id}/{int(at_s // 300)}").uniform(-0.4, 0.4)  # noqa: S311
    middle = min(max(market.base + market.swing * (wave + noise), 0.01), 0.99)
    sides = {"Yes": middle + market.vigor / 2, "No": 1 - middle + market.vigor / 2}
    return {name: min(round(price, 4), 0.999) for name, price in sides.items()}


def describe_market(market: Market, at_s: float) -> dict[str, object]:
    """Return a market as listings show it."""
    status = market.find_status(at_s)
    result = next((name for name, price in read_prices(market, at_s).items() if price == 1), None)
    return {
        "id": market.id, "question": f"Will {market.category} event {market.number} happen?", "status": status,
        "category": market.category, "volume": round(market.volume + at_s % 1e6 / 10, 2),
        "liquidity": round(market.volume / 20, 2), "closes_at": market.closes_s, "outcomes": ["Yes", "No"],
        "result": result if status == "resolved" else None,
    }  # fmt: skip


def answer(seed: int, query: Query, at_s: float) -> Reply:
    """Answer a request at a moment."""
    parts = query.path.strip("/").split("/")
    if parts == ["markets"]:
        return _list(seed, query, at_s)
    market = find_market(seed, parts[1], at_s) if parts[0] == "markets" and len(parts) in (2, 3) else None
    if market is None:
        return Reply(refuse(404), 404, quota="all")
    match parts[2:]:
        case []:
            return Reply(encode_json(describe_market(market, at_s)), quota="all")
        case ["prices"]:
            said = {"market_id": market.id, "updated_at": int(at_s), "prices": read_prices(market, at_s)}
            return Reply(encode_json(said), quota="all")
        case ["history"]:
            first_s = int(at_s // HISTORY_STEP_S - HISTORY_POINTS + 1) * HISTORY_STEP_S
            moments = [first_s + i * HISTORY_STEP_S for i in range(HISTORY_POINTS)]
            points = [{"timestamp": moment, "prices": read_prices(market, moment)} for moment in moments]
            return Reply(encode_json({"history": points}), quota="all")
    return Reply(refuse(404), 404, quota="all")


def _list(seed: int, query: Query, at_s: float) -> Reply:
    wanted = {name: query.args[name] for name in ("status", "category") if query.args.get(name)}
    rows = [describe_market(market, at_s) for market in list_markets(seed, at_s)]
    rows = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    begin, limit = query.number("cursor", 0), query.number("limit", 100, 100)
    following = begin + limit if begin + limit < len(rows) else None
    cursor = "" if following is None else str(following)
    return Reply(encode_json({"markets": rows[begin : begin + limit], "next_cursor": cursor}), quota="all")


def respond(world: World, query: Query) -> Reply:
    """Answer a request now."""
    return answer(world.seed, query, world.time.now_us() / 1e6)


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    words = {429: "too many requests", 404: "not found"}
    return encode_json({"error": words.get(status, "internal error")})


FAKE = FakeVenue(
    name="snapshot",
    hosts=("snapshot.test",),
    specs=(),
    connect=lambda query: None,
    respond=respond,
    make_desk=NoDesk,
    quotas={"all": Quota(600)},
    refuse=refuse,
    keys={},
)
