"""Snapshot services: prediction markets that are asked for on a schedule, over REST of the common form.

One venue stands for all services of the settings' `snapshots`; a service is a market of it. Each answer's address says
in its fragment, which is never sent, which turn of the schedule it belongs to and how it is to be read.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.prediction import PREDICTION_MARKET, RESOLUTION
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Feed, OnMessage, Rest, Venue
from truetape.venues._snapshot.answer import Market, read_history, read_listing, read_market, read_prices
from truetape.venues._snapshot.form import Meaning, read_meaning

NAME = "snapshot"
CHANNEL = "market_snapshot"
FACTS_MAX = 20_000
"""Markets whose newest facts are remembered; the oldest are forgotten."""

_Facts = dict[str, Any]


class _Decoder:
    """Decodes answers; remembers what listings said of markets whose prices come apart from it."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._facts: dict[str, _Facts] = scribe.rows.memory.setdefault("snapshot facts", {})
        self._answers = {
            "listing": self._take_listing,
            "market": self._take_market,
            "prices": self._take_prices,
            "history": self._take_history,
        }

    def open(self, feed: str, connection: str) -> OnMessage:
        """Refuse: there are no sockets."""
        raise DecodeError("snapshot services have no sockets", "feed")

    def respond(self, response: Response) -> bool:
        """Decode an answer."""
        meaning = read_meaning(response.url)
        take = self._answers.get(meaning.what)
        if take is None:
            raise DecodeError(f"{meaning.what!r} is not known (allowed: {', '.join(self._answers)})", "url")
        return take(response, meaning)

    def _take_listing(self, response: Response, meaning: Meaning) -> bool:
        markets, _ = read_listing(meaning.form, response.body)
        for market in markets:
            self._learn(response.feed, market)
        return True

    def _take_market(self, response: Response, meaning: Meaning) -> bool:
        self._learn(response.feed, read_market(meaning.form, response.body, meaning.id))
        return True

    def _take_prices(self, response: Response, meaning: Meaning) -> bool:
        market = read_prices(meaning.form, response.body, meaning.id)
        facts = self._learn(response.feed, market)
        at = market.updated_us, response.received_ns, response.offset
        whole = name_instrument(response.feed, market.id)
        stream = self._scribe.stream(CHANNEL, response.feed, whole)
        folded = {name.lower(): price for name, price in market.prices.items()}
        outcomes = msgspec.json.encode(market.prices).decode()
        row = (
            stream.index, *at, response.feed, market.id, meaning.due_us, meaning.interval_s, facts.get("question"),
            facts.get("category"), facts.get("status"), facts.get("status") == "resolved", outcomes,
            folded.get("yes"), folded.get("no"), sum(market.prices.values()) if len(market.prices) > 1 else None,
            facts.get("volume"), facts.get("liquidity"), facts.get("closes_us"),
        )  # fmt: skip
        self._scribe.plain(CHANNEL).append(row)
        self._write_prices(response, market.id, market.prices, at, response.feed)
        self._tell_version(response, market, facts)
        return True

    def _take_history(self, response: Response, meaning: Meaning) -> bool:
        outcomes = self._facts.get(f"{response.feed}/{meaning.id}", {}).get("outcomes", {})
        for point in read_history(meaning.form, response.body):
            at = point.at_us, response.received_ns, response.offset
            prices = {outcomes.get(name, name): price for name, price in point.prices.items()}
            self._write_prices(response, meaning.id, prices, at, f"{response.feed} history")
        return True

    def _learn(self, service: str, market: Market) -> _Facts:
        """Remember what is new of a market; what an answer does not say stays as it was."""
        key = f"{service}/{market.id}"
        facts = self._facts.pop(key, {})
        told = {
            "question": market.question, "category": market.category, "status": market.status,
            "result": market.result, "volume": market.volume, "liquidity": market.liquidity,
            "closes_us": market.closes_us, "outcomes": market.outcomes or None,
        }  # fmt: skip
        facts.update({name: value for name, value in told.items() if value is not None})
        self._facts[key] = facts
        while len(self._facts) > FACTS_MAX:
            del self._facts[next(iter(self._facts))]
        return facts

    def _write_prices(
        self, response: Response, market: str, prices: dict[str, float], at: tuple[int | None, int, int], source: str
    ) -> None:
        for outcome, price in prices.items():
            instrument = name_instrument(response.feed, f"{market}:{outcome}")
            stream = self._scribe.stream("outcome_price", response.feed, instrument)
            self._scribe.plain("outcome_price").append((stream.index, *at, market, outcome, price, source))

    def _tell_version(self, response: Response, market: Market, facts: _Facts) -> None:
        """Write metadata, and the resolution, when they are other than before."""
        at, name = (market.updated_us, response.received_ns, response.offset), f"{response.feed}/{market.id}"
        outcomes = msgspec.json.encode({o: f"{market.id}:{o}" for o in market.prices}).decode()
        status, result = facts.get("status"), facts.get("result")
        said = [facts.get("question"), outcomes, facts.get("closes_us"), status, result]
        if facts.get("said") == said:
            return
        facts["said"] = said
        own = {
            "slug": name, "condition": market.id, "question": facts.get("question"), "outcomes": outcomes,
            "ends_at": facts.get("closes_us"), "resolution_status": status,
            "is_closed": None if status is None else status != "open",
        }  # fmt: skip
        self._write("prediction_market", response, market.id, at, [own.get(c.name) for c in PREDICTION_MARKET.own])
        if status == "resolved":
            winner = find_winner(market.prices, result)
            row = {
                "condition": market.id, "slug": name, "source": response.feed, "status": result or status,
                "is_resolved": winner is not None, "winner": winner,
            }  # fmt: skip
            self._write("resolution", response, market.id, at, [row.get(c.name) for c in RESOLUTION.own])

    def _write(
        self, kind: str, response: Response, market: str, at: tuple[int | None, int, int], own: list[Any]
    ) -> None:
        stream = self._scribe.stream(kind, response.feed, name_instrument(response.feed, market))
        self._scribe.plain(kind).append((stream.index, *at, *own))


def find_winner(prices: dict[str, float], result: str | None) -> str | None:
    """Return the outcome that won: the one the service names, else the one that is paid 1 while others are paid 0."""
    if result:
        names = ("Yes", "No") if [*prices] == ["Yes"] else (*prices,)  # nobody states the price of No
        return next((name for name in names if name.lower() == result.lower()), None)
    paid = [name for name, price in prices.items() if price == 1]
    return paid[0] if len(paid) == 1 and sum(prices.values()) == 1 else None


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name a market of a service, or an outcome of it: polymarket/12345:Yes."""
    return Instrument(NAME, market, venue_symbol, f"{market}/{venue_symbol}", "outcome")


def _list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    return ()


def _subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    raise ValueError("snapshot services have no sockets")


VENUE = Venue(
    name=NAME,
    title="Snapshot services",
    feeds=(),
    rest=Rest(ban_statuses=(429,), ban_default_s=30.0),
    listings=(),
    continuity=(),
    make_decoder=_Decoder,
    read_listing=lambda url, body: [],
    name_instrument=name_instrument,
    list_topics=_list_topics,
    subscribe=_subscribe,
    unsubscribe=_subscribe,
)
