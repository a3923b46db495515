"""What a service's answers look like: paths and names of fields, as data; presets of known services.

Which form an answer has is said in the fragment of its address, which no request carries: so the tape alone tells how
to read it, whatever the settings say by then.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec

from truetape.errors import ConfigError, DecodeError, suggest

PATHS = ("markets", "market", "prices", "history")
FIELDS: dict[str, str] = {
    "rows": "where a listing holds its markets; empty: it is a list itself",
    "cursor": "where a listing tells the next page's cursor; empty: all is on one page",
    "cursor_argument": "argument that takes the cursor",
    "one": "where an answer about one market holds it; empty: it is the market itself",
    "id": "the market's id",
    "question": "what is asked",
    "category": "category",
    "status": "a word that is one of open_words, closed_words, resolved_words",
    "open_words": "words of a market that trades, with commas between",
    "closed_words": "words of one that trades no more",
    "resolved_words": "words of one whose result is final",
    "resolved": "another field that has one of resolved_words once the result is final",
    "result": "the outcome that won",
    "volume": "volume so far",
    "liquidity": "liquidity",
    "closes_at": "when trading is to end: ISO text, seconds or milliseconds",
    "updated_at": "when the service last changed what it tells",
    "outcomes": "list of outcomes' names, or the JSON text of one",
    "prices": "an object of outcome to price, a list of objects, or a list of prices as long as `outcomes`",
    "outcome_name": "name of an outcome, in a list of objects",
    "outcome_price": "its price",
    "outcome_id": "its id, by which `result` and points of history may name it",
    "yes": "price of Yes, where an answer has no `prices`",
    "no": "price of No, likewise",
    "history_rows": "where a history holds its points; empty: it is a list itself",
    "history_at": "time of a point",
    "history_prices": "its prices: an object of outcome to price",
    "history_price": "price of one outcome, where a point has no `history_prices`",
    "history_outcome": "name or id of that outcome; Yes, where a point has none",
}
"""Our names of fields, and what they are for; a field that a service does not have is empty."""

_COMMON = {
    "rows": "markets", "cursor": "next_cursor", "cursor_argument": "cursor", "id": "id", "question": "question",
    "category": "category", "status": "status", "open_words": "open", "closed_words": "closed",
    "resolved_words": "resolved", "result": "result", "volume": "volume", "liquidity": "liquidity",
    "closes_at": "closes_at", "updated_at": "updated_at", "outcomes": "outcomes", "prices": "prices",
    "history_rows": "history", "history_at": "timestamp", "history_prices": "prices",
}  # fmt: skip


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service's form."""

    paths: dict[str, str]
    fields: dict[str, str]
    url: str = ""
    key_origin: str = "the service's account page"
    """Where a person gets a token."""
    key_scheme: str = "Bearer"
    """What stands before it in the header `Authorization`."""

    def get(self, name: str) -> str:
        """Return where a field is; empty: the service has none."""
        return self.fields.get(name, "")

    def words(self, name: str) -> frozenset[str]:
        """Return a set of words."""
        return frozenset(filter(None, self.get(name).split(",")))


PRESETS: dict[str, Form] = {
    "common": Form(
        {
            "markets": "/markets?limit=100",
            "market": "/markets/{id}",
            "prices": "/markets/{id}/prices",
            "history": "/markets/{id}/history",
        },
        _COMMON,
    ),
    # https://docs.polymarket.com: markets of Gamma; outcomes and prices are JSON text within JSON.
    "polymarket": Form(
        {"markets": "/markets/keyset?limit=100&closed=false", "market": "/markets/{id}", "prices": "/markets/{id}"},
        {
            "rows": "markets", "cursor": "next_cursor", "cursor_argument": "after_cursor", "id": "id",
            "question": "question", "category": "category", "status": "closed", "open_words": "false",
            "closed_words": "true", "resolved": "umaResolutionStatus", "resolved_words": "resolved",
            "volume": "volumeNum", "liquidity": "liquidityNum", "closes_at": "endDate", "updated_at": "updatedAt",
            "outcomes": "outcomes", "prices": "outcomePrices",
        },
        "https://gamma-api.polymarket.com",
        "https://polymarket.com/settings; markets are read without one",
    ),
    # https://docs.kalshi.com: what one share of either side can be bought for.
    "kalshi": Form(
        {
            "markets": "/markets?limit=1000&status=open&mve_filter=exclude",
            "market": "/markets/{id}",
            "prices": "/markets/{id}",
        },
        {
            "rows": "markets", "cursor": "cursor", "cursor_argument": "cursor", "one": "market", "id": "ticker",
            "question": "title", "status": "status", "open_words": "initialized,inactive,active",
            "closed_words": "closed,determined,disputed,amended", "resolved_words": "finalized", "result": "result",
            "volume": "volume_fp", "liquidity": "liquidity_dollars", "closes_at": "close_time",
            "yes": "yes_ask_dollars", "no": "no_ask_dollars",
        },
        "https://api.elections.kalshi.com/trade-api/v2",
        "https://kalshi.com/account/profile; markets are read without one",
    ),
    # https://docs.manifold.markets/api: the probability of Yes, where nothing states No, or of each answer, whose ids
    # results and bets name. `/markets` tells the newest, which are the smallest; the search tells those people trade.
    # Each bet says what the probability was after it: the newest thousand are the history.
    "manifold": Form(
        {
            "markets": "/search-markets?term=&sort=most-popular&filter=open&limit=1000",
            "market": "/market/{id}",
            "prices": "/market/{id}",
            "history": "/bets?contractId={id}&limit=1000",
        },
        {
            "id": "id", "question": "question", "category": "outcomeType", "status": "isResolved",
            "open_words": "false", "resolved_words": "true", "result": "resolution", "volume": "volume",
            "liquidity": "totalLiquidity", "closes_at": "closeTime", "updated_at": "lastUpdatedTime",
            "yes": "probability", "prices": "answers", "outcome_name": "text", "outcome_price": "probability",
            "outcome_id": "id", "history_at": "createdTime", "history_price": "probAfter",
            "history_outcome": "answerId",
        },
        "https://api.manifold.markets/v0",
        "https://manifold.markets/profile; markets are read without one",
        "Key",
    ),
}  # fmt: skip


