"""Feeds the fake venues from recordings instead of synthetic markets.

A recording is a file of lines `<receive time> <frame>` (ns, or µs in old files), a cryptofeed raw file (one JSON
object a line), or a truetape tape (a folder); `.gz` is unpacked. Frames go, in recorded order and at the recorded
pace divided by `speed`, to whoever subscribes their streams; speed 0 is as fast as the clients read. Playing begins
when somebody has subscribed and then nobody has subscribed anything more for `settle_s`. Pauses longer than
`PAUSE_MAX_S` (between two files, say) are shortened to it. Recorded HTTP answers are given to whoever asks the same.
"""

import asyncio
import gzip
import heapq
import json
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple

from truetape import clock
from truetape.errors import ConfigError
from truetape.sim.fake import FakeVenue
from truetape.sim.hub import Hub
from truetape.sim.protocol import Query, Reply
from truetape.sim.replica import Replica
from truetape.sim.world import World
from truetape.tape.frame import FrameKind

PAUSE_MAX_S = 5.0
AHEAD_BYTES_MAX = 4 * 1024 * 1024
"""At full speed, frames wait while a client has more than this to read."""
BATCH_FRAMES = 200
ANSWERS_MAX = 10_000
"""Recorded HTTP answers kept."""


class Line(NamedTuple):
    """One recorded frame, or one HTTP answer (then `url` says to what)."""

    at_ns: int
    venue: str
    feed: str
    payload: bytes
    url: str = ""


