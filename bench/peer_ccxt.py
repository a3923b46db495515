"""Runs in ccxt's own environment: feed the parsers of its pro classes recorded frames; what they resolve is dropped."""

import asyncio
import json
import sys
import time
from pathlib import Path

import ccxt.pro


class Client:
    """Stands for the connection."""

    url = "wss://bench/stream"

    def __init__(self) -> None:
        self.subscriptions: dict = {}
        self.resolved = 0

    def resolve(self, result: object, message_hash: str) -> object:
        self.resolved += 1
        return result

    def reject(self, error: Exception, message_hash: str | None = None) -> None:
        raise error


def read(path: str) -> tuple[dict, list[str], str]:
    snapshot, messages = "", []
    with Path(path).open("rb") as file:
        case = json.loads(file.readline())
        for line in file:
            _, kind, payload = line.rstrip(b"\n").split(b" ", 2)
            if kind == b"R":
                snapshot = payload.decode()
            else:
                messages.append(payload.decode())
    return case, messages, snapshot


def make_exchange(case: dict, symbol_id: str, snapshot: str) -> tuple[object, Client]:
    exchange = getattr(ccxt.pro, case["ccxt"])()
    base, is_swap = symbol_id.removesuffix("USDT"), case["ccxt"] == "binanceusdm"
    symbol = f"{base}/USDT:USDT" if is_swap else f"{base}/USDT"
    exchange.set_markets([{
        "id": symbol_id, "symbol": symbol, "base": base, "quote": "USDT", "settle": "USDT" if is_swap else None,
        "type": "swap" if is_swap else "spot", "spot": not is_swap, "swap": is_swap, "future": False, "option": False,
        "contract": is_swap, "linear": True, "inverse": False, "contractSize": 1,
        "precision": {"price": 0.01, "amount": 0.001}, "limits": {}, "taker": 0.001, "maker": 0.001, "active": True,
    }])  # fmt: skip
    client = Client()
    if snapshot:
        book = exchange.order_book({}, 1000)
        book.reset(exchange.parse_order_book(json.loads(snapshot), symbol))
        book["nonce"] = json.loads(snapshot)["lastUpdateId"]
        exchange.orderbooks[symbol] = book
    return exchange, client


def run_once(case: dict, messages: list[str], snapshot: str) -> tuple[int, int, int]:
    symbol_id = json.loads(messages[0])["stream"].split("@")[0].upper()
    exchange, client = make_exchange(case, symbol_id, snapshot)
    handle = exchange.handle_trade if case["kind"] == "trade" else exchange.handle_order_book
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    for text in messages:
        handle(client, json.loads(text)["data"])
    return time.process_time_ns() - cpu, time.perf_counter_ns() - wall, client.resolved


async def main(path: str, seconds: float) -> None:
    case, messages, snapshot = read(path)
    resolved = run_once(case, messages, snapshot)[2]
    costs = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(costs) < 3:
        costs.append(run_once(case, messages, snapshot)[:2])
    print(json.dumps({"frames": len(messages), "costs": costs, "output": {"events": resolved}}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
