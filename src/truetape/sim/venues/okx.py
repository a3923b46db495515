"""Fake OKX v5: spot and swaps; the public and the business socket."""

import re
from zlib import crc32

import msgspec

from truetape.sim.fake import FakeVenue, Line
from truetape.sim.hub import Hub, Session
from truetape.sim.market import FUNDING_US, Candle, Market, Step, Trade
from truetape.sim.protocol import Query, Quota, Rules, encode_json
from truetape.sim.spec import Spec, write_short
from truetape.sim.venues import _okx_bulk as bulk
from truetape.sim.venues._okx_bar import describe_candle
from truetape.sim.venues._okx_rest import BARS_US, describe_trade, kind_of, respond
from truetape.sim.view import View
from truetape.sim.world import World

RULES = Rules(idle_s=30.0)
PUBLIC_CHANNELS = (
    "trades",
    "books",
    "books5",
    "bbo-tbt",
    "tickers",
    "funding-rate",
    "mark-price",
    "open-interest",
    "liquidation-orders",
)
LOCKED_CHANNELS = ("books-l2-tbt", "books50-l2-tbt")
"""Channels that need a login and a VIP level."""
BOOKS = {"books": (400, 100_000), "books5": (5, 100_000), "bbo-tbt": (1, 10_000)}


def _list_specs() -> tuple[Spec, ...]:
    specs = [
        Spec("okx", "public", f"{base}-USDT", base, "USDT", "spot", digits, size)
        for base, digits, size in (("BTC", 1, 8), ("ETH", 2, 6), ("SOL", 2, 6))
    ]
    for base, digits, contract, dollars in (
        ("BTC", 1, 0.01, 100.0),
        ("ETH", 2, 0.1, 10.0),
        ("SOL", 2, 1.0, 10.0),
    ):
        specs.append(Spec("okx", "public", f"{base}-USDT-SWAP", base, "USDT", "linear", digits, 2, contract=contract))
        specs.append(Spec("okx", "public", f"{base}-USD-SWAP", base, "USD", "inverse", digits, 0, contract=dollars))
    return tuple(specs)


