"""Book proof: sealed frames of a prediction market decoded, their books rebuilt and hashed after every batch.

Two sets of frames: the recorded sessions of the socket, and a made-up busy market whose two books have 60 levels each
(30 bids, 30 asks). A frame of changes has both outcomes, so it is two books to hash. CPU time, because the machine may be shared.
"""

import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from frames import ROOT, batch_frames
from results import Options, Row, judge, make_table, run_main

from truetape.decode.engine import Engine
from truetape.flow.view_process import tune_allocator
from truetape.tape import Frame, FrameKind
from truetape.venues.polymarket.proof import Context, hash_book

GOAL = 10_000
"""Frames a second on one core."""
SESSIONS = ROOT.parent / "shared" / "recordings" / "prediction" / "raw_sessions"
TAKE_FRAMES = 4096
MARKET = "0x" + "ab" * 32
TOKENS = ("1" * 77, "2" * 77)
SIDE_LEVELS = 30
FRAMES = 10_000
TITLES = {"sessions": "recorded sessions", "busy": "busy market, 60 levels a book"}
START_NS = 1_767_557_700 * 10**9


def read_sessions() -> list[Frame]:
    """Return the recorded frames of the market channel, fetched books beside them."""
    frames: list[Frame] = []
    for path in sorted(SESSIONS.glob("*/*/raw_messages.jsonl")):
        cycle = 0
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if row["source"] != "polymarket_clob":
                continue
            payload, at = row["payload"].encode(), int(row["recv_wall_ts"]) * 10**6
            if payload.startswith(b"["):  # the recorder opened a connection for each cycle
                if cycle:
                    frames.append(_note("closed", at, f"{path.parent.name} {cycle}"))
                cycle += 1
                frames.append(_note("opened", at, f"{path.parent.name} {cycle}"))
            if payload.startswith(b"{") and b'"event_type"' not in payload:
                meta = '{"url":"https://clob.polymarket.com/book","status":200}'
                frames.append(Frame(at, 0, int(FrameKind.RESPONSE), "polymarket", "clob", "http", payload, meta))
            else:
                connection = f"{path.parent.name} {cycle}"
                frames.append(Frame(at, 0, int(FrameKind.TEXT), "polymarket", "clob", connection, payload, ""))
    return frames


def _note(event: str, at: int, connection: str) -> Frame:
    return Frame(at, 0, int(FrameKind.EVENT), "polymarket", "clob", connection, b"", json.dumps({"event": event}))


