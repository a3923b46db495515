"""Fake Bybit v5: spot, linear and inverse, WebSocket and REST."""

import re

import msgspec

from truetape.sim.fake import FakeVenue, Line
from truetape.sim.hub import Hub, Session
from truetape.sim.market import Candle, Market, Step, Trade
from truetape.sim.protocol import Query, Quota, Rules, encode_json
from truetape.sim.spec import Spec, write_fixed, write_short
from truetape.sim.venues import _bybit_bulk as bulk
from truetape.sim.venues._bybit_rest import INTERVALS_US, describe_candle, respond
from truetape.sim.view import View
from truetape.sim.world import World

CATEGORIES = ("spot", "linear", "inverse")
DEPTHS_US = {1: 10_000, 50: 20_000, 200: 100_000, 1000: 200_000}
REPEAT_US = 3_000_000
"""Depth 1 repeats its last frame after this long without a change."""
RULES = Rules(idle_s=600.0)
SPOT_ARGS_MAX = 10
ARGS_CHARACTERS_MAX = 21_000

_TOPIC = re.compile(
    r"^(?:publicTrade|tickers|allLiquidation|orderbook\.(?P<depth>1|50|200|1000)|kline\.(?P<interval>\w+))"
    r"\.(?P<symbol>[A-Z0-9]+)$"
)


def _list_specs() -> tuple[Spec, ...]:
    coins = (
        ("BTC", 2, 6, 10, 3),
        ("ETH", 2, 5, 1, 2),
        ("SOL", 3, 3, 10, 1),
        ("XRP", 4, 2, 1, 0),
        ("DOGE", 5, 1, 1, 0),
    )
    specs = []
    for base, digits, spot_size, tick, size in coins:
        specs.append(Spec("bybit", "spot", f"{base}USDT", base, "USDT", "spot", digits, spot_size))
        specs.append(Spec("bybit", "linear", f"{base}USDT", base, "USDT", "linear", digits, size, tick=tick))
        specs.append(Spec("bybit", "inverse", f"{base}USD", base, "USD", "inverse", digits, 0, tick=max(tick, 5)))
    return tuple(specs)


