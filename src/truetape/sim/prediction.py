"""The world behind the fake prediction venues: which markets there are, how they end, and who trades in them.

Everything is a function of the seed and of what is asked, so all fake venues (and a restarted one) agree:
strikes and settlements come from `Oracle`, trades and holdings from `Crowd`, books from `Ladder`. Quirks are the
scripted oddities of markets: late, disputed, split, of another protocol, or with seconds of the oracle missing.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import sha256
from typing import Literal
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec

from truetape.sim.oracle import ASSETS, Oracle

SERIES = {"5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "daily": 86_400}
"""Series → seconds of its windows."""
TWAP_SINCE = {"15m": 1_786_060_800, "5m": 1_786_665_600}
"""Series → when its markets began to settle on the average of 60 seconds (5m: on 30 s a week before)."""
LISTED_AHEAD_S = 86_400
"""A market is listed this long before it opens."""
V2_EVERY = 8
"""Every so many windows of a series have a market of protocol 2."""
NEW_YORK = ZoneInfo("America/New_York")

Rule = Literal["spot", "twap", "exchange"]
State = Literal["listed", "open", "ended", "proposed", "disputed", "resolved"]
_ID_STEP = 64
_GRID_S = 300
"""All windows begin and end at multiples of it."""
_KNOWN_MAX = 50_000
_DAYS_MAX = 12


class Quirk(msgspec.Struct, frozen=True):
    """A scripted oddity of all markets whose slug matches."""

    action: Literal["late", "dispute", "split", "version", "miss"]
    """Resolved later; disputed; settled half and half; of an unknown protocol; no oracle around its boundaries."""
    pattern: str = "*"
    seconds: float = 0.0
    every: int = 1
    """Only every so many windows of a series."""


class Market(msgspec.Struct, frozen=True, dict=True):
    """One up-or-down market, its future included; the path is walked when a price is asked for."""

    slug: str
    asset: str
    """Upper case: BTC."""
    series: str
    opens_s: int
    ends_s: int
    created_s: int
    number: int
    """The id that Gamma gives it."""
    condition: str
    """0x and 64 hexadecimal digits; 62 in protocol 2, where frames of the order book append 00."""
    question_id: str
    version: str
    """v1, v2, or what a quirk says."""
    tokens: tuple[str, str]
    """Token ids of Up and Down, decimal."""
    rule: Rule
    window_s: int
    """Seconds averaged; 0 where the rule is no average."""
    oracle: Oracle
    is_split: bool
    proposed_s: int
    disputed_s: int | None
    resolved_s: int
    strike_shown_s: int
    """When `priceToBeat` appears."""
    final_shown_s: int
    """When `finalPrice` appears."""

    @cached_property
    def strike(self) -> int:
        """The price to beat, E18."""
        return find_price(self.oracle, self.asset, self.rule, self.window_s, self.opens_s)

    @cached_property
    def settlement(self) -> int:
        """The price that decides, E18."""
        return find_price(self.oracle, self.asset, self.rule, self.window_s, self.ends_s)

    @property
    def official(self) -> Literal["Up", "Down", "split"]:
        """The outcome that the venue tells."""
        return "split" if self.is_split else self.computed

    def __hash__(self) -> int:
        return self.number

    @property
    def duration_s(self) -> int:
        """Seconds of the window."""
        return self.ends_s - self.opens_s

    @property
    def computed(self) -> Literal["Up", "Down"]:
        """The outcome by the rule: a tie is Up."""
        return "Up" if self.settlement >= self.strike else "Down"

    @property
    def payouts(self) -> tuple[str, str]:
        """What Up and Down pay once resolved, as Gamma writes it."""
        return {"Up": ("1", "0"), "Down": ("0", "1"), "split": ("0.5", "0.5")}[self.official]

    @property
    def event_number(self) -> int:
        """The id of the event that holds nothing but this market."""
        return self.number + len(ASSETS)

    @property
    def market_field(self) -> str:
        """The market as frames of the order book name it: 32 bytes."""
        return self.condition.ljust(66, "0")

    @property
    def source(self) -> str:
        """The address that the market's metadata name as its resolution source."""
        pair = f"{self.asset.lower()}-usd"
        if self.rule == "exchange":
            return f"https://www.binance.com/en/trade/{self.asset}_USDT"
        tail = f"-twap-{self.window_s}s-streams" if self.rule == "twap" else ""
        return f"https://data.chain.link/streams/{pair}{tail}"

    def find_state(self, at_s: float) -> State:
        """Tell how far the market is at a time, caches aside."""
        if at_s >= self.resolved_s:
            return "resolved"
        if self.disputed_s is not None and at_s >= self.disputed_s:
            return "disputed"
        if at_s >= self.proposed_s:
            return "proposed"
        return "ended" if at_s >= self.ends_s else "open" if at_s >= self.opens_s else "listed"


