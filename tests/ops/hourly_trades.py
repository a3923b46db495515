"""A recording of one Binance trade an hour, whose ids step by one."""

from pathlib import Path

from truetape.tape import FrameKind, Source, TapeSettings, open_writer

DAY_NS = 86_400 * 10**9
START_NS = 1_767_571_200 * 10**9
"""2026-01-05."""


def write_trades(folder: Path, begin: int, count: int, symbol: str = "BTC", segment_frames: int = 100) -> None:
    """Append Binance trades whose ids step by one, an hour apart, sealing a segment every so many."""
    connection = Source("binance", "spot", f"binance/spot/{symbol}#1")
    for first in range(begin, begin + count, segment_frames):
        writer = open_writer(str(folder), TapeSettings())  # closing seals
        source = writer.register(connection)
        for number in range(first, min(first + segment_frames, begin + count)):
            at_ns = START_NS + number * 3600 * 10**9
            payload = (
                b'{"stream":"%susdt@trade","data":{"e":"trade","E":%d,"s":"%sUSDT","t":%d,"p":"100.5","q":"0.25",'
                b'"T":%d,"m":false,"M":true}}'
                % (symbol.lower().encode(), at_ns // 10**6, symbol.encode(), 1000 + number, at_ns // 10**6)
            )
            writer.append(source, at_ns, number, FrameKind.TEXT, payload)
        writer.close()