class BybitDesk:
    """Publishes one instrument."""

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market, self.hub, self.spec = market, hub, market.spec
        symbol = market.spec.symbol
        self._trades, self._tickers = f"publicTrade.{symbol}", f"tickers.{symbol}"
        self._liquidations = f"allLiquidation.{symbol}"
        self._books: dict[int, View] = {}
        self._numbers: dict[int, int] = {}
        self._repeat_us = 0
        self._klines: dict[str, str] = {}
        self._closed: dict[str, int] = {}
        self._forced: list[Trade] = []
        self._forced_due_us = 0
        self._ticker: dict[str, str] = {}
        self._ticker_due_us = 0

    def begin(self, topic: str) -> bytes:
        """Prepare a topic and return the snapshot it begins with; empty when it begins with nothing."""
        found = _TOPIC.match(topic)
        if found is None:
            return b""
        if found["depth"]:
            depth = int(found["depth"])
            if depth not in self._books:
                self._books[depth] = View(self.market, depth, DEPTHS_US[depth])
                self._numbers[depth] = 20_000_000 + depth
            elif len(self.hub.rooms[topic]) == 1:  # nobody listened until now
                self._books[depth].compare()
                self._numbers[depth] += 1
            return self._describe_book(depth, "snapshot", self._books[depth].picture())
        if found["interval"]:
            self._klines[topic] = found["interval"]
        elif topic == self._tickers:
            now = self._read_ticker()
            self._ticker = self._ticker or now  # deltas say what differs from this
            return self._describe_ticker("snapshot", now)
        return b""

    def advance(self, step: Step) -> None:
        """Publish what a step caused."""
        rooms = self.hub.rooms
        if not rooms:
            return
        if step.fills:
            if self._trades in rooms:
                self._publish_trades(step.fills)
            if step.fills[0].is_liquidation and self._liquidations in rooms:
                self._forced += step.fills
        if self._forced and step.at_us >= self._forced_due_us:
            self._publish_liquidations(step.at_us)
        for depth, view in self._books.items():
            if f"orderbook.{depth}.{self.spec.symbol}" in rooms and view.is_due(step.at_us):
                self._publish_book(depth, view, step.at_us)
        if self._tickers in rooms and step.at_us >= self._ticker_due_us:
            self._publish_ticker(step.at_us)
        if step.is_second:
            for topic, interval in self._klines.items():
                if topic in rooms:
                    self._publish_kline(topic, interval, step.at_us)

    def _price(self, value: int) -> str:
        return write_fixed(value, self.spec.price_digits)

    def _size(self, value: int) -> str:
        return write_fixed(value, self.spec.size_digits) if value else "0"

    def _publish_trades(self, fills: tuple[Trade, ...]) -> None:
        ms, spec = fills[0].at_us // 1000, self.spec
        rows = []
        for fill in fills:
            id_text = bulk.name_trade(spec, fill)
            tick = "" if spec.kind == "spot" else f'"L":"{"MinusTick" if fill.is_sell else "PlusTick"}",'
            rows.append(
                f'{{"T":{ms},"s":"{spec.symbol}","S":"{"Sell" if fill.is_sell else "Buy"}","v":"{self._size(fill.size)}",'
                f'"p":"{self._price(fill.price)}",{tick}"i":"{id_text}","BT":false,"RPI":false,'
                f'"seq":{self.market.update_id}}}'
            )
        frame = f'{{"topic":"{self._trades}","type":"snapshot","ts":{ms},"data":[{",".join(rows)}]}}'
        self.hub.publish(self._trades, frame.encode(), fills[0].id, fills[-1].id)

    def _publish_liquidations(self, at_us: int) -> None:
        """`S` is the side of the position: a forced sale closed a long, which is `Buy`."""
        self._forced_due_us = at_us - at_us % 500_000 + 500_000
        fills, self._forced = self._forced, []
        rows = [
            {
                "T": fill.at_us // 1000,
                "s": self.spec.symbol,
                "S": "Buy" if fill.is_sell else "Sell",
                "v": self._size(fill.size),
                "p": self._price(fill.price - fill.price // (200 if fill.is_sell else -200)),
            }
            for fill in fills
        ]
        frame = {"topic": self._liquidations, "type": "snapshot", "ts": at_us // 1000, "data": rows}
        self.hub.publish(self._liquidations, encode_json(frame), fills[0].id, fills[-1].id)

    def _publish_book(self, depth: int, view: View, at_us: int) -> None:
        bids, asks = view.compare()
        if depth == 1:
            if not bids and not asks and at_us < self._repeat_us:
                return
            self._repeat_us = at_us + REPEAT_US
            self._numbers[1] += bool(bids or asks)
            frame = self._describe_book(1, "snapshot", self.market.book(1))
        elif bids or asks:
            self._numbers[depth] += 1
            frame = self._describe_book(depth, "delta", (bids, asks))
        else:
            return
        number = self._numbers[depth]
        self.hub.publish(f"orderbook.{depth}.{self.spec.symbol}", frame, number, number)

    def _describe_book(
        self, depth: int, kind: str, sides: tuple[list[tuple[int, int]], list[tuple[int, int]]]
    ) -> bytes:
        ms, symbol = self.market.now_us // 1000, self.spec.symbol
        b, a = (",".join(f'["{self._price(p)}","{self._size(s)}"]' for p, s in side) for side in sides)
        return (
            f'{{"topic":"orderbook.{depth}.{symbol}","type":"{kind}","ts":{ms},"data":{{"s":"{symbol}","b":[{b}],'
            f'"a":[{a}],"u":{self._numbers[depth]},"seq":{self.market.update_id}}},"cts":{ms}}}'
        ).encode()

    def _publish_ticker(self, at_us: int) -> None:
        self._ticker_due_us = at_us - at_us % 100_000 + 100_000
        now = self._read_ticker()
        if self.spec.kind == "spot":
            self.hub.publish(self._tickers, self._describe_ticker("snapshot", now))
            return
        changed = {key: value for key, value in now.items() if self._ticker.get(key) != value}
        self._ticker = now
        if changed:
            self.hub.publish(self._tickers, self._describe_ticker("delta", {"symbol": self.spec.symbol} | changed))

    def _describe_ticker(self, kind: str, data: dict[str, str]) -> bytes:
        tree = {"topic": self._tickers, "type": kind, "data": data, "cs": self.market.update_id}
        return encode_json(tree | {"ts": self.market.now_us // 1000})

    def _read_ticker(self) -> dict[str, str]:
        market, spec = self.market, self.spec
        day = market.today()
        last, opened, low, high = (self._price(v) for v in (market.last, day.open, market.low, market.high))
        turnover = write_short(day.turnover, spec.price_digits + spec.size_digits)
        common = {"symbol": spec.symbol, "lastPrice": last, "highPrice24h": high, "lowPrice24h": low}
        common |= {"prevPrice24h": opened, "volume24h": self._size(day.volume), "turnover24h": turnover}
        common |= {"price24hPcnt": "0.001624"}
        if spec.kind == "spot":
            return common | {"usdIndexPrice": write_short(market.index_price, spec.price_digits + 2)}
        bid, bid_size, ask, ask_size = market.top
        digits = spec.price_digits + 2
        interest = market.open_interest
        worth = write_fixed(interest * market.mark // 10 ** (spec.size_digits + spec.price_digits), 2)
        return common | {
            "tickDirection": "ZeroPlusTick",
            "prevPrice1h": opened,
            "markPrice": write_fixed(market.mark // 100, spec.price_digits),
            "indexPrice": write_short(market.index_price, digits),
            "openInterest": self._size(interest),
            "openInterestValue": worth,
            "fundingIntervalHour": "8",
            "fundingCap": "0.005",
            "singleOpenInterest": self._size(interest // 2),
            "singleOpenInterestValue": worth,
            "nextFundingTime": str(market.next_funding_us // 1000),
            "fundingRate": write_short(market.funding_ppb // 10, 8),
            "bid1Price": self._price(bid),
            "bid1Size": self._size(bid_size),
            "ask1Price": self._price(ask),
            "ask1Size": self._size(ask_size),
            "preOpenPrice": "",
            "preQty": "",
            "curPreListingPhase": "",
        }

    def _publish_kline(self, topic: str, interval: str, at_us: int) -> None:
        span = INTERVALS_US[interval]
        start, done = at_us - at_us % span, self._closed.get(topic, 0)
        for bar in self.market.bars(span, start - span):
            is_final = bar.start_us + span <= at_us
            if bar.start_us < done:
                continue
            if is_final:
                self._closed[topic] = bar.start_us + span
            self.hub.publish(topic, self._describe_kline(topic, interval, bar, at_us, is_final))

    def _describe_kline(self, topic: str, interval: str, bar: Candle, at_us: int, is_final: bool) -> bytes:
        start, ms = bar.start_us // 1000, at_us // 1000
        row: dict[str, object] = {
            "start": start,
            "end": start + INTERVALS_US[interval] // 1000 - 1,
            "interval": interval,
        }
        row |= describe_candle(self.spec, bar) | {"confirm": is_final, "timestamp": ms}
        return encode_json({"topic": topic, "data": [row], "ts": ms, "type": "snapshot"})


class _Order(msgspec.Struct):
    op: str
    args: list[str] = []
    req_id: str = ""


class BybitTalk:
    """One conversation."""

    def __init__(self, session: Session, world: World) -> None:
        self._session, self._world = session, world
        self._id = f"sim{session.name.rpartition('#')[2]}-truetape"

    def hear(self, text: str) -> None:
        """Answer one message; one bad topic fails its whole request."""
        try:
            order = msgspec.json.decode(text, type=_Order)
        except msgspec.DecodeError:
            self._answer(False, "Params Error", "", "")
            return
        if order.op == "ping":
            self._session.show_life(self._describe(True, "pong", order.req_id, "ping"))
            return
        feed = self._session.hub.feed
        message = "" if order.op in ("subscribe", "unsubscribe") else f"unknown operation {order.op}"
        if feed == "spot" and len(order.args) > SPOT_ARGS_MAX:
            message = "args size >10"
        elif sum(map(len, order.args)) > ARGS_CHARACTERS_MAX:
            message = "args too long"
        for topic in order.args:
            if not self._exists(topic):
                message = f"Invalid topic: {topic}"
        if message:
            self._answer(False, message, order.req_id, order.op)
            return
        if order.op == "unsubscribe":
            for topic in order.args:
                self._session.unsubscribe(topic)
        self._answer(True, "subscribe" if feed == "spot" else "", order.req_id, order.op)
        if order.op == "subscribe":
            self._subscribe(order.args)

    def _exists(self, topic: str) -> bool:
        found, feed = _TOPIC.match(topic), self._session.hub.feed
        if found is None or (feed == "spot" and topic.startswith("allLiquidation")):
            return False
        if found["interval"] and found["interval"] not in INTERVALS_US:
            return False
        return self._world.find_spec("bybit", feed, found["symbol"]) is not None

    def _subscribe(self, topics: list[str]) -> None:
        for topic in topics:
            if not self._session.subscribe(topic) or not self._world.is_synthetic:
                continue
            desk = self._world.desk("bybit", self._session.hub.feed, topic.rpartition(".")[2])
            assert isinstance(desk, BybitDesk)
            snapshot = desk.begin(topic)
            if snapshot:
                self._session.send(snapshot)
        self._world.on_subscribe()

    def _answer(self, is_good: bool, message: str, req_id: str, op: str) -> None:
        self._session.send(self._describe(is_good, message, req_id, op))

    def _describe(self, is_good: bool, message: str, req_id: str, op: str) -> bytes:
        tree = {"success": is_good, "ret_msg": message, "conn_id": self._id, "req_id": req_id, "op": op}
        return encode_json(tree)

    def tick(self, now_s: float) -> None:
        """Nothing is due by time: the client pings."""


def connect(query: Query) -> Line | None:
    """Return what answers an address: `/v5/public/<category>`."""
    category = query.path.rpartition("/")[2]
    if not query.path.startswith("/v5/public/") or category not in CATEGORIES:
        return None
    return Line(category, RULES, BybitTalk)


def find_feed(url: str) -> str:
    """Return the category of an address."""
    return next((c for c in CATEGORIES if f"/{c}" in url or f"category={c}" in url), "linear")


def name_topic(payload: bytes) -> str:
    """Return the topic of a recorded frame."""
    topic = msgspec.json.decode(payload).get("topic", "")
    assert isinstance(topic, str)
    return topic


def guess_spec(feed: str, symbol: str) -> Spec | None:
    """List a symbol that only a recording knows."""
    for quote in ("USDT", "USDC", "USD"):
        if symbol.endswith(quote):
            kinds: dict[str, object] = {"spot": "spot", "linear": "linear", "inverse": "inverse"}
            tree = {
                "venue": "bybit",
                "feed": feed,
                "symbol": symbol,
                "base": symbol.removesuffix(quote),
                "quote": quote,
            }
            tree_more = {"kind": kinds[feed], "price": 1.0, "price_digits": 4, "size_digits": 2}
            return msgspec.convert(tree | tree_more, Spec)
    return None


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    return encode_json({"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "retExtInfo": {}, "time": 0})


FAKE = FakeVenue(
    name="bybit",
    hosts=("stream.bybit.com", "api.bybit.com", "api.bytick.com", bulk.HOST),
    specs=_list_specs(),
    connect=connect,
    respond=respond,
    make_desk=BybitDesk,
    quotas={"ip": Quota(600, 5.0, left_header="X-Bapi-Limit-Status")},
    refuse=refuse,
    name_topic=name_topic,
    name_symbol=lambda topic: topic.rpartition(".")[2],
    find_feed=find_feed,
    guess_spec=guess_spec,
)
