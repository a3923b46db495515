"""Fake Binance: spot, USD-M (public and market paths of 2026-04-23) and COIN-M, WebSocket and REST."""

import re
from collections.abc import Callable

import msgspec

from truetape.sim.fake import FakeVenue, Line
from truetape.sim.hub import Hub, Session
from truetape.sim.market import Candle, Market, Step, Trade
from truetape.sim.protocol import Query, Quota, Reply, Rules, encode_json
from truetape.sim.spec import Spec, write_fixed, write_padded
from truetape.sim.venues import _binance_bulk as bulk
from truetape.sim.venues._binance_rest import (
    INTERVALS_US,
    answer_statistics,
    candle_numbers,
    respond,
    write_price,
    write_size,
)
from truetape.sim.world import World

SPOT_HOSTS = ("stream.binance.com", "data-stream.binance.vision")
USDM_HOST, COINM_HOST = "fstream.binance.com", "dstream.binance.com"
FILE_HOSTS = (bulk.HOST,)
REST_HOSTS = ("api.binance.com", "data-api.binance.vision", "fapi.binance.com", "dapi.binance.com")

PUBLIC_CHANNELS = ("depth", "bookTicker", "trade")
"""What USD-M's `/public` path carries; everything else is on `/market`."""

SPOT_RULES = Rules(ping_interval_s=20, pong_timeout_s=60, messages_per_second_max=5, topics_max=1024)
FUTURES_RULES = Rules(ping_interval_s=180, pong_timeout_s=600, messages_per_second_max=10, topics_max=200)


def _list_specs() -> tuple[Spec, ...]:
    coins = (
        ("BTC", 2, 5, 1, 3),
        ("ETH", 2, 4, 2, 3),
        ("SOL", 2, 3, 3, 0),
        ("BNB", 2, 3, 2, 2),
        ("XRP", 4, 0, 4, 1),
        ("DOGE", 5, 0, 5, 0),
    )
    specs = []
    for base, spot_price, spot_size, perp_price, perp_size in coins:
        specs.append(Spec("binance", "spot", f"{base}USDT", base, "USDT", "spot", spot_price, spot_size))
        specs.append(Spec("binance", "usdm", f"{base}USDT", base, "USDT", "linear", perp_price, perp_size))
        contract = 100.0 if base == "BTC" else 10.0
        specs.append(
            Spec("binance", "coinm", f"{base}USD_PERP", base, "USD", "inverse", perp_price, 0, contract=contract)
        )
    specs.append(Spec("binance", "spot", "ETHBTC", "ETH", "BTC", "spot", 5, 4))
    return tuple(specs)


_DEPTH = re.compile(r"^depth(?P<levels>5|10|20)?(?:@(?P<ms>0|100|250|500)ms)?$")


class Diff:
    """Collects what changed in the book since the last frame of one depth stream."""

    __slots__ = ("changes", "due_us", "interval_us", "last_u", "topic")

    def __init__(self, topic: str, interval_us: int, market: Market) -> None:
        self.topic, self.interval_us = topic, interval_us
        self.due_us = market.now_us + interval_us
        self.last_u = market.update_id
        self.changes: dict[tuple[int, int], int] = {}


