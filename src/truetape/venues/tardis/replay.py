"""Replays of exchanges' own messages, as tardis-machine tells them over HTTP and over a socket. Pure.

`/replay?options={…}` tells a minute as lines, with the times at which the vendor received them; they become raw lines,
as the vendor itself has them. It hands on messages 32 at a time, but an empty line, which says that the vendor lost the
exchange, at once: what is lost lies somewhere among the messages of the batch that follows. `/ws-replay` wants to be
subscribed as the exchange does, and tells neither times nor losses.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

import msgspec

from truetape.errors import ConfigError, DecodeError
from truetape.venues.tardis.machine import read_time

BATCH: Final = 32
"""Messages that the machine writes at once."""
_HEAD, _MIDDLE, _TAIL = b'{"localTimestamp":"', b'","message":', b"}"
_TIME_CHARS: Final = 28


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which messages: of a channel, as the exchange calls it, and of symbols; no symbols: of all."""

    channel: str
    symbols: tuple[str, ...] = ()


class Minutes(msgspec.Struct, frozen=True):
    """What of an exchange's recordings is wanted: whole minutes."""

    exchange: str
    begin: datetime
    count: int
    filters: tuple[Filter, ...]

    def spell(self, minute: int) -> str:
        """Return the beginning of one of them, as addresses spell it."""
        return f"{(self.begin + timedelta(minutes=minute)).astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def write_filters(filters: Sequence[Filter]) -> bytes:
    """Return filters as addresses spell them, before they are quoted."""
    return msgspec.json.encode(filters)


def name_replay(base: str, wanted: Minutes, minute: int) -> str:
    """Return the address of one minute over HTTP."""
    options = {
        "exchange": wanted.exchange, "filters": wanted.filters,
        "from": wanted.spell(minute), "to": wanted.spell(minute + 1), "withDisconnects": True,
    }  # fmt: skip
    return f"{base}/replay?options={quote(msgspec.json.encode(options).decode())}"


def name_socket(base: str, wanted: Minutes, minute: int) -> str:
    """Return the address of one minute over a socket."""
    return f"{base}/ws-replay?exchange={wanted.exchange}&from={wanted.spell(minute)}&to={wanted.spell(minute + 1)}"


# -- over HTTP --------------------------------------------------------------------------------------------------


def check_line(line: bytes) -> None:
    """Raise ValueError with the machine's words on a line that is none of a replay: a failure half-way ends it so."""
    if not line:
        return
    told = line[len(_HEAD) + _TIME_CHARS :]
    if not line.startswith(_HEAD) or not told.startswith(_MIDDLE) or not line.endswith(_TAIL):
        raise ValueError(f"the machine said {line[:200].decode(errors='replace')}")


def arrange_lines(lines: Iterable[bytes], begin_us: int, end_us: int) -> Iterator[bytes]:
    """Yield raw lines of one minute's lines, without their ends; what the vendor lost is where it was silent longest.

    Raises DecodeError on a line that is none of a replay.
    """
    count, lost = 0, 0
    before_us = begin_us
    window: list[tuple[bytes, int]] = []
    """Messages among which something was lost, with their times."""
    for line in lines:
        if not line:
            lost += 1
            continue
        raw, at_us = _read_line(line)
        count += 1
        if not lost:
            yield raw
            before_us = at_us
            continue
        window.append((raw, at_us))
        if count % BATCH == 0:
            yield from _put_losses(window, lost, before_us, at_us)
            window, lost, before_us = [], 0, at_us
    if lost:
        yield from _put_losses(window, lost, before_us, end_us)


def _read_line(line: bytes) -> tuple[bytes, int]:
    try:
        check_line(line)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    time, message = line[len(_HEAD) : len(_HEAD) + _TIME_CHARS], line[len(_HEAD) + _TIME_CHARS + len(_MIDDLE) : -1]
    return time + b" " + message, read_time(time.decode("ascii", "replace"), "$.localTimestamp")


def _put_losses(window: Sequence[tuple[bytes, int]], lost: int, before_us: int, end_us: int) -> Iterator[bytes]:
    """Yield a window's messages, with empty lines where nothing came for longest; two never follow each other."""
    times = [before_us, *(at_us for _, at_us in window), end_us]
    silences = [two - one for one, two in pairwise(times)]
    places = set(sorted(range(len(silences)), key=lambda i: -silences[i])[:lost])
    for place, (raw, _) in enumerate(window):
        if place in places:
            yield b""
        yield raw
    if len(window) in places:
        yield b""


# -- over a socket ----------------------------------------------------------------------------------------------


def stamp_minute(wanted: Minutes, minute: int) -> bytes:
    """Return the last moment of a minute, as raw lines spell it: by then each of its messages was received."""
    return wanted.spell(minute).replace(":00.000Z", ":59.9999999Z").encode()


def write_subscriptions(exchange: str, filters: Sequence[Filter]) -> list[bytes]:
    """Return what a client says to the machine's socket, of the forms that it takes for the exchange.

    Raises ConfigError for an exchange or a channel that it takes none for.
    """
    write = next((write for names, write in _WRITERS if exchange in names), None)
    if write is None:
        allowed = ", ".join(name for names, _ in _WRITERS for name in names)
        raise ConfigError(
            f"exchange {exchange!r}: its replays by socket are not read (allowed: {allowed}; or http://…)"
        )
    if not filters or not all(one.symbols for one in filters):
        raise ConfigError("--symbol: a socket subscribes symbols by their names (or ask http://… for all)")
    return [msgspec.json.encode(said) for said in write(filters)]


def _join(filters: Sequence[Filter], form: str) -> list[str]:
    return [form.format(channel=one.channel, symbol=symbol) for one in filters for symbol in one.symbols]


def _say_binance(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    return [{"method": "SUBSCRIBE", "params": _join(filters, "{symbol}@{channel}"), "id": 1}]


def _say_bybit(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    if dotted := [one.channel for one in filters if "." in one.channel]:
        # It takes what stands before the first dot for the channel.
        raise ConfigError(f"--channel {dotted[0]!r}: tardis-machine's socket takes no such channel (ask http://…)")
    return [{"op": "subscribe", "args": _join(filters, "{channel}.{symbol}")}]


def _say_okx(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    return [{"op": "subscribe", "args": _join(filters, "{channel}:{symbol}")}]


def _say_deribit(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    channels = _join(filters, "{channel}.{symbol}.raw")
    return [{"jsonrpc": "2.0", "method": "public/subscribe", "id": 1, "params": {"channels": channels}}]


_COINBASE = {"match": "matches", "last_match": "matches", "l2update": "level2", "snapshot": "level2"}
"""Messages → what the exchange calls the channel that brings them."""


def _say_coinbase(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    wanted = {(_COINBASE.get(one.channel, one.channel), one.symbols): None for one in filters}
    channels = [{"name": name, "product_ids": symbols} for name, symbols in wanted]
    return [{"type": "subscribe", "channels": channels}]


def _say_kraken(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    return [{"event": "subscribe", "pair": one.symbols, "subscription": {"name": one.channel}} for one in filters]


def _say_kraken_futures(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    return [{"event": "subscribe", "feed": one.channel, "product_ids": one.symbols} for one in filters]


_WRITERS = (
    (("binance", "binance-us", "binance-futures", "binance-delivery"), _say_binance),
    (("bybit",), _say_bybit),
    (("okex", "okex-swap", "okex-futures", "okex-options"), _say_okx),
    (("deribit",), _say_deribit),
    (("coinbase",), _say_coinbase),
    (("kraken",), _say_kraken),
    (("cryptofacilities",), _say_kraken_futures),
)
