"""What the fake order book of Polymarket writes: pictures, changes, trades, each with the hash that proves it.

Pictures are compact, other frames have a space after each comma, as the venue writes them.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha1
from typing import NamedTuple

from truetape.sim.crowd import Crowd, Trade
from truetape.sim.ladder import COARSE, FINE, Level, Picture, mirror
from truetape.sim.oracle import ASSETS
from truetape.sim.prediction import Market
from truetape.sim.protocol import encode_json
from truetape.sim.spec import write_short

OUTCOMES = ("Up", "Down")
TICKS = {COARSE: "0.01", FINE: "0.001"}
PRICES = tuple(write_short(price, 3) for price in range(1001))
ORDER_MIN = "5"
FEE_RATE = "0.07"
TEXTS_MAX = 100_000
"""Written levels that are kept."""


class Told(NamedTuple):
    """A market's book as it was told until a second."""

    picture: Picture
    lasts: tuple[str, str]
    """Price of the last trade of Up and Down; empty when there is none."""
    at_ms: int


class Face(NamedTuple):
    """One outcome's side of a book, as text."""

    market: Market
    outcome: int
    bids: str
    asks: str
    tick: str
    last: str

    def hash(self, at_ms: int) -> str:
        """Return what proves it at a time."""
        return sha1(self._fill(at_ms, "").encode(), usedforsecurity=False).hexdigest()

    def write_answer(self, at_ms: int) -> str:
        """Write it as an answer of /book."""
        return self._fill(at_ms, self.hash(at_ms))

    def write_frame(self, at_ms: int) -> str:
        """Write it as the socket does: without the market's constants."""
        return (
            f'{{"market":"{self.market.market_field}","asset_id":"{self.market.tokens[self.outcome]}",'
            f'"timestamp":"{at_ms}","hash":"{self.hash(at_ms)}","bids":[{self.bids}],"asks":[{self.asks}],'
            f'"tick_size":"{self.tick}","event_type":"book","last_trade_price":"{self.last}"}}'
        )

    def _fill(self, at_ms: int, proof: str) -> str:
        return (
            f'{{"market":"{self.market.market_field}","asset_id":"{self.market.tokens[self.outcome]}",'
            f'"timestamp":"{at_ms}","hash":"{proof}","bids":[{self.bids}],"asks":[{self.asks}],'
            f'"min_order_size":"{ORDER_MIN}","tick_size":"{self.tick}","neg_risk":false,'
            f'"last_trade_price":"{self.last}"}}'
        )


def recall_book(crowd: Crowd, market: Market, second: int) -> Told:
    """Return a book as everybody has been told it when a second's frames are out."""
    ladder = crowd.ladder(market)
    picture = ladder.read(ladder.find_second(second))
    trades = [crowd.find_last(market, outcome, second * 1000 - 1) for outcome in (0, 1)]
    lasts = tuple("" if trade is None else PRICES[trade.price] for trade in trades)
    at_ms = max([picture.at_ms, *(trade.at_ms for trade in trades if trade is not None)])
    return Told(picture, (lasts[0], lasts[1]), at_ms)


def face_book(market: Market, told: Told, outcome: int) -> Face:
    """Write an outcome's levels: bids ascending, asks descending, so that the best is the last."""
    bids, asks = list_sides(told.picture, outcome)
    return Face(
        market, outcome, _write_levels(bids), _write_levels(asks), TICKS[told.picture.tick], told.lasts[outcome]
    )


def list_sides(picture: Picture, outcome: int) -> tuple[list[Level], list[Level]]:
    """Return an outcome's bids and asks, best first."""
    return (mirror(picture.asks), mirror(picture.bids)) if outcome else (picture.bids, picture.asks)


def find_ghost(market: Market, outcome: int, last: str) -> Face:
    """Return the book that the venue answers when it has lost the true one."""
    return Face(market, outcome, _write_levels([(10, 10_000)]), _write_levels([(990, 10_000)]), TICKS[COARSE], last)


@lru_cache(8192)
def write_size(size: int) -> str:
    """Write hundredths of a share without trailing zeros."""
    return write_short(size, 2)


class _Texts(dict[Level, str]):
    """Levels as they are written, each made once."""

    def __missing__(self, level: Level) -> str:
        if len(self) >= TEXTS_MAX:
            self.clear()
        text = self[level] = f'{{"price":"{PRICES[level[0]]}","size":"{write_size(level[1])}"}}'
        return text


_read_text = _Texts().__getitem__


def _write_levels(levels: list[Level]) -> str:
    # hot: twice a second for each outcome
    return ",".join(map(_read_text, reversed(levels)))


Change = tuple[int, int, int]
"""(0 for a bid or 1 for an ask of Up, price, new size)."""


def list_changes(old: Picture, new: Picture) -> list[Change]:
    """List what changed in Up's book."""
    found: list[Change] = []
    for side, (before, after) in enumerate(((dict(old.bids), new.bids), (dict(old.asks), new.asks))):
        found += [(side, price, size) for price, size in after if before.pop(price, None) != size]
        kept = {price for price, _ in after}
        found += [(side, price, 0) for price in before if price not in kept]
    return found


