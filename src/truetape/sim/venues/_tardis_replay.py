"""Raw recordings of the fake Tardis: exchanges' own messages, by the minute, as the vendor and as tardis-machine tell them.

The machine writes messages 32 at a time and empty lines at once, and its socket tells neither times nor losses, as the
real one does. The vendor lost each exchange for 20 seconds of every tenth minute.
"""

import gzip
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec

from truetape.sim.hub import Session
from truetape.sim.oracle import Oracle
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.venues._tardis_rows import TICK_US, price_tick
from truetape.sim.world import World

LOST_S = (30, 50)
"""Seconds of every tenth minute in which the vendor heard nothing."""
BATCH = 32
DEADLINE_S = 2.0
"""A socket must have been subscribed within."""
_MINUTE_US = 60_000_000


class Filter(msgspec.Struct):
    """Which messages."""

    channel: str
    symbols: tuple[str, ...] = ()


read_filters = msgspec.json.Decoder(tuple[Filter, ...]).decode


def list_lines(oracle: Oracle, exchange: str, filters: Sequence[Filter], minute_us: int) -> list[tuple[str, str]]:
    """Return a minute's messages with their times; ("", "") where the exchange was lost."""
    write = _WRITERS[exchange]
    is_lossy = minute_us // _MINUTE_US % 10 == 9
    lines: list[tuple[str, str]] = []
    is_lost = False
    for at_us in range(minute_us, minute_us + _MINUTE_US, TICK_US):
        if is_lossy and LOST_S[0] <= (at_us - minute_us) // 1_000_000 < LOST_S[1]:
            is_lost = True
            continue
        if is_lost:
            lines.append(("", ""))
            is_lost = False
        moment = f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.0012345Z"
        for one in filters:
            if one.channel in _CHANNELS:
                for symbol in one.symbols or ("btcusdt",):
                    price, _ = price_tick(oracle, symbol, at_us // TICK_US)
                    lines.append((moment, encode_json(write(symbol, at_us, price)).decode()))
    return lines


def _write_binance(symbol: str, at_us: int, price: float) -> dict[str, object]:
    tick = at_us // TICK_US
    data = {
        "e": "trade", "E": at_us // 1000, "s": symbol.upper(), "t": tick, "p": f"{price:.8f}", "q": "0.01",
        "T": at_us // 1000, "m": bool(tick % 2), "M": True,
    }  # fmt: skip
    return {"stream": f"{symbol}@trade", "data": data}


def _write_okx(symbol: str, at_us: int, price: float) -> dict[str, object]:
    tick = at_us // TICK_US
    row = {
        "instId": symbol, "tradeId": str(tick), "px": f"{price:.8f}", "sz": "2",
        "side": "sell" if tick % 2 else "buy", "ts": str(at_us // 1000), "count": "1",
    }  # fmt: skip
    return {"arg": {"channel": "trades", "instId": symbol}, "data": [row]}


def _write_deribit(symbol: str, at_us: int, price: float) -> dict[str, object]:
    tick = at_us // TICK_US
    row = {
        "trade_seq": tick, "trade_id": str(tick), "timestamp": at_us // 1000, "tick_direction": 0,
        "price": price, "mark_price": price, "index_price": price, "amount": 10.0,
        "instrument_name": symbol, "direction": "sell" if tick % 2 else "buy",
    }  # fmt: skip
    params = {"channel": f"trades.{symbol}.raw", "data": [row]}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


_WRITERS: dict[str, Callable[[str, int, float], dict[str, object]]] = {
    "binance": _write_binance,
    "binance-futures": _write_binance,
    "okex-swap": _write_okx,
    "deribit": _write_deribit,
}
EXCHANGES = frozenset(_WRITERS)
"""Those that it has recordings of."""
_CHANNELS = ("trade", "trades")


def read_time(text: str) -> int | None:
    """Return microseconds; null when it is none."""
    if text.isdigit():
        return int(text) * (1000 if len(text) <= 13 else 1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


# -- the vendor -------------------------------------------------------------------------------------------------


def pack_minute(oracle: Oracle, exchange: str, filters: Sequence[Filter], minute_us: int) -> bytes:
    """Return raw lines, gzipped: the time and the message; an empty line is a disconnect."""
    lines = [f"{at} {frame}".strip() + "\n" for at, frame in list_lines(oracle, exchange, filters, minute_us)]
    return gzip.compress("".join(lines).encode(), 1, mtime=0)


# -- tardis-machine ---------------------------------------------------------------------------------------------


class _Options(msgspec.Struct, rename="camel"):
    exchange: str
    filters: tuple[Filter, ...] = ()
    with_disconnects: bool = False
    from_: str = msgspec.field(default="", name="from")
    to: str = ""


def send_replay(oracle: Oracle, query: Query) -> Reply:
    """Answer `/replay?options={…}`; what is wrong is told as it does, with a 500."""
    told = parse_qs(urlsplit(query.target).query).get("options", [""])[0]
    try:
        options = msgspec.json.decode(told, type=_Options)
        lines = [*_list_span(oracle, options.exchange, options.filters, options.from_, options.to)]
    except (msgspec.DecodeError, ValueError) as error:
        return Reply(encode_json({"message": str(error)}), 500)
    body = b"".join(_write_batches(lines, is_told=options.with_disconnects))
    return Reply(body, quota="api", is_book=True, content_type="application/x-json-stream")


def _list_span(
    oracle: Oracle, exchange: str, filters: Sequence[Filter], begin: str, end: str
) -> Iterator[tuple[str, str]]:
    if exchange not in EXCHANGES:
        raise ValueError(f'Invalid "exchange" argument: {exchange}.')
    begin_us, end_us = read_time(begin), read_time(end)
    if begin_us is None or end_us is None or end_us < begin_us:
        raise ValueError('Invalid "from" argument. Please provide valid date string.')
    for minute_us in range(begin_us, end_us, _MINUTE_US):
        yield from list_lines(oracle, exchange, filters, minute_us)


def _write_batches(lines: list[tuple[str, str]], *, is_told: bool) -> Iterator[bytes]:
    held: list[bytes] = []
    for at, frame in lines:
        if not at:
            yield b"\n" if is_told else b""
            continue
        held.append(f'{{"localTimestamp":"{at}","message":{frame}}}\n'.encode())
        if len(held) == BATCH:
            yield b"".join(held)
            held = []
    yield b"".join(held)


class ReplayTalk:
    """One connection of `/ws-replay`: what was subscribed is sent, then it is closed."""

    def __init__(self, session: Session, world: World, query: Query) -> None:
        self._session, self._args, self._oracle = session, query.args, world.prediction.oracle
        self._filters: list[Filter] = []
        session.has_subscribed = True

    def hear(self, text: str) -> None:
        """Take a subscription as the exchange would; what is none is ignored."""
        exchange = self._args.get("exchange", "")
        self._filters += _read_subscription(exchange, msgspec.json.decode(text))

    def tick(self, now_s: float) -> None:
        """Replay once it is subscribed."""
        if not self._filters:
            if now_s > DEADLINE_S:
                self._session.close(1011, "Error: No subscriptions received for websocket connection")
            return
        filters, self._filters = self._filters, []
        try:
            exchange, begin, end = (self._args.get(name, "") for name in ("exchange", "from", "to"))
            for at, frame in _list_span(self._oracle, exchange, filters, begin, end):
                if at:
                    self._session.send(frame.encode())
            self._session.flush()
        except ValueError as error:
            self._session.close(1011, f"Error: {error}"[:120])
        else:
            self._session.close(1000, "WS replay finished")


def _read_subscription(exchange: str, said: dict[str, object]) -> list[Filter]:
    """Return the filters that a subscription stands for."""
    params = said.get("params")
    if exchange.startswith("binance") and said.get("method") == "SUBSCRIBE" and isinstance(params, list):
        pairs = [topic.split("@")[:2][::-1] for topic in params]
    elif exchange.startswith("okex") and said.get("op") == "subscribe":
        args = said["args"]
        pairs = [arg.split(":", 1) for arg in args] if isinstance(args, list) else []
    elif said.get("method") == "public/subscribe" and isinstance(params, dict):
        pairs = [topic.split(".")[:2] for topic in params["channels"]]
    else:
        pairs = []
    return [Filter(channel, (symbol,)) for channel, symbol in pairs]