class Busy:
    """A market that changes 500 times a second: mostly sizes, near the middle; a trade and two pictures in 20 frames."""

    def __init__(self) -> None:
        self.draw = random.Random(1)
        self.bids = {f"0.{49 - i:02d}": f"{self.draw.uniform(1, 5000):.2f}" for i in range(SIDE_LEVELS)}
        self.asks = {f"0.{51 + i:02d}": f"{self.draw.uniform(1, 5000):.2f}" for i in range(SIDE_LEVELS)}
        self.at_ms = START_NS // 10**6
        self.last_price = "0.5"

    def list_frames(self, count: int) -> list[Frame]:
        """Make the frames."""
        frames = [_note("opened", START_NS, "line"), self._frame([self._picture(token) for token in TOKENS])]
        while len(frames) < count:
            self.at_ms += 2
            if len(frames) % 20 == 0:
                self.last_price = f"0.{self.draw.randint(49, 51)}"
                frames += [self._frame(self._trade()), *(self._frame(self._picture(token)) for token in TOKENS)]
                self.at_ms += 1
            frames.append(self._frame(self._change()))
        return frames

    def _frame(self, said: Any) -> Frame:
        payload = json.dumps(said, separators=None if isinstance(said, dict) else (",", ":")).encode()
        return Frame(self.at_ms * 10**6 + 5 * 10**7, 0, int(FrameKind.TEXT), "polymarket", "clob", "line", payload, "")

    def _change(self) -> dict[str, Any]:
        changed = []
        for _ in range(self.draw.choice((1, 1, 1, 2))):
            side = self.draw.choice(("BUY", "SELL"))
            book = self.bids if side == "BUY" else self.asks
            depth = min(int(self.draw.expovariate(0.3)), SIDE_LEVELS - 1)
            price = f"0.{49 - depth if side == 'BUY' else 51 + depth:02d}"
            is_gone = price in book and depth and self.draw.random() < 0.1
            size = "0" if is_gone else f"{self.draw.uniform(1, 5000):.2f}"
            book[price] = size
            if is_gone:
                del book[price]
            changed.append((side, price, size))
        told = []
        for token in TOKENS:
            bids, asks = self._sides(token)
            best = {"hash": self._hash(token), "best_bid": bids[0][0], "best_ask": asks[0][0]}
            for side, price, size in changed:
                if token == TOKENS[1]:
                    side, price = ("SELL" if side == "BUY" else "BUY"), str(1 - Decimal(price))
                told.append({"asset_id": token, "price": price, "size": size, "side": side} | best)
        return {"market": MARKET, "price_changes": told, "timestamp": str(self.at_ms), "event_type": "price_change"}

    def _trade(self) -> dict[str, Any]:
        return {
            "market": MARKET, "asset_id": TOKENS[0], "price": self.last_price, "size": "12.5", "fee_rate_bps": "0",
            "side": "BUY", "timestamp": str(self.at_ms), "event_type": "last_trade_price",
            "transaction_hash": f"0x{self.at_ms:064x}",
        }  # fmt: skip

    def _picture(self, token: str) -> dict[str, Any]:
        bids, asks = self._sides(token)
        return {
            "market": MARKET, "asset_id": token, "timestamp": str(self.at_ms), "hash": self._hash(token),
            "bids": [{"price": p, "size": s} for p, s in reversed(bids)],
            "asks": [{"price": p, "size": s} for p, s in reversed(asks)],
            "tick_size": "0.01", "event_type": "book", "last_trade_price": self.last_price,
        }  # fmt: skip

    def _sides(self, token: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids, asks = self.bids, self.asks
        if token == TOKENS[1]:
            bids, asks = ({str(1 - Decimal(p)): s for p, s in side.items()} for side in (asks, bids))
        return sorted(bids.items(), reverse=True), sorted(asks.items())

    def _hash(self, token: str) -> str:
        context = Context(MARKET, token, str(self.at_ms), "5", "0.01", False, self.last_price)
        return hash_book(*self._sides(token), context)


def decode(batches: list[Any]) -> dict[str, int]:
    """Decode all frames once, as a view does; return what was proven."""
    engine = Engine("bench")
    proofs = {"proven": 0, "broken": 0, "unjudged": 0}
    rows = 0

    def take() -> None:
        nonlocal rows
        for kind, table in engine.take().items():
            rows += table.num_rows
            if kind == "book_proof":
                for name in proofs:
                    proofs[name] += sum(table.column(name).to_pylist())

    for batch in batches:
        engine.feed(batch)
        if engine.pending >= TAKE_FRAMES:
            take()
    take()
    return proofs | {"rows": rows, "quarantined": engine.counts["quarantined"]}


def work(name: str, seconds: float) -> None:
    """Measure one set of frames and print it: in a process of its own."""
    frames = read_sessions() if name == "sessions" else Busy().list_frames(FRAMES)
    messages = sum(frame.kind != FrameKind.EVENT for frame in frames)
    last_ns = frames[-1].received_ns
    frames.append(Frame(last_ns, 0, int(FrameKind.EVENT), "", "", "recorder", b"", '{"event":"stopped"}'))
    batches = batch_frames(frames)
    tune_allocator()
    gc.freeze()
    gc.disable()
    proofs, costs = decode(batches), []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(costs) < 3:
        cpu = time.process_time_ns()
        decode(batches)
        costs.append((time.process_time_ns() - cpu) / messages / 1e3)
        gc.collect()
    print(json.dumps({"frames": messages, "costs": costs, "output": proofs}))


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per set of frames."""
    rounds, seconds = (1, 0.3) if options.quick else (5, 1.0)
    for name in TITLES:
        if name == "sessions" and not SESSIONS.is_dir():
            yield {"case": name, "missing": "the recordings are not here"}
            continue
        command = [sys.executable, str(Path(__file__)), "--work", name, str(seconds)]
        answers = [
            json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            for _ in range(rounds)
        ]
        costs = [median(answer["costs"]) for answer in answers]
        yield {
            "case": name, "frames": answers[0]["frames"], "cpu_us": round(median(costs), 2),
            "cpu_us_min": round(min(costs), 2), "cpu_us_max": round(max(costs), 2), "output": answers[0]["output"],
        }  # fmt: skip


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    lines = []
    for row in rows:
        title = TITLES[row["case"]]
        if "missing" in row:
            lines.append([title, row["missing"], "", "", ""])
            continue
        rate = 1e6 / row["cpu_us"]
        cost = f"{row['cpu_us']:.1f} ({row['cpu_us_min']:.1f} to {row['cpu_us_max']:.1f})"
        goal = judge(rate, GOAL) if row["case"] == "busy" else ""
        proven = f"{row['output']['proven']:,} proven, {row['output']['broken']} broken"
        lines.append([title, cost, f"{rate:,.0f}", proven, goal])
    heads = ["frames", "µs of CPU a frame", "frames/s on one core", "states of a book", f"goal: {GOAL:,} frames/s"]
    return make_table(heads, lines) + NOTES


NOTES = """
Frames of the order book's socket to Arrow tables, every state of both outcomes' books rebuilt, hashed (SHA-1) and
compared with the hash in the frame, and the two books with each other. Recorded sessions are
mostly pictures and fetched books, each on a connection that was opened for it.
"""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], float(sys.argv[3]))
    else:
        run_main("prove_books", measure)
