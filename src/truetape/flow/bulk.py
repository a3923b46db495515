"""Takes a stream's past from the files that its venue publishes; the tape must be nobody else's then.

Rows are told apart as those of the stream are, so what overlaps is stored once; a file that was taken whole is not taken again.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from truetape import clock
from truetape.collect.bulk import Fetcher, Shelver, find_nothing, read_checksum
from truetape.collect.download import Absent
from truetape.collect.http import HttpOptions
from truetape.config import Settings, find_url
from truetape.errors import ConfigError, TapeError
from truetape.events.backfill import Lost
from truetape.flow.history import (
    OnProgress,
    count_rows,
    deliver_tape,
    find_subject,
    hold_tape,
    ignore_progress,
    settle_lake,
)
from truetape.flow.hole import SLACK_US
from truetape.flow.loss import Past, name_kind
from truetape.flow.overlap import Overlap
from truetape.flow.subject import Subject, to_us
from truetape.lake import Lake
from truetape.quality.ledger import list_gaps
from truetape.tape import TapeWriter, hash_file
from truetape.venues import list_venues, load_venue
from truetape.venues._contract import Bulk, BulkFile, Stretch, Venue

REPAIRABLE = ("closed", "unrecoverable")


class Taken(msgspec.Struct, frozen=True):
    """What became of one file."""

    file: str
    status: str
    """taken, known (it was taken whole before) or absent (the venue has no such file)."""
    from_us: int = 0
    """Its first microsecond."""
    rows: int = 0
    """Rows that were new."""
    sha256: str = ""
    proof: str = ""
    """What its SHA-256 was compared with: published, beside (a checksum file beside it), none."""
    quarantined: int = 0
    """Blocks of its lines that do not decode."""


OnFile = Callable[[Taken], None]


def list_formats() -> dict[str, str]:
    """Return the forms of files that can be imported: name → venue."""
    bulks = {name: load_venue(name).bulk for name in list_venues()}
    return {bulk.format: name for name, bulk in bulks.items() if bulk is not None}


def fetch_bulk(
    settings: Settings,
    wanted: Subject,
    begin: datetime,
    end: datetime,
    *,
    on_file: OnFile = lambda taken: None,
    on_progress: OnProgress = ignore_progress,
    options: HttpOptions | None = None,
) -> list[Taken]:
    """Fetch the files that hold a stream's past between two moments, whole days or months of it.

    Raises ConfigError when the venue publishes none of it, VenueUnreachable when a file does not come or is not what its
    checksum says, TapeLocked when a recorder holds the tape.
    """
    if begin >= end:
        raise ConfigError(f"--from {begin.isoformat()} is not before --to {end.isoformat()}")
    venue = load_venue(wanted.venue)
    bulk = _find_bulk(venue)
    with hold_tape(settings, is_new=True) as writer:
        lake = settle_lake(settings, writer)
        subject = _name(settings, lake, wanted, writer, options)
        stretch = Stretch(subject.venue_symbol, to_us(begin), to_us(end) - 1, interval=subject.interval)
        files = _list_files(venue, bulk, subject, stretch)
        taker = _Taker(settings, venue, writer, lake, on_progress)
        with tempfile.TemporaryDirectory(prefix=".bulk-", dir=Path(settings.tape).parent) as folder:
            return clock.run(_fetch_all(taker, bulk, files, Path(folder), on_file, on_progress, options))


def import_bulk(
    settings: Settings,
    format_name: str,
    paths: Sequence[Path],
    market: str = "",
    on_file: OnFile = lambda taken: None,
    on_progress: OnProgress = ignore_progress,
) -> list[Taken]:
    """Take files on disk; a checksum file beside one must fit it.

    Raises ConfigError on a name that says nothing, TapeError on a file that is broken.
    """
    venue = load_venue(list_formats()[format_name])
    bulk = _find_bulk(venue)
    files = [(path, _read_path(bulk, path, market)) for path in paths]  # a wrong name is told before anything is read
    with hold_tape(settings, is_new=True) as writer:
        total = sum(path.stat().st_size for path in paths)
        taker, done = _Taker(settings, venue, writer, settle_lake(settings, writer), on_progress, total), []
        for path, file in sorted(files, key=lambda one: (one[1].from_us, str(one[0]))):
            sha256, proof = hash_file(path), "none"
            beside = path.with_name(path.name + bulk.checksum_suffix)
            if bulk.checksum_suffix and beside.is_file():
                said, proof = read_checksum(beside.read_bytes(), path.name), "beside"
                if said != sha256:
                    raise TapeError(f"{path}: its SHA-256 is {sha256}, {beside.name} says {said}: not taken")
            done.append(taker.take(file, path, sha256, proof))
            on_file(done[-1])
            on_progress("files", len(done), len(files))
        return done


class _Taker:
    """Puts proven files onto the tape, and what is on it into the lake before the next one is planned."""

    def __init__(
        self, settings: Settings, venue: Venue, writer: TapeWriter, lake: Lake, on_progress: OnProgress, total: int = 0
    ) -> None:
        self._settings, self.venue = settings, venue
        self.url = find_url(settings, venue.name)
        self._lake = lake
        self._on_progress, self._total, self._read = on_progress, total, 0
        """Bytes of all files as they lie on disk, 0 where nobody knows; those of files that are done."""
        self._shelver = Shelver(venue, writer, on_read=self._tell_read)
        self._known = _list_known(lake, venue.name)

    def knows(self, file: BulkFile, sha256: str) -> bool:
        """Tell whether a file was taken whole; where nobody publishes its SHA-256, by its address."""
        return (file.url, sha256) in self._known if sha256 else any(file.url == url for url, _ in self._known)

    def take(self, file: BulkFile, path: Path, sha256: str, proof: str) -> Taken:
        """Take one file."""
        taken = self._take(file, path, sha256, proof)
        self._read += path.stat().st_size
        self._tell_read(0)
        return taken

    def _tell_read(self, count: int) -> None:
        self._on_progress("bytes read", self._read + count, self._total)

    def _take(self, file: BulkFile, path: Path, sha256: str, proof: str) -> Taken:
        if self.knows(file, sha256):
            return Taken(path.name, "known", file.from_us, sha256=sha256, proof=proof)
        held, named = file.backfill, self.venue.name_instrument(file.backfill.market, file.venue_symbol)
        subject = Subject(self.venue.name, held.market, named.symbol, file.venue_symbol, held.channel, file.interval)
        # What is of midnight may be in either day's file, or in both.
        span = Lost("", file.from_us - SLACK_US, file.to_us + SLACK_US, "")
        lost = _list_lost(self._lake, subject, file)
        began = Past(self._lake, subject, held).plan_file(span, lost)
        began = msgspec.structs.replace(began, file=file.url, sha256=sha256)
        is_compared = began.channel == "trade" and began.identity != "step"
        overlap = Overlap(self._lake, self.venue, subject, file, began) if is_compared else None
        before = self._count(subject, name_kind(held))
        self._shelver.put(file, path, began, overlap.find_known if overlap else find_nothing)
        self._lake = deliver_tape(self._settings, self._on_progress)
        rows, bad = (now - was for now, was in zip(self._count(subject, name_kind(held)), before, strict=True))
        if is_compared and lost and not bad:
            self._shelver.close_gaps(file, msgspec.structs.replace(began, missing=(), gaps=tuple(lost)))
            self._lake = deliver_tape(self._settings, self._on_progress)
        self._known.add((file.url, sha256))
        return Taken(path.name, "taken", file.from_us, rows, sha256, proof, bad)

    def _count(self, subject: Subject, kind: str) -> tuple[int, int]:
        """Count the rows of a stream, and the frames of the venue that did not decode."""
        nobody = msgspec.structs.replace(subject, symbol="")
        return count_rows(self._lake, subject, kind), count_rows(self._lake, nobody, "quarantine")


async def _fetch_all(
    taker: _Taker,
    bulk: Bulk,
    files: Sequence[BulkFile],
    folder: Path,
    on_file: OnFile,
    on_progress: OnProgress,
    options: HttpOptions | None,
) -> list[Taken]:
    done: list[Taken] = []
    fetched = 0

    def tell_bytes(count: int) -> None:
        nonlocal fetched
        fetched += count
        on_progress("bytes fetched", fetched, 0)

    async with Fetcher(taker.venue, bulk, taker.url, options, tell_bytes) as fetcher:
        waiting = list(reversed(files))
        while waiting:
            file = waiting.pop()
            try:
                sha256 = await fetcher.fetch_checksum(file, folder)
                if taker.knows(file, sha256):
                    taken = Taken(
                        file.name, "known", file.from_us, sha256=sha256, proof="published" if sha256 else "none"
                    )
                else:
                    path, found = await fetcher.fetch(file, sha256, folder)
                    taken = taker.take(file, path, found, "published" if sha256 else "none")
                    path.unlink()
            except Absent:
                if file.parts:
                    waiting += reversed(file.parts)
                    continue
                taken = Taken(file.name, "absent", file.from_us)
            done.append(taken)
            on_file(taken)
            on_progress("files", len(done), len(done) + len(waiting))
    return done


def _find_bulk(venue: Venue) -> Bulk:
    if venue.bulk is None:
        raise ConfigError(
            f"{venue.name} publishes no files of its past (allowed: {', '.join(list_formats().values())})"
        )
    return venue.bulk


def _read_path(bulk: Bulk, path: Path, market: str) -> BulkFile:
    try:
        return bulk.read_path(path.resolve().as_posix(), market)
    except LookupError as error:
        raise ConfigError(f"{path}: {error}") from error


def _list_files(venue: Venue, bulk: Bulk, subject: Subject, stretch: Stretch) -> tuple[BulkFile, ...]:
    try:
        return bulk.list_files(subject.market, subject.channel, stretch)
    except LookupError as error:
        raise ConfigError(f"{venue.name}: {error}") from error


def _is_published(bulk: Bulk, market: str, channel: str) -> bool:
    try:
        bulk.list_files(market, channel, Stretch("", 0, 0))
    except LookupError:
        return False
    return True


def _name(settings: Settings, lake: Lake, wanted: Subject, writer: TapeWriter, options: HttpOptions | None) -> Subject:
    """Find an instrument; one that is gone from the listings is taken by the venue's own name of it, with its market."""
    venue = load_venue(wanted.venue)
    bulk = _find_bulk(venue)
    if wanted.channel not in bulk.channels:
        raise ConfigError(f"{venue.name}: no files of {wanted.channel!r} (allowed: {', '.join(bulk.channels)})")
    markets = dict.fromkeys(
        feed.market
        for feed in venue.feeds
        if feed.market == wanted.market or (not wanted.market and _is_published(bulk, feed.market, wanted.channel))
    )
    if not markets:
        allowed = ", ".join(dict.fromkeys(feed.market for feed in venue.feeds))
        raise ConfigError(f"{venue.name}: no market {wanted.market!r} (allowed: {allowed})")
    try:
        return find_subject(settings, lake, wanted, markets, writer, options)
    except ConfigError:
        if not wanted.market:
            raise
    named = venue.name_instrument(wanted.market, wanted.symbol)
    return Subject(venue.name, wanted.market, named.symbol, wanted.symbol, wanted.channel, wanted.interval)


