"""A small lake of up-or-down markets whose truth is known, written as a recording would be: through the Delta writer.

`write_market_lake(lake, 4, flaws={1: ("no_strike",)})` gives what must come out of it, market by market.
"""

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from truetape.events.schema import KINDS
from truetape.lake.table import LakeTable

START_S = 1_777_420_800
"""When the first market opens: 2026-04-29 00:00 UTC, a multiple of 900."""
DURATION_S = 900
EARLY_S = 90
"""Books are recorded from this long before a market opens."""
LAG_S = 1.25
"""From an oracle's observation to our socket."""

FLAWS = {
    "no_strike": "no oracle observation within 2 s of the opening: indeterminate",
    "no_settlement": "no oracle observation within 2 s of the end: indeterminate",
    "late_strike": "nothing at the opening second, but one second before and one after",
    "tie": "settles at its strike: Up",
    "disputed": "proposed, disputed, then resolved as the rule says",
    "pending": "disputed and not resolved yet: unknown",
    "split": "paid 0.5 to both outcomes",
    "wrong": "officially resolved against its own rule: no match",
    "late": "not resolved in the recording; `write_resolution` brings it later",
    "contradicted": "another source names the other winner: unknown",
    "book_gap": "both books unseen in seconds 300 to 330, declared",
    "oracle_gap": "the oracle unseen in seconds 400 to 420, declared",
    "trade_gap": "the underlying unseen in seconds 500 to 540, declared",
    "late_books": "books subscribed 30 s after the opening, declared as not_started",
    "silent_down": "the Down book never comes",
    "undeclared": "the oracle misses seconds 600 to 605 and no gap says so",
}
"""What can be wrong with a market."""


@dataclass(frozen=True)
class Expected:
    """What is true of one market."""

    slug: str
    opens_s: int
    ends_s: int
    strike: float | None
    settlement: float | None
    computed: str
    """Up, Down or indeterminate."""
    official: str
    """Up, Down, split or unknown."""
    label: str
    label_source: str
    flaws: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """How the markets of a lake are made."""

    asset: str = "BTC"
    venue: str = "polymarket"
    window_s: int | None = None
    """Seconds of the average that they settle on; null: the spot price."""
    start_s: int = START_S
    duration_s: int = DURATION_S
    flaws: Mapping[int, Sequence[str]] | None = None
    """Number of the market → what is wrong with it."""

    def opens(self, number: int) -> int:
        return self.start_s + number * self.duration_s

    def slug(self, number: int) -> str:
        return f"{self.asset.lower()}-updown-{self.duration_s // 60}m-{self.opens(number)}"

    def condition(self, number: int) -> str:
        return f"0x{self.asset.encode().hex()}{self.opens(number):056x}"

    def has(self, number: int, flaw: str) -> bool:
        return flaw in (self.flaws or {}).get(number, ())

    @property
    def source(self) -> str:
        return "rtds_chainlink" if self.window_s is None else f"rtds_chainlink_twap{self.window_s}"

    @property
    def stream(self) -> str:
        """The oracle's stream as a market's metadata name it."""
        return f"{self.asset.lower()}-usd" + ("" if self.window_s is None else f"-twap-{self.window_s}s-streams")

    def find_price(self, number: int, second: int) -> float:
        """The oracle's price `second` seconds into a market; a tie ends where it began."""
        if second == self.duration_s:
            return self.find_price(number + 1, 0)
        if self.has(number - 1, "tie") and second == 0:
            return self.find_price(number - 1, 0)
        at = self.opens(number) + second - START_S
        wave = math.sin(at / 211) * 40 + math.sin(at / 37.7) * 9 + math.sin(at / 1009 + 1) * 120
        return round(60_000 + wave, 8)


def write_market_lake(lake: Path, count: int = 3, **shape: Any) -> list[Expected]:
    """Write markets that follow each other, and give what is true of them.

    `shape` is that of `Shape`: asset, window_s, start_s, duration_s, flaws. Several calls may fill one lake.
    """
    made = Shape(**shape)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _list_rows(made, count):
        rows.setdefault(row.pop("kind"), []).append(row)
    tape = f"tape-{made.venue}-{made.asset}-{made.window_s}-{made.start_s}"
    for kind, of_kind in sorted(rows.items()):
        write_kind(lake, kind, of_kind, tape)
    return [expect(made, number) for number in range(count)]


def write_resolution(lake: Path, shape: Shape, number: int, after_s: float = 86_400.0) -> None:
    """Bring the official outcome of a `late` market, received so long after its end."""
    row = _tell_resolution(shape, number, shape.opens(number + 1) + after_s, "resolved", find_winner(shape, number))
    row.pop("kind")
    write_kind(lake, "resolution", [row], f"late-{number}")


