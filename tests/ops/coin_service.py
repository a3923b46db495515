"""A fake CoinGecko in a thread of its own that counts what it is asked: `with CoinService() as service:`."""

import asyncio
import threading
from collections import Counter

import msgspec

from truetape.sim.protocol import Query, Reply
from truetape.sim.server import SimServer
from truetape.sim.venues.coingecko import FAKE
from truetape.sim.world import World


class CoinService:
    """Answers as the fake does, without its quotas unless they are wanted; some requests first get another answer."""

    def __init__(self, *, faults: str = "", has_limits: bool = False) -> None:
        self.asked: Counter[str] = Counter()
        self.answered = 0
        self.instead: dict[str, list[Reply]] = {}
        """Path → answers that come before the right ones."""
        self.url = ""
        self._faults, self._has_limits = faults, has_limits
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> "CoinService":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        fake = msgspec.structs.replace(FAKE, respond=self._respond)
        async with SimServer(venues=[fake], faults=self._faults, has_limits=self._has_limits) as server:
            self.url = server.url
            self._ready.set()
            await self._stop.wait()

    def _respond(self, world: World, query: Query) -> Reply:
        path = query.path.removeprefix("/api/v3")
        self.asked[path] += 1
        if self.instead.get(path):
            return self.instead[path].pop(0)
        self.answered += 1
        return FAKE.respond(world, query)