def sum_up(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> int:
    """Return the venue's checksum: 25 levels of both sides interleaved, CRC32 as a signed number."""
    parts: list[str] = []
    for i in range(25):
        for side in (bids, asks):
            if i < len(side):
                parts += side[i]
    value = crc32(":".join(parts).encode())
    return value - (1 << 32) if value >= 1 << 31 else value


class OkxDesk:
    """Publishes one instrument."""

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market, self.hub, self.spec = market, hub, market.spec
        self._kind = kind_of(market.spec)
        self._topics = {c: f"{c}:{market.spec.symbol}" for c in (*PUBLIC_CHANNELS, "trades-all")}
        self._args = {
            c: f'{{"channel":"{c}","instId":"{market.spec.symbol}"}}' for c in (*PUBLIC_CHANNELS, "trades-all")
        }
        self._views: dict[str, View] = {}
        self._sequence: dict[str, int] = {}
        self._candles: dict[str, str] = {}
        self._closed: dict[str, int] = {}
        self._ticker_due_us = 0

    def begin(self, channel: str) -> bytes:
        """Prepare a channel and return the frame that it begins with; empty when it begins with nothing."""
        topic = f"{channel}:{self.spec.symbol}"
        if channel in BOOKS:
            if channel not in self._views:
                self._views[channel] = View(self.market, *BOOKS[channel])
                self._sequence[channel] = self.market.update_id
            elif len(self.hub.rooms[topic]) == 1:  # nobody listened until now
                self._views[channel].compare()
                self._sequence[channel] = self.market.update_id
            return self._describe_book(channel, "snapshot", self._views[channel].picture(), -1)
        if channel.startswith("candle"):
            self._candles[topic] = channel.removeprefix("candle")
        elif channel in ("trades", "trades-all"):
            return self._wrap(channel, describe_trade(self.spec, self.market.recent(1)))
        elif channel == "tickers":
            return self._wrap(channel, self._describe_ticker())
        elif channel in ("funding-rate", "mark-price", "open-interest"):
            return self._wrap(channel, self._describe_state(channel))
        return b""

    def advance(self, step: Step) -> None:
        """Publish what a step caused."""
        rooms = self.hub.rooms
        if not rooms:
            return
        if step.fills:
            self._publish_fills(step.fills)
        for channel, view in self._views.items():
            if self._topics[channel] in rooms and view.is_due(step.at_us):
                self._publish_book(channel, view)
        if self._topics["tickers"] in rooms and step.at_us >= self._ticker_due_us and (step.fills or step.is_top):
            self._ticker_due_us = step.at_us - step.at_us % 100_000 + 100_000
            self.hub.publish(self._topics["tickers"], self._wrap("tickers", self._describe_ticker()))
        if step.is_second:
            self._publish_seconds(step.at_us)

    def _publish_fills(self, fills: tuple[Trade, ...]) -> None:
        rooms = self.hub.rooms
        topic = self._topics["trades"]
        first, last = fills[0].id, fills[-1].id
        if topic in rooms:
            self.hub.publish(topic, self._wrap("trades", describe_trade(self.spec, fills)), first, last)
        topic = self._topics["trades-all"]
        if topic in rooms:
            for fill in fills:
                row = describe_trade(self.spec, (fill,))
                self.hub.publish(topic, self._wrap("trades-all", row), fill.id, fill.id)
        topic = f"liquidation-orders:{self._kind}"
        if fills[0].is_liquidation and topic in rooms:
            self.hub.publish(topic, self._describe_liquidation(fills), first, last)

    def _publish_seconds(self, at_us: int) -> None:
        rooms = self.hub.rooms
        for channel, every_s in (("mark-price", 1), ("open-interest", 3), ("funding-rate", 30)):
            topic = self._topics[channel]
            if topic in rooms and at_us // 1_000_000 % every_s == 0:
                self.hub.publish(topic, self._wrap(channel, self._describe_state(channel)))
        for topic, bar in self._candles.items():
            if topic in rooms:
                self._publish_candles(topic, bar, at_us)

    def _wrap(self, channel: str, row: dict[str, object]) -> bytes:
        return f'{{"arg":{self._args[channel]},"data":[{encode_json(row).decode()}]}}'.encode()

    def _publish_book(self, channel: str, view: View) -> None:
        bids, asks = view.compare()
        if not bids and not asks:
            return
        before = self._sequence[channel]
        self._sequence[channel] = now = self.market.update_id
        if channel != "books":
            bids, asks = view.picture()
        frame = self._describe_book(channel, "update" if channel == "books" else "", (bids, asks), before)
        self.hub.publish(self._topics[channel], frame, before, now)

    def _describe_book(
        self, channel: str, action: str, sides: tuple[list[tuple[int, int]], list[tuple[int, int]]], before: int
    ) -> bytes:
        bids, asks = (self._write_levels(side) for side in sides)
        row: dict[str, object] = {
            "asks": [(*level, "0", "1" if level[1] != "0" else "0") for level in asks],
            "bids": [(*level, "0", "1" if level[1] != "0" else "0") for level in bids],
            "ts": str(self.market.now_us // 1000),
        }
        if channel == "books":
            whole = [self._write_levels(side[:25]) for side in self._views[channel].picture()]
            row |= {"checksum": sum_up(*whole), "seqId": self._sequence[channel], "prevSeqId": before}
        else:
            row |= {"seqId": self._sequence[channel]}
        arg = self._args[channel]
        part = f'"action":"{action}",' if channel == "books" else ""
        if channel == "books5":
            row["instId"] = self.spec.symbol
        return f'{{"arg":{arg},{part}"data":[{encode_json(row).decode()}]}}'.encode()

    def _write_levels(self, side: list[tuple[int, int]]) -> list[tuple[str, str]]:
        spec = self.spec
        return [(write_short(p, spec.price_digits), write_short(s, spec.size_digits)) for p, s in side]

    def _describe_ticker(self) -> dict[str, object]:
        market, spec = self.market, self.spec
        day = market.today()
        bid, bid_size, ask, ask_size = market.top

        def price(value: int) -> str:
            return write_short(value, spec.price_digits)

        def size(value: int) -> str:
            return write_short(value, spec.size_digits)

        coins = float(size(day.volume)) * spec.contract
        if spec.kind == "inverse":
            coins /= float(price(day.close))
        worth = write_short(day.turnover, spec.price_digits + spec.size_digits)
        return {
            "instType": self._kind,
            "instId": spec.symbol,
            "last": price(market.last),
            "lastSz": size(market.recent(1)[-1].size),
            "askPx": price(ask),
            "askSz": size(ask_size),
            "bidPx": price(bid),
            "bidSz": size(bid_size),
            "open24h": price(day.open),
            "high24h": price(market.high),
            "low24h": price(market.low),
            "sodUtc0": price(day.open),
            "sodUtc8": price(day.open),
            "volCcy24h": worth if spec.kind == "spot" else f"{coins:.4f}",
            "vol24h": size(day.volume),
            "ts": str(market.now_us // 1000),
        }

    def _describe_state(self, channel: str) -> dict[str, object]:
        market, spec, ms = self.market, self.spec, str(self.market.now_us // 1000)
        head: dict[str, object] = {"instType": self._kind, "instId": spec.symbol}
        if channel == "mark-price":
            return head | {"markPx": write_short(market.mark, spec.price_digits + 2), "ts": ms}
        if channel == "open-interest":
            contracts = float(write_short(market.open_interest, spec.size_digits))
            coins = contracts * spec.contract
            if spec.kind == "inverse":
                coins /= market.mark / 10 ** (spec.price_digits + 2)
            return head | {"oi": f"{contracts:g}", "oiCcy": f"{coins:.4f}", "ts": ms}
        at_ms = market.next_funding_us // 1000
        return head | {
            "fundingRate": write_short(market.funding_ppb, 9),
            "nextFundingRate": "",
            "fundingTime": str(at_ms),
            "nextFundingTime": str(at_ms + 8 * 3600 * 1000),
            "method": "current_period",
            "minFundingRate": "-0.00375",
            "maxFundingRate": "0.00375",
            "settState": "settled",
            "settFundingRate": write_short(market.find_rate(market.next_funding_us // FUNDING_US - 1), 9),
            "premium": write_short(market.funding_ppb, 9),
            "interestRate": "0.0001",
            "impactValue": "20000",
            "formulaType": "noRate",
            "ts": ms,
        }

    def _describe_liquidation(self, fills: tuple[Trade, ...]) -> bytes:
        spec, one = self.spec, fills[0]
        detail = {
            "bkLoss": "0",
            "bkPx": write_short(one.price - one.price // (200 if one.is_sell else -200), spec.price_digits),
            "ccy": "",
            "posSide": "long" if one.is_sell else "short",
            "side": "sell" if one.is_sell else "buy",
            "sz": write_short(sum(f.size for f in fills), spec.size_digits),
            "ts": str(one.at_us // 1000),
        }
        family = f"{spec.base}-{spec.quote}"
        row = {"details": [detail], "instFamily": family, "instId": spec.symbol, "instType": self._kind, "uly": family}
        arg = {"channel": "liquidation-orders", "instType": self._kind}
        return encode_json({"arg": arg, "data": [row]})

    def _publish_candles(self, topic: str, bar_name: str, at_us: int) -> None:
        span = BARS_US[bar_name]
        start, done = at_us - at_us % span, self._closed.get(topic, 0)
        arg = {"channel": f"candle{bar_name}", "instId": self.spec.symbol}
        for bar in self.market.bars(span, start - span):
            is_final = bar.start_us + span <= at_us
            if bar.start_us < done:
                continue
            if is_final:
                self._closed[topic] = bar.start_us + span
            self._publish_candle(topic, arg, bar, is_final)

    def _publish_candle(self, topic: str, arg: dict[str, str], bar: Candle, is_final: bool) -> None:
        self.hub.publish(topic, encode_json({"arg": arg, "data": [describe_candle(self.spec, bar, is_final)]}))


class _Order(msgspec.Struct):
    op: str
    args: list[dict[str, str]] = []
    id: str | None = None


class OkxTalk:
    """One conversation; every argument has its own acknowledgement."""

    def __init__(self, session: Session, world: World, is_business: bool) -> None:
        self._session, self._world, self._is_business = session, world, is_business
        self._id = f"{crc32(session.name.encode()):08x}"

    def hear(self, text: str) -> None:
        """Answer one message."""
        if text == "ping":
            self._session.show_life(b"pong")
            return
        try:
            order = msgspec.json.decode(text, type=_Order)
        except msgspec.DecodeError:
            self._fail("60012", f"Invalid request: {text[:200]}")
            return
        if order.op not in ("subscribe", "unsubscribe") or not order.args:
            self._fail("60012", f"Invalid request: {text[:200]}")
            return
        for arg in order.args:
            if order.op == "subscribe":
                self._subscribe(arg)
            else:
                self._session.unsubscribe(_name(arg))
                self._session.send(encode_json({"event": "unsubscribe", "arg": arg, "connId": self._id}))

    def _subscribe(self, arg: dict[str, str]) -> None:
        channel, symbol = arg.get("channel", ""), arg.get("instId", "")
        if channel in LOCKED_CHANNELS:
            self._fail("60011", "Please log in")
        elif not self._exists(channel, arg):
            names = ",".join(f"{key}:{value}" for key, value in arg.items())
            message = f"Wrong URL or {names} doesn't exist. Please use the correct URL, channel and parameters."
            self._fail("60018", message)
        else:
            is_new = self._session.subscribe(_name(arg))
            self._session.send(encode_json({"event": "subscribe", "arg": arg, "connId": self._id}))
            desk = self._world.desk("okx", "public", symbol) if self._world.is_synthetic else None
            if is_new and isinstance(desk, OkxDesk):
                first = desk.begin(channel)
                if first:
                    self._session.send(first)
            if channel == "liquidation-orders" and self._world.is_synthetic:
                for spec in self._world.list_specs("okx", "public"):
                    if kind_of(spec) == arg["instType"]:
                        self._world.market("okx", "public", spec.symbol)
            self._world.on_subscribe()

    def _exists(self, channel: str, arg: dict[str, str]) -> bool:
        if self._is_business != (channel.startswith("candle") or channel == "trades-all"):
            return False
        if channel == "liquidation-orders":
            return arg.get("instType") in ("SWAP", "FUTURES")
        if channel.startswith("candle"):
            if channel.removeprefix("candle") not in BARS_US:
                return False
        elif channel not in (*PUBLIC_CHANNELS, "trades-all"):
            return False
        spec = self._world.find_spec("okx", "public", arg.get("instId", ""))
        needs_swap = channel in ("funding-rate", "open-interest")
        return spec is not None and not (needs_swap and spec.kind == "spot")

    def _fail(self, code: str, message: str) -> None:
        self._session.send(encode_json({"event": "error", "code": code, "msg": message, "connId": self._id}))

    def tick(self, now_s: float) -> None:
        """Nothing is due by time: the client pings."""


def _name(arg: dict[str, str]) -> str:
    return f"{arg.get('channel', '')}:{arg.get('instId') or arg.get('instType', '')}"


def connect(query: Query) -> Line | None:
    """Return what answers an address."""
    found = re.search(r"/ws/v5/(public|business)$", query.path)
    if not found:
        return None
    is_business = found[1] == "business"
    return Line("public", RULES, lambda session, world: OkxTalk(session, world, is_business))


def name_topic(payload: bytes) -> str:
    """Return the topic of a recorded frame."""
    frame = msgspec.json.decode(payload)
    return _name(frame["arg"]) if isinstance(frame, dict) and "data" in frame and "arg" in frame else ""


def guess_spec(feed: str, symbol: str) -> Spec | None:
    """List a symbol that only a recording knows."""
    parts = symbol.split("-")
    if len(parts) < 2:
        return None
    kind: dict[bool, str] = {True: "spot", False: "inverse" if parts[1] == "USD" else "linear"}
    tree = {"venue": "okx", "feed": "public", "symbol": symbol, "base": parts[0], "quote": parts[1]}
    numbers = {"kind": kind[len(parts) == 2], "price": 1.0, "price_digits": 4, "size_digits": 2}
    return msgspec.convert(tree | numbers, Spec)


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    return encode_json({"code": "50011", "msg": "Too Many Requests", "data": []})


FAKE = FakeVenue(
    name="okx",
    hosts=("ws.okx.com", "wseea.okx.com", "wsus.okx.com", "www.okx.com", "eea.okx.com", "us.okx.com", bulk.HOST),
    specs=_list_specs(),
    connect=connect,
    respond=respond,
    make_desk=OkxDesk,
    quotas={"fast": Quota(40, 2.0), "slow": Quota(20, 2.0)},
    refuse=refuse,
    name_topic=name_topic,
    name_symbol=lambda topic: topic.partition(":")[2],
    find_feed=lambda url: "public",
    guess_spec=guess_spec,
)
