"""A stream that is let go is not observed from there on, and the ledger says why."""

from framed import Tape, decode

from truetape.tape.frame import Source

SPOT = Source("binance", "spot", "binance/spot/1")
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1767225600000,"s":"BTCUSDT","t":%d,"p":"60000.1",'
    '"q":"0.5","T":1767225600000,"m":true,"M":true}}'
)


def test_unsubscribing_opens_a_gap_with_its_reason_and_a_later_cut_adds_none() -> None:
    tape = Tape()
    tape.note(SPOT, "opened", url="wss://stream.binance.com:9443/stream")
    tape.subscribe(SPOT, "trade", "spot", "BTCUSDT", "btcusdt@trade")
    tape.say(SPOT, TRADE % 1)
    wanted = {"channel": "trade", "market": "spot", "venue_symbol": "BTCUSDT", "topic": "btcusdt@trade"}
    tape.note(SPOT, "unsubscribed", streams=[wanted])
    tape.note(SPOT, "closed", code=1006, reason="", cause="network")
    gaps = [(g["reason"], g["state"]) for g in decode(tape.frames).rows("gap", channel="trade")]
    assert gaps[-1] == ("venue_status", "open")
    assert ("disconnect", "open") not in gaps