class BinanceDesk:
    """Publishes one instrument."""

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market, self.hub, self.spec = market, hub, market.spec
        name = market.spec.symbol.lower()
        self._name = name
        self._trade, self._agg, self._ticker = f"{name}@trade", f"{name}@aggTrade", f"{name}@bookTicker"
        self._diffs: dict[str, Diff] = {}
        self._partials: dict[str, tuple[int, int, int]] = {}
        self._klines: dict[str, str] = {}
        self._marks = (f"{name}@markPrice", f"{name}@markPrice@1s")
        self._prices: dict[int, str] = {}
        self._closed: dict[str, int] = {}

    def open(self, topic: str) -> None:
        """Prepare a stream that somebody subscribes; a name that means nothing is accepted silently."""
        channel = topic.partition("@")[2]
        found = _DEPTH.match(channel)
        if found:
            default = 1000 if self.spec.feed == "spot" else 250
            interval_us = max(1, int(found["ms"] or default)) * 1000
            if found["levels"]:
                self._partials[topic] = (int(found["levels"]), interval_us, self.market.now_us)
            elif topic not in self._diffs:
                self._diffs[topic] = Diff(topic, interval_us, self.market)
        elif channel.startswith("kline_") and channel.removeprefix("kline_") in INTERVALS_US:
            self._klines[topic] = channel.removeprefix("kline_")

    def advance(self, step: Step) -> None:
        """Publish what a step caused."""
        rooms = self.hub.rooms
        for diff in self._diffs.values():
            for side, price, size in step.changes:
                diff.changes[side, price] = size
            if step.at_us >= diff.due_us:
                self._publish_diff(diff, step.at_us)
        if not rooms:
            return
        if step.fills:
            self._publish_fills(step.fills)
        if step.is_top and self._ticker in rooms:
            self._publish_ticker(step.at_us // 1000)
        for topic in self._partials:
            self._publish_partial(topic, step.at_us)
        if step.is_second:
            self._publish_seconds(step.at_us // 1000)

    def _write(self, price: int) -> str:
        text = self._prices.get(price)
        if text is None:
            if len(self._prices) > 50_000:
                self._prices.clear()
            text = self._prices[price] = write_price(self.spec, price)
        return text

    def _send(self, topic: str, data: str, first: int = -1, last: int = -1) -> None:
        self.hub.publish(topic, f'{{"stream":"{topic}","data":{data}}}'.encode(), first, last)

    def _publish_fills(self, fills: tuple[Trade, ...]) -> None:
        rooms = self.hub.rooms
        if self._trade in rooms:
            for fill in fills:
                self._publish_trade(fill)
        if self._agg in rooms:
            self._publish_aggregate(fills)
        if fills[0].is_liquidation:
            self._publish_liquidation(fills)

    def _publish_trade(self, fill: Trade) -> None:
        spec, ms = self.spec, fill.at_us // 1000
        price, size = self._write(fill.price), write_size(spec, fill.size)
        maker = "true" if fill.is_sell else "false"
        if spec.feed == "spot":
            data = (
                f'{{"e":"trade","E":{ms},"s":"{spec.symbol}","t":{fill.id},"p":"{price}","q":"{size}",'
                f'"T":{ms},"m":{maker},"M":true}}'
            )
        else:
            data = (
                f'{{"e":"trade","E":{ms},"T":{ms},"s":"{spec.symbol}","t":{fill.id},"p":"{price}","q":"{size}",'
                f'"X":"MARKET","m":{maker}}}'
            )
        self._send(self._trade, data, fill.id, fill.id)

    def _publish_aggregate(self, fills: tuple[Trade, ...]) -> None:
        spec, one, ms = self.spec, fills[0], fills[0].at_us // 1000
        price, size = self._write(one.price), write_size(spec, sum(f.size for f in fills))
        maker = "true" if one.is_sell else "false"
        ids = f'"f":{one.id},"l":{fills[-1].id},"T":{ms},"m":{maker}'
        if spec.feed == "spot":
            data = (
                f'{{"e":"aggTrade","E":{ms},"s":"{spec.symbol}","a":{one.order},"p":"{price}","q":"{size}",'
                f'{ids},"M":true}}'
            )
        else:
            data = f'{{"e":"aggTrade","E":{ms},"a":{one.order},"s":"{spec.symbol}","p":"{price}","q":"{size}",{ids}}}'
        self._send(self._agg, data, one.order, one.order)

    def _publish_ticker(self, ms: int) -> None:
        spec, market = self.spec, self.market
        bid, bid_size, ask, ask_size = market.top
        best = (
            f'"b":"{self._write(bid)}","B":"{write_size(spec, bid_size)}",'
            f'"a":"{self._write(ask)}","A":"{write_size(spec, ask_size)}"'
        )
        u = market.update_id
        if spec.feed == "spot":
            data = f'{{"u":{u},"s":"{spec.symbol}",{best}}}'
        elif spec.feed == "usdm":
            data = f'{{"e":"bookTicker","u":{u},"s":"{spec.symbol}",{best},"T":{ms},"E":{ms}}}'
        else:
            pair = spec.symbol.partition("_")[0]
            data = f'{{"u":{u},"e":"bookTicker","s":"{spec.symbol}","ps":"{pair}",{best},"T":{ms},"E":{ms}}}'
        self._send(self._ticker, data, u, u)

    def _publish_diff(self, diff: Diff, at_us: int) -> None:
        diff.due_us = at_us - at_us % diff.interval_us + diff.interval_us
        if not diff.changes:
            return
        changes, diff.changes = diff.changes, {}
        first, before, last = diff.last_u + 1, diff.last_u, self.market.update_id
        diff.last_u = last
        if diff.topic not in self.hub.rooms:
            return
        spec, ms = self.spec, at_us // 1000
        sides = [
            ",".join(
                f'["{self._write(price)}","{write_size(spec, size)}"]'
                for (s, price), size in sorted(changes.items(), reverse=side == 0)
                if s == side
            )
            for side in (0, 1)
        ]
        levels = f'"b":[{sides[0]}],"a":[{sides[1]}]'
        if spec.feed == "spot":
            head = f'"E":{ms},"s":"{spec.symbol}","U":{first},"u":{last}'
        elif spec.feed == "usdm":
            head = f'"E":{ms},"T":{ms},"s":"{spec.symbol}","U":{first},"u":{last},"pu":{before}'
        else:
            pair = spec.symbol.partition("_")[0]
            head = f'"E":{ms},"T":{ms},"s":"{spec.symbol}","ps":"{pair}","U":{first},"u":{last},"pu":{before}'
        self._send(diff.topic, f'{{"e":"depthUpdate",{head},{levels}}}', first, last)

    def _publish_partial(self, topic: str, at_us: int) -> None:
        depth, interval_us, due_us = self._partials[topic]
        if at_us < due_us or topic not in self.hub.rooms:
            return
        self._partials[topic] = (depth, interval_us, at_us - at_us % interval_us + interval_us)
        spec = self.spec
        bids, asks = ([[self._write(p), write_size(spec, s)] for p, s in side] for side in self.market.book(depth))
        u, ms = self.market.update_id, at_us // 1000
        if spec.feed == "spot":
            data: dict[str, object] = {"lastUpdateId": u, "bids": bids, "asks": asks}
        else:
            data = {"e": "depthUpdate", "E": ms, "T": ms, "s": spec.symbol, "U": u, "u": u, "pu": u}
            data |= {"b": bids, "a": asks}
        self._send(topic, encode_json(data).decode(), u, u)

    def _publish_liquidation(self, fills: tuple[Trade, ...]) -> None:
        topic = f"{self._name}@forceOrder"
        if topic not in self.hub.rooms and "!forceOrder@arr" not in self.hub.rooms:
            return
        spec, one, ms = self.spec, fills[0], fills[0].at_us // 1000
        size = write_size(spec, sum(f.size for f in fills))
        limit = one.price + one.price // (-200 if one.is_sell else 200) // spec.tick * spec.tick
        pair = f'"ps":"{spec.symbol.partition("_")[0]}",' if spec.feed == "coinm" else ""
        data = (
            f'{{"e":"forceOrder","E":{ms},"o":{{"s":"{spec.symbol}",{pair}"S":"{"SELL" if one.is_sell else "BUY"}",'
            f'"o":"LIMIT","f":"IOC","q":"{size}","p":"{self._write(limit)}","ap":"{self._write(one.price)}",'
            f'"X":"FILLED","l":"{write_size(spec, fills[-1].size)}","z":"{size}","T":{ms}}}}}'
        )
        self._send(topic, data)
        self._send("!forceOrder@arr", data)

    def _publish_seconds(self, ms: int) -> None:
        rooms = self.hub.rooms
        for topic in self._marks:
            if topic in rooms and self.spec.kind != "spot" and (topic.endswith("@1s") or ms // 1000 % 3 == 0):
                self._send(topic, self._describe_mark(ms))
        for topic, interval in self._klines.items():
            if topic in rooms:
                self._publish_kline(topic, interval, ms)
        topic = f"{self._name}@ticker"
        if topic in rooms:
            self._send(topic, self._describe_day(ms))

    def _describe_mark(self, ms: int) -> str:
        market, spec = self.market, self.spec
        digits = spec.price_digits + 2
        mark, index = (write_padded(v, digits, 8) for v in (market.mark, market.index_price))
        rate = write_fixed(market.funding_ppb // 10, 8)
        ahead = market.next_funding_us // 1000
        middle = f'"p":"{mark}","P":"{index}",' + (f'"i":"{index}",' if spec.feed == "usdm" else "")
        return f'{{"e":"markPriceUpdate","E":{ms},"s":"{spec.symbol}",{middle}"r":"{rate}","T":{ahead}}}'

    def _publish_kline(self, topic: str, interval: str, ms: int) -> None:
        span = INTERVALS_US[interval]
        now_us = ms * 1000
        start = now_us - now_us % span
        done = self._closed.get(topic, 0)
        for bar in self.market.bars(span, start - span):
            is_final = bar.start_us + span <= now_us
            if bar.start_us < done:
                continue
            if is_final:
                self._closed[topic] = bar.start_us + span
            self._send(topic, self._describe_kline(bar, interval, ms, is_final), bar.first_id, bar.last_id)

    def _describe_kline(self, bar: Candle, interval: str, ms: int, is_final: bool) -> str:
        symbol, start = self.spec.symbol, bar.start_us // 1000
        n = candle_numbers(self.spec, bar)
        return (
            f'{{"e":"kline","E":{ms},"s":"{symbol}","k":{{"t":{start},"T":{start + INTERVALS_US[interval] // 1000 - 1},'
            f'"s":"{symbol}","i":"{interval}","f":{bar.first_id},"L":{bar.last_id},"o":"{n.open}","c":"{n.close}",'
            f'"h":"{n.high}","l":"{n.low}","v":"{n.volume}","n":{bar.trades},"x":{"true" if is_final else "false"},'
            f'"q":"{n.turnover}","V":"{n.buy_volume}","Q":"{n.buy_turnover}","B":"0"}}}}'
        )

    def _describe_day(self, ms: int) -> str:
        market, spec = self.market, self.spec
        day = market.today()
        n = candle_numbers(spec, day)
        pair = {"ps": spec.symbol.partition("_")[0]} if spec.feed == "coinm" else {}
        bid, bid_size, ask, ask_size = market.top
        data = {"e": "24hrTicker", "E": ms, "s": spec.symbol} | pair
        data |= {"p": write_price(spec, day.close - day.open), "P": "0.000", "w": n.close}
        if spec.feed == "spot":
            data |= {"x": n.open, "c": n.close, "Q": write_size(spec, market.recent(1)[-1].size)}
            data |= {"b": self._write(bid), "B": write_size(spec, bid_size)}
            data |= {"a": self._write(ask), "A": write_size(spec, ask_size)}
        else:
            data |= {"c": n.close, "Q": write_size(spec, market.recent(1)[-1].size)}
        data |= {"o": n.open, "h": n.high, "l": n.low, "v": n.volume, "q": n.turnover, "O": ms - 86_400_000, "C": ms}
        return encode_json(data | {"F": day.first_id, "L": day.last_id, "n": day.trades}).decode()


class _Order(msgspec.Struct):
    method: str
    params: list[str | bool] = []
    id: int | str | None = None


class BinanceTalk:
    """One conversation: subscribe, unsubscribe, list; streams in the address are subscribed at once."""

    def __init__(self, session: Session, world: World, streams: tuple[str, ...], is_combined: bool, path: str) -> None:
        self._session, self._world, self._path = session, world, path
        session.shape = None if is_combined else _unwrap
        for stream in streams:
            self._subscribe(stream)

    def hear(self, text: str) -> None:
        """Answer one control message."""
        try:
            order = msgspec.json.decode(text, type=_Order)
        except msgspec.DecodeError:
            self._session.send(encode_json({"code": 3, "msg": "Invalid JSON: not a request"}))
            return
        result: object = None
        streams = [p for p in order.params if isinstance(p, str)]
        match order.method:
            case "SUBSCRIBE":
                for stream in streams:
                    self._subscribe(stream)
            case "UNSUBSCRIBE":
                for stream in streams:
                    self._session.unsubscribe(stream)
            case "LIST_SUBSCRIPTIONS":
                result = list(self._session.topics)
            case "SET_PROPERTY":
                self._session.shape = None if order.params[-1:] == [True] else _unwrap
            case "GET_PROPERTY":
                result = self._session.shape is None
            case _:
                message = f"Invalid request: unknown variant `{order.method}`"
                self._session.send(encode_json({"code": 2, "msg": message, "id": order.id}))
                return
        self._session.send(encode_json({"result": result, "id": order.id}))

    def tick(self, now_s: float) -> None:
        """Nothing is due by time."""

    def _subscribe(self, stream: str) -> None:
        feed = self._session.hub.feed
        channel = stream.partition("@")[2]
        is_public = re.split(r"[@_\d]", channel)[0] in PUBLIC_CHANNELS
        wrong = (self._path == "public" and not is_public) or (self._path == "market" and is_public)
        desk = self._world.desk("binance", feed, stream.partition("@")[0].upper())
        if isinstance(desk, BinanceDesk):
            desk.open(stream)
        if stream.startswith("!"):
            for spec in self._world.list_specs("binance", feed):
                self._world.market("binance", feed, spec.symbol)
        # The other group's streams are accepted and never send anything.
        self._session.subscribe(f"{self._path}!{stream}" if wrong else stream)
        self._world.on_subscribe()


def _unwrap(payload: bytes) -> bytes:
    """Cut `{"stream":"…","data":` and the last brace off."""
    return payload[payload.index(b'"data":') + 7 : -1]


def connect(query: Query) -> Line | None:
    """Return what answers an address; the old USD-M paths are gone since 2026-04-23."""
    parts = [p for p in query.path.split("/") if p]
    feed = _name_feed(query.host, parts)
    path = ""
    if feed == "usdm":
        if not parts or parts[0] not in ("public", "market"):
            return None
        path = parts.pop(0)
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    is_combined = parts[0] == "stream"
    streams = query.args.get("streams", "").split("/") if is_combined else parts[1:]
    rules = SPOT_RULES if feed == "spot" else FUTURES_RULES

    def make_talk(session: Session, world: World) -> BinanceTalk:
        return BinanceTalk(session, world, tuple(s for s in streams if s), is_combined, path)

    return Line(feed, rules, make_talk)


def _name_feed(host: str, parts: list[str]) -> str:
    if host == USDM_HOST or (not host and parts[:1] in (["public"], ["market"])):
        return "usdm"
    if not host and parts[:1] == ["coinm"]:
        parts.pop(0)
        return "coinm"
    return "coinm" if host == COINM_HOST else "spot"


def find_feed(url: str) -> str:
    """Return the product line of an address."""
    if "fapi" in url or "fstream" in url:
        return "usdm"
    return "coinm" if "dapi" in url or "dstream" in url else "spot"


def name_topic(payload: bytes) -> str:
    """Return the stream of a combined frame."""
    return payload[11 : payload.index(b'"', 11)].decode() if payload.startswith(b'{"stream":"') else ""


def guess_spec(feed: str, symbol: str) -> Spec | None:
    """List a symbol that only a recording knows."""
    for quote in ("USDT", "USDC", "BUSD", "BTC", "ETH", "BNB", "EUR", "USD_PERP", "USD"):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            base, quote = symbol.removesuffix(quote), quote.removesuffix("_PERP")
            kind: dict[str, str] = {"spot": "spot", "usdm": "linear", "coinm": "inverse"}
            return msgspec.convert(
                {
                    "venue": "binance",
                    "feed": feed,
                    "symbol": symbol,
                    "base": base,
                    "quote": quote,
                    "kind": kind[feed],
                    "price": 1.0,
                    "price_digits": 4,
                    "size_digits": 2,
                    "contract": 10.0 if feed == "coinm" else 1.0,
                },
                Spec,
            )
    return None


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    message = "Too many requests; current limit of IP is exceeded. Please use WebSocket Streams for live updates."
    return encode_json({"code": -1003, "msg": message} if status in (418, 429) else {"code": -1000, "msg": "error"})


_weight: Callable[[int], Quota] = lambda most: Quota(most, 60.0, "X-MBX-USED-WEIGHT-1M")  # noqa: E731


def _respond(world: World, query: Query) -> Reply:
    """Answer by the API, by its statistics, or with a file."""
    path = query.path.strip("/")
    if path.startswith("data/"):
        return bulk.respond(world, query)
    return answer_statistics(world, query) if path.startswith("futures/data/") else respond(world, query)


FAKE = FakeVenue(
    name="binance",
    hosts=(*SPOT_HOSTS, USDM_HOST, COINM_HOST, *REST_HOSTS, *FILE_HOSTS),
    specs=_list_specs(),
    connect=connect,
    respond=_respond,
    make_desk=BinanceDesk,
    quotas={"spot": _weight(6000), "usdm": _weight(2400), "coinm": _weight(2400)},
    refuse=refuse,
    name_topic=name_topic,
    name_symbol=lambda topic: topic.partition("@")[0].upper(),
    find_feed=find_feed,
    guess_spec=guess_spec,
)