class Recording:
    """Recorded frames, served in their own order to whoever subscribes their streams."""

    def __init__(self, paths: Sequence[str | Path], speed: float = 1.0, settle_s: float = 0.3) -> None:
        if speed < 0:
            raise ConfigError(f"sim: speed must be 0 (as fast as possible) or more, got {speed}")
        self.paths = tuple(Path(p) for p in paths)
        for path in self.paths:
            if not path.exists():
                raise ConfigError(f"sim: recording {path} does not exist")
        self.speed, self.settle_s = speed, settle_s
        self.played = self.unheard = 0
        self.is_done = False
        self.replicas: dict[tuple[str, str, str], Replica] = {}
        """Books as the recording has told them so far: (venue, feed, symbol) → book."""
        self._answers: dict[str, bytes] = {}
        self._subscribed_ns = 0
        self._aliases: dict[tuple[str, str], dict[str, str]] = {}

    def attach(self, world: World, fakes: Sequence[FakeVenue]) -> None:
        """Take the markets' place."""
        self._world, self._fakes = world, {fake.name: fake for fake in fakes}
        world.is_synthetic = False
        world.on_subscribe = self._note_subscription
        world.recorded_reply = self._answer
        for line in chain.from_iterable(self._read(path) for path in self.paths):
            self._learn(line)

    def describe(self) -> dict[str, object]:
        """Say how far it is."""
        return {"played": self.played, "unheard": self.unheard, "done": self.is_done}

    # reading

    def _read(self, path: Path) -> Iterator[Line]:
        """Yield a recording's lines; ConfigError when it is none."""
        try:
            yield from _read_tape(path) if path.is_dir() else self._read_file(path)
        except (ValueError, LookupError, TypeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ConfigError(
                f"sim: recording {path}: neither lines of `<time> <frame>`, nor cryptofeed's raw files, nor a tape ({error})"
            ) from error

    def _read_file(self, path: Path) -> Iterator[Line]:
        with _open(path) as file:
            first = file.readline()
            lines = chain([first], file)
            if first[:1].isdigit():
                yield from self._read_times(path, lines)
            else:
                yield from self._read_objects(lines)

    def _read_times(self, path: Path, lines: Iterator[bytes]) -> Iterator[Line]:
        """Lines of time and frame, as written for one Binance product line; the file's name says which."""
        feed = next((f for f in ("usdm", "coinm") if f in path.name), "spot")
        host = {"usdm": "fapi.binance.com/fapi/v1", "coinm": "dapi.binance.com/dapi/v1"}.get(
            feed, "api.binance.com/api/v3"
        )
        symbol = ""
        for line in lines:
            stamp, _, payload = line.rstrip(b"\n").partition(b" ")
            at_ns = int(stamp) if len(stamp) > 17 else int(stamp) * 1000
            if payload.startswith(b'{"lastUpdateId"'):
                yield Line(at_ns, "binance", feed, payload, f"https://{host}/depth?symbol={symbol}")
                continue
            symbol = symbol or payload[11 : payload.index(b"@")].decode().upper()
            yield Line(at_ns, "binance", feed, payload)

    def _read_objects(self, lines: Iterator[bytes]) -> Iterator[Line]:
        """Cryptofeed's raw files: connects say where frames come from."""
        places: dict[str, tuple[str, str]] = {}
        for line in lines:
            row = json.loads(line)
            at_ns = round(row.get("ts", 0) * 1_000_000) * 1000
            kind = row["t"]
            if kind == "connect":
                places[row["conn"]] = self._place(row["addr"])
            elif kind == "recv" and "data" in row:
                venue, feed = places.get(row["conn"], ("", ""))
                if venue:
                    yield Line(at_ns, venue, feed, row["data"].encode())
            elif kind == "http":
                venue, feed = self._place(row["url"])
                if venue:
                    yield Line(at_ns, venue, feed, row["data"].encode(), row["url"])

    def _place(self, url: str) -> tuple[str, str]:
        for fake in self._fakes.values():
            brand = fake.name if fake.name != "okx" else "ok"
            if any(host in url for host in fake.hosts) or f"{brand}" in url:
                return fake.name, fake.find_feed(url)
        return "", ""

    def _learn(self, line: Line) -> None:
        """Learn before playing: HTTP answers, where books begin, and symbols that we do not list."""
        if line.venue not in self._fakes:
            return
        replica = self._find_replica(line)
        if not line.url:
            if replica is not None:
                replica.begin(line.payload)
            self._list_symbol(line)
        elif replica is not None:
            replica.offer(line.payload)
        elif len(self._answers) < ANSWERS_MAX:
            self._answers.setdefault(_path_of(line.url), line.payload)

    def _list_symbol(self, line: Line) -> None:
        """List what a recording trades, so that it can be subscribed."""
        fake = self._fakes[line.venue]
        symbol = fake.name_symbol(fake.name_topic(line.payload))
        if symbol and self._world.find_spec(line.venue, line.feed, symbol) is None:
            spec = fake.guess_spec(line.feed, symbol)
            if spec is not None:
                self._world.add_spec(spec)

    def _find_replica(self, line: Line) -> Replica | None:
        symbol = Replica.read_symbol(line.venue, line.url, line.payload)
        if not symbol:
            return None
        key = (line.venue, line.feed, symbol)
        return self.replicas.setdefault(key, Replica(line.feed))

    # answering

    def _note_subscription(self) -> None:
        self._subscribed_ns = clock.monotonic_ns()
        self._aliases.clear()

    def _answer(self, venue: str, feed: str, query: Query) -> Reply | None:
        """Answer from the recording: a book as of now, else the same path as was asked then."""
        replica = self.replicas.get((venue, feed, query.args.get("symbol", "")))
        if replica is not None and query.path.endswith("/depth"):
            return Reply(replica.describe(), quota=feed, weight=25, is_book=True)
        recorded = self._answers.get(query.path)
        return None if recorded is None else Reply(recorded, quota=feed)

    # playing

    async def play(self) -> None:
        """Play everything once, then stay silent."""
        while not self._is_settled():  # noqa: ASYNC110 - what is waited for is a time without events
            await asyncio.sleep(0.01)
        started_ns, first_ns, last_ns, skipped_ns = clock.monotonic_ns(), 0, 0, 0
        lines = heapq.merge(*(self._read(p) for p in self.paths), key=lambda one: one.at_ns)
        for count, line in enumerate(lines):
            first_ns = first_ns or line.at_ns
            skipped_ns += max(0, line.at_ns - (last_ns or line.at_ns) - int(PAUSE_MAX_S * 1e9))
            last_ns = max(last_ns, line.at_ns)
            if self.speed:
                await _wait_until(started_ns + int((line.at_ns - first_ns - skipped_ns) / self.speed))
            self._perform(line)
            if count % BATCH_FRAMES == 0:
                await self._breathe()
        self.is_done = True

    def _is_settled(self) -> bool:
        return bool(self._subscribed_ns) and clock.monotonic_ns() - self._subscribed_ns > self.settle_s * 1e9

    async def _breathe(self) -> None:
        """Let frames out; at full speed wait for slow readers."""
        while True:
            behind = 0
            for hub in self._world.hubs.values():
                for session in hub.sessions:
                    session.flush()
                    behind = max(behind, session.transport.get_write_buffer_size())
            await asyncio.sleep(0)
            if behind < AHEAD_BYTES_MAX:
                return
            await asyncio.sleep(0.005)

    def _perform(self, line: Line) -> None:
        if line.url or line.venue not in self._fakes:
            return
        self.played += 1
        replica = self._find_replica(line)
        if replica is not None:
            replica.apply(line.payload)
        topic = self._fakes[line.venue].name_topic(line.payload)
        hub = self._world.hub(line.venue, line.feed)
        asked = self._match(hub, topic)
        if not asked:
            self.unheard += 1
            return
        payload = line.payload
        if asked != topic and payload.startswith(b'{"stream":"'):
            payload = payload.replace(topic.encode(), asked.encode(), 1)
        first, last = Replica.read_ids(payload)
        hub.publish(asked, payload, first, last)

    def _match(self, hub: Hub, topic: str) -> str:
        """Return the topic that was subscribed for a recorded one: depth comes at other speeds than was asked."""
        if topic in hub.rooms:
            return topic
        known = self._aliases.setdefault((hub.venue, hub.feed), {})
        if topic not in known:
            stem = _stem(topic)
            known[topic] = next((asked for asked in hub.rooms if _stem(asked) == stem), "") if topic else ""
        return known[topic] if known[topic] in hub.rooms else ""


async def _wait_until(due_ns: int) -> None:
    wait_ns = due_ns - clock.monotonic_ns()
    if wait_ns > 1_000_000:
        await asyncio.sleep(wait_ns / 1e9)


def _stem(topic: str) -> str:
    return "@".join(topic.split("@")[:2])


def _path_of(url: str) -> str:
    return "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read_tape(path: Path) -> Iterator[Line]:
    from truetape.tape import open_reader  # a tape is read only when one is given

    reader = open_reader(path)
    for batch in reader.read(reader.first):
        columns = batch.data.to_pydict()
        for i, kind in enumerate(columns["kind"]):
            venue, feed, payload = columns["venue"][i], columns["feed"][i], columns["payload"][i]
            if kind == FrameKind.TEXT:
                yield Line(columns["received_ns"][i], venue, feed, payload)
            elif kind == FrameKind.RESPONSE:
                meta = json.loads(columns["meta"][i] or "{}")
                yield Line(columns["received_ns"][i], venue, feed, payload, meta.get("url", ""))
    reader.close()