def write_kind(lake: Path, kind: str, rows: list[dict[str, Any]], tape: str) -> None:
    """Append rows to a kind's table; a kind that the schema does not have yet is left out."""
    if kind not in KINDS:
        return
    schema = KINDS[kind].arrow
    blanks = {"string": "", "bool": False, "double": 0.0}
    columns = []
    for field in schema:
        blank = None if field.nullable else blanks.get(str(field.type))
        columns.append(pa.array([row.get(field.name, blank) for row in rows], field.type))
    lake.mkdir(exist_ok=True)
    LakeTable(lake, KINDS[kind], lambda step: None).append(pa.table(columns, schema=schema), tape, 1 << 60)


def find_winner(shape: Shape, number: int) -> str:
    """Which outcome the prices of the boundaries make the winner, whether anybody saw them or not."""
    return "Up" if shape.find_price(number, shape.duration_s) >= shape.find_price(number, 0) else "Down"


def expect(shape: Shape, number: int) -> Expected:
    """Give what is true of a market."""
    strike, settlement = _find_seen(shape, number), _find_seen(shape, number + 1)
    computed = "indeterminate"
    if strike is not None and settlement is not None:
        computed = "Up" if settlement >= strike else "Down"
    official = winner = find_winner(shape, number)
    if shape.has(number, "wrong"):
        official = {"Up": "Down", "Down": "Up"}[winner]
    elif shape.has(number, "split"):
        official = "split"
    elif any(shape.has(number, flaw) for flaw in ("pending", "late", "contradicted")):
        official = "unknown"
    label, source = official, "official"
    if official == "unknown":
        is_usable = shape.has(number, "late") and computed != "indeterminate"
        label, source = (computed, "computed") if is_usable else ("unknown", "none")
    opens_s = shape.opens(number)
    return Expected(
        shape.slug(number), opens_s, opens_s + shape.duration_s, strike, settlement,
        computed, official, label, source, tuple((shape.flaws or {}).get(number, ())),
    )  # fmt: skip


def _find_seen(shape: Shape, number: int) -> float | None:
    """The price at a market's opening as the recording has it: of the second itself, else of the one before."""
    if shape.has(number, "no_strike") or shape.has(number - 1, "no_settlement"):
        return None
    if shape.has(number, "late_strike"):
        return shape.find_price(number - 1, shape.duration_s - 1)
    return shape.find_price(number, 0)


def at(seconds: float) -> datetime.datetime:
    """The moment of so many Unix seconds, to the microsecond."""
    return datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=round(seconds * 1e6))


def make_row(
    kind: str, shape: Shape, symbol: str, observed_s: float | None, received_s: float, **own: Any
) -> dict[str, Any]:
    """Make a row of any kind; its place on the tape is the microsecond it was received in."""
    return {
        "kind": kind, "venue": shape.venue, "symbol": symbol, "venue_symbol": symbol,
        "exchange_at": None if observed_s is None else at(observed_s),
        "received_at": at(received_s), "available_at": at(received_s),
        "tape_offset": round((received_s - 1_700_000_000) * 1e6), "tape_row": 0, **own,
    }  # fmt: skip


def _list_rows(shape: Shape, count: int) -> Iterator[dict[str, Any]]:
    yield from _list_oracle(shape, count)
    yield from _list_underlying(shape, count)
    for number in range(count):
        yield from _list_facts(shape, number)
        for side, outcome in enumerate(("Up", "Down")):
            yield from _list_book(shape, number, outcome, side)
        yield from _list_gaps(shape, number)


def _list_oracle(shape: Shape, count: int) -> Iterator[dict[str, Any]]:
    symbol = f"{shape.asset}-USD:{shape.source}"
    for number in range(count):
        first = -30 if number == 0 else 0
        last = shape.duration_s + (30 if number == count - 1 else 0)
        for second in range(first, last):
            if _is_unobserved(shape, number, second):
                continue
            observed = shape.opens(number) + second
            price = (
                shape.find_price(number, second)
                if second < shape.duration_s
                else shape.find_price(number + 1, second - shape.duration_s)
            )
            yield make_row(
                "oracle_price", shape, symbol, observed, observed + LAG_S,
                venue_symbol=f"{shape.source}:{shape.asset.lower()}/usd", source="rtds_chainlink",
                feed_id=f"{shape.asset.lower()}/usd", window_s=shape.window_s, price=price, exact_price=repr(price),
                bid=None, ask=None, published_at=at(observed + 1), is_snapshot=False,
            )  # fmt: skip