def write_changes(
    market: Market, changes: Iterable[Change], picture: Picture, hashes: tuple[str, str], outcomes: tuple[int, ...]
) -> str:
    """Write changed levels of both outcomes, each with the hash of its whole book after all of the batch."""
    tops = find_tops(picture)
    tails = [
        f'"hash":"{hashes[one]}", "best_bid":"{tops[one][0]}", "best_ask":"{tops[one][1]}"}}' for one in OUTCOME_INDEXES
    ]
    entries = [
        f'{{"asset_id":"{market.tokens[one]}", "price":"{PRICES[1000 - price if one else price]}", '
        f'"size":"{write_size(size)}", "side":"{"BUY" if side == one else "SELL"}", {tails[one]}'
        for side, price, size in changes
        for one in outcomes
    ]
    return (
        f'{{"market":"{market.market_field}", "price_changes":[{", ".join(entries)}], '
        f'"timestamp":"{picture.at_ms}", "event_type":"price_change"}}'
    )


OUTCOME_INDEXES = (0, 1)


def find_tops(picture: Picture) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return best bid and best ask of Up and of Down; 0 and 1 stand for none."""
    bid = picture.bids[0][0] if picture.bids else 0
    ask = picture.asks[0][0] if picture.asks else 1000
    return (PRICES[bid], PRICES[ask]), (PRICES[1000 - ask], PRICES[1000 - bid])


def write_quote(market: Market, outcome: int, picture: Picture) -> str:
    """Write an outcome's best prices."""
    bid, ask = find_tops(picture)[outcome]
    spread = write_short(round((float(ask) - float(bid)) * 1000), 3)
    return (
        f'{{"market":"{market.market_field}", "asset_id":"{market.tokens[outcome]}", "best_bid":"{bid}", '
        f'"best_ask":"{ask}", "spread":"{spread}", "timestamp":"{picture.at_ms}", "event_type":"best_bid_ask"}}'
    )


def write_trade(market: Market, trade: Trade) -> str:
    """Write a fill; its side is the taker's."""
    return (
        f'{{"market":"{market.market_field}", "asset_id":"{market.tokens[trade.outcome]}", '
        f'"price":"{PRICES[trade.price]}", "size":"{write_short(trade.units, 6)}", "fee_rate_bps":"1000", '
        f'"side":"{"SELL" if trade.is_sell else "BUY"}", "timestamp":"{trade.at_ms}", '
        f'"event_type":"last_trade_price", "transaction_hash":"{trade.transaction}"}}'
    )


def write_tick(market: Market, outcome: int, old: int, picture: Picture) -> str:
    """Write that the price step is another one."""
    return (
        f'{{"market":"{market.market_field}", "asset_id":"{market.tokens[outcome]}", "old_tick_size":"{TICKS[old]}", '
        f'"new_tick_size":"{TICKS[picture.tick]}", "timestamp":"{picture.at_ms}", "event_type":"tick_size_change"}}'
    )


def write_new_market(market: Market, title: str, text: str) -> str:
    """Write that a market is listed."""
    tokens = _write_pair(*market.tokens)
    said = encode_json(text).decode()
    return (
        f'{{"id":"{market.number}", "question":"{title}", "market":"{market.market_field}", "slug":"{market.slug}", '
        f'"description":{said}, "assets_ids":{tokens}, "outcomes":["Up", "Down"], '
        f'"event_message":{{"id":"{market.event_number}", "ticker":"{market.slug}", "slug":"{market.slug}", '
        f'"title":"{title}", "description":{said}}}, "timestamp":"{market.created_s * 1000 + 874}", '
        f'"event_type":"new_market", "tags":[], "condition_id":"{market.condition}", "active":false, '
        f'"clob_token_ids":{tokens}, "sports_market_type":"", "line":"", "game_start_time":"", '
        f'"order_price_min_tick_size":"0.01", "group_item_title":"", "taker_base_fee":"1000", "fees_enabled":true, '
        f'"fee_schedule":{{"exponent":"1", "rate":"{FEE_RATE}", "taker_only":true, "rebate_rate":"0.2"}}}}'
    )


def write_resolved(market: Market, title: str, text: str) -> str:
    """Write that a market is resolved; half and half has no winner."""
    winner = {"Up": 0, "Down": 1}.get(market.official)
    said = encode_json(text).decode()
    return (
        f'{{"id":"{market.number}", "question":"{title}", "market":"{market.market_field}", "slug":"{market.slug}", '
        f'"description":{said}, "assets_ids":{_write_pair(*market.tokens)}, "outcomes":["Up", "Down"], '
        f'"winning_asset_id":"{"" if winner is None else market.tokens[winner]}", '
        f'"winning_outcome":"{"" if winner is None else OUTCOMES[winner]}", '
        f'"event_message":{{"id":"{market.event_number}", "ticker":"{market.slug}", "slug":"{market.slug}", '
        f'"title":"{title}", "description":{said}}}, "timestamp":"{market.resolved_s * 1000 + 412}", '
        f'"event_type":"market_resolved"}}'
    )


def _write_pair(first: str, second: str) -> str:
    return f'["{first}", "{second}"]'


def describe(market: Market) -> str:
    """Write a market's rules as the venue words them."""
    title, pair = ASSETS[market.asset].title, f"{market.asset}/USD"
    if market.rule == "exchange":
        source = f"Binance, specifically the {market.asset}/USDT candle available at {market.source}"
    elif market.rule == "twap":
        source = f"Chainlink, specifically the {pair} TWAP {market.window_s}s data stream available at {market.source}"
    else:
        source = f"Chainlink, specifically the {pair} data stream available at {market.source}"
    return (
        f'This market will resolve to "Up" if the {title} price at the end of the time range specified in the title is '
        "greater than or equal to the price at the beginning of that range. Otherwise, it will resolve to "
        f'"Down".\nThe resolution source for this market is information from {source}.'
    )
