"""A prediction venue with thousands of busy markets, on loopback: Gamma's list, the order book's socket, its pictures.

    python bench/market_venue.py --markets 2000 --rate 10000 --seconds 20 --told FILE

All frames are made beforehand, each with the hashes that its two books have then; they are sent, from some seconds after
the last token was subscribed, to whoever subscribed a token of their market. Prints its port, then `sent` with the figures
when all is out; FILE gets a digest of every message and when it was handed to the kernel.
"""

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from truetape.venues.polymarket.proof import Context, hash_book

SIDE_LEVELS = 10
PERIOD_S = 0.004
CALM_S = 5.0
"""From the last subscription to the first frame."""
TRADE_EVERY = 50
"""One message in so many is a trade."""
PAGE = 100
FAR = "2030-01-01T00:00:00Z"


class Market:
    """Two books that mirror each other; one level changes a frame."""

    def __init__(self, number: int, at_ms: int) -> None:
        self.slug = f"bench-{number}"
        self.condition = "0x" + hashlib.sha256(self.slug.encode()).hexdigest()
        digest = int.from_bytes(hashlib.sha512(self.slug.encode()).digest(), "big")
        self.tokens = tuple(str(digest // (3 + side) % 10**77).zfill(77) for side in (0, 1))
        draw = random.Random(number)
        self.bids = {49 - level: f"{draw.uniform(1, 5000):.2f}" for level in range(SIDE_LEVELS)}
        self.asks = {51 + level: f"{draw.uniform(1, 5000):.2f}" for level in range(SIDE_LEVELS)}
        self.at_ms = at_ms
        self.pictures = [self._make_picture(side) for side in (0, 1)]

    def list_sides(self, side: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return bids and asks of an outcome, best first."""
        bids, asks = self.bids, self.asks
        if side:
            bids, asks = ({100 - price: size for price, size in book.items()} for book in (asks, bids))
        ours = [(f"0.{price:02d}", size) for price, size in sorted(bids.items(), reverse=True)]
        return ours, [(f"0.{price:02d}", size) for price, size in sorted(asks.items())]

    def hash(self, side: int, sides: tuple[list[tuple[str, str]], list[tuple[str, str]]]) -> str:
        """Return the hash of an outcome's book now."""
        return hash_book(*sides, Context(self.condition, self.tokens[side], str(self.at_ms), "5", "0.01", False, "0.5"))

    def change(self, at_ms: int, draw: random.Random) -> bytes:
        """Change a level and tell of it."""
        at_ms = self.at_ms = max(at_ms, self.at_ms + 1)  # what happens at one moment is one batch with one hash
        is_ask, level = draw.random() < 0.5, int(draw.random() * SIDE_LEVELS)
        book, price = (self.asks, 51 + level) if is_ask else (self.bids, 49 - level)
        book[price] = size = f"{draw.uniform(1, 5000):.2f}"
        told = []
        for side in (0, 1):
            sides = self.list_sides(side)
            shown = 100 - price if side else price
            told.append(
                f'{{"asset_id": "{self.tokens[side]}", "price": "0.{shown:02d}", "size": "{size}", '
                f'"side": "{"SELL" if is_ask != bool(side) else "BUY"}", "hash": "{self.hash(side, sides)}", '
                f'"best_bid": "{sides[0][0][0]}", "best_ask": "{sides[1][0][0]}"}}'
            )
        return (
            f'{{"market": "{self.condition}", "price_changes": [{", ".join(told)}], '
            f'"timestamp": "{at_ms}", "event_type": "price_change"}}'
        ).encode()

    def trade(self, at_ms: int, number: int) -> bytes:
        """Tell of a trade."""
        told = {
            "market": self.condition, "asset_id": self.tokens[0], "price": "0.5", "size": "12.5", "fee_rate_bps": "0",
            "side": "BUY", "timestamp": str(at_ms), "event_type": "last_trade_price",
            "transaction_hash": f"0x{number:064x}",
        }  # fmt: skip
        return json.dumps(told).encode()

    def _make_picture(self, side: int) -> dict[str, Any]:
        bids, asks = sides = self.list_sides(side)
        return {
            "market": self.condition, "asset_id": self.tokens[side], "timestamp": str(self.at_ms),
            "hash": self.hash(side, sides), "bids": [{"price": p, "size": s} for p, s in reversed(bids)],
            "asks": [{"price": p, "size": s} for p, s in reversed(asks)], "tick_size": "0.01",
            "event_type": "book", "last_trade_price": "0.5",
        }  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """Return the event as Gamma lists it."""
        market = {
            "id": self.slug, "conditionId": self.condition, "slug": self.slug, "question": f"Is it {self.slug}?",
            "outcomes": '["Yes", "No"]', "clobTokenIds": json.dumps(self.tokens), "active": True, "closed": False,
            "acceptingOrders": True, "endDate": FAR, "orderMinSize": 5, "negRisk": False, "volumeNum": 1000.0,
        }  # fmt: skip
        return {"slug": self.slug, "version": "v1", "tags": [{"slug": "bench"}], "endDate": FAR, "markets": [market]}


class MarketVenue:
    """Serves the markets and sends their frames."""

    def __init__(self, markets: int, rate: int, seconds: float) -> None:
        self.rate = rate
        at_ms = time.time_ns() // 10**6
        self.markets = [Market(number, at_ms - 1000) for number in range(markets)]
        self.by_token = {token: market for market in self.markets for token in market.tokens}
        self.number = {market.condition: number for number, market in enumerate(self.markets)}
        draw = random.Random(7)
        self.frames: list[tuple[int, bytes]] = []
        """(market, message)."""
        for number in range(int(rate * seconds)):
            which, when_ms = int(draw.random() * markets), at_ms + number * 1000 // rate
            market = self.markets[which]
            is_trade = number % TRADE_EVERY == TRADE_EVERY - 1
            message = market.trade(when_ms, number) if is_trade else market.change(when_ms, draw)
            self.frames.append((which, message))
        self.lines: dict[int, web.Request] = {}
        self.listeners: list[list[int]] = [[] for _ in self.markets]
        """Market → connections that subscribed one of its tokens."""
        self.subscribed: set[str] = set()
        self.ready = asyncio.Event()
        self.is_sending = False
        self.keys: list[int] = []
        self.sent_ns: list[int] = []
        self.late_ms = 0.0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever is asked for."""
        path = request.path
        if path.endswith("/ws/market"):
            return await self._listen(request)
        if path.endswith("/events/keyset"):
            first = int(request.query.get("after_cursor", "0"))
            page = [market.describe() for market in self.markets[first : first + PAGE]]
            more = {"next_cursor": str(first + PAGE)} if first + PAGE < len(self.markets) else {}
            return web.json_response({"events": page, **more})
        market = self.by_token.get(request.query.get("token_id", ""))
        if path.endswith("/book") and market is not None and not self.is_sending:
            picture = dict(market.pictures[market.tokens.index(request.query["token_id"])])
            del picture["event_type"]
            return web.json_response({**picture, "min_order_size": "5", "neg_risk": False})
        return web.json_response({"error": "not found"}, status=404)

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        line = len(self.lines)
        self.lines[line] = request
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                break
            if message.data == "PING":
                await socket.send_str("PONG")
                continue
            tokens = json.loads(message.data).get("assets_ids", [])
            pictures = []
            for token in tokens:
                market = self.by_token[token]
                pictures.append(market.pictures[market.tokens.index(token)])
                known = self.listeners[self.number[market.condition]]
                if line not in known:
                    known.append(line)
            await socket.send_str(json.dumps(pictures, separators=(",", ":")))
            self.subscribed.update(tokens)
            if len(self.subscribed) == len(self.by_token):
                self.ready.set()
        return socket

    async def send_all(self) -> None:
        """Send the frames at their rate; each write has what is due on a connection."""
        self.is_sending = True
        begin, at = time.perf_counter(), 0
        while at < len(self.frames):
            due = min(int((time.perf_counter() - begin) * self.rate), len(self.frames))
            parts: dict[int, list[bytes]] = {}
            keys: list[int] = []
            for which, message in self.frames[at:due]:
                head = b"\x81\x7e" + len(message).to_bytes(2, "big")
                for line in self.listeners[which]:
                    parts.setdefault(line, []).append(head + message)
                    keys.append(digest(message))
            self.keys += keys
            self.sent_ns += [time.time_ns()] * len(keys)
            for line, own in parts.items():
                transport = self.lines[line].transport
                if transport is not None:
                    transport.write(b"".join(own))
            at = due
            self.late_ms = max(self.late_ms, (time.perf_counter() - begin - at / self.rate) * 1000)
            await asyncio.sleep(PERIOD_S)
        self.seconds = time.perf_counter() - begin


def digest(message: bytes) -> int:
    """Return a number that stands for a message."""
    return int.from_bytes(hashlib.blake2b(message, digest_size=8).digest(), "big", signed=True)


async def serve(venue: MarketVenue, told: Path) -> None:
    """Serve until everything is sent, and then for as long as somebody reads."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", venue.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await venue.ready.wait()
    print("subscribed", flush=True)
    await asyncio.sleep(CALM_S)
    print("sending", flush=True)
    await venue.send_all()
    np.savez(told, keys=np.array(venue.keys), sent_ns=np.array(venue.sent_ns))
    about = {
        "frames": len(venue.keys), "seconds": venue.seconds, "late_ms": venue.late_ms,
        "connections": len({line for lines in venue.listeners for line in lines}),
        "bytes": sum(len(message) for _, message in venue.frames),
        "busiest": Counter(which for which, _ in venue.frames).most_common(1)[0][1],
    }  # fmt: skip
    print("sent " + json.dumps(about), flush=True)
    await asyncio.sleep(600)


def main() -> None:
    """Run as a child."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--markets", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--told", type=Path, required=True)
    given = parser.parse_args()
    venue = MarketVenue(given.markets, given.rate, given.seconds)
    asyncio.run(serve(venue, given.told))


if __name__ == "__main__":
    main()
