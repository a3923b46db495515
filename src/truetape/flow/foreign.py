"""Foreign recordings onto a tape, from where they go the way live frames go."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from truetape.errors import ConfigError
from truetape.events.tardis import DATASETS
from truetape.tape import open_writer
from truetape.tape.foreign import Broken, import_recording
from truetape.venues import load_venue
from truetape.venues.tardis.machine import MACHINE

TARDIS = "tardis"
"""The format, and the venue, of the vendor's datasets."""
NORMALIZED = "tardis-normalized"
"""The format of what its machine says; of the same venue."""


def import_files(  # noqa: PLR0913 - what an import can be told
    format_name: str,
    files: Sequence[Path],
    venue: str,
    tape: str,
    *,
    feed: str | None = None,
    start: str | None = None,
    skip_bad: bool = False,
    broken: Mapping[str, Broken] = MappingProxyType({}),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[Path, int]]:
    """Append recordings of one venue to a tape; return the frames of each file.

    Tardis' datasets name their exchanges themselves: their venue is `tardis`, their feed the dataset's name.

    `broken` tells by a file's name what of it is on the tape already.
    `start` (ISO 8601, UTC unless it says otherwise) is the first receive time of recordings without times.
    Raises ConfigError on an unknown venue or feed, TapeError on a line that is not of the format.
    """
    is_vendor = format_name in {TARDIS, NORMALIZED}
    if is_vendor and venue not in {"", TARDIS}:
        raise ConfigError(f"--venue {venue!r}: the lines of these files name their exchange (leave it out)")
    known = load_venue(TARDIS if is_vendor else venue)
    feed = MACHINE if format_name == NORMALIZED else feed
    feeds = [*DATASETS] if format_name == TARDIS else [f.name for f in known.feeds]
    if feed is not None and feed not in feeds:
        raise ConfigError(f"--feed {feed!r} is not one of {known.name}'s (allowed: {', '.join(feeds)})")
    start_ns = _read_start(start)
    writer = open_writer(tape)
    try:
        return import_recording(
            format_name,
            files,
            known.name,
            writer,
            feed=feed,
            feed_of=known.find_feed,
            start_ns=start_ns,
            skip_bad=skip_bad,
            broken=broken,
            on_progress=on_progress,
        )
    finally:
        writer.close()


def _read_start(start: str | None) -> int | None:
    if start is None:
        return None
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise ConfigError(
            f"--start {start!r} is not a time (allowed: ISO 8601, such as 2026-01-01T00:00:00Z)"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
