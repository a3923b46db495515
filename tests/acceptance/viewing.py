"""A view of a tape that is being written in the same process, and settings that fit virtual time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from truetape.config import RecordSettings
from truetape.decode.engine import Engine
from truetape.events.wish import Wish
from truetape.tape import open_reader

RECORD = RecordSettings(
    flush_interval_ms=200, flush_interval_idle_ms=200, fsync_interval_ms=30_000, tick_seconds=5, stop_seconds=10**7
)


class View:
    """Decodes the tape while it is written, and wishes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine: Engine | None = None
        self.wishes: list[Wish] = []
        self.rows: dict[str, list[dict[str, Any]]] = {}

    def step(self) -> list[Wish]:
        """Decode what is new."""
        reader = open_reader(self.folder)
        if self.engine is None:
            self.engine = Engine(reader.tape_id)
        for batch in reader.read(self.engine.offset):
            self.engine.feed(batch)
        reader.close()
        for kind, table in self.engine.take().items():
            self.rows.setdefault(kind, []).extend(table.to_pylist())
        wished = self.engine.take_wishes()
        self.wishes += wished
        return wished

    async def wish(self) -> AsyncIterator[Wish]:
        """Hand on what is wished, a second after it was recorded at most."""
        while True:
            await asyncio.sleep(1)
            for wish in self.step():
                yield wish

    def gaps(self, reason: str) -> list[dict[str, Any]]:
        last = {row["gap_id"]: row for row in self.rows.get("gap", ()) if row["channel"] == "book_change"}
        return [row for row in last.values() if row["reason"] == reason]

    def book(self, symbol: str) -> dict[tuple[str, float], float]:
        """A book as the stored rows tell it."""
        levels: dict[tuple[str, float], float] = {}
        frame = None
        for row in self.rows["book_change"]:
            if row["symbol"] == symbol:
                if row["is_snapshot"] and row["tape_offset"] != frame:
                    levels.clear()
                frame = row["tape_offset"]
                levels[row["side"], row["price"]] = row["amount"]
        return {key: size for key, size in levels.items() if size}
