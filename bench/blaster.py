"""A venue under full load: sends recorded frames over a bare socket at a fixed rate, in endless continuation.

    python bench/blaster.py mix --rate 100000 --seconds 60 --core 1

Each time the recording starts over, its ids go on from where they ended, so that sequence rules see one whole
stream, and each frame ends in `,"sent_ns":<19 digits>}`: the wall clock when it was handed to the kernel. Nothing
that a client sends is answered. Prints its port first, and at the end what was sent and how late.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from frames import RECORDINGS

from truetape.tape.foreign import Origin, read_recording
from truetape.tape.frame import FrameKind

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STAMP = b',"sent_ns":0000000000000000000}'
STAMP_DIGITS = 19
RECORDING = "binance/hftbacktest_usdm_btcusdt_20240808.gz"
LOADS = {
    "trades": ("usdm", ('@trade"',), 20_000),
    "mix": ("usdm", ("@",), 40_000),
    "aggtrades": ("usdm", ('@trade"',), 20_000),
}
"""Load → (feed, what a frame must have, frames before it starts over)."""
IDS = {"t": "trade", "a": "trade", "U": "book", "u": "book", "pu": "book"}
CHUNK_FRAMES_MAX = 4000
PERIOD_S = 0.001

Array = npt.NDArray[np.int64]


@dataclass
class Ids:
    """Numbers inside the wire that grow with each turn: same count of digits, same step."""

    digits: int
    step: int
    positions: Array
    values: Array
    frames: Array
    """Which frame each is in, ascending."""


@dataclass
class Wire:
    """Frames back to back as they go over the wire."""

    data: npt.NDArray[np.uint8]
    ends: Array
    stamps: Array
    ids: list[Ids]

    def renew(self, turn: int) -> None:
        """Let all ids go on, for the turn that begins now."""
        for ids in self.ids:
            write_digits(self.data, ids.positions, ids.values + turn * ids.step, ids.digits)

    def take(self, first: int, end: int) -> memoryview:
        """Return frames [first, end) stamped with the time."""
        now = np.full(end - first, time.time_ns(), np.int64)
        write_digits(self.data, self.stamps[first:end], now, STAMP_DIGITS)
        start = int(self.ends[first - 1]) if first else 0
        return memoryview(self.data)[start : int(self.ends[end - 1])]


def write_digits(data: npt.NDArray[np.uint8], positions: Array, values: Array, digits: int) -> None:
    """Write each value with `digits` digits at its position."""
    powers = 10 ** np.arange(digits - 1, -1, -1, dtype=np.int64)
    text = (values[:, None] // powers % 10 + 48).astype(np.uint8)
    data[positions[:, None] + np.arange(digits)] = text


def read_payloads(load: str) -> list[bytes]:
    """Return the recorded frames of a load."""
    feed, wanted, most = LOADS[load]
    texts = [text.encode() for text in wanted]
    payloads = []
    for frame in read_recording("hftbacktest", Origin(RECORDINGS / RECORDING, "binance", "1", feed=feed)):
        if frame.kind == FrameKind.TEXT and any(text in frame.payload for text in texts):
            payload = frame.payload.strip()
            if load == "aggtrades":
                payload = payload.replace(b'"e":"trade"', b'"e":"aggTrade"').replace(b'"t":', b'"a":')
                payload = payload.replace(b"@trade", b"@aggTrade")
            payloads.append(payload)
        if len(payloads) == most:
            break
    return payloads


def build_wire(payloads: Sequence[bytes]) -> Wire:
    """Encode frames as unmasked WebSocket messages and find what changes in them."""
    parts, ends, stamps, found = [], [], [], []
    at = 0
    for number, payload in enumerate(payloads):
        body = payload[:-1] + STAMP
        head = b"\x81" + (
            bytes([len(body)])
            if len(body) < 126
            else b"\x7e" + len(body).to_bytes(2, "big")
            if len(body) < 65536
            else b"\x7f" + len(body).to_bytes(8, "big")
        )
        is_quote = b"@bookTicker" in payload[:60]
        for match in re.finditer(rb'"(t|a|U|u|pu)":(\d+)', payload):
            space = "quote" if is_quote else IDS[match[1].decode()]
            found.append((space, len(match[2]), at + len(head) + match.start(2), int(match[2]), number))
        parts.append(head + body)
        at += len(head) + len(body)
        ends.append(at)
        stamps.append(at - STAMP_DIGITS - 1)
    data = np.frombuffer(b"".join(parts), np.uint8).copy()
    return Wire(data, np.array(ends), np.array(stamps), group_ids(found))


def group_ids(found: list[tuple[str, int, int, int, int]]) -> list[Ids]:
    """Group ids by space and digits; the step of a space is what makes its first id follow its last."""
    groups = []
    for space in sorted({one[0] for one in found}):
        own = [one for one in found if one[0] == space]
        low, high = min(one[3] for one in own), max(one[3] for one in own)
        # The first book frame says which id it follows (`pu`): that one must be the last of the turn before. Quotes are
        # ahead of the book, and go on by themselves.
        step = high - low + (0 if space == "book" else 1)
        for digits in sorted({one[1] for one in own}):
            columns = np.array([one[2:] for one in own if one[1] == digits], np.int64)
            groups.append(Ids(digits, step, columns[:, 0], columns[:, 1], columns[:, 2]))
    return groups


def accept(server: socket.socket) -> socket.socket:
    """Take one WebSocket connection."""
    line, _ = server.accept()
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += line.recv(65536)
    key = re.search(rb"sec-websocket-key: *([^\r]+)", heard, re.IGNORECASE)
    assert key
    answer = base64.b64encode(hashlib.sha1(key[1] + MAGIC, usedforsecurity=False).digest())
    line.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n"
    )
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def fire(line: socket.socket, wire: Wire, rate: float, seconds: float) -> dict[str, float]:
    """Send for so long; a receiver that is too slow makes us late, and nothing is left out."""
    count = len(wire.ends)
    sent = turn = at = 0
    late_max = 0.0
    goal = int(rate * seconds)
    begin, cpu = time.perf_counter(), time.process_time()
    while sent < goal:
        due = min(int((time.perf_counter() - begin) * rate), goal)
        if due - sent < rate * PERIOD_S and due < goal:  # a millisecond's frames at once: small bites cost both sides
            time.sleep(PERIOD_S)
            continue
        late_max = max(late_max, (due - sent) / rate)
        if at == count:
            at, turn = 0, turn + 1
            wire.renew(turn)
        end = min(count, at + min(due - sent, CHUNK_FRAMES_MAX))
        line.sendall(wire.take(at, end))
        sent += end - at
        at = end
        if time.perf_counter() - begin > seconds * 1.5 + 5:
            break
    spent = time.perf_counter() - begin
    return {
        "sent": sent,
        "seconds": spent,
        "rate": sent / spent,
        "late_max_s": late_max,
        "cpu_share": (time.process_time() - cpu) / spent,
    }


def main() -> None:
    """Serve one client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--core", type=int)
    given = parser.parse_args()
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    wire = build_wire(read_payloads(given.load))
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        line = accept(server)
        time.sleep(0.5)
        print(json.dumps(fire(line, wire, given.rate, given.seconds)), flush=True)
        time.sleep(1)
        line.close()


if __name__ == "__main__":
    main()
