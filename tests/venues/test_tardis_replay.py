"""Replays of exchanges' own messages: lines of a tardis-machine become raw lines, with losses where they belong."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.errors import ConfigError, DecodeError
from truetape.venues.tardis.replay import (
    BATCH,
    Filter,
    Minutes,
    arrange_lines,
    name_replay,
    name_socket,
    stamp_minute,
    write_subscriptions,
)

BEGIN_US = 1_767_607_200_000_000
MINUTE_US = 60_000_000
MINUTES = Minutes("binance", datetime(2026, 1, 5, 10, tzinfo=UTC), 3, (Filter("trade", ("btcusdt",)),))


def spell(at_us: int) -> str:
    return f"2026-01-05T10:00:{at_us / 1e6:010.7f}Z"


def tell(times: list[int], losses: list[int]) -> tuple[list[bytes], list[bytes]]:
    """Return a minute as the vendor has it, and as the machine tells it; `losses` are before the message of that number."""
    raw: list[bytes] = []
    told: list[bytes] = []
    held: list[bytes] = []
    for number, at_us in enumerate(times):
        if number in losses:
            raw.append(b"")
            told.append(b"")
        raw.append(f'{spell(at_us)} {{"n":{number}}}'.encode())
        held.append(f'{{"localTimestamp":"{spell(at_us)}","message":{{"n":{number}}}}}'.encode())
        if len(held) == BATCH:
            told += held
            held = []
    if len(times) in losses:
        raw.append(b"")
        told.append(b"")
    return raw, told + held


@given(
    gaps=st.lists(st.integers(1, 90_000), max_size=150),
    losses=st.sets(st.integers(0, 150), max_size=4),
    slow=st.booleans(),
)
def test_losses_stand_where_nothing_came_for_longest(gaps: list[int], losses: set[int], *, slow: bool) -> None:
    """A vendor that comes back has been away for longer than messages are apart."""
    places = sorted(place for place in losses if place <= len(gaps))
    times, now = [], 0
    for number, gap in enumerate(gaps):
        now += gap + (10_000_000 if number in places else 0)
        times.append(now)
    if times and times[-1] >= MINUTE_US - (10_000_000 if len(times) in places else 0) - 90_000:
        return
    raw, told = tell(times, places)
    found = [*arrange_lines(told, BEGIN_US, BEGIN_US + MINUTE_US)]
    assert [line for line in found if line] == [line for line in raw if line]
    if slow or len(places) == 1:
        end_is_longest = len(times) not in places and MINUTE_US - now > 10_090_000
        assert found.count(b"") == raw.count(b"")
        if not end_is_longest:
            assert found == raw


def test_a_loss_may_be_anywhere_in_the_batch_that_follows() -> None:
    times = [number * 100_000 for number in range(1, 70)]
    raw, told = tell([at + (20_000_000 if number >= 50 else 0) for number, at in enumerate(times)], [50])
    assert told.index(b"") == 32 and raw.index(b"") == 50
    assert [*arrange_lines(told, BEGIN_US, BEGIN_US + MINUTE_US)] == raw


@pytest.mark.parametrize(
    "line",
    [b'{"responseText":"no key","message":"401"}', b'{"localTimestamp":"2026-01-05T10:00:00.0Z","message":{}}', b"x"],
)
def test_other_lines_are_told(line: bytes) -> None:
    with pytest.raises(DecodeError, match="the machine said"):
        [*arrange_lines([line], BEGIN_US, BEGIN_US + MINUTE_US)]


def test_addresses() -> None:
    assert name_replay("http://h:8000", MINUTES, 2) == (
        "http://h:8000/replay?options=%7B%22exchange%22%3A%22binance%22%2C%22filters%22%3A%5B%7B%22channel%22%3A%22trade%22%2C"
        "%22symbols%22%3A%5B%22btcusdt%22%5D%7D%5D%2C%22from%22%3A%222026-01-05T10%3A02%3A00.000Z%22%2C%22to%22%3A%22"
        "2026-01-05T10%3A03%3A00.000Z%22%2C%22withDisconnects%22%3Atrue%7D"
    )
    assert name_socket("ws://h:8001", MINUTES, 0) == (
        "ws://h:8001/ws-replay?exchange=binance&from=2026-01-05T10:00:00.000Z&to=2026-01-05T10:01:00.000Z"
    )
    assert stamp_minute(MINUTES, 1) == b"2026-01-05T10:01:59.9999999Z"


@pytest.mark.parametrize(
    ("exchange", "channel", "symbol", "said"),
    [
        ("binance-futures", "aggTrade", "btcusdt", b'{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}'),
        ("bybit", "publicTrade", "BTCUSDT", b'{"op":"subscribe","args":["publicTrade.BTCUSDT"]}'),
        ("okex", "trades", "BTC-USDT", b'{"op":"subscribe","args":["trades:BTC-USDT"]}'),
        (
            "deribit", "book", "BTC-PERPETUAL",
            b'{"jsonrpc":"2.0","method":"public/subscribe","id":1,"params":{"channels":["book.BTC-PERPETUAL.raw"]}}',
        ),
        ("coinbase", "match", "BTC-USD", b'{"type":"subscribe","channels":[{"name":"matches","product_ids":["BTC-USD"]}]}'),
        ("kraken", "trade", "XBT/USD", b'{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"trade"}}'),
        ("cryptofacilities", "trade", "PI_XBTUSD", b'{"event":"subscribe","feed":"trade","product_ids":["PI_XBTUSD"]}'),
    ],
)  # fmt: skip
def test_sockets_are_subscribed_as_exchanges_are(exchange: str, channel: str, symbol: str, said: bytes) -> None:
    assert write_subscriptions(exchange, [Filter(channel, (symbol,))]) == [said]


def test_what_no_socket_takes_is_refused() -> None:
    with pytest.raises(ConfigError, match="exchange 'bybit-spot'"):
        write_subscriptions("bybit-spot", [Filter("trade", ("X",))])
    with pytest.raises(ConfigError, match="--symbol"):
        write_subscriptions("binance", [Filter("trade")])
    with pytest.raises(ConfigError, match="no such channel"):
        write_subscriptions("bybit", [Filter("orderbook.50", ("BTCUSDT",))])
