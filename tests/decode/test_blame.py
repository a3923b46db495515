"""A connection that says nothing: streams without ids are lost with those whose ids prove a loss."""

from framed import Tape, decode

from truetape.tape.frame import Source

SPOT = Source("binance", "spot", "binance/spot/1")


def trade(number: int) -> str:
    return (
        f'{{"stream":"btcusdt@trade","data":{{"e":"trade","E":1767225600000,"s":"BTCUSDT","t":{number},"p":"60000.1",'
        '"q":"0.5","T":1767225600000,"m":true,"M":true}}'
    )


def quote(number: int) -> str:
    return (
        f'{{"stream":"btcusdt@bookTicker","data":{{"u":{number},"s":"BTCUSDT","b":"60000.0","B":"1.0",'
        '"a":"60000.1","A":"2.0"}}'
    )


def play(silence_s: float, next_trade: int) -> list[dict[str, object]]:
    tape = Tape()
    tape.note(SPOT, "opened", url="wss://stream.binance.com:9443/stream")
    for number in range(5):
        tape.say(SPOT, trade(100 + number))
        tape.say(SPOT, quote(900 + number))
    tape.wait(silence_s)
    tape.say(SPOT, quote(950))
    tape.say(SPOT, trade(next_trade))
    return decode(tape.frames).rows("gap", channel="quote")


def test_quotes_are_lost_with_trades_when_nothing_came() -> None:
    (gap,) = play(3.0, 140)
    assert (gap["reason"], gap["state"]) == ("silence", "closed")
    seconds = (gap["to_at"] - gap["from_at"]).total_seconds()  # type: ignore[operator]
    assert 3.0 <= seconds <= 3.1
    assert "trade BTCUSDT jumped" in str(gap["evidence"])


def test_a_quiet_market_is_not_a_loss() -> None:
    assert play(3.0, 105) == []


def test_one_lost_trade_in_a_busy_stream_says_nothing_of_quotes() -> None:
    assert play(0.0, 140) == []
