"""A replay of tardis-machine over its socket, message by message to a file of lines."""

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path

from truetape import clock
from truetape.collect.recorder import Row
from truetape.collect.socket import SocketOptions, open_socket
from truetape.errors import VenueUnreachable
from truetape.tape.frame import FrameKind

FINISHED = 1000
"""The code by which the machine says that this was all."""
SILENCE_S = 600.0
"""It fetches what it has not before it speaks; nothing for so long: it hangs."""
LOOK_S = 5.0


async def fetch_replay(url: str, path: Path, options: SocketOptions | None = None, said: Sequence[bytes] = ()) -> int:
    """Write every message of a socket to a gzipped file, which gets its name when all came; return how many.

    `said` is what it is told first.

    Raises VenueUnreachable with the machine's words when it did not come to its end.
    """
    part = path.with_name(path.name + ".part")
    count = 0
    with gzip.open(part, "wb", 1) as file:

        def take(row: Row) -> None:
            nonlocal count
            if row[3] == FrameKind.TEXT:
                file.write(row[4] + b"\n")
                count += 1

        socket = await open_socket(url, take, 0, options or SocketOptions())
        for payload in said:
            socket.send(payload)
        while not socket.ended.done():
            await asyncio.wait([socket.ended], timeout=LOOK_S)
            if (clock.monotonic_ns() - socket.last_ns) / 1e9 > SILENCE_S:
                await socket.close("silence")
        ending = await socket.ended
    if ending.code != FINISHED:
        raise VenueUnreachable(f"{url.partition('?')[0]} closed: {ending.code} {ending.reason or ending.cause}")
    part.replace(path)
    return count
