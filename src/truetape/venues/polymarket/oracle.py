"""Oracle prices from two sockets: RTDS (to be retired) and PolyBolt (needs credentials).

`payload.timestamp` is the oracle's observation time, whole seconds: the clock that markets settle on. RTDS sends
what is exact as an integer of 18 decimals on Chainlink's topics, PolyBolt and Binance's topic as decimal text.
"""

import re
from typing import Any, Literal

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Id, Moment, Size
from truetape.events.rows import Counter, Scribe
from truetape.venues.polymarket.desk import Desk
from truetape.venues.polymarket.naming import POLYBOLT, RTDS, RTDS_TOPICS, make_oracle

_INTEGER = re.compile(r"\d{1,40}")
_DECIMAL = re.compile(r"\d{1,20}(\.\d{1,20})?")


class _Point(msgspec.Struct, gc=False):
    timestamp: Moment
    value: Size
    full_accuracy_value: str | None = None


class _Payload(msgspec.Struct, gc=False):
    """One price, or (in a snapshot) a history of them."""

    symbol: str
    timestamp: Moment | None = None
    value: Size | None = None
    full_accuracy_value: str | None = None
    window_s: Id | None = None
    data: list[_Point] | None = None


class _Frame(msgspec.Struct, gc=False):
    """`topic` comes last in some frames; an error has `message` instead."""

    topic: str | None = None
    type: str | None = None
    timestamp: Moment | None = None
    payload: _Payload | None = None
    message: str | None = None
    body: str | None = None


class _BoltPayload(msgspec.Struct, gc=False):
    symbol: str
    source: str
    timestamp: Moment | None = None
    value: Size | None = None
    full_accuracy_value: str | None = None
    window_seconds: Id | None = None
    data: list[_Point] | None = None


class _BoltFrame(msgspec.Struct, gc=False):
    """A price of PolyBolt's, or (with `op`) an answer."""

    op: str | None = None
    code: str | None = None
    v: int | None = None
    channel: str | None = None
    seq: Id | None = None
    ts: Moment | None = None
    snapshot: bool = False
    dropped: Id = 0
    payload: _BoltPayload | None = None


_decode_rtds = Decoder(_Frame).decode
_decode_bolt = Decoder(_BoltFrame).decode

SNAPSHOT_WINDOWS = {"rtds-twap30": 30, "rtds-twap60": 60}
"""Feed → seconds of the averages that are all it is asked for."""

Source = tuple[str, int | None]
"""(who delivers whose price, seconds of its average)."""


def scale_e18(text: str) -> str:
    """Return the decimal text of an integer of 18 decimals, exactly: 76211800165600190000000 is 76211.80016560019."""
    if not _INTEGER.fullmatch(text):
        raise DecodeError(f"expected an integer of 18 decimals, got {text!r}", "$.payload.full_accuracy_value")
    padded = text.rjust(19, "0")
    return f"{padded[:-18]}.{padded[-18:]}".rstrip("0").rstrip(".")


def _read_exact(text: str | None, *, is_e18: bool) -> str | None:
    if text is None:
        return None
    if is_e18:
        return scale_e18(text)
    if not _DECIMAL.fullmatch(text):
        raise DecodeError(f"expected decimal text, got {text!r}", "$.payload.full_accuracy_value")
    return text.rstrip("0").rstrip(".") if "." in text else text


class Oracles:
    """Writes oracle prices of one socket."""

    def __init__(self, scribe: Scribe, market: Literal["rtds", "polybolt"]) -> None:
        self.scribe = scribe
        self._market = market
        self._append = scribe.plain("oracle_price").append
        self._streams: dict[tuple[Source, str], int] = {}

    def find(self, source: Source, feed_id: str) -> int:
        """Return the index of a price's stream."""
        index = self._streams.get((source, feed_id))
        if index is None:
            instrument = make_oracle(self._market, *source, feed_id)
            index = self.scribe.stream("oracle_price", self._market, instrument).index
            self._streams[source, feed_id] = index
        return index

    def write(
        self, source: Source, feed_id: str, point: _Point, published_us: int | None, at: tuple[int, int], *,
        is_e18: bool, is_snapshot: bool,
    ) -> None:  # fmt: skip
        """Write one observation; where digits are exact the float is theirs."""
        exact = _read_exact(point.full_accuracy_value, is_e18=is_e18)
        price = point.value if exact is None else float(exact)
        self._append(
            (
                self.find(source, feed_id), point.timestamp * 1000, *at, source[0], feed_id, source[1],
                price, None, None, exact, published_us, is_snapshot,
            )
        )  # fmt: skip


