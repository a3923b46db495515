"""Runs in cryptofeed's own environment: record a loopback feed with its pcap recorder, zstd-compressed."""

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path

from cryptofeed.capture import PcapRecorder
from cryptofeed.connection import Connection
from cryptofeed.defines import TRADES
from cryptofeed.exchanges.binance_futures import BinanceFutures
from cryptofeed.symbols import Symbols

heard = {"frames": 0, "first": 0.0, "last": 0.0, "cpu_first": 0.0, "cpu_last": 0.0}


async def on_trade(trade: object, received: float) -> None:
    heard["frames"] += 1
    if heard["frames"] % 1000 == 1:
        heard["first"] = heard["first"] or time.time()
        heard["cpu_first"] = heard["cpu_first"] or time.process_time()
        heard["last"], heard["cpu_last"] = time.time(), time.process_time()


class Loopback(BinanceFutures):
    """Binance futures, somewhere else."""

    port = ""

    def connect(self) -> list:
        made = super().connect()
        for connection, _, _ in made:
            connection.address = f"ws://127.0.0.1:{self.port}/stream"
        return made


async def main(port: str, target: str) -> None:
    logging.disable(logging.CRITICAL)
    Loopback.port = port
    Symbols.set(Loopback.id, {"BTC-USDT-PERP": "BTCUSDT"}, {})
    recorder = PcapRecorder(target)
    Connection.raw_data_callback = recorder
    feed = Loopback(symbols=["BTC-USDT-PERP"], channels=[TRADES], callbacks={TRADES: on_trade}, retries=0)
    recorder.register_feed(feed)
    stop = asyncio.Event()
    running = asyncio.create_task(feed.run(stop))
    quiet, before = 0, -1
    while quiet < 4 and not running.done():
        await asyncio.sleep(0.5)
        quiet = quiet + 1 if heard["frames"] == before and before > 0 else 0
        before = heard["frames"]
    stop.set()
    await asyncio.wait([running], timeout=3)
    await recorder.aclose()
    size = sum(path.stat().st_size for path in map(Path, recorder.files))
    share = (heard["cpu_last"] - heard["cpu_first"]) / max(heard["last"] - heard["first"], 1e-9)
    print(json.dumps({"frames": heard["frames"], "cpu_share": share, "bytes": size}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