def _list_lost(lake: Lake, subject: Subject, file: BulkFile) -> list[Lost]:
    """Return the gaps of a stream that lie within a file's time."""
    return [
        Lost(gap.gap_id, to_us(gap.from_at), to_us(gap.to_at), gap.reason)
        for gap in list_gaps(lake)
        if (gap.venue, gap.symbol, gap.channel) == (subject.venue, subject.symbol, subject.channel)
        and gap.state in REPAIRABLE and gap.to_at is not None
        and to_us(gap.from_at) >= file.from_us and to_us(gap.to_at) <= file.to_us
    ]  # fmt: skip


def _list_known(lake: Lake, venue: str) -> set[tuple[str, str]]:
    """Return address and SHA-256 of the files that were taken whole."""
    if "connection" not in lake.versions():
        return set()
    rows = lake.sql(
        """select event, detail from connection where venue = $venue
        and event in ('backfill_began', 'backfill_ended') order by tape_offset""",
        {"venue": venue},
    ).arrow()
    return set(_pair(rows.to_pylist()))


def _pair(rows: Sequence[dict[str, str]]) -> Iterator[tuple[str, str]]:
    under_way = ("", "")
    for row in rows:
        told = msgspec.json.decode(row["detail"])
        if row["event"] == "backfill_began":
            under_way = (told.get("file", ""), told.get("sha256", ""))
        elif told["status"] == "answered" and under_way[0]:
            yield under_way
