"""Deribit: the JSON-RPC v2 feed of perpetuals, futures, options, combos and spot.

Sizes: `amount` is USD on inverse perpetuals and futures, base coin on everything else. Funding accrues every
millisecond, so there is no instant to put into `funding` rows: the rate of the moment is in `derivative`.
Documented at https://docs.deribit.com.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from math import nan
from operator import itemgetter
from typing import Generic, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument, name_future, name_option, name_perpetual, name_spot
from truetape.events.number import Id, Millis, Real, Size
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Response, Scribe, Unit
from truetape.venues import _deribit
from truetape.venues._contract import Continuity, Feed, Limits, Listing, OnMessage, Rest, Venue

T = TypeVar("T")
Side = Literal["buy", "sell"]
_OPPOSITE: dict[Side, Side] = {"buy": "sell", "sell": "buy"}

_MARKET = "all"
"""One socket and one listing carry every product."""

_USD = Unit(1.0, is_inverse=True)
_UNKNOWN = Unit(nan, is_inverse=False)
"""USD spread over the legs of a future combo, whose price is a difference: there is no base amount."""


class _Trade(msgspec.Struct, gc=False):
    trade_seq: Id
    trade_id: str
    timestamp: Millis
    instrument_name: str
    price: Real
    amount: Size
    direction: Side
    liquidation: Literal["M", "T", "MT"] | None = None
    block_trade_id: str | None = None
    combo_id: str | None = None
    combo_trade_id: str | None = None  # may come without combo_id


class _Book(msgspec.Struct, gc=False):
    timestamp: Millis
    change_id: Id
    bids: list[tuple[Literal["new", "change", "delete"], Real, Size]]
    asks: list[tuple[Literal["new", "change", "delete"], Real, Size]]
    prev_change_id: Id | None = None
    type: Literal["snapshot", "change"] | None = None


class _Picture(msgspec.Struct, gc=False):
    timestamp: Millis
    change_id: Id
    bids: list[tuple[Real, Size]]
    asks: list[tuple[Real, Size]]


class _Quote(msgspec.Struct, gc=False):
    timestamp: Millis
    best_bid_price: Real | None
    best_bid_amount: Real | None
    best_ask_price: Real | None
    best_ask_amount: Real | None


class _Stats(msgspec.Struct, gc=False):
    volume: Size | None
    low: Real | None
    high: Real | None
    volume_usd: Real | None = None  # futures, since 2021
    volume_notional: Real | None = None  # since 2023


class _Greeks(msgspec.Struct, frozen=True, gc=False):
    delta: Real | None = None
    gamma: Real | None = None
    vega: Real | None = None
    theta: Real | None = None
    rho: Real | None = None


class _Ticker(msgspec.Struct, gc=False):
    timestamp: Millis
    stats: _Stats
    mark_price: Real | None
    index_price: Real | None
    last_price: Real | None
    best_bid_price: Real | None
    best_bid_amount: Real
    best_ask_price: Real | None
    best_ask_amount: Real
    open_interest: Real | None = None  # not on spot
    current_funding: Real | None = None  # perpetuals
    mark_iv: Real | None = None  # options
    greeks: _Greeks = _Greeks()


class _Bar(msgspec.Struct, gc=False):
    tick: Millis
    open: Real
    high: Real
    low: Real
    close: Real
    volume: Size
    cost: Size


class _Channel(msgspec.Struct, frozen=True, gc=False):
    channel: str | None = None


class _Error(msgspec.Struct, gc=False):
    code: Id
    message: str
    data: msgspec.Raw = msgspec.Raw(b"")


class _Envelope(msgspec.Struct, gc=False):
    """What tells frames apart when they are not laid out as the venue lays them out."""

    method: str | None = None
    params: _Channel = _Channel()
    id: Id | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None


class _Listed(msgspec.Struct):
    kind: Literal["future", "option", "spot", "future_combo", "option_combo"]
    instrument_name: str
    base_currency: str
    quote_currency: str
    contract_size: Real
    tick_size: Real
    min_trade_amount: Real
    is_active: bool
    settlement_period: str | None = None  # not on spot
    settlement_currency: str | None = None  # since 2022
    counter_currency: str | None = None  # since 2022
    instrument_type: Literal["reversed", "linear"] | None = None  # since 2025
    expiration_timestamp: Millis | None = None
    strike: Real | None = None
    state: str | None = None


class _Listing(msgspec.Struct):
    result: list[_Listed]


class _Told(msgspec.Struct):
    trades: msgspec.Raw


class _Bars(msgspec.Struct):
    ticks: list[int]
    open: list[Real]
    high: list[Real]
    low: list[Real]
    close: list[Real]
    volume: list[Real]
    cost: list[Real]
    status: str = "ok"


class _Answer(msgspec.Struct, Generic[T]):
    result: T


class _Params(msgspec.Struct, Generic[T], gc=False):
    data: T


class _Frame(msgspec.Struct, Generic[T], gc=False):
    params: _Params[T]


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_NAMES = msgspec.json.Decoder(list[str])
_LISTING = msgspec.json.Decoder(_Listing)
_TRADES = msgspec.json.Decoder(_Frame[list[_Trade]])
_BOOK = msgspec.json.Decoder(_Frame[_Book])
_PICTURE = msgspec.json.Decoder(_Frame[_Picture])
_QUOTE = msgspec.json.Decoder(_Frame[_Quote])
_TICKER = msgspec.json.Decoder(_Frame[_Ticker])
_BAR = msgspec.json.Decoder(_Frame[_Bar])

_TOLD = msgspec.json.Decoder(_Answer[_Told])
_BARS = msgspec.json.Decoder(_Answer[_Bars])

_HEAD = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"'
_cut_level = itemgetter(1, 2)

_IDS_FROM = 10**12
_IDS_STEP = 1000
"""Ids of our subscriptions are _IDS_FROM + request * _IDS_STEP + number of channels asked for: the venue repeats
the id and lists what it accepted, so the answer alone shows that names were left out."""

_INTERVALS = {
    "1": "1m", "3": "3m", "5": "5m", "10": "10m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "180": "3h",
    "360": "6h", "720": "12h", "1D": "1d",
}  # fmt: skip
_DEPTH = 20


class _Link:
    """One connection: a handler per channel, made when the channel is first seen."""

    def __init__(self, scribe: Scribe, feed: str, connection: str) -> None:
        self.scribe = scribe
        self.feed = feed
        self.connection = connection
        self.handlers: dict[bytes, OnMessage] = {}

    def listen(self) -> OnMessage:
        """Return the handler of the connection's frames."""
        find, judge, start = self.handlers.get, self.judge, len(_HEAD)

        def take(payload: bytes, received_ns: int, offset: int) -> bool:
            # hot: bench/decode.py
            handler = find(payload[start : payload.find(b'"', start)])
            return judge(payload, received_ns, offset) if handler is None else handler(payload, received_ns, offset)

        return take

    def judge(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Take a frame of a channel not seen before, one laid out in another way, or one that is not data."""
        said = _ENVELOPE.decode(payload)
        if said.method == "subscription":
            name = (said.params.channel or "").encode()
            return (self.handlers.get(name) or self.make(name))(payload, received_ns, offset)
        if said.method == "heartbeat":
            return False
        if said.error is not None:
            text = f"{said.error.message} {bytes(said.error.data).decode()}".rstrip()
            self.scribe.complain(self.feed, self.connection, received_ns, offset, said.error.code, text)
        elif bytes(said.result):
            self.scribe.acknowledge(self.connection, received_ns, offset)
            self.compare(said.id, said.result, received_ns, offset)
        else:
            raise DecodeError(f"method {said.method!r} is not known", "$.method")
        return False

    def compare(self, request: int | str | None, result: msgspec.Raw, received_ns: int, offset: int) -> None:
        """Complain when fewer channels were accepted than asked for: a wrong name is silently left out."""
        if not isinstance(request, int) or request < _IDS_FROM:
            return
        asked = request % _IDS_STEP
        accepted = _NAMES.decode(result)
        if len(accepted) < asked:
            text = f"accepted only {len(accepted)} of {asked} channels: {', '.join(accepted)}"
            self.scribe.complain(self.feed, self.connection, received_ns, offset, None, text)

    def make(self, name: bytes) -> OnMessage:
        """Return the handler of a channel; DecodeError when the channel is not known."""
        match name.decode().split("."):
            case ["trades", _, _] | ["trades", _, _, _]:
                handler = _take_trades(self)
            case ["book", symbol, _]:
                handler = _take_book(self, symbol)
            case ["book", symbol, _, _, _]:
                handler = _take_picture(self, symbol)
            case ["ticker", symbol, _]:
                handler = _take_ticker(self, symbol)
            case ["quote", symbol]:
                handler = _take_quote(self, symbol)
            case ["chart", "trades", symbol, resolution] if resolution in _INTERVALS:
                handler = _take_bar(self, symbol, _INTERVALS[resolution])
            case _:
                raise DecodeError(f"channel {name.decode()!r} is not known", "$.params.channel")
        self.handlers[name] = handler
        return handler

    def find(self, symbol: str) -> Instrument:
        """Return the instrument as listed, else as its name tells."""
        return self.scribe.listed(_MARKET, symbol) or name_instrument(_MARKET, symbol)

    def stream(self, channel: str, symbol: str) -> int:
        """Return the index of a stream."""
        return self.scribe.stream(channel, self.feed, self.find(symbol)).index


class _Product(NamedTuple):
    """What the trades of one instrument need."""

    trade: int
    unit: Unit | None


def _take_trades(link: _Link) -> OnMessage:
    """A channel may carry one instrument or all of a kind and currency: the trade itself says which."""
    decode, append = _TRADES.decode, link.scribe.trades.append
    products: dict[str, _Product] = {}

    def add(symbol: str) -> _Product:
        product = products[symbol] = _Product(link.stream("trade", symbol), _find_unit(link.find(symbol)))
        return product

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        for trade in decode(payload).params.data:
            name, size, price = trade.instrument_name, trade.amount, trade.price
            index, unit = products.get(name) or add(name)
            amount: float | None = size
            contracts = flag = None
            if unit is not None:
                amount, contracts = size / price if unit is _USD else None, size
            if trade.liquidation is not None:
                flag = "liquidation"
                _add_forced(link, trade, (amount, contracts), (received_ns, offset))
            elif trade.block_trade_id is not None:
                flag = "block"
            elif trade.combo_id is not None or trade.combo_trade_id is not None:
                flag = "combo"
            append(
                (
                    index, trade.timestamp * 1000, received_ns, offset, trade.trade_seq, trade.trade_id,
                    trade.direction, price, amount, contracts, flag,
                )
            )  # fmt: skip
        return True

    return take


def _add_forced(link: _Link, trade: _Trade, size: tuple[float | None, float | None], at: tuple[int, int]) -> None:
    """T: the taker was liquidated, its order has the trade's direction; M: the maker, on the other side; MT: both."""
    flag = trade.liquidation or ""
    sides = [trade.direction] if "T" in flag else []
    if "M" in flag:
        sides.append(_OPPOSITE[trade.direction])
    head = (link.stream("liquidation", trade.instrument_name), trade.timestamp * 1000, *at)
    link.scribe.plain("liquidation").extend([(*head, side, trade.price, *size, flag) for side in sides])


def _take_book(link: _Link, symbol: str) -> OnMessage:
    decode, append, connection = _BOOK.decode, link.scribe.books.append, link.connection
    index, unit = link.stream("book_change", symbol), _find_unit(link.find(symbol))

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        book = decode(payload).params.data
        previous = book.prev_change_id
        # Until 2020 frames had no type, and a snapshot was the frame without prev_change_id. Since then the type
        # counts: snapshots with a prev_change_id were seen, and after an empty book (id 0) a change follows 0.
        if previous is None if book.type is None else book.type == "snapshot":
            what, previous = BOOK_SNAPSHOT, None
        else:
            what = BOOK_DIFF
        bids, asks = list(map(_cut_level, book.bids)), list(map(_cut_level, book.asks))
        append(
            (
                index, book.timestamp * 1000, received_ns, offset, connection, what, None, book.change_id, previous,
                bids, asks, unit, None,
            )
        )  # fmt: skip
        return True

    return take


def _take_picture(link: _Link, symbol: str) -> OnMessage:
    index, unit = link.stream("book_snapshot", symbol), _find_unit(link.find(symbol))
    rows = link.scribe.plain("book_snapshot")

    def split(levels: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
        prices = [price for price, _ in levels]
        if unit is None:
            return prices, [size for _, size in levels]
        return prices, [size * unit.size / price if unit.is_inverse else nan for price, size in levels]

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        data = _PICTURE.decode(payload).params.data
        head = (index, data.timestamp * 1000, received_ns, offset, data.change_id)
        rows.append((*head, *split(data.bids), *split(data.asks)))
        return True

    return take


def _take_quote(link: _Link, symbol: str) -> OnMessage:
    decode, append = _QUOTE.decode, link.scribe.quotes.append
    index, unit = link.stream("quote", symbol), _find_unit(link.find(symbol))

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        quote = decode(payload).params.data
        bid, ask, bid_size, ask_size = (
            quote.best_bid_price,
            quote.best_ask_price,
            quote.best_bid_amount,
            quote.best_ask_amount,
        )
        if not bid_size or not ask_size or not bid or not ask:
            bid, bid_size = _clean_side(bid, bid_size, unit)
            ask, ask_size = _clean_side(ask, ask_size, unit)
        elif unit is _USD:
            bid_size, ask_size = bid_size / bid, ask_size / ask
        elif unit is not None:
            bid_size = ask_size = None
        append((index, quote.timestamp * 1000, received_ns, offset, bid, bid_size, ask, ask_size, None))
        return True

    return take


def _clean_side(price: float | None, size: float | None, unit: Unit | None) -> tuple[float | None, float | None]:
    """Return best price and base amount of one side; an empty side is 0 at price 0."""
    if not size:
        return None, None
    return price, size if unit is None else _to_base(size, price, unit)


def _take_ticker(link: _Link, symbol: str) -> OnMessage:
    instrument = link.find(symbol)
    unit, is_linear = _find_unit(instrument), instrument.quote not in {"USD", None}
    ticker_index, tickers = link.stream("ticker", symbol), link.scribe.plain("ticker")
    is_spot = instrument.market_type == "spot"
    state_index = -1 if is_spot else link.stream("derivative", symbol)
    states = link.scribe.plain("derivative")

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        data = _TICKER.decode(payload).params.data
        stats, at = data.stats, data.timestamp * 1000
        tickers.append(
            (
                ticker_index, at, received_ns, offset, data.last_price, None,
                data.best_bid_price if data.best_bid_amount else None,
                data.best_ask_price if data.best_ask_amount else None,
                None, stats.high, stats.low, stats.volume, stats.volume_notional if is_linear else stats.volume_usd,
            )
        )  # fmt: skip
        if is_spot:
            return True
        interest, greeks = data.open_interest, data.greeks
        # Open interest in USD is a base amount at the mark price of the same moment.
        amount = interest if unit is None else _to_base(interest, data.mark_price, unit)
        states.append(
            (
                state_index, at, received_ns, offset, data.mark_price, data.index_price, data.last_price,
                amount, None if unit is None else interest, data.current_funding, None, None,
                data.mark_iv, greeks.delta, greeks.gamma, greeks.vega, greeks.theta, greeks.rho,
            )
        )  # fmt: skip
        return True

    return take


def _take_bar(link: _Link, symbol: str, interval: str) -> OnMessage:
    index, rows = link.stream("candle", symbol), link.scribe.plain("candle")

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        bar = _BAR.decode(payload).params.data
        own = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.cost, None, None, None)
        rows.append((index, None, received_ns, offset, interval, bar.tick * 1000, *own))
        return True

    return take


def _find_unit(instrument: Instrument) -> Unit | None:
    if not instrument.is_inverse:
        return None
    return _UNKNOWN if instrument.market_type == "combo" else _USD


def _to_base(size: float | None, price: float | None, unit: Unit) -> float | None:
    return size * unit.size / price if unit.is_inverse and size is not None and price else None


class _Decoder:
    """Deribit's decoder."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe

    def open(self, feed: str, connection: str) -> OnMessage:
        """Return the handler for one connection's messages."""
        return _Link(self.scribe, feed, connection).listen()

    def respond(self, response: Response) -> bool:
        """Take a listing of instruments, or a part of the past."""
        path = urlsplit(response.url).path
        if path.endswith(("/get_last_trades_by_instrument", "/get_last_trades_by_instrument_and_time")):
            link = _Link(self.scribe, response.feed, response.connection)
            # Told as they are streamed, but for the envelope.
            frame = b'{"params":{"data":' + bytes(_TOLD.decode(response.body).result.trades) + b"}}"
            return _take_trades(link)(frame, response.received_ns, response.offset)
        if path.endswith("/get_tradingview_chart_data"):
            return self._read_bars(response)
        if not path.endswith("/public/get_instruments"):
            raise DecodeError(f"nothing is known of the answer to {path}")
        for instrument in read_listing(response.url, response.body):
            self.scribe.learn(instrument, response.received_ns, response.offset)
        return True

    def _read_bars(self, response: Response) -> bool:
        bars = _BARS.decode(response.body).result
        query = dict(parse_qsl(urlsplit(response.url).query))
        interval = _INTERVALS.get(query.get("resolution", ""))
        if interval is None:
            raise DecodeError(f"resolution {query.get('resolution')!r} is not one of {', '.join(_INTERVALS)}", "url")
        link = _Link(self.scribe, response.feed, response.connection)
        head = (link.stream("candle", query["instrument_name"]), None, response.received_ns, response.offset, interval)
        columns = (bars.ticks, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.cost)
        for tick, *numbers in zip(*columns, strict=True):
            self.scribe.plain("candle").append((*head, tick * 1000, *numbers, None, None, None))
        return True


_NAME = re.compile(
    r"(?P<base>[A-Z0-9]+)(?:_(?P<quote>[A-Z0-9]+))?"
    r"(?:-(?:(?P<forever>PERPETUAL)|(?P<day>\d{1,2})(?P<month>[A-Z]{3})(?P<year>\d\d)"
    r"(?:-(?P<strike>\d+(?:d\d+)?)-(?P<right>[CP]))?))?"
)
_MONTHS = {name: i for i, name in enumerate(re.findall("...", "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"), 1)}


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Read an instrument from its name: BTC-PERPETUAL, BTC_USDC-25DEC26, XRP_USDC-27MAR26-1d5-C, ETH_BTC."""
    found = _NAME.fullmatch(venue_symbol)
    expiry = _read_expiry(found) if found and found["day"] else None
    if not found or (found["day"] and expiry is None) or not (found["quote"] or found["forever"] or expiry):
        return _name_combo(market, venue_symbol)
    base, quote = found["base"], found["quote"] or "USD"
    settle = found["quote"] or base
    if found["forever"]:
        kind, symbol = "perpetual", name_perpetual(base, quote)
    elif expiry is None:
        kind, symbol = "spot", name_spot(base, quote)
    elif found["strike"]:
        kind = "option"
        symbol = name_option(base, quote, expiry.date(), found["strike"].replace("d", "."), found["right"])
    else:
        kind, symbol = "future", name_future(base, quote, expiry.date())
    return Instrument(
        "deribit", market, venue_symbol, symbol, kind, base, quote,
        settle=None if kind == "spot" else settle,
        is_inverse=kind in {"perpetual", "future"} and not found["quote"],
        expiry_us=int(expiry.timestamp()) * 1_000_000 if expiry else None,
        strike=float(found["strike"].replace("d", ".")) if found["strike"] else None,
    )  # fmt: skip


def _read_expiry(found: re.Match[str]) -> datetime | None:
    """Everything expires at 08:00 UTC."""
    try:
        return datetime(2000 + int(found["year"]), _MONTHS[found["month"]], int(found["day"]), 8, tzinfo=UTC)
    except (KeyError, ValueError):
        return None


def _name_combo(market: str, venue_symbol: str) -> Instrument:
    """Combos keep the venue's name: BTC-FS-30SEP22_PERP. Spreads of inverse futures count USD."""
    pair, dash, legs = venue_symbol.partition("-")
    base, _, quote = pair.partition("_")
    is_inverse = not quote and legs.startswith("FS-")
    if not base or not dash:
        return Instrument("deribit", market, venue_symbol, venue_symbol, "combo")
    return Instrument(
        "deribit", market, venue_symbol, venue_symbol, "combo", base, quote or "USD", is_inverse=is_inverse
    )


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read the answer to public/get_instruments."""
    return [_read_listed(listed) for listed in _LISTING.decode(body).result]


def _read_listed(listed: _Listed) -> Instrument:
    named = name_instrument(_MARKET, listed.instrument_name)
    forever = listed.settlement_period == "perpetual"  # listed as expiring in the year 3000
    return msgspec.structs.replace(
        named,
        base=listed.base_currency,
        # An inverse option is quoted in coin, and until July 2021 it was listed as quoted in USD: the currency of
        # its strike names it either way.
        quote=listed.counter_currency or named.quote,
        settle=listed.settlement_currency or named.settle,
        contract_size=listed.contract_size,
        price_step=listed.tick_size,
        amount_step=listed.min_trade_amount,
        expiry_us=None if forever or listed.expiration_timestamp is None else listed.expiration_timestamp * 1000,
        strike=listed.strike,
        status=listed.state or ("active" if listed.is_active else "inactive"),
        is_listed=True,
    )


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name the channels to subscribe; derivative comes with the ticker, liquidations with the trades."""
    symbol = instrument.venue_symbol
    if channel in {"derivative", "liquidation"} and instrument.market_type == "spot":
        return ()
    topics = {
        "trade": f"trades.{symbol}.100ms",
        "liquidation": f"trades.{symbol}.100ms",
        "book_change": f"book.{symbol}.100ms",
        "book_snapshot": f"book.{symbol}.none.{_DEPTH}.100ms",
        "quote": f"quote.{symbol}",
        "ticker": f"ticker.{symbol}.100ms",
        "derivative": f"ticker.{symbol}.100ms",
        "candle": f"chart.trades.{symbol}.1",
    }
    return (topics[channel],) if channel in topics else ()


def subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Write a subscribe message."""
    return _ask("public/subscribe", topics, request)


def unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Write an unsubscribe message."""
    return _ask("public/unsubscribe", topics, request)


def _ask(method: str, topics: Sequence[str], request: int) -> bytes:
    number = _IDS_FROM + request * _IDS_STEP + len(topics)
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": {"channels": list(topics)}})


def answer(payload: bytes) -> bytes | None:
    """Answer a test_request; without the answer the venue closes the socket."""
    if len(payload) > 200 or b'"test_request"' not in payload:
        return None
    return b'{"jsonrpc":"2.0","id":1,"method":"public/test","params":{}}'


def find_feed(url: str) -> str | None:
    """Return the feed of a URL; the test net is another exchange and none of ours."""
    host = urlsplit(url).hostname or ""
    return "public" if host in {"www.deribit.com", "streams.deribit.com", "deribit.com"} else None


VENUE = Venue(
    name="deribit",
    title="Deribit",
    feeds=(
        Feed(
            name="public",
            market=_MARKET,
            url="wss://www.deribit.com/ws/api/v2",
            channels=(
                "trade", "book_change", "book_snapshot", "quote", "ticker", "derivative", "liquidation", "candle",
            ),
            limits=Limits(topics_per_connection_max=500, topics_per_message_max=100, messages_per_second_max=3.0),
            silence_s=65.0,
            greetings=('{"jsonrpc":"2.0","id":2,"method":"public/set_heartbeat","params":{"interval":30}}',),
            dates=(date(2019, 1, 1), None),
        ),
    ),
    rest=Rest(weight_per_minute_max=60),
    listings=(Listing(_MARKET, "https://www.deribit.com/api/v2/public/get_instruments?currency=any&expired=false"),),
    continuity=(
        Continuity("trade", "step"),
        Continuity("book_change", "chain", recovery="resubscribe", is_connection_scoped=True),
    ),
    make_decoder=_Decoder,
    read_listing=read_listing,
    name_instrument=name_instrument,
    list_topics=list_topics,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    answer=answer,
    find_feed=find_feed,
    backfills=_deribit.list_backfills(_MARKET, "public"),
)  # fmt: skip
