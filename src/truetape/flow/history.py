"""What work on a stream's past needs: the tape to itself, the lake brought up to it, and what streams are called."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from truetape import clock
from truetape.collect.backfill import Backfiller, break_off
from truetape.collect.http import HttpOptions
from truetape.collect.key import load_key
from truetape.config import Settings, find_url
from truetape.errors import ConfigError
from truetape.events.backfill import Began, Lost
from truetape.flow.subject import Subject
from truetape.flow.view import Progress, deliver
from truetape.lake import Lake
from truetape.tape import TapeSettings, TapeWriter, has_tape, open_writer
from truetape.venues import load_venue

OnProgress = Callable[[str, int, int], None]
"""(what, how much of it is done, how much there is; 0: nobody knows)."""


def ignore_progress(what: str, done: int, total: int) -> None:
    """Do nothing."""


@contextmanager
def hold_tape(settings: Settings, *, is_new: bool = False) -> Iterator[TapeWriter]:
    """Hold the tape meanwhile; whatever becomes of the work, the sinks are brought up to its end afterwards.

    Raises TapeLocked when a recorder has it, ConfigError when there is none and `is_new` is false.
    """
    if not is_new and not has_tape(settings.tape):
        raise ConfigError(f"there is no tape at {settings.tape}: nothing is recorded that could have gaps")
    record = settings.record
    writer = open_writer(
        settings.tape,
        TapeSettings(segment_seconds=int(record.segment_seconds), segment_bytes_max=record.segment_bytes_max),
    )
    try:
        yield writer
    finally:
        writer.close()
        if has_tape(settings.tape):  # nothing may have been written at all
            deliver_tape(settings)


def deliver_tape(settings: Settings, on_progress: OnProgress = ignore_progress) -> Lake:
    """Bring the sinks up to the tape's end; return the lake among them, ConfigError when there is none."""
    lake = find_lake(settings)

    def tell(progress: Progress) -> None:
        on_progress(f"frames into {progress.sink}", progress.offset, progress.end)

    deliver(settings.tape, settings.sinks, settings.deliver, tell)
    return lake


def find_lake(settings: Settings) -> Lake:
    """Return the lake of the settings as it is; ConfigError when there is none."""
    path = next((sink.removeprefix("lake:") for sink in settings.sinks if sink.startswith("lake:")), None)
    if path is None:
        raise ConfigError("sinks: there is no lake in the settings, which tells what is missing (allowed: lake:DIR)")
    Path(path).mkdir(parents=True, exist_ok=True)  # nothing was delivered of a tape that is new
    return Lake(path)


def settle_lake(settings: Settings, writer: TapeWriter) -> Lake:
    """Bring the lake up to the tape's end, and what an earlier run left unfinished to an end."""
    lake = deliver_tape(settings)
    if "connection" not in lake.versions():
        return lake
    left = lake.sql(
        """
        select venue, arg_max(feed, tape_offset) as feed from connection
        where event in ('backfill_began', 'backfill_ended') group by venue
        having arg_max(event, tape_offset) = 'backfill_began'"""
    ).arrow()
    if left.num_rows == 0:
        return lake
    break_off(writer, [(row["venue"], row["feed"]) for row in left.to_pylist()])
    return deliver_tape(settings)


def find_subject(
    settings: Settings, lake: Lake, wanted: Subject, markets: Collection[str], writer: TapeWriter,
    options: HttpOptions | None = None,
) -> Subject:  # fmt: skip
    """Find an instrument on the tape, else in the venue's listings; ConfigError when it is not there, or not alone."""
    venue = load_venue(wanted.venue)
    found = {
        (row["market"], row["venue_symbol"], row["symbol"])
        for row in list_streams(lake, wanted.venue)
        if wanted.symbol in (row["symbol"], row["venue_symbol"]) and row["market"] in markets
    }
    if not found:
        asker = Backfiller(venue, find_url(settings, venue.name), writer, load_key(venue), options)
        listed = clock.run(asker.find_instruments(wanted.symbol, markets))
        found = {(one.market, one.venue_symbol, one.symbol) for one in listed}
    if len(found) != 1:
        places = ", ".join(sorted(one for one, _, _ in found))
        hint = f"it is in {places}; name one with --market" if found else "the venue does not list it"
        raise ConfigError(f"{venue.name} {wanted.symbol}: {hint}")
    ((market, venue_symbol, symbol),) = found
    return Subject(venue.name, market, symbol, venue_symbol, wanted.channel, wanted.interval)


def list_streams(lake: Lake, venue: str) -> list[dict[str, Any]]:
    """Return what was subscribed or asked for: (market, venue_symbol, channel, symbol)."""
    if "connection" not in lake.versions():
        return []
    told = lake.sql(
        "select distinct detail from connection where venue = $venue and event in ('planned', 'subscribed')",
        {"venue": venue},
    ).arrow()
    wanted = {
        (one["market"], one["venue_symbol"], one["channel"])
        for row in told.to_pylist()
        for one in msgspec.json.decode(row["detail"]).get("streams", ())
    }
    names = {}
    for market, venue_symbol in {(market, name) for market, name, _ in wanted}:
        names[market, venue_symbol] = load_venue(venue).name_instrument(market, venue_symbol).symbol
    return [
        {"market": market, "venue_symbol": name, "channel": channel, "symbol": names[market, name]}
        for market, name, channel in sorted(wanted)
    ]


def bound_began(began: Began, span: Lost) -> Began:
    """Leave out trades beyond the time that is asked for; other rows are numbered by their times."""
    if began.channel != "trade":
        return msgspec.structs.replace(began, gaps=())
    missing = tuple(
        msgspec.structs.replace(one, since_us=one.since_us or span.from_us, before_us=one.before_us or span.to_us)
        for one in began.missing
    )
    return msgspec.structs.replace(began, missing=missing, gaps=(), from_us=span.from_us, to_us=span.to_us)


def count_rows(lake: Lake, subject: Subject, kind: str = "") -> int:
    """Count what the lake has of a kind of rows of an instrument; empty: the channel's."""
    kind = kind or subject.channel
    if kind not in lake.versions():
        return 0
    query = f"select count(*) as n from {kind} where venue = $venue and symbol = $symbol"  # noqa: S608
    return int(lake.sql(query, {"venue": subject.venue, "symbol": subject.symbol}).arrow()["n"][0].as_py())
