"""A market as sources tell of it, and the rows that follow: metadata, outcomes' prices, resolution."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.wish import Fetch
from truetape.venues.polymarket.desk import Desk
from truetape.venues.polymarket.naming import CLOB, NAME, name_outcome
from truetape.venues.polymarket.window import name_event_url

At = tuple[int | None, int, int]
"""(exchange time in us, received_ns, tape offset)."""

_LEGAL_PAYOUTS = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))


class Market(msgspec.Struct, frozen=True):
    """One market of Gamma's, its outcomes by name."""

    slug: str
    condition: str
    outcomes: dict[str, str | None]
    """Name → token, null where no order book was made for it."""
    prices: dict[str, float]
    """Name → price as stated; empty where the answer has none."""
    version: str | None = None
    question: str | None = None
    event_slug: str | None = None
    series: str | None = None
    opens_us: int | None = None
    ends_us: int | None = None
    resolution_source: str | None = None
    rule: str | None = None
    rule_window_s: int | None = None
    strike: float | None = None
    final_price: float | None = None
    tick: float | None = None
    order_min: float | None = None
    fee_rate: float | None = None
    fee_exponent: float | None = None
    is_taker_fee_only: bool | None = None
    fee_rebate: float | None = None
    is_negative_risk: bool | None = None
    is_active: bool | None = None
    is_closed: bool | None = None
    is_accepting_orders: bool | None = None
    resolution_status: str | None = None
    is_disputed: bool | None = None
    closed_us: int | None = None
    updated_us: int | None = None
    volume: float | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    id: str | None = None
    """Gamma's own number."""

    @property
    def is_resolved(self) -> bool:
        """Whether it is closed, resolved and paid out in a legal way: all three, for each alone is no label."""
        return bool(self.is_closed) and self.resolution_status == "resolved" and is_legal_payout(self.prices)

    @property
    def winner(self) -> str | None:
        """The outcome that was paid; null while unresolved, and when both were paid half."""
        return find_winner(self.prices) if self.is_resolved else None

    @property
    def status(self) -> str:
        """One word of its state for listings."""
        if self.is_closed:
            return "closed"
        return "inactive" if self.is_active is False else "active"


def is_legal_payout(payouts: dict[str, float]) -> bool:
    """Tell whether these are the payouts of a binary market that is resolved: 1/0, 0/1 or 0.5/0.5."""
    return tuple(payouts.values()) in _LEGAL_PAYOUTS


def find_winner(payouts: dict[str, float]) -> str | None:
    """Return the name that is paid 1."""
    return next((name for name, payout in payouts.items() if payout == 1.0), None)


def list_instruments(market: Market) -> list[Instrument]:
    """List the outcomes that have an order book."""
    return [
        Instrument(
            NAME,
            CLOB,
            token,
            name_outcome(market.slug, outcome),
            "outcome",
            price_step=market.tick,
            expiry_us=market.ends_us,
            status=market.status,
            is_listed=True,
        )
        for outcome, token in market.outcomes.items()
        if token
    ]


def encode_object(said: dict[str, Any]) -> str:
    """Return the JSON text of an object."""
    return msgspec.json.encode(said).decode()


def note_market(desk: Desk, market: Market, received_ns: int, offset: int) -> None:
    """Write what a listing's market says that is new: instruments, metadata, prices, resolution."""
    for instrument in list_instruments(market):
        desk.scribe.learn(instrument, received_ns, offset)
    at = (market.updated_us, received_ns, offset)
    _note_metadata(desk, market, at)
    for outcome, price in market.prices.items():
        token = market.outcomes.get(outcome)
        if token:
            row = (desk.find("outcome_price", token), *at, market.condition, outcome, price, "gamma")
            desk.scribe.plain("outcome_price").append(row)
    if market.is_closed or market.resolution_status or market.strike is not None:
        _note_resolution(desk, market, at)


def _note_metadata(desk: Desk, m: Market, at: At) -> None:
    own: list[Any] = [
        m.slug, m.condition, m.version, m.question, m.event_slug, m.series, encode_object(m.outcomes),
        m.opens_us, m.ends_us, m.resolution_source, m.rule, m.rule_window_s, m.strike, m.final_price,
        m.tick, m.order_min, m.fee_rate, m.fee_exponent, m.is_taker_fee_only, m.fee_rebate, m.is_negative_risk,
        m.is_active, m.is_closed, m.is_accepting_orders, m.resolution_status, m.closed_us,
    ]  # fmt: skip
    if desk.is_news("markets", m.condition, own):
        index = desk.find_named("prediction_market", m.slug, m.condition)
        desk.scribe.plain("prediction_market").append((index, *at, *own))


