"""A tiny Gamma and order book: counted markets that open, end and are resolved by the clock."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from truetape import clock

LENGTH_S = {"5m": 300, "15m": 900}


def write_time(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_slug(slug: str) -> tuple[int, int]:
    """Return first second and end."""
    series, begin = slug.split("-")[-2:]
    return int(begin), int(begin) + LENGTH_S[series]


def name_tokens(slug: str) -> list[str]:
    return [f"{slug.split('-')[0]}{slug.split('-')[-1]}1", f"{slug.split('-')[0]}{slug.split('-')[-1]}2"]


def make_event(slug: str, now_s: float, **changes: Any) -> dict[str, Any]:
    """Make an event as it is at a time; `changes`: after how many seconds it is proposed, resolved, priced."""
    begin_s, end_s = read_slug(slug)
    past_s = now_s - end_s
    is_resolved = past_s >= changes.get("resolved", 60)
    market: dict[str, Any] = {
        "id": "7",
        "conditionId": f"0x{slug}",
        "slug": slug,
        "outcomes": '["Up", "Down"]',
        "outcomePrices": '["1", "0"]' if is_resolved else '["0.5", "0.5"]',
        "clobTokenIds": json.dumps(name_tokens(slug)),
        "eventStartTime": write_time(begin_s),
        "endDate": write_time(end_s),
        "active": True,
        "closed": is_resolved,
        "volumeNum": 100.0,
    }
    if is_resolved or past_s >= changes.get("proposed", 30):
        market["umaResolutionStatus"] = "resolved" if is_resolved else changes.get("word", "proposed")
    event: dict[str, Any] = {
        "slug": slug,
        "version": changes.get("version", "v1"),
        "startTime": write_time(begin_s),
        "seriesSlug": "btc-up-or-down-15m",
        "tags": [{"slug": "up-or-down"}],
        "markets": [market],
    }
    if past_s >= changes.get("priced", 960):
        event["eventMetadata"] = {"priceToBeat": 1.0, "finalPrice": 2.0}
    return event


@dataclass
class Gamma:
    """What runs behind the addresses."""

    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """slug → changes."""
    hidden: set[str] = field(default_factory=set)
    """Slugs answered by 404, in lists left out."""
    extra: list[dict[str, Any]] = field(default_factory=list)
    """Events of the keyset list."""
    asked: list[str] = field(default_factory=list)
    tokens: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    """Token → when it was subscribed, and let go of."""
    is_down: bool = False
    refusals: int = 0
    """So many requests are told to come back in 40 s."""

    def _answer(self, slug: str) -> dict[str, Any] | None:
        if slug in self.hidden:
            return None
        known = next((event for event in self.extra if event["slug"] == slug), None)
        return known or make_event(slug, clock.wall_ns() / 1e9, **self.changes.get(slug, {}))

    async def tell_event(self, request: web.Request) -> web.Response:
        slug = request.match_info["slug"]
        self.asked.append(slug)
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=429, headers={"Retry-After": "40"})
        if self.is_down:
            return web.Response(status=503)
        event = self._answer(slug)
        return web.json_response({"type": "not found error"}, status=404) if event is None else web.json_response(event)

    async def list_events(self, request: web.Request) -> web.Response:
        slugs, closed = request.query.getall("slug"), request.query["closed"] == "true"
        self.asked += slugs
        events = [event for slug in slugs if (event := self._answer(slug)) is not None]
        return web.json_response([e for e in events if e["markets"][0]["closed"] is closed])

    async def list_keyset(self, request: web.Request) -> web.Response:
        self.asked.append(request.query_string)
        return web.json_response({"events": [e for e in self.extra if e["slug"] not in self.hidden]})

    async def tell_time(self, request: web.Request) -> web.Response:
        self.asked.append("time")
        return web.json_response(int(clock.wall_ns() / 1e9))

    async def send_prices(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.data == "PING":
                await socket.send_str("{}")
        return socket

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        mine: set[str] = set()
        async for message in socket:
            now_s = clock.wall_ns() / 1e9
            if message.data == "PING":
                await socket.send_str("PONG")
                continue
            said = json.loads(message.data)
            for token in said["assets_ids"]:
                if said.get("operation") == "unsubscribe":
                    mine.discard(token)
                    self.tokens[token] = (self.tokens[token][0], now_s)
                else:
                    mine.add(token)
                    self.tokens.setdefault(token, (now_s, None))
        return socket

    def make_app(self) -> web.Application:
        app = web.Application()
        gamma = "/gamma-api.polymarket.com"
        app.router.add_get(f"{gamma}/events/slug/{{slug}}", self.tell_event)
        app.router.add_get(f"{gamma}/events", self.list_events)
        app.router.add_get(f"{gamma}/events/keyset", self.list_keyset)
        app.router.add_get("/ws-subscriptions-clob.polymarket.com/ws/market", self.talk)
        app.router.add_get("/clob.polymarket.com/time", self.tell_time)
        app.router.add_get("/ws-live-data.polymarket.com", self.send_prices)
        app.router.add_get("/ws-live-data.polymarket.com/", self.send_prices)
        return app
