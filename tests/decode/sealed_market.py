"""A market of two outcomes whose books mirror each other, sealed as the venue seals them."""

from decimal import Decimal
from typing import Any

from framed import START_NS, Tape

from truetape.tape.frame import Source
from truetape.venues.polymarket.proof import Context, hash_book

MARKET = "0xabc"
LINE = Source("polymarket", "clob", "polymarket/clob/0#1")
OTHER_LINE = Source("polymarket", "clob", "polymarket/clob/0#2")
RECORDER = Source("", "", "recorder")
UP, DOWN = "11", "22"
URL = "https://clob.polymarket.com/book?token_id="


class SealedMarket:
    """Both books, and the frames that tell of them."""

    def __init__(self, *, order_min: str = "5", last_price: str = "0.5") -> None:
        self.bids = {"0.40": "10", "0.45": "20"}
        self.asks = {"0.50": "30", "0.55": "40"}
        self.order_min = order_min
        self.last_price = last_price
        self.tick = "0.01"
        self.at_ms = START_NS // 10**6

    def list_sides(self, token: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return bids and asks, best first."""
        bids, asks = self.bids, self.asks
        if token == DOWN:
            bids, asks = {mirror(p): s for p, s in asks.items()}, {mirror(p): s for p, s in bids.items()}
        return sorted(bids.items(), reverse=True), sorted(asks.items())

    def hash(self, token: str) -> str:
        """Return the hash of a token's book now."""
        context = Context(MARKET, token, str(self.at_ms), self.order_min, self.tick, False, self.last_price)
        return hash_book(*self.list_sides(token), context)

    def picture(self, token: str, **changed: Any) -> dict[str, Any]:
        """Return a `book` frame."""
        bids, asks = self.list_sides(token)
        return {
            "event_type": "book", "market": MARKET, "asset_id": token, "timestamp": str(self.at_ms),
            "bids": [{"price": p, "size": s} for p, s in reversed(bids)],
            "asks": [{"price": p, "size": s} for p, s in reversed(asks)],
            "hash": self.hash(token), "tick_size": self.tick, "last_trade_price": self.last_price,
        } | changed  # fmt: skip

    def answer(self, token: str) -> dict[str, Any]:
        """Return an answer of /book."""
        told = self.picture(token, min_order_size=self.order_min, neg_risk=False)
        del told["event_type"]
        return told

    def pictures(self) -> list[dict[str, Any]]:
        """Return the answer to a subscription."""
        return [self.picture(UP), self.picture(DOWN)]

    def change(
        self, *levels: tuple[str, str, str], after_ms: int = 100, tokens: tuple[str, ...] = (UP, DOWN)
    ) -> dict[str, Any]:
        """Change levels of Up, and of Down their mirrors; return the frame of them."""
        self.at_ms += after_ms
        for side, price, size in levels:
            ours = self.bids if side == "BUY" else self.asks
            ours[price] = size
            if size == "0":
                del ours[price]
        return self.tell(*levels, tokens=tokens)

    def tell(self, *levels: tuple[str, str, str], tokens: tuple[str, ...] = (UP, DOWN)) -> dict[str, Any]:
        """Return a `price_change` frame with the hashes of now, whatever it tells."""
        told = []
        for token in tokens:
            for side, price, size in levels:
                if token == DOWN:
                    side, price = ("SELL" if side == "BUY" else "BUY"), mirror(price)
                told.append({"asset_id": token, "price": price, "size": size, "side": side, "hash": self.hash(token)})
        return {
            "market": MARKET, "price_changes": told, "timestamp": str(self.at_ms), "event_type": "price_change"
        }  # fmt: skip


def mirror(price: str) -> str:
    """Return what a price is on the other outcome's book."""
    return str(1 - Decimal(price))


def begin(market: SealedMarket, source: Source = LINE, *, channels: tuple[str, ...] = ("book_change",)) -> Tape:
    """Return a tape with a connection that subscribed both books."""
    tape = Tape()
    subscribe(tape, source, channels)
    tape.say(source, market.pictures())
    return tape


def subscribe(tape: Tape, source: Source = LINE, channels: tuple[str, ...] = ("book_change",)) -> None:
    """Open a connection and subscribe."""
    tape.note(source, "opened", url="wss://ws-subscriptions-clob.polymarket.com/ws/market")
    streams = [
        {"channel": channel, "market": "clob", "venue_symbol": token, "topic": token}
        for token in (UP, DOWN)
        for channel in channels
    ]
    tape.ask(source)
    tape.note(source, "subscribed", streams=streams)


def tick(tape: Tape, times: int = 1, seconds: float = 5.0, *, pong: Source | None = None) -> None:
    """Let time pass as a recorder notes it; `pong`: a connection that still answers pings."""
    for _ in range(times):
        tape.wait(seconds)
        if pong is not None:
            tape.say(pong, b"PONG")
        tape.note(RECORDER, "tick")
