"""What an earlier run followed, read from the tape's end backwards: the last roster, and the steps after it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import pyarrow.compute as pc

from truetape.collect.market import Market, restore_market
from truetape.collect.plan import find_discovery
from truetape.config import Settings
from truetape.tape import find_folder, has_tape, open_reader
from truetape.tape.contract import TapeReader
from truetape.tape.folder import list_firsts
from truetape.tape.frame import FrameBatch, FrameKind
from truetape.venues import load_venue
from truetape.venues._contract import Venue

ROSTER = "market_roster"
STATE = "market_state"
SEGMENTS_MAX = 24
"""Segments read backwards; a recorder that follows markets notes its roster every few minutes."""


Followed = Mapping[str, Sequence[dict[str, Any]]]
"""Venue → markets as a roster says them."""


def read_followed(settings: Settings) -> Followed:
    """Read who was followed from the tape's end; nothing when nobody is to be followed, or there is no tape."""
    names = [name for name, venue in settings.venues.items() if find_discovery(load_venue(name), venue)]
    if not names or not has_tape(settings.tape):
        return {}
    reader = open_reader(settings.tape)
    try:
        return read_rosters(reader, list_firsts(find_folder(settings.tape)), names)
    finally:
        reader.close()


def make_markets(venue: Venue, followed: Followed) -> list[Market]:
    """Make the markets that a venue goes on following."""
    discovery = venue.discovery
    if discovery is None:
        return []
    name = partial(venue.name_instrument, discovery.market)
    return [
        restore_market(said, {outcome: name(token) for outcome, token in said.get("tokens", {}).items()})
        for said in followed.get(venue.name, ())
    ]


def read_rosters(reader: TapeReader, firsts: list[int], venues: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return what each venue's last roster held, as later steps changed it; firsts: where segments begin, ascending."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    later: dict[str, list[dict[str, Any]]] = {venue: [] for venue in venues}
    ends = [*firsts[1:], *([reader.end] if firsts else [])]
    for first, end in list(zip(firsts, ends, strict=True))[: -SEGMENTS_MAX - 1 : -1]:
        missing = [venue for venue in venues if venue not in found]
        if not missing:
            break
        events: dict[str, list[dict[str, Any]]] = {venue: [] for venue in missing}
        for venue, event in _iterate_events(reader, first, end):
            if venue in events:
                events[venue].append(event)
        for venue in missing:
            later[venue] = events[venue] + later[venue]
            if any(event["event"] == ROSTER for event in events[venue]):
                found[venue] = _replay(later[venue])
    return {venue: list(markets.values()) for venue, markets in found.items()}


def _iterate_events(reader: TapeReader, first: int, end: int) -> Iterator[tuple[str, dict[str, Any]]]:
    offset = first
    for batch in reader.read(first, end - first):
        if offset >= end:
            return
        offset = batch.offset + batch.data.num_rows
        yield from _list_events(batch)


def _list_events(batch: FrameBatch) -> Iterator[tuple[str, dict[str, Any]]]:
    data = batch.data
    events = data.filter(pc.equal(data.column("kind"), int(FrameKind.EVENT)))
    for venue, meta in zip(events.column("venue").to_pylist(), events.column("meta").to_pylist(), strict=True):
        if meta.startswith(f'{{"event":"{ROSTER}"') or meta.startswith(f'{{"event":"{STATE}"'):
            yield venue, msgspec.json.decode(meta)


def _replay(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Take the last roster and every step after it."""
    start = max(i for i, event in enumerate(events) if event["event"] == ROSTER)
    markets = {market["slug"]: market for market in events[start]["markets"]}
    for event in events[start + 1 :]:
        if event["state"] == "unknown":
            markets.pop(event["slug"], None)  # nothing more is to be learned
        else:
            told = {name: event[name] for name in _NAMED if event.get(name)}
            markets[event["slug"]] = {**told, **event.get("kept", {})}
    return markets


_NAMED = ("slug", "state", "condition", "opens_us", "ends_us", "tokens")
