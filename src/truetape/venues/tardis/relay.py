"""Asks a relay of the vendor's tables for the past of a stream, page by page, and decodes its answers."""

from collections.abc import Callable, Mapping

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.relay import Asked, Spelling, choose_rows, name_address, read_address, read_answer
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Backfill, Credentials, Stretch
from truetape.venues.tardis.exchange import find_exchange, find_feed, is_stepping

FEED = "relay"
"""What its frames are called by."""
KEY = "RELAY"
"""Name of its bearer key."""
SLACK_US = 5_000_000
"""Numbers are looked for so much around the times of their neighbours, which are by another clock."""
_DATA_TYPES = {
    "trade": "trades",
    "book_change": "incremental_book_L2",
    "quote": "quotes",
    "derivative": "derivative_ticker",
    "liquidation": "liquidations",
}


class Relay(msgspec.Struct, frozen=True):
    """Where the relay is, and how it wants to be asked."""

    url: str
    limit: int
    spelling: Spelling
    levels: int
    """Of book snapshots."""


def list_channels() -> tuple[str, ...]:
    """Name the channels that a relay tells."""
    return (*_DATA_TYPES, "book_snapshot", "ticker")


def name_data_type(channel: str, instrument: Instrument, levels: int) -> str | None:
    """Return what the vendor calls a channel of an instrument; null where it has none."""
    if channel == "book_snapshot":
        return f"book_snapshot_{levels}"
    if instrument.market_type == "option" and channel in {"ticker", "derivative"}:
        return "options_chain"
    return _DATA_TYPES.get(channel)


def make_backfill(relay: Relay, channel: str, instrument: Instrument) -> Backfill | None:
    """Return how a stream's past is asked for; null where a relay does not tell it."""
    exchange = find_exchange(instrument)
    data_type = name_data_type(channel, instrument, relay.levels)
    if exchange is None or data_type is None:
        return None
    is_numbered = channel == "trade" and is_stepping(exchange)

    def begin(stretch: Stretch) -> str:
        slack = SLACK_US if is_numbered else 0
        asked = Asked(
            exchange, stretch.venue_symbol, data_type, max(stretch.from_us - slack, 0), stretch.to_us + slack + 1
        )
        return name_address(relay.url, asked, relay.limit, relay.spelling)

    return Backfill(
        channel,
        instrument.market,
        FEED,
        begin,
        _make_follow(relay, begin),
        identity="step" if is_numbered else "time",
    )


def _make_follow(relay: Relay, begin: Callable[[Stretch], str]) -> Callable[[Stretch, str, bytes], str | None]:
    def follow(stretch: Stretch, url: str, body: bytes) -> str | None:
        asked = read_address(url)
        table = read_answer(asked, body)
        following = choose_rows(asked, table)[1]
        is_first = read_address(begin(stretch)).start_us == asked.start_us
        if not is_first and (not table.num_rows or _is_later(asked, table.column("local_timestamp")[0].as_py())):
            raise DecodeError(f"{url}: start_time must be part of the answer: the page before ended with it")
        if following is None:
            if table.num_rows >= relay.limit:
                raise DecodeError(f"{url}: one moment has {table.num_rows} rows: tardis.relay_limit must be above that")
            return None
        return name_address(relay.url, msgspec.structs.replace(asked, start_us=following), relay.limit, relay.spelling)

    return follow


def _is_later(asked: Asked, local_us: int) -> bool:
    return bool(local_us // asked.unit_us > asked.start_us // asked.unit_us)


def make_credentials(name: str, host: str) -> Credentials:
    """Return how a relay, or the vendor, on this host wants to know who asks: by the key of this name."""

    def sign(values: Mapping[str, str], method: str, url: str, body: bytes, now_ms: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {values[name]}"}

    return Credentials((name,), "whoever runs it", sign, (host,))


def find_carrier(channel: str, instrument: Instrument) -> str:
    """Return the feed of the instrument's venue that carries a channel."""
    return find_feed(instrument, channel)


def take_answer(scribe: Scribe, response: Response) -> bool:
    """Decode one page; DecodeError when it is none."""
    # Settings read venues, too, and need no tables.
    from truetape.venues.tardis.table import write_answer

    asked = read_address(response.url)
    table, _ = choose_rows(asked, read_answer(asked, response.body))
    write_answer(scribe, asked.dataset, table, response.connection, response.offset)
    return bool(table.num_rows)
