"""Sends pre-encoded frames as fast as possible, or at a fixed rate, over a bare socket: load for benchmarks.

    python -m truetape.sim.blast FILE… --port 9100 --rate 100000 --seconds 60 --stamp

Whoever opens a WebSocket there (any path) gets the frames, in a loop. Nothing of what the client sends is answered,
pings excepted. With `--stamp`, each JSON frame ends in `,"sent_ns":<19 digits>}`, written when it is handed to the
kernel. At a fixed rate, a client that reads too slowly is not sent what it missed later: the schedule moves on, and
`late` counts the frames that left later than they should.
"""

import asyncio
import base64
import gzip
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import msgspec

from truetape import clock
from truetape.errors import ConfigError
from truetape.sim.hub import encode_wire

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STAMP = b',"sent_ns":0000000000000000000}'
_DIGITS_AT = len(b',"sent_ns":')
FRAMES_MAX = 200_000
"""Frames taken from the files; they repeat after that."""
CHUNK_BYTES = 256 * 1024
PERIOD_S = 0.001
AHEAD_BYTES_MAX = 8 * 1024 * 1024


class Ammunition(msgspec.Struct):
    """Frames back to back, as they go over the wire."""

    wire: bytearray
    ends: list[int]
    """Where each frame ends."""
    stamps: list[int]
    """Where each frame's 19 digits begin; empty without stamps."""

    def fill(self, first: int, end: int, now_ns: int) -> memoryview:
        """Return frames [first, end), stamped with the time."""
        if self.stamps:
            digits = b"%019d" % now_ns
            wire = self.wire
            for at in self.stamps[first:end]:
                wire[at : at + 19] = digits
        start = self.ends[first - 1] if first else 0
        return memoryview(self.wire)[start : self.ends[end - 1]]


def load_ammunition(payloads: Iterable[bytes], has_stamps: bool = False) -> Ammunition:
    """Encode frames once; ConfigError when there is none."""
    found = Ammunition(bytearray(), [], [])
    for payload in payloads:
        if has_stamps and payload.endswith(b"}"):
            wire = encode_wire(payload[:-1] + _STAMP)
            found.stamps.append(len(found.wire) + len(wire) - len(_STAMP) + _DIGITS_AT)
        elif has_stamps:
            continue
        else:
            wire = encode_wire(payload)
        found.wire += wire
        found.ends.append(len(found.wire))
        if len(found.ends) >= FRAMES_MAX:
            break
    if not found.ends:
        raise ConfigError("blast: the recordings hold no frame that can be sent")
    return found


def read_payloads(paths: Sequence[str | Path]) -> Iterable[bytes]:
    """Yield the frames of recordings: lines of `<time> <frame>`, of cryptofeed's objects, or plain frames."""
    for path in map(Path, paths):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                text = line.strip()
                if text[:1].isdigit():
                    yield text.partition(b" ")[2]
                elif text.startswith(b'{"t":'):
                    row = msgspec.json.decode(text)
                    if row["t"] == "recv" and "data" in row:
                        yield row["data"].encode()
                elif text:
                    yield text


class Blaster(asyncio.Protocol):
    """One connection: the handshake by hand, then nothing but frames."""

    def __init__(self, ammunition: Ammunition, rate: float, seconds: float) -> None:
        self._ammunition, self._rate, self._seconds = ammunition, rate, seconds
        self._heard = b""
        self._task: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.sent = self.late = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=AHEAD_BYTES_MAX)

    def pause_writing(self) -> None:
        """Wait: the client reads too slowly."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._may_write.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Stop."""
        self._may_write.set()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer the handshake and begin; afterwards answer pings."""
        if self._task is not None:
            self._answer_pings(data)
            return
        self._heard += data
        if b"\r\n\r\n" not in self._heard:
            return
        headers = dict(line.split(b": ", 1) for line in self._heard.split(b"\r\n")[1:] if b": " in line)
        key = next((v for k, v in headers.items() if k.lower() == b"sec-websocket-key"), b"")
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._task = asyncio.get_running_loop().create_task(self._fire())

    def _answer_pings(self, data: bytes) -> None:
        """Answer pings and end on a close; clients mask what they send, and these are short."""
        while len(data) >= 6:
            size = 6 + (data[1] & 127)
            if data[0] == 0x89:
                mask, body = data[2:6], data[6:size]
                self._transport.write(encode_wire(bytes(b ^ mask[i % 4] for i, b in enumerate(body)), 0x8A))
            elif data[0] == 0x88:
                self._transport.abort()
            data = data[size:]

    async def _fire(self) -> None:
        started_ns = clock.monotonic_ns()
        while not self._transport.is_closing():
            elapsed_s = (clock.monotonic_ns() - started_ns) / 1e9
            if self._seconds and elapsed_s >= self._seconds:
                break
            if not self._rate:
                self._send(CHUNK_BYTES // 100)
                await self._may_write.wait()
                await asyncio.sleep(0)
                continue
            due = int(elapsed_s * self._rate) - self.sent
            self.late += max(0, due - int(self._rate * PERIOD_S * 20))
            if due > 0 and self._may_write.is_set():
                self._send(min(due, int(self._rate)))
            await asyncio.sleep(PERIOD_S)
        self._transport.write(encode_wire(b"\x03\xe8", 0x88))
        self._transport.close()

    def _send(self, count: int) -> None:
        """Send the next `count` frames, in pieces that do not wrap."""
        ammunition, total = self._ammunition, len(self._ammunition.ends)
        while count > 0:
            first = self.sent % total
            end = min(total, first + count)
            piece = ammunition.fill(first, end, clock.wall_ns())
            # A copy when stamped: the same bytes are stamped again while these may still wait in a buffer.
            self._transport.write(bytes(piece) if ammunition.stamps else piece)
            self.sent += end - first
            count -= end - first


async def blast(
    payloads: Iterable[bytes],
    port: int = 9100,
    rate: float = 0.0,
    seconds: float = 0.0,
    has_stamps: bool = False,
    host: str = "127.0.0.1",
) -> asyncio.Server:
    """Listen, and fire at whoever connects; rate 0 is as fast as possible, seconds 0 without end."""
    ammunition = load_ammunition(payloads, has_stamps)
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Blaster(ammunition, rate, seconds), host, port)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--port", default=9100, show_default=True)
@click.option("--rate", default=0.0, help="Frames per second; 0: as fast as possible.")
@click.option("--seconds", default=0.0, help="Close after this long; 0: never.")
@click.option("--stamp", is_flag=True, help="Put the time of sending into each frame.")
def main(files: tuple[str, ...], port: int, rate: float, seconds: float, stamp: bool) -> None:
    """Fire recorded frames at whoever connects."""

    async def run() -> None:
        server = await blast(read_payloads(files), port, rate, seconds, stamp)
        click.echo(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main()
