"""Which markets of a snapshot service are tracked, and what a tape's end says of the run before."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow.compute as pc

from truetape.config import SnapshotSettings
from truetape.errors import DecodeError
from truetape.tape import find_folder, has_tape, list_sealed, open_reader
from truetape.tape.contract import TapeReader
from truetape.tape.folder import list_firsts
from truetape.tape.frame import FrameKind
from truetape.venues._snapshot.answer import Market
from truetape.venues._snapshot.form import read_meaning
from truetape.venues.snapshot import NAME

ROSTER = "snapshot_roster"
SEGMENTS_MAX = 200
"""Segments read backwards, at most: a service that is polled alone writes little, and a roster in every turn."""
FRAMES_MAX = 20_000_000
"""Frames read backwards, at most, where much else is on the tape: some ten seconds."""


class Tracked(msgspec.Struct):
    """A market that a snapshot is taken of in every turn."""

    id: str
    status: str | None = None
    has_history: bool = False
    """Its history was asked for."""
    is_over: bool = False
    """Its last snapshot was taken."""
    gone_turns: int = 0
    """Turns in a row in which the service did not know it."""

    def learn(self, market: Market) -> None:
        """Take what an answer says of it."""
        self.status = market.status or self.status


class Past(NamedTuple):
    """What an earlier run left."""

    markets: tuple[Tracked, ...] = ()
    answered: tuple[int, frozenset[str]] = (0, frozenset())
    """Newest turn (due, in microseconds) → markets that were answered in it."""
    over: tuple[str, ...] = ()
    """Markets that were let go of."""


def choose_markets(
    settings: SnapshotSettings, listed: Sequence[Market], tracked: Mapping[str, Tracked], now_us: int
) -> list[Market]:
    """Return markets to track from now on: those that the filters let through, largest volume first, while there is room.

    Listings hold markets long over that they still call open: those whose time has passed are no open ones.
    """
    filters = settings.filters
    held = len(tracked.keys() - set(settings.ids))
    wanted = [
        market
        for market in listed
        if market.id not in tracked
        and (filters.status == "all" or _find_status(market, now_us) in _STATUSES[filters.status])
        and (not filters.categories or market.category in filters.categories)
        and (market.volume or 0.0) >= filters.volume_min
    ]
    wanted.sort(key=lambda market: (-(market.volume or 0.0), market.id))
    return wanted[: max(0, filters.markets_max - held)]


def _find_status(market: Market, now_us: int) -> str:
    is_past = market.closes_us is not None and market.closes_us <= now_us
    return "closed" if is_past and market.status != "resolved" else market.status or "open"


_STATUSES = {"open": ("open",), "closed": ("closed", "resolved")}


def describe_market(market: Tracked) -> dict[str, Any]:
    """Return a market as the roster holds it."""
    return {"id": market.id, "status": market.status, "has_history": market.has_history}


def read_past(tape: str, services: Sequence[str], frames_max: int = FRAMES_MAX) -> dict[str, Past]:
    """Read from the tape's end who was tracked, and what was answered in the newest turn of each service."""
    if not has_tape(tape):
        return {}
    reader = open_reader(tape)
    try:
        return _read_backwards(reader, _choose_spans(find_folder(tape), reader.end, frames_max), services)
    finally:
        reader.close()


def _choose_spans(folder: Path, end: int, frames_max: int) -> list[tuple[int, int]]:
    """Return from where to where to read, newest first: the segments that may hold a word of services."""
    sealed = {info.first: info for info in list_sealed(folder)}
    spans: list[tuple[int, int]] = []
    for first in reversed(list_firsts(folder)):
        info, span = sealed.get(first), (first, end)
        end = first
        if info is not None and NAME not in info.venues:
            continue
        frames_max -= span[1] - span[0]
        if spans and (frames_max < 0 or len(spans) == SEGMENTS_MAX):
            break
        spans.append(span)
    return spans


def _read_backwards(reader: TapeReader, spans: Sequence[tuple[int, int]], services: Sequence[str]) -> dict[str, Past]:
    rosters: dict[str, Past] = {}
    turns: dict[str, tuple[int, set[str]]] = {}
    histories: set[tuple[str, str]] = set()
    for first, end in spans:
        found: dict[str, Past] = {}
        for kind, service, meta in _iterate_frames(reader, first, end):
            if kind == FrameKind.EVENT:
                found[service] = _read_roster(meta)
            else:
                _note_answer(turns, histories, service, meta)
        rosters = {**found, **rosters}
        if all(service in rosters for service in services):
            break
    past = {}
    for service, roster in rosters.items():
        for market in roster.markets:
            market.has_history |= (service, market.id) in histories
        due_us, done = turns.get(service, (0, set()))
        past[service] = roster._replace(answered=(due_us, frozenset(done)))
    return past


def _iterate_frames(reader: TapeReader, first: int, end: int) -> Iterator[tuple[int, str, str]]:
    """Yield rosters and answers of a segment: (kind, service, meta)."""
    offset = first
    for batch in reader.read(first, end - first):
        if offset >= end:
            return
        offset = batch.offset + batch.data.num_rows
        data = batch.data.filter(pc.equal(batch.data.column("venue"), NAME))
        columns = (data.column(name).to_pylist() for name in ("kind", "feed", "meta"))
        for kind, service, meta in zip(*columns, strict=True):
            is_roster = kind == FrameKind.EVENT and meta.startswith(f'{{"event":"{ROSTER}"')
            if is_roster or kind == FrameKind.RESPONSE:
                yield kind, service, meta


def _read_roster(meta: str) -> Past:
    said = msgspec.json.decode(meta)
    return Past(tuple(msgspec.convert(market, Tracked) for market in said["markets"]), over=tuple(said["over"]))


def _note_answer(
    turns: dict[str, tuple[int, set[str]]], histories: set[tuple[str, str]], service: str, meta: str
) -> None:
    said = msgspec.json.decode(meta)
    try:
        meaning = read_meaning(said["url"])
    except DecodeError:
        return
    if meaning.what == "history" and said["status"] == 200:
        histories.add((service, meaning.id))
    if meaning.what != "prices" or said["status"] != 200:
        return
    due_us, done = turns.get(service, (0, set()))
    if meaning.due_us > due_us:
        turns[service] = meaning.due_us, {meaning.id}
    elif meaning.due_us == due_us:
        done.add(meaning.id)