class Meaning(NamedTuple):
    """What the fragment of an address says."""

    what: str
    """listing, market, prices, history."""
    form: Form
    id: str
    due_us: int
    interval_s: float


def make_form(where: str, preset: str, url: str, paths: Mapping[str, str], fields: Mapping[str, str]) -> Form:
    """Return a preset with changes; ConfigError names what is not known."""
    base = PRESETS.get(preset)
    if base is None:
        raise ConfigError(f"{where}.preset: {_refuse(preset, PRESETS)}")
    for section, given, known in (("paths", paths, PATHS), ("fields", fields, tuple(FIELDS))):
        for name in given:
            if name not in known:
                raise ConfigError(f"{where}.{section}: {_refuse(name, known)}")
    form = msgspec.structs.replace(
        base, paths={**base.paths, **paths}, fields={**base.fields, **fields}, url=url.rstrip("/") or base.url
    )
    parts = urlsplit(form.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{where}.url: {form.url!r} is not an http:// or https:// address")
    for name in ("market", "prices", "history"):
        if form.paths.get(name) and "{id}" not in form.paths[name]:
            raise ConfigError(f"{where}.paths.{name}: {form.paths[name]!r} has no {{id}}")
    for name in ("markets", "prices"):
        if not form.paths.get(name):
            raise ConfigError(f"{where}.paths.{name}: is empty")
    return form


def _refuse(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    return f"{name!r} is not known (allowed: {', '.join(known)}){suggest(name, known)}"


def name_form(form: Form, preset: str) -> str:
    """Return the shortest text that a form can be made from again."""
    base = PRESETS[preset]
    if (form.paths, form.fields) == (base.paths, base.fields):
        return preset
    return msgspec.json.encode(msgspec.structs.replace(form, url="", key_origin="", key_scheme="")).decode()


@lru_cache(maxsize=64)
def read_form(text: str) -> Form:
    """Return the form that a text names."""
    if text in PRESETS:
        return PRESETS[text]
    try:
        return msgspec.json.decode(text, type=Form)
    except msgspec.DecodeError as error:
        raise DecodeError(f"the address names no form: {error}", "url") from error


def write_url(form: Form, path: str, market: str = "", cursor: str = "") -> str:
    """Return the address of one request, its form not said."""
    url = form.url + form.paths[path].replace("{id}", quote(market, safe=""))
    if cursor:
        url += f"{'&' if '?' in url else '?'}{urlencode({form.get('cursor_argument'): cursor})}"
    return url


def write_meaning(url: str, what: str, form: str, market: str, turn: tuple[int, float]) -> str:
    """Say in an address how its answer is to be read; turn: (due, in microseconds; interval in s)."""
    due_us, interval_s = turn
    said = {"what": what, "form": form, "id": market, "due": str(due_us), "every": f"{interval_s:g}"}
    return f"{url}#{urlencode(said)}"


def read_meaning(url: str) -> Meaning:
    """Return what an address says of its answer; DecodeError when it says nothing."""
    said = {name: values[0] for name, values in parse_qs(urlsplit(url).fragment, keep_blank_values=True).items()}
    try:
        return Meaning(said["what"], read_form(said["form"]), said["id"], int(said["due"]), float(said["every"]))
    except (KeyError, ValueError) as error:
        raise DecodeError(f"the address says not what its answer is: {error}", "url") from error
