"""Runs in cryptofeed's own environment: feed its message handler recorded frames, with callbacks that do nothing.

It keeps the book of every depth message itself and builds Decimal objects; neither can be switched off.
"""

import asyncio
import importlib
import json
import logging
import sys
import time
from pathlib import Path

from cryptofeed.symbols import Symbols


class Answers:
    """Stands for the HTTP client: the recorded snapshot is the answer to every question."""

    def __init__(self, body: str) -> None:
        self.body = body

    async def read(self, *_: object, **__: object) -> str:
        return self.body


class Line:
    """Stands for the connection."""

    uuid = "bench"

    def __init__(self, address: str) -> None:
        self.subscription: dict = {}
        self.address = address


def read(path: str) -> tuple[dict, list[tuple[float, str]], str]:
    snapshot, messages = "", []
    with Path(path).open("rb") as file:
        case = json.loads(file.readline())
        for line in file:
            received, kind, payload = line.rstrip(b"\n").split(b" ", 2)
            text = payload.decode()
            if kind == b"R":
                snapshot = text
            else:
                if '"e":"trade"' in text[:200]:  # it subscribes to aggTrade only; as many fields, other names
                    text = (
                        text.replace('"e":"trade"', '"e":"aggTrade"')
                        .replace('"t":', '"a":')
                        .replace("@trade", "@aggTrade")
                    )
                messages.append((int(received) / 1e9, text))
    return case, messages, snapshot


def list_symbols(case: dict, messages: list[tuple[float, str]]) -> dict[str, str]:
    keys = {"binance": "s", "bybit": "s", "okx": "instId", "coinbase": "product_id"}
    key = f'"{keys[case["venue"]]}":'
    names = set()
    for _, text in messages:
        at = text.replace(": ", ":").find(key)
        if at >= 0:
            names.add(text.replace(": ", ":")[at + len(key) + 1 :].split('"', 1)[0])
    return {name: name for name in names}


def make_feed(case: dict, messages: list[tuple[float, str]], count: dict[str, int]) -> tuple[type, dict]:
    module, name = case["cryptofeed"].split(".")
    feed_class = getattr(importlib.import_module(f"cryptofeed.exchanges.{module}"), name)
    Symbols.set(feed_class.id, list_symbols(case, messages), {})

    async def callback(obj: object, receipt: float) -> None:
        count["events"] = count.get("events", 0) + 1

    names = ("trades", "l2_book", "ticker", "candles", "funding", "open_interest", "index", "liquidations")
    return feed_class, dict.fromkeys(names, callback)


async def run_once(
    feed_class: type, callbacks: dict, messages: list[tuple[float, str]], snapshot: str
) -> tuple[int, int]:
    feed = feed_class(callbacks=callbacks)
    feed.http_conn = Answers(snapshot)
    line = Line("wss://stream.bybit.com/v5/public/linear")
    handle = feed.message_handler
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    for received, text in messages:
        await handle(text, line, received)
    return time.process_time_ns() - cpu, time.perf_counter_ns() - wall


async def main(path: str, seconds: float) -> None:
    logging.disable(logging.CRITICAL)
    case, messages, snapshot = read(path)
    count: dict[str, int] = {}
    feed_class, callbacks = make_feed(case, messages, count)
    await run_once(feed_class, callbacks, messages, snapshot)
    output = dict(count)
    costs = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(costs) < 3:
        costs.append(await run_once(feed_class, callbacks, messages, snapshot))
    print(json.dumps({"frames": len(messages), "costs": costs, "output": output}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
