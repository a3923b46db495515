"""Fake Deribit v2: perpetuals over JSON-RPC, the same methods by WebSocket and by REST."""

from collections import deque

import msgspec

from truetape.sim.fake import FakeVenue, Line
from truetape.sim.hub import Hub, Session
from truetape.sim.market import Market, Step, Trade
from truetape.sim.protocol import Query, Quota, Reply, Rules, encode_json
from truetape.sim.spec import Spec
from truetape.sim.venues._deribit_methods import amount_of, call, describe_bar, describe_trade, number_of, ticker_of
from truetape.sim.view import View
from truetape.sim.world import World

INTERVALS_US = {"100ms": 100_000, "agg2": 1_000_000}
CHARTS_US = {str(m): m * 60_000_000 for m in (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720)}
REQUESTS_PER_SECOND_MAX = 100
RULES = Rules()


def _list_specs() -> tuple[Spec, ...]:
    return (
        Spec("deribit", "main", "BTC-PERPETUAL", "BTC", "USD", "inverse", 1, 0, tick=5, lot=10, contract=10),
        Spec("deribit", "main", "ETH-PERPETUAL", "ETH", "USD", "inverse", 2, 0, tick=5, lot=1, contract=1),
        Spec("deribit", "main", "SOL_USDC-PERPETUAL", "SOL", "USDC", "linear", 3, 1, tick=10, lot=1),
    )