def _is_unobserved(shape: Shape, number: int, second: int) -> bool:
    length = shape.duration_s
    near_open, near_end = abs(second) <= 3, abs(second - length) <= 3
    return (
        (shape.has(number, "no_strike") and near_open)
        or (shape.has(number + 1, "no_strike") and near_end)
        or (shape.has(number, "no_settlement") and near_end)
        or (shape.has(number - 1, "no_settlement") and near_open)
        or (shape.has(number, "late_strike") and second == 0)
        or (shape.has(number, "oracle_gap") and 400 <= second < 420)
        or (shape.has(number, "undeclared") and 600 <= second < 606)
    )


def _list_underlying(shape: Shape, count: int) -> Iterator[dict[str, Any]]:
    coinbase = Shape(shape.asset, "coinbase", None, shape.start_s, shape.duration_s)
    for number in range(count):
        for second in range(-20 if number == 0 else 0, shape.duration_s):
            if shape.has(number, "trade_gap") and 500 <= second < 540:
                continue
            when = shape.opens(number) + second + 0.4
            yield make_row(
                "trade", coinbase, f"{shape.asset}-USD", when, when + 0.03, trade_id=str(round(when)),
                side="buy" if second % 3 else "sell", price=round(shape.find_price(number, second) + 2.5, 2),
                amount=0.01 * (1 + second % 7), inexact=False,
            )  # fmt: skip


def _list_facts(shape: Shape, number: int) -> Iterator[dict[str, Any]]:
    """A market's metadata and life: listed a day ahead, opened, ended, resolved."""
    slug, opens, ends = shape.slug(number), shape.opens(number), shape.opens(number + 1)
    own = {
        "slug": slug, "condition": shape.condition(number), "version": "v1", "question": f"{shape.asset} up or down?",
        "event_slug": slug, "series": f"{shape.asset.lower()}-up-or-down-{shape.duration_s // 60}m",
        "outcomes": f'{{"Up":"{opens}1","Down":"{opens}2"}}', "opens_at": at(opens), "ends_at": at(ends),
        "resolution_source": f"https://data.chain.link/streams/{shape.stream}",
        "rule": "spot" if shape.window_s is None else "twap", "rule_window_s": shape.window_s, "tick": 0.01,
        "is_active": True, "is_closed": False, "is_accepting_orders": True,
    }  # fmt: skip
    told = own["condition"]
    yield make_row("prediction_market", shape, slug, None, opens - 86_000, venue_symbol=told, **own)
    yield make_row("prediction_market", shape, slug, None, opens - 100.5, venue_symbol=told, **own | {"order_min": 5.0})
    states = ["listed", "open", "ending", "ended"]
    times = [opens - 86_000.0, opens + 0.0, ends - 60.0, ends + 0.0]
    expected = expect(shape, number)
    truth = find_winner(shape, number)
    if expected.official != "unknown" or "contradicted" in expected.flaws:
        winner = truth if expected.official == "unknown" else expected.official
        if "disputed" in expected.flaws:
            states, times = [*states, "proposed", "disputed"], [*times, ends + 20.0, ends + 40.0]
            yield _tell_resolution(shape, number, ends + 40, "disputed", None)
        states, times = [*states, "proposed", "resolved"], [*times, ends + 50.0, ends + 75.0]
        yield _tell_resolution(shape, number, ends + 75, "resolved", winner)
        price = {"strike": shape.find_price(number, 0), "final_price": shape.find_price(number, shape.duration_s)}
        closed = own | price | {"is_closed": True, "resolution_status": "resolved", "closed_at": at(ends + 70)}
        yield make_row("prediction_market", shape, slug, None, ends + 75, venue_symbol=told, **closed)
    if "contradicted" in expected.flaws:
        other = {"Up": "Down", "Down": "Up"}[truth]
        yield _tell_resolution(shape, number, ends + 90, "resolved", other, source="clob", is_resolved=False)
    if "pending" in expected.flaws:
        states, times = [*states, "proposed", "disputed"], [*times, ends + 20.0, ends + 40.0]
        yield _tell_resolution(shape, number, ends + 40, "disputed", None)
    for place, (state, when) in enumerate(zip(states, times, strict=True)):
        yield make_row(
            "market_state", shape, slug, when, when, venue_symbol=told, slug=slug, condition=told, state=state,
            previous=states[place - 1] if place else None, reason="time", opens_at=at(opens), ends_at=at(ends),
        )  # fmt: skip


def _tell_resolution(
    shape: Shape,
    number: int,
    when: float,
    status: str,
    winner: str | None,
    source: str = "gamma",
    is_resolved: bool = True,
) -> dict[str, Any]:
    paid = {"Up": (1.0, 0.0), "Down": (0.0, 1.0), "split": (0.5, 0.5)}.get(winner or "")
    is_final = status == "resolved" and is_resolved
    return make_row(
        "resolution", shape, shape.slug(number), when - 5, when, venue_symbol=shape.condition(number),
        condition=shape.condition(number), slug=shape.slug(number), source=source, status=status, is_resolved=is_final,
        winner=winner if winner != "split" else None,
        payouts=f'{{"Up":{paid[0]},"Down":{paid[1]}}}' if paid and is_final else None,
        strike=shape.find_price(number, 0) if is_final else None,
        final_price=shape.find_price(number, shape.duration_s) if is_final else None,
        is_disputed=shape.has(number, "disputed") or shape.has(number, "pending"),
        resolved_at=at(when - 5) if is_final else None,
    )  # fmt: skip