class Prediction:
    """All markets of one seed."""

    def __init__(self, seed: int, quirks: tuple[Quirk, ...] = (), v2_every: int = V2_EVERY) -> None:
        self.seed, self.quirks, self.v2_every = seed, quirks, v2_every
        self.oracle = Oracle(seed)
        self._known: dict[str, Market] = {}
        self._places: dict[str, tuple[str, str, int]] = {}
        """Slug, token or condition → asset, series and opening of its market."""
        self._learned: dict[int, None] = {}
        """Days whose markets' names are in `_places`."""

    # markets

    def find(self, asset: str, series: str, at_s: float, ahead: int = 0) -> Market:
        """Return the market whose window holds an instant, or one so many windows ahead (or behind) of it."""
        opens_s = find_opening(series, at_s)
        step = 1 if ahead > 0 else -1
        for _ in range(abs(ahead)):
            opens_s = find_opening(series, opens_s + SERIES[series] * 1.5 if step > 0 else opens_s - 1)
        return self._make(asset, series, opens_s)

    def find_slug(self, slug: str, at_s: float | None = None) -> Market | None:
        """Return a market by its slug; those named in words are only found within two days of an instant."""
        found = self._known.get(slug) or self._search(slug)
        return self._find_place(slug, at_s) if found is None and at_s is not None else found

    def find_number(self, number: int) -> Market | None:
        """Return a market by the id that Gamma gives it."""
        window, rest = divmod(number, _ID_STEP)
        series, asset = divmod(rest, 8)
        if series >= len(SERIES) or asset >= len(ASSETS):
            return None
        name, opens_s = list(SERIES)[series], window * 300
        return self._make(list(ASSETS)[asset], name, opens_s) if find_opening(name, opens_s) == opens_s else None

    def find_token(self, token: str, at_s: float) -> tuple[Market, int] | None:
        """Return (market, 0 for Up or 1 for Down) of a token of a market that lived within two days of an instant."""
        market = self._find_place(token, at_s)
        return None if market is None else (market, market.tokens.index(token))

    def find_condition(self, condition: str, at_s: float) -> Market | None:
        """Return a market by its condition (or the frames' market field), within two days of an instant."""
        return self._find_place(condition, at_s)

    def list_markets(
        self,
        from_s: float,
        to_s: float,
        assets: tuple[str, ...] = tuple(ASSETS),
        series: tuple[str, ...] = tuple(SERIES),
    ) -> Iterator[Market]:
        """List the markets whose windows begin from one instant to before another, by time within each series."""
        for place in _list_places(from_s, to_s, assets, series):
            yield self._make(*place)

    # the oracle as venues tell it

    def is_missing(self, asset: str, second: int) -> bool:
        """Tell whether a quirk keeps this second of the oracle from everybody."""
        return any(q.action == "miss" and self._is_near_boundary(q, asset, second) for q in self.quirks)

    def _is_near_boundary(self, quirk: Quirk, asset: str, second: int) -> bool:
        if min(second % _GRID_S, -second % _GRID_S) > quirk.seconds:
            return False
        for series in SERIES:
            for near_s in (second - quirk.seconds, second + quirk.seconds):
                opens_s = find_opening(series, near_s)
                for boundary_s in (opens_s, find_opening(series, opens_s + SERIES[series] * 1.5)):
                    if abs(second - boundary_s) <= quirk.seconds and self._fits(quirk, asset, series, boundary_s):
                        return True
        return False

    # making

    def _search(self, slug: str) -> Market | None:
        word, _, rest = slug.partition("-")
        parts = rest.split("-")
        if len(parts) == 3 and parts[0] == "updown" and parts[1] in SERIES and parts[2].isdecimal():
            asset, opens_s = word.upper(), int(parts[2])
            fits = asset in ASSETS and find_opening(parts[1], opens_s) == opens_s
            return (
                self._make(asset, parts[1], opens_s) if fits and name_slug(asset, parts[1], opens_s) == slug else None
            )
        return None

    def _find_place(self, name: str, at_s: float) -> Market | None:
        """Find a market by what its ids are made of: names are learned by the day, for ids cannot be read back."""
        if name not in self._places:
            today = int(at_s // LISTED_AHEAD_S)
            for day in range(today - 2, today + 3):
                if day not in self._learned:
                    self._learn(day)
        place = self._places.get(name)
        return None if place is None else self._make(*place)

    def _learn(self, day: int) -> None:
        self._learned[day] = None
        for asset, series, opens_s in _list_places(day * LISTED_AHEAD_S, (day + 1) * LISTED_AHEAD_S, ASSETS, SERIES):
            slug = name_slug(asset, series, opens_s)
            quirks = [q for q in self.quirks if q.action == "version" and self._fits(q, asset, series, opens_s)]
            condition, tokens = self._make_ids(slug, self._choose_version(series, opens_s, quirks))
            for name in (slug, condition, condition.ljust(66, "0"), *tokens):
                self._places[name] = asset, series, opens_s
        if len(self._learned) > _DAYS_MAX:
            old = next(iter(self._learned))
            del self._learned[old]
            self._places = {n: p for n, p in self._places.items() if p[2] // LISTED_AHEAD_S != old}

    def _fits(self, quirk: Quirk, asset: str, series: str, opens_s: int) -> bool:
        number = opens_s // SERIES[series]
        return number % quirk.every == 0 and fnmatchcase(name_slug(asset, series, opens_s), quirk.pattern)

    def _make(self, asset: str, series: str, opens_s: int) -> Market:
        slug = name_slug(asset, series, opens_s)
        market = self._known.get(slug)
        if market is None:
            market = self._known[slug] = self._build(slug, asset, series, opens_s)
            if len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]
        return market

    def _build(self, slug: str, asset: str, series: str, opens_s: int) -> Market:
        quirks = [q for q in self.quirks if self._fits(q, asset, series, opens_s)]
        ends_s = find_opening(series, opens_s + SERIES[series] * 1.5)
        rule, window_s = choose_rule(series, opens_s)
        version = self._choose_version(series, opens_s, quirks)
        condition, tokens = self._make_ids(slug, version)
        chance = crc32(f"{self.seed}/{slug}/fate".encode())
        proposed_s = ends_s + 8 + chance % 6
        latency_s = {"5m": 15 + chance % 38, "15m": 53 + chance % 38}.get(series, 570 + chance % 16)
        held_s = sum(int(q.seconds) for q in quirks if q.action in ("late", "dispute"))
        is_split = any(q.action == "split" for q in quirks)
        return Market(
            slug, asset, series, opens_s, ends_s, opens_s - LISTED_AHEAD_S + 60 + chance % 300,
            opens_s // 300 * _ID_STEP + list(SERIES).index(series) * 8 + list(ASSETS).index(asset),
            condition, self._digest(slug, "question"), version, tokens, rule, window_s, self.oracle, is_split,
            proposed_s, proposed_s + 45 if any(q.action == "dispute" for q in quirks) else None,
            ends_s + latency_s + held_s, ends_s + 120 + chance % 181, ends_s + SERIES[series] + 60 + chance % 120,
        )  # fmt: skip

    def _choose_version(self, series: str, opens_s: int, quirks: list[Quirk]) -> str:
        if any(q.action == "version" for q in quirks):
            return "v3"
        return "v2" if self.v2_every and opens_s // SERIES[series] % self.v2_every == 3 else "v1"

    def _make_ids(self, slug: str, version: str) -> tuple[str, tuple[str, str]]:
        if version == "v2":
            condition = "0x01" + self._digest(slug, "condition")[4:64]
            first = int(condition, 16) << 8
            return condition, (str(first), str(first | 1))
        up, down = (str(int(self._digest(slug, outcome), 16)) for outcome in ("Up", "Down"))
        return self._digest(slug, "condition"), (up, down)

    def _digest(self, slug: str, what: str) -> str:
        return "0x" + sha256(f"{self.seed}/{slug}/{what}".encode()).hexdigest()


def _list_places(
    from_s: float, to_s: float, assets: Iterable[str], series: Iterable[str]
) -> Iterator[tuple[str, str, int]]:
    for one in series:
        opens_s = find_opening(one, from_s)
        while opens_s < to_s:
            if opens_s >= from_s:
                yield from ((asset, one, opens_s) for asset in assets)
            opens_s = find_opening(one, opens_s + SERIES[one] * 1.5)


def choose_rule(series: str, opens_s: int) -> tuple[Rule, int]:
    """Return the rule, and the seconds it averages, of a market that opens then."""
    since_s = TWAP_SINCE.get(series)
    if series in ("1h", "daily"):
        return "exchange", 0
    if since_s is not None and opens_s >= since_s:
        return "twap", 60
    if series == "5m" and opens_s >= TWAP_SINCE["15m"]:
        return "twap", 30
    return "spot", 0


def find_price(oracle: Oracle, asset: str, rule: Rule, window_s: int, second: int) -> int:
    """Return the price that a rule takes at a boundary, in E18."""
    if rule == "twap":
        return oracle.average(asset, second, window_s)
    return oracle.exchange_price(asset, second) if rule == "exchange" else oracle.price(asset, second)


def find_opening(series: str, at_s: float) -> int:
    """Return when the window that holds an instant begins; 4 hours and days begin by New York's time."""
    length = SERIES[series]
    if series in ("5m", "15m", "1h"):
        return int(at_s // length) * length
    local = datetime.fromtimestamp(at_s, UTC).astimezone(NEW_YORK)
    if series == "daily":
        noon = local.replace(hour=12, minute=0, second=0, microsecond=0, fold=0)
        return int((noon if local >= noon else noon - timedelta(days=1)).timestamp())
    return int(local.replace(hour=local.hour // 4 * 4, minute=0, second=0, microsecond=0, fold=0).timestamp())


def name_slug(asset: str, series: str, opens_s: int) -> str:
    """Name the market of a window."""
    if series in ("5m", "15m", "4h"):
        return f"{asset.lower()}-updown-{series}-{opens_s}"
    word = ASSETS[asset].word
    local = datetime.fromtimestamp(opens_s + (SERIES[series] if series == "daily" else 0), UTC).astimezone(NEW_YORK)
    day = f"{local:%B}-{local.day}-{local.year}".lower()
    if series == "daily":
        return f"{word}-up-or-down-on-{day}"
    return f"{word}-up-or-down-{day}-{local.hour % 12 or 12}{'am' if local.hour < 12 else 'pm'}-et"