class DeribitDesk:
    """Publishes one instrument."""

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market, self.hub, self.spec = market, hub, market.spec
        self._views: dict[str, View] = {}
        self._changes: dict[str, int] = {}
        self._pending: dict[str, list[Trade]] = {}
        self._due_us: dict[str, int] = {}
        self._tickers: dict[str, int] = {}
        """Channels that send whole pictures → when the next one is due."""
        self._charts: dict[str, str] = {}

    def begin(self, channel: str) -> bytes:
        """Prepare a channel and return the frame that it begins with; empty when it begins with nothing."""
        kind, interval = channel.partition(".")[0], channel.rpartition(".")[2]
        if kind == "chart":
            self._charts[channel] = interval
            return b""
        if kind == "book" and channel.count(".") == 4:
            self._tickers.setdefault(channel, 0)
            return self._wrap(channel, self._describe(channel))
        if kind == "book":
            if channel not in self._views:
                self._views[channel] = View(self.market, 10_000, INTERVALS_US[interval])
                self._changes[channel] = self.market.update_id
            elif len(self.hub.rooms[channel]) == 1:  # nobody listened until now
                self._views[channel].compare()
                self._changes[channel] = self.market.update_id
            levels = [self._mark("new", side) for side in self._views[channel].picture()]
            return self._describe_book(channel, "snapshot", levels, -1)
        if kind == "trades":
            self._pending.setdefault(channel, [])
            return b""
        self._tickers.setdefault(channel, 0)
        return self._wrap(channel, self._describe(channel))

    def advance(self, step: Step) -> None:
        """Publish what a step caused."""
        rooms = self.hub.rooms
        for channel, waiting in self._pending.items():
            if channel in rooms:
                waiting += step.fills
                if waiting and step.at_us >= self._due_us.get(channel, 0):
                    self._publish_trades(channel, step.at_us)
            elif waiting:
                waiting.clear()
        if not rooms:
            return
        for channel, view in self._views.items():
            if channel in rooms and view.is_due(step.at_us):
                self._publish_book(channel, view)
        for channel, due_us in self._tickers.items():
            if channel in rooms and step.at_us >= due_us and (step.is_top or step.fills):
                span = INTERVALS_US.get(channel.rpartition(".")[2], 10_000)
                self._tickers[channel] = step.at_us - step.at_us % span + span
                self.hub.publish(channel, self._wrap(channel, self._describe(channel)))
        if step.is_second:
            self._publish_charts()

    def _wrap(self, channel: str, data: object) -> bytes:
        params = {"channel": channel, "data": data}
        return encode_json({"jsonrpc": "2.0", "method": "subscription", "params": params})

    def _publish_trades(self, channel: str, at_us: int) -> None:
        span = INTERVALS_US[channel.rpartition(".")[2]]
        self._due_us[channel] = at_us - at_us % span + span
        fills = list(self._pending[channel])
        self._pending[channel].clear()
        rows = [describe_trade(self.market, fill) for fill in fills]
        self.hub.publish(channel, self._wrap(channel, rows), fills[0].id, fills[-1].id)

    def _mark(self, action: str, side: list[tuple[int, int]]) -> list[tuple[str, float, float]]:
        return [(action, number_of(self.spec, p), amount_of(self.spec, s)) for p, s in side]

    def _publish_book(self, channel: str, view: View) -> None:
        old = view.sides
        changed = view.compare()
        if not changed[0] and not changed[1]:
            return
        levels = [
            [
                self._mark("delete" if not level[1] else "change" if level[0] in before else "new", [level])[0]
                for level in side
            ]
            for side, before in zip(changed, old, strict=True)
        ]
        previous, self._changes[channel] = self._changes[channel], self.market.update_id
        frame = self._describe_book(channel, "change", levels, previous)
        self.hub.publish(channel, frame, previous, self._changes[channel])

    def _describe_book(
        self, channel: str, kind: str, levels: list[list[tuple[str, float, float]]], previous: int
    ) -> bytes:
        data: dict[str, object] = {"type": kind, "timestamp": self.market.now_us // 1000}
        if previous >= 0:
            data["prev_change_id"] = previous
        data |= {"instrument_name": self.spec.symbol, "change_id": self._changes[channel]}
        return self._wrap(channel, data | {"bids": levels[0], "asks": levels[1]})

    def _publish_charts(self) -> None:
        """Send the present candle of each chart that somebody watches."""
        for channel, minutes in self._charts.items():
            if channel in self.hub.rooms:
                for bar in self.market.bars(CHARTS_US[minutes], self.market.now_us - CHARTS_US[minutes]):
                    self.hub.publish(channel, self._wrap(channel, describe_bar(self.spec, bar)))

    def _describe_picture(self, channel: str) -> dict[str, object]:
        """Write the best levels, as many as the channel's name says."""
        bids, asks = (
            [(number_of(self.spec, p), amount_of(self.spec, s)) for p, s in side]
            for side in self.market.book(int(channel.split(".")[3]))
        )
        head = {"timestamp": self.market.now_us // 1000, "instrument_name": self.spec.symbol}
        return {**head, "change_id": self.market.update_id, "bids": bids, "asks": asks}

    def _describe(self, channel: str) -> dict[str, object]:
        market, spec, kind = self.market, self.spec, channel.partition(".")[0]
        if kind == "book":
            return self._describe_picture(channel)
        digits = 10 ** (spec.price_digits + 2)
        if kind == "perpetual":
            data = {"timestamp": market.now_us // 1000, "interest": market.funding_ppb / 1e9}
            return {**data, "index_price": market.index_price / digits}
        if kind == "quote":
            bid, bid_size, ask, ask_size = market.top
            return {
                "timestamp": market.now_us // 1000,
                "instrument_name": spec.symbol,
                "best_ask_price": number_of(spec, ask),
                "best_bid_price": number_of(spec, bid),
                "best_ask_amount": amount_of(spec, ask_size),
                "best_bid_amount": amount_of(spec, bid_size),
            }
        return ticker_of(market)


class _Call(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: dict[str, msgspec.Raw] = {}


class DeribitTalk:
    """One conversation."""

    def __init__(self, session: Session, world: World) -> None:
        self._session, self._world = session, world
        self._heartbeat_s = 0.0
        self._asked_s, self._is_waiting, self._now_s = 0.0, False, 0.0
        self._recent: deque[float] = deque()

    def hear(self, text: str) -> None:
        """Answer one call."""
        self._is_waiting = False
        try:
            order = msgspec.json.decode(text, type=_Call)
            params = {key: msgspec.json.decode(raw) for key, raw in order.params.items()}
        except msgspec.DecodeError:
            self._fail(None, -32700, "Parse error")
            return
        self._recent.append(self._now_s)
        while self._recent[0] < self._now_s - 1:
            self._recent.popleft()
        if len(self._recent) > REQUESTS_PER_SECOND_MAX:
            self._fail(order.id, 10028, "too_many_requests")
            return
        match order.method:
            case "public/subscribe":
                self._subscribe(order.id, [str(c) for c in params.get("channels", [])])
            case "public/unsubscribe":
                gone = [c for c in params.get("channels", []) if self._session.unsubscribe(str(c))]
                self._answer(order.id, gone)
            case "public/unsubscribe_all":
                for channel in list(self._session.topics):
                    self._session.unsubscribe(channel)
                self._answer(order.id, "ok")
            case "public/set_heartbeat":
                self._set_heartbeat(order.id, params.get("interval", 0))
            case "public/disable_heartbeat":
                self._heartbeat_s = 0.0
                self._answer(order.id, "ok")
            case _:
                self._call(order, params)

    def _set_heartbeat(self, number: int | str | None, interval: object) -> None:
        if not isinstance(interval, int | float) or interval < 10:
            self._fail(number, -32602, "Invalid params")
            return
        self._heartbeat_s, self._asked_s = float(interval), self._now_s
        self._answer(number, "ok")

    def _call(self, order: _Call, params: dict[str, object]) -> None:
        found = call(self._world, order.method.removeprefix("public/"), {k: str(v) for k, v in params.items()})
        if isinstance(found, str):
            self._fail(order.id, -32601 if found == "Method not found" else -32602, found)
        elif order.method == "public/test":
            self._session.show_life(self._describe(order.id, found[0]))
        else:
            self._answer(order.id, found[0])

    def _subscribe(self, number: int | str | None, channels: list[str]) -> None:
        """Answer with what was accepted: a wrong name is silently missing."""
        if any(c.endswith(".raw") for c in channels):
            self._fail(number, 13778, "raw_subscriptions_not_available_for_unauthorized")
            return
        good = [c for c in channels if self._exists(c)]
        new = [c for c in good if self._session.subscribe(c)]
        self._answer(number, good)
        for channel in new:
            desk = self._world.desk("deribit", "main", _symbol_of(channel)) if self._world.is_synthetic else None
            if isinstance(desk, DeribitDesk):
                first = desk.begin(channel)
                if first:
                    self._session.send(first)
        self._world.on_subscribe()

    def _exists(self, channel: str) -> bool:
        parts = channel.split(".")
        match parts:
            case ["quote", _]:
                is_known = True
            case ["trades" | "book" | "ticker" | "perpetual", _, interval]:
                is_known = interval in INTERVALS_US
            case ["book", _, "none", depth, interval]:
                is_known = depth in ("1", "10", "20") and interval in INTERVALS_US
            case ["chart", "trades", _, minutes]:
                is_known = minutes in CHARTS_US
            case _:
                is_known = False
        return is_known and self._world.find_spec("deribit", "main", _symbol_of(channel)) is not None

    def _answer(self, number: int | str | None, result: object) -> None:
        self._session.send(self._describe(number, result))

    def _describe(self, number: int | str | None, result: object) -> bytes:
        now_us = self._world.time.now_us()
        tree = {"jsonrpc": "2.0", "id": number, "result": result}
        return encode_json(tree | {"usIn": now_us, "usOut": now_us + 181, "usDiff": 181, "testnet": False})

    def _fail(self, number: int | str | None, code: int, message: str) -> None:
        error = {"code": code, "message": message, "data": None}
        self._session.send(encode_json({"jsonrpc": "2.0", "id": number, "error": error}))

    def tick(self, now_s: float) -> None:
        """Ask for a sign of life when a heartbeat was set; cut who gave none until the next one is due."""
        self._now_s = now_s
        if not self._heartbeat_s or now_s - self._asked_s < self._heartbeat_s:
            return
        if self._is_waiting:
            self._session.close(1000, "no answer to test_request")
            return
        self._asked_s, self._is_waiting = now_s, True
        for kind in ("heartbeat", "test_request"):
            self._session.show_life(encode_json({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}}))


def _symbol_of(channel: str) -> str:
    parts = channel.removeprefix("chart.").split(".")
    return parts[1] if len(parts) > 1 else ""


def connect(query: Query) -> Line | None:
    """Return what answers an address."""
    return Line("main", RULES, DeribitTalk) if query.path.startswith("/ws/api/v2") else None


def respond(world: World, query: Query) -> Reply:
    """Answer a method called by REST."""
    if not query.path.startswith("/api/v2/public/"):
        return Reply(b"", 404)
    method = query.path.rpartition("/")[2]
    found, now_us = call(world, method, query.args), world.time.now_us()
    stamps = {"usIn": now_us, "usOut": now_us + 181, "usDiff": 181, "testnet": False}
    if isinstance(found, str):
        error = {"code": -32601 if found == "Method not found" else -32602, "message": found}
        return Reply(encode_json({"jsonrpc": "2.0", "error": error} | stamps), 400, quota="credits")
    weight = 20 if method == "get_instruments" else 1
    body = encode_json({"jsonrpc": "2.0", "result": found[0]} | stamps)
    return Reply(body, quota="credits", weight=weight, is_book=method == "get_order_book")


def name_topic(payload: bytes) -> str:
    """Return the channel of a recorded frame."""
    frame = msgspec.json.decode(payload)
    channel = frame.get("params", {}).get("channel", "")
    assert isinstance(channel, str)
    return channel


def guess_spec(feed: str, symbol: str) -> Spec | None:
    """List an instrument that only a recording knows."""
    base = symbol.split("-")[0].split("_")[0]
    return Spec("deribit", "main", symbol, base, "USD", "inverse", 4, 1) if symbol else None


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    return encode_json({"jsonrpc": "2.0", "error": {"code": 10028, "message": "too_many_requests"}})


FAKE = FakeVenue(
    name="deribit",
    hosts=("www.deribit.com", "streams.deribit.com", "test.deribit.com"),
    specs=_list_specs(),
    connect=connect,
    respond=respond,
    make_desk=DeribitDesk,
    quotas={"credits": Quota(100, 5.0)},
    refuse=refuse,
    name_topic=name_topic,
    name_symbol=_symbol_of,
    find_feed=lambda url: "main",
    guess_spec=guess_spec,
)