def find_constants(desk: Desk, condition: str) -> tuple[str, bool] | None:
    """Return a market's smallest order (as text) and whether its risk is negative, where a listing told both."""
    own = desk.recall("markets").get(condition)
    if own is None or own[15] is None or own[20] is None:
        return None
    return f"{own[15]:g}", own[20]


def _note_resolution(desk: Desk, m: Market, at: At) -> None:
    payouts = encode_object(m.prices) if m.is_resolved else None
    said = [
        m.slug, "gamma", m.resolution_status, m.is_resolved, m.winner, payouts,
        m.strike, m.final_price, m.is_disputed, m.closed_us,
    ]  # fmt: skip
    note_resolution(desk, m.condition, at, said)


def note_resolution(desk: Desk, condition: str, at: At, said: list[Any]) -> bool:
    """Write a resolution row when the source says something new; `said` is the kind's columns after the condition."""
    slug, source = said[0], said[1]
    is_news = desk.is_news("resolutions", f"{source} {condition}", said)
    if is_news:
        index = desk.find_named("resolution", slug or condition, condition)
        desk.scribe.plain("resolution").append((index, *at, condition, *said))
    return is_news


def note_tick(desk: Desk, token: str, tick: float, received_ns: int, offset: int) -> None:
    """Write a token's new price step as a `market` row."""
    changed = msgspec.structs.replace(desk.find_instrument(token), price_step=tick)
    desk.scribe.learn(changed, received_ns, offset)


class NewMarket(Protocol):
    """What the socket says of a new market."""

    market: str
    slug: str
    assets_ids: list[str]
    outcomes: list[str]
    question: str | None
    order_price_min_tick_size: float | None


def pair_outcomes(outcomes: Sequence[str], tokens: Sequence[str]) -> dict[str, str | None]:
    """Pair names with tokens; without tokens every name has none."""
    if not tokens:
        return dict.fromkeys(outcomes)
    if len(outcomes) != len(tokens) or len(set(outcomes)) != len(outcomes):
        raise DecodeError(f"outcomes {list(outcomes)} do not pair with {len(tokens)} tokens")
    return dict(zip(outcomes, tokens, strict=True))


def note_new_market(desk: Desk, said: NewMarket, at: At) -> None:
    """Write a market that the socket announced, unless a listing already told more of it."""
    outcomes = pair_outcomes(said.outcomes, said.assets_ids)
    tick, condition = said.order_price_min_tick_size, find_condition(desk, said.market)
    note_partly(desk, Market(said.slug, condition, outcomes, {}, question=said.question, tick=tick), at)


def note_partly(desk: Desk, market: Market, at: At) -> None:
    """Write what a source knows only part of, unless something was told of the market already."""
    if market.condition in desk.recall("markets"):
        return
    for instrument in list_instruments(market):
        if desk.scribe.listed(CLOB, instrument.venue_symbol) is None:
            desk.scribe.learn(instrument, at[1], at[2])
    _note_metadata(desk, market, at)


def find_condition(desk: Desk, field: str) -> str:
    """Return the listed condition that a frame's market field means: protocol 2 fills 31 bytes up to 32."""
    known = desk.recall("markets")
    return field[:-2] if field.endswith("00") and field not in known and field[:-2] in known else field


class Resolved(Protocol):
    """What the socket says of a resolved market."""

    market: str
    winning_outcome: str | None
    slug: str | None


def note_resolved(desk: Desk, said: Resolved, at: At) -> None:
    """Write the socket's word that a market is resolved: no label, for it tells no payouts."""
    condition = find_condition(desk, said.market)
    known = desk.recall("markets").get(condition)
    slug = said.slug or (known[0] if known else None)
    own = [slug, "clob_socket", "resolved", False, said.winning_outcome, None, None, None, None, None]
    is_news = note_resolution(desk, condition, at, own)
    if is_news and known:  # its event, which has the payouts, is worth asking for now
        url = name_event_url(known[4] or known[0])
        desk.scribe.rows.wishes.append(Fetch(NAME, CLOB, url, "the socket says that it is resolved"))