class RtdsLine:
    """One connection to RTDS."""

    def __init__(self, scribe: Scribe, feed: str, connection: str) -> None:
        self.scribe = scribe
        self.connection = connection
        self.oracles = Oracles(scribe, "rtds")
        self._snapshot_window_s = SNAPSHOT_WINDOWS.get(feed)

    def decode(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message; the socket answers a PING with nothing, or with an empty message."""
        if payload in (b"", b"PONG"):
            return False
        frame = _decode_rtds(payload)
        if frame.payload is None or frame.topic is None:
            return self._take_other(frame, received_ns, offset)
        said, source = frame.payload, self._find_source(frame)
        published = None if frame.timestamp is None else frame.timestamp * 1000
        is_e18 = source[0] == "rtds_chainlink"
        if said.data is not None:
            for point in said.data:
                self.oracles.write(
                    source, said.symbol, point, published, (received_ns, offset), is_e18=is_e18, is_snapshot=True
                )
            return True
        if said.timestamp is None or said.value is None:
            raise DecodeError("a price without `timestamp` and `value`", "$.payload")
        point = _Point(said.timestamp, said.value, said.full_accuracy_value)
        self.oracles.write(
            source, said.symbol, point, published, (received_ns, offset), is_e18=is_e18, is_snapshot=False
        )
        return True

    def _find_source(self, frame: _Frame) -> Source:
        """Tell whose price it is. Snapshots of every topic say `crypto_prices`: their symbol's form tells.

        It does not tell an average from the spot price, so averages are asked for on feeds of their own.
        """
        topic, said = frame.topic or "", frame.payload
        assert said is not None
        if topic not in RTDS_TOPICS:
            raise DecodeError(f"topic {topic!r} has no rule (known: {', '.join(RTDS_TOPICS)})", "$.topic")
        source, window_s = RTDS_TOPICS[topic]
        if frame.type == "subscribe" and topic == "crypto_prices" and "/" in said.symbol:
            return ("rtds_chainlink", said.window_s or self._snapshot_window_s)
        if window_s is not None and said.window_s not in (None, window_s):
            raise DecodeError(f"topic {topic} with a window of {said.window_s} s", "$.payload.window_s")
        return (source, window_s)

    def _take_other(self, frame: _Frame, received_ns: int, offset: int) -> bool:
        if frame.message is None:
            raise DecodeError("neither a price nor an error message")
        self.scribe.complain(RTDS, self.connection, received_ns, offset, None, frame.message)
        return False


class BoltLine:
    """One connection to PolyBolt."""

    def __init__(self, scribe: Scribe, desk: Desk, connection: str) -> None:
        self.scribe = scribe
        self.connection = connection
        self.oracles = Oracles(scribe, "polybolt")
        self._numbers: dict[str, Any] = desk.recall("numbers")

    def decode(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message; the payload's own `source` says whose price it is, whatever was asked for."""
        frame = _decode_bolt(payload)
        if frame.op is not None:
            return self._take_answer(frame, received_ns, offset)
        said = frame.payload
        if frame.v != 1 or said is None or frame.channel not in ("price.crypto", "price.crypto.twap"):
            raise DecodeError(f"version {frame.v} of channel {frame.channel!r} has no rule")
        if (said.window_seconds is not None) != (frame.channel == "price.crypto.twap"):
            raise DecodeError(f"channel {frame.channel} with a window of {said.window_seconds} s")
        self._count(frame, received_ns, offset)
        published = None if frame.ts is None else frame.ts * 1000
        source = (f"polybolt_{said.source}", said.window_seconds)
        if said.data is None and (said.timestamp is None or said.value is None):
            raise DecodeError("a price without `timestamp` and `value`", "$.payload")
        points = said.data
        if points is None:
            assert said.timestamp is not None and said.value is not None
            points = [_Point(said.timestamp, said.value, said.full_accuracy_value)]
        for point in points:
            self.oracles.write(
                source, said.symbol, point, published, (received_ns, offset), is_e18=False,
                is_snapshot=said.data is not None,
            )  # fmt: skip
        return True

    def _count(self, frame: _BoltFrame, received_ns: int, offset: int) -> None:
        """Check the number of a frame: it steps by one per channel of a connection, and starts over with a new one."""
        if frame.seq is None:
            return
        key = f"{self.connection} {frame.channel}"
        last = self._numbers.get(key)
        is_hole = last is not None and frame.seq > last + 1
        if is_hole or frame.dropped:
            known = frame.seq - 1 - frame.dropped if last is None or not is_hole else last
            self.scribe.rows.counters.append(Counter(self.connection, received_ns, offset, known, frame.seq))
            self.scribe.rows.is_urgent = True
        self._numbers.pop(key, None)
        self._numbers[key] = frame.seq
        if len(self._numbers) > 256:
            del self._numbers[next(iter(self._numbers))]

    def _take_answer(self, frame: _BoltFrame, received_ns: int, offset: int) -> bool:
        if frame.op == "subscribed":
            self.scribe.acknowledge(self.connection, received_ns, offset)
        elif frame.op == "error":
            text = f"{frame.code} {frame.channel or ''}".strip()
            self.scribe.complain(POLYBOLT, self.connection, received_ns, offset, None, text)
        elif frame.op not in ("authed", "pong", "unsubscribed"):
            raise DecodeError(f"answer {frame.op!r} is not known", "$.op")
        return False