def find_odds(shape: Shape, number: int, second: int) -> int:
    """The price of Up in cents, before and in a market."""
    inside = min(max(second, 0), shape.duration_s - 1)
    lead = shape.find_price(number, inside) - shape.find_price(number, 0)
    return min(max(round(50 + lead * (0.5 + inside / shape.duration_s)), 4), 96)


def find_levels(shape: Shape, number: int, second: int, outcome: str) -> dict[tuple[str, float], float]:
    """The book of an outcome at a second: three levels a side, Down the mirror of Up."""
    cents = find_odds(shape, number, second)
    levels = {}
    for depth in range(3):
        amount = 50.0 * (depth + 1) + second % 5
        for side, price in (("bid", cents - 1 - depth), ("ask", cents + 1 + depth)):
            if outcome == "Up":
                levels[side, price / 100] = amount
            else:
                levels[{"bid": "ask", "ask": "bid"}[side], (100 - price) / 100] = amount
    levels["bid", 0.01] = levels["ask", 0.99] = 2_000.0
    return levels


def _list_book(shape: Shape, number: int, outcome: str, place: int) -> Iterator[dict[str, Any]]:
    if outcome == "Down" and shape.has(number, "silent_down"):
        return
    symbol, opens = f"{shape.slug(number)}:{outcome}", shape.opens(number)
    known: dict[tuple[str, float], float] | None = None
    first = 30 if shape.has(number, "late_books") else -EARLY_S
    for second in range(first, shape.duration_s + 5):
        if shape.has(number, "book_gap") and 300 <= second < 330:
            known = None
            continue
        levels = find_levels(shape, number, second, outcome)
        gone = {} if known is None else dict.fromkeys(known.keys() - levels.keys(), 0.0)
        fresh = levels if known is None else {key: levels[key] for key in levels if known.get(key) != levels[key]}
        when = opens + second + 0.2 + place * 0.01
        for position, ((side, price), amount) in enumerate((*gone.items(), *fresh.items())):
            yield make_row(
                "book_change", shape, symbol, when - 0.05, when, tape_row=position, is_snapshot=known is None,
                side=side, price=price, amount=amount, contracts=None, sequence=None, inexact=False,
            )  # fmt: skip
        known = levels
        if second % 5 == 0:
            best = [max(p for s, p in levels if s == "bid"), min(p for s, p in levels if s == "ask")]
            yield make_row(
                "quote", shape, symbol, when - 0.05, when + 0.002, bid_price=best[0], bid_amount=None,
                ask_price=best[1], ask_amount=None, sequence=None,
            )  # fmt: skip
        if second % 4 == 0:
            yield make_row(
                "trade", shape, symbol, when, when + 0.1, trade_id=f"0x{number}{second}{place}:BUY:{second}",
                side="buy" if second % 8 else "sell", price=find_odds(shape, number, second) / 100, amount=10.0,
                inexact=False,
            )  # fmt: skip


def _list_gaps(shape: Shape, number: int) -> Iterator[dict[str, Any]]:
    slug, opens = shape.slug(number), shape.opens(number)
    books = [(f"{slug}:{outcome}", "book_change") for outcome in ("Up", "Down")]
    oracle = [(f"{shape.asset}-USD:{shape.source}", "oracle_price")]
    coinbase = Shape(shape.asset, "coinbase", None, shape.start_s, shape.duration_s)
    holes = {
        "book_gap": (shape, books, 299.25, 330.2, "disconnect"),
        "oracle_gap": (shape, oracle, 399 + LAG_S, 420 + LAG_S, "silence"),
        "trade_gap": (coinbase, [(f"{shape.asset}-USD", "trade")], 499.43, 540.43, "disconnect"),
        "late_books": (shape, books, -100.0, 30.2, "not_started"),
    }
    for flaw, (of_venue, streams, begin, end, reason) in holes.items():
        if not shape.has(number, flaw):
            continue
        for symbol, channel in streams:
            for state, when in (("open", begin + 5), ("closed", end)):
                yield make_row(
                    "gap", of_venue, symbol, None, opens + when, gap_id=f"{flaw}-{symbol}-{opens}", channel=channel,
                    from_at=at(opens + begin), to_at=None if state == "open" else at(opens + end), reason=reason,
                    state=state, evidence="{}", missing=None,
                )  # fmt: skip
