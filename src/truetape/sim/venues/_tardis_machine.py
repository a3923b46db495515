"""The fake tardis-machine: its sockets of normalised messages, live and replayed, from the fake Tardis' rows.

As the real one it takes any handshake, and closes with 1011 and the error when the options are not right.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from truetape.sim.fake import Line
from truetape.sim.hub import Session
from truetape.sim.protocol import Query, Rules, encode_json
from truetape.sim.venues._tardis_replay import ReplayTalk
from truetape.sim.venues._tardis_rows import MARKETS, TICK_US, Row, list_rows
from truetape.sim.world import World

STREAM, REPLAY = "ws-stream-normalized", "ws-replay-normalized"
RAW_STREAM, RAW_REPLAY = "ws-replay", "replay"
PLACES = (STREAM, REPLAY, RAW_STREAM, RAW_REPLAY)
"""Paths at which it answers; the last over HTTP."""
LOSS_TICKS = 24
"""Every so many ticks it loses each exchange, and has it again at the next one."""
MESSAGES_MAX = 5000
"""Of a replay, in one go."""
_TYPES = {
    "trade": "trades",
    "book_change": "incremental_book_L2",
    "derivative_ticker": "derivative_ticker",
    "liquidation": "liquidations",
    "option_summary": "options_chain",
    "quote": "quotes",
    "book_snapshot_25_1s": "book_snapshot_25",
}
Message = dict[str, Any]


class _Option(msgspec.Struct, rename="camel"):
    exchange: str
    symbols: tuple[str, ...]
    data_types: tuple[str, ...]
    with_disconnect_messages: bool = False
    from_: datetime | None = msgspec.field(default=None, name="from")
    to: datetime | None = None


_read_options = msgspec.json.Decoder(list[_Option]).decode


def connect(query: Query) -> Line | None:
    """Answer the addresses of its sockets."""
    path = query.host or query.path.strip("/")
    if path == RAW_STREAM:
        return Line("machine", Rules(lifetime_s=0.0), lambda session, world: ReplayTalk(session, world, query))
    if path not in {STREAM, REPLAY}:
        return None
    options = parse_qs(urlsplit(query.target).query).get("options", [""])[0]
    rules = Rules(lifetime_s=0.0)
    return Line("machine", rules, lambda session, world: _Talk(session, world, options, is_replay=path == REPLAY))


class _Talk:
    """One connection."""

    def __init__(self, session: Session, world: World, options: str, *, is_replay: bool) -> None:
        self._session, self._world, self._is_replay = session, world, is_replay
        self._error = ""
        self._options: list[_Option] = []
        try:
            self._options = _read_options(options)
        except msgspec.DecodeError as error:
            self._error = f"SyntaxError: {error}"
        for one in self._options:
            if one.exchange not in MARKETS or not set(one.data_types).issubset(_TYPES):
                self._error = f"Error: not supported: {one.exchange} {' '.join(one.data_types)}"
        self._until_us = 0
        self._replayed: Iterator[Message] | None = None
        session.has_subscribed = True

    def hear(self, text: str) -> None:
        """Ignore what clients say: the address says it all."""

    def tick(self, now_s: float) -> None:
        """Send what has happened since, or some more of what happened."""
        if self._error:
            self._session.close(1011, self._error[:120])
        elif self._is_replay:
            self._replay()
        else:
            self._stream()

    def _stream(self) -> None:
        now_us = self._world.time.now_us()
        begin_us, self._until_us = self._until_us or now_us, now_us
        for option in self._options:
            if begin_us == now_us:
                self._send(list_pictures(self._world, option, now_us))
            self._send(list_messages(self._world, option, begin_us, now_us))

    def _replay(self) -> None:
        if self._replayed is None:
            self._replayed = (message for option in self._options for message in _list_past(self._world, option))
        some = list(islice(self._replayed, MESSAGES_MAX))
        self._send(iter(some))
        if len(some) < MESSAGES_MAX:
            self._session.close(1000, "WS replay-normalized finished")

    def _send(self, messages: Iterator[Message]) -> None:
        for message in messages:
            self._session.send(encode_json(message))
        self._session.flush()  # no market moves here that would


def _list_past(world: World, option: _Option) -> Iterator[Message]:
    begin_us, end_us = (int(at.timestamp() * 1_000_000) if at else 0 for at in (option.from_, option.to))
    yield from list_pictures(world, option, begin_us)
    yield from list_messages(world, option, begin_us, end_us)


def list_messages(world: World, option: _Option, begin_us: int, end_us: int) -> Iterator[Message]:
    """Yield what the machine says of an exchange in [begin, end), in the order of its time."""
    found: list[tuple[int, int, Message]] = []
    for symbol in option.symbols:
        for number, name in enumerate(option.data_types):
            rows = list_rows(world, (option.exchange, symbol, _TYPES[name]), begin_us, end_us)
            for at_us, own in groupby(rows, lambda row: int(str(row["local_timestamp"]))):
                found += [(at_us, number, message) for message in _write(name, list(own), at_us)]
    for tick in range(begin_us // TICK_US, end_us // TICK_US + 1):
        lost_us = tick * TICK_US + 2_000_000
        if option.with_disconnect_messages and tick % LOSS_TICKS == 0 and begin_us <= lost_us < end_us:
            found.append(
                (lost_us, 0, {"type": "disconnect", "exchange": option.exchange, "localTimestamp": _iso(lost_us)})
            )
            back_us = lost_us + 1_000
            found += [(back_us, 1, message) for message in list_pictures(world, option, back_us)]
    yield from (message for _, _, message in sorted(found, key=lambda one: one[:2]))


def list_pictures(world: World, option: _Option, at_us: int) -> Iterator[Message]:
    """Yield whole books, as exchanges send them at first."""
    for symbol in option.symbols if "book_change" in option.data_types else ():
        yield {
            "type": "book_change", "symbol": symbol, "exchange": option.exchange, "isSnapshot": True,
            "bids": [{"price": 50_000.0, "amount": 1.0}], "asks": [{"price": 70_000.0, "amount": 1.0}],
            "timestamp": _iso(at_us), "localTimestamp": _iso(at_us),
        }  # fmt: skip


def _write(name: str, rows: list[Row], at_us: int) -> Iterator[Message]:
    """Write the rows of one moment as messages."""
    head = {
        "symbol": rows[0]["symbol"], "exchange": rows[0]["exchange"],
        "timestamp": _iso(int(str(rows[0]["timestamp"]))), "localTimestamp": _iso(at_us),
    }  # fmt: skip
    if name == "book_change":
        sides = {"bid": "bids", "ask": "asks"}
        levels: dict[str, list[object]] = {"bids": [], "asks": []}
        for row in rows:
            levels[sides[str(row["side"])]].append({"price": row["price"], "amount": row["amount"]})
        yield {"type": name, "isSnapshot": rows[0]["is_snapshot"], **levels, **head}
        return
    for row in rows:
        own = {_camel(key): value for key, value in row.items() if key not in head and not key.endswith("timestamp")}
        if name == "quote":
            sides_ = {side: [{"price": row[f"{one}_price"], "amount": row[f"{one}_amount"]}]
                      for side, one in (("bids", "bid"), ("asks", "ask"))}  # fmt: skip
            yield {"type": "book_snapshot", "name": name, "depth": 1, "interval": 0, **sides_, **head}
        elif name.startswith("book_snapshot"):
            sides_ = {side: [{"price": row[f"{side}[{i}].price"], "amount": row[f"{side}[{i}].amount"]} for i in range(5)]
                      for side in ("bids", "asks")}  # fmt: skip
            yield {"type": "book_snapshot", "name": name, "depth": 25, "interval": 1000, **sides_, **head}
        else:
            funding = (
                {"fundingTimestamp": _iso(int(str(row["funding_timestamp"])))} if "funding_timestamp" in row else {}
            )
            yield {"type": name, **{k: v for k, v in own.items() if v is not None}, **funding, **head}


_OPTION_NAMES = {"type": "optionType", "bid_price": "bestBidPrice", "ask_price": "bestAskPrice"}


def _camel(name: str) -> str:
    if name in _OPTION_NAMES:
        return _OPTION_NAMES[name]
    first, *rest = name.split("_")
    return first + "".join(word.upper() if word == "iv" else word.title() for word in rest)


def _iso(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03d}Z"
