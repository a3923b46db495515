"""Backups of a tape and its sinks: incremental, by hash, and proven on the way back.

A backup is a list of files with their hashes. Sinks are copied before the tape, so that a restored sink never
stands beyond its tape; what it lacks, `deliver` carries over.
"""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from truetape import clock
from truetape.collect.errand import name_tape
from truetape.config import Settings
from truetape.errors import ConfigError, Fatal
from truetape.ops.place import find_place
from truetape.ops.store import Store
from truetape.sinks import split_spec
from truetape.tape import SegmentInfo, find_folder, has_tape, list_sealed
from truetape.tape.folder import SUFFIX, check_identity, segment_path

_LEFT_OUT = (".tmp", ".partial", ".lock", "-wal", "-shm")
_LOCKS = ("lock", "_build")
"""Names of what only means something where it was made."""
_JOBS = "jobs"


class Entry(msgspec.Struct, frozen=True):
    """One file of a backup."""

    part: str
    """`tape`, `jobs` for the tape of jobs, or the sink's number."""
    path: str
    size: int
    modified_ns: int
    sha256: str


class Listing(msgspec.Struct, frozen=True):
    """Everything of one backup."""

    format: str
    taken_at: datetime
    tape: str
    sinks: tuple[str, ...]
    entries: tuple[Entry, ...]


class BackupReport(msgspec.Struct, frozen=True):
    """What a backup or a restore did."""

    name: str
    files: int
    bytes: int
    new_files: int
    """Files that were not in the store before; all of them on a restore."""
    new_bytes: int


class _Found(NamedTuple):
    """A file to be copied, as it was when it was listed."""

    part: str
    root: Path
    path: Path
    size: int
    modified_ns: int


FORMAT = "truetape-backup/1"
SETTLE_MAX = 10
"""Times that the tape may change while it is being copied."""


def back_up(settings: Settings, place: str) -> BackupReport:
    """Copy the tape and the sinks to a store; what is there already is not copied again."""
    store, tapes = Store(place), _find_tapes(settings)
    for folder in tapes.values():
        check_identity(folder)
    _check_place(settings, place, tapes)
    copying = _Copying(store, _read_newest(store))
    with tempfile.TemporaryDirectory(prefix="truetape-backup-") as scratch:
        for found in _list_files(settings, Path(scratch)):
            copying.copy(found)
    for part, folder in tapes.items():
        _settle_tape(part, folder, copying)
    now = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    name = f"{now:%Y%m%dT%H%M%S.%fZ}"
    entries = tuple(copying.entries.values())
    store.write_list(name, msgspec.json.encode(Listing(FORMAT, now, settings.tape, settings.sinks, entries)))
    return BackupReport(name, len(entries), sum(e.size for e in entries), copying.new_files, copying.new_bytes)


def _check_place(settings: Settings, place: str, tapes: dict[str, Path]) -> None:
    """Refuse a folder within what is copied: it would be copied, too, from then on."""
    for source in (*tapes.values(), *(find_place(spec) for spec in settings.sinks)):
        if "://" not in place and Path(place).resolve().is_relative_to(source.resolve()):
            raise ConfigError(f"backup.to: {place} lies within {source}, which is copied; name another place")


def list_backups(place: str) -> list[BackupReport]:
    """List the backups of a store, oldest first."""
    store = Store(place)
    reports = []
    for name in store.list_names():
        entries = _read(store, name).entries
        reports.append(BackupReport(name, len(entries), sum(entry.size for entry in entries), 0, 0))
    return reports


def restore(settings: Settings, place: str, name: str = "") -> BackupReport:
    """Write a backup, the newest unless named, to where the settings say; refuses places that hold anything."""
    store = Store(place)
    names = store.list_names()
    if not names:
        raise ConfigError(f"{place}: there is no backup")
    if name and name not in names:
        raise ConfigError(f"{place}: no backup {name!r} (newest: {', '.join(names[-3:])})")
    listing = _read(store, name or names[-1])
    targets = _find_targets(settings, listing)
    for target in targets.values():
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ConfigError(f"{target} is not empty: move it away before restoring there")
    for entry in listing.entries:
        target = targets[entry.part]
        path = target if not entry.path else target / entry.path
        if not path.resolve().is_relative_to(target.resolve()):
            raise Fatal(f"{place}: backup {name or names[-1]} names {entry.path!r}, which is outside its folder")
        store.fetch(entry.sha256, path)
    size = sum(entry.size for entry in listing.entries)
    return BackupReport(name or names[-1], len(listing.entries), size, len(listing.entries), size)


def _find_targets(settings: Settings, listing: Listing) -> dict[str, Path]:
    if len(settings.sinks) < len(listing.sinks):
        raise ConfigError(f"sinks: the backup has {len(listing.sinks)}, the settings have {len(settings.sinks)}")
    for ours, theirs in zip(settings.sinks, listing.sinks, strict=False):
        if split_spec(ours)[0] != split_spec(theirs)[0]:
            raise ConfigError(f"sinks: the backup has {theirs} where the settings have {ours}")
    targets = {str(number): find_place(spec) for number, spec in enumerate(settings.sinks)}
    return {"tape": Path(settings.tape), _JOBS: Path(name_tape(settings.tape)), **targets}


def _find_tapes(settings: Settings) -> dict[str, Path]:
    """Return the folders of the recorder's tape and of the jobs', as far as there are such."""
    tapes = {"tape": settings.tape, _JOBS: name_tape(settings.tape)}
    found = {part: find_folder(tape) for part, tape in tapes.items() if has_tape(tape)}
    return found or {"tape": find_folder(settings.tape)}


def _list_files(settings: Settings, scratch: Path) -> Iterator[_Found]:
    for number, spec in enumerate(settings.sinks):
        place = find_place(spec)
        if split_spec(spec)[0] == "sqlite":
            yield from _copy_database(str(number), place, scratch / f"{number}.sqlite")
        else:
            yield from _walk(str(number), place)
    for part, folder in _find_tapes(settings).items():
        yield from _walk(part, folder)


def _copy_database(part: str, path: Path, copy: Path) -> Iterator[_Found]:
    """A database that is being written is copied by itself."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    yield _Found(part, copy, copy, copy.stat().st_size, 0)


def _walk(part: str, root: Path) -> Iterator[_Found]:
    """List files; logs of tables first: what they name is there before them."""
    if not root.is_dir():
        return
    found = (Path(folder) / name for folder, _, names in os.walk(root, onerror=_refuse) for name in names)
    paths = [path for path in found if path.is_file() and not _is_left_out(path.relative_to(root))]
    for path in sorted(paths, key=lambda path: ("_delta_log" not in path.parts, path)):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, as files are that nothing names any more
            yield _look_at(part, root, path)


def _refuse(error: OSError) -> None:
    """A folder that may not be read would be missing in the backup; one that is deleted meanwhile is not."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_left_out(path: Path) -> bool:
    return path.name.endswith(_LEFT_OUT) or path.name.startswith(".") or path.parts[0] in _LOCKS


class _Copying:
    """Carries files to a store and remembers under which hash."""

    def __init__(self, store: Store, before: Listing | None) -> None:
        self._store = store
        self._known = {(e.part, e.path, e.size, e.modified_ns): e.sha256 for e in before.entries} if before else {}
        self.entries: dict[tuple[str, str], Entry] = {}
        self.new_files = self.new_bytes = 0

    def copy(self, found: _Found) -> None:
        """Copy one file, unless it is as it was in the backup before; one that is gone meanwhile is left out."""
        name = "" if found.path == found.root else found.path.relative_to(found.root).as_posix()
        size = found.size
        digest = self._known.get((found.part, name, size, found.modified_ns)) if found.modified_ns else None
        if digest is None or not self._store.has(digest, size):
            try:
                with found.path.open("rb") as file:
                    digest, size, is_new = self._store.put(file, size)  # what it grows by is of the next backup
            except FileNotFoundError:
                return
            self.new_files += is_new
            self.new_bytes += size * is_new
        self.entries[found.part, name] = Entry(found.part, name, size, found.modified_ns, digest)


def _settle_tape(part: str, folder: Path, copying: _Copying) -> None:
    """Copy the manifest last, and again what was sealed or recompressed meanwhile, until all hashes agree."""
    for _ in range(SETTLE_MAX):
        with contextlib.suppress(FileNotFoundError):  # nothing was sealed yet
            copying.copy(_look_at(part, folder, folder / "manifest.jsonl"))
        wrong = [info for info in list_sealed(folder) if _differs(part, info, copying)]
        if not wrong:
            return
        for info in wrong:
            copying.copy(_look_at(part, folder, segment_path(folder, info.first)))
    names = ", ".join(segment_path(folder, info.first).name for info in wrong)
    raise Fatal(f"{folder}: {names}: not as the manifest says (`truetape tape verify`); no backup was made")


def _differs(part: str, info: SegmentInfo, copying: _Copying) -> bool:
    entry = copying.entries.get((part, f"segments/{info.first:020d}{SUFFIX}"))
    return entry is None or entry.sha256 != info.sha256


def _look_at(part: str, root: Path, path: Path) -> _Found:
    facts = path.stat()
    return _Found(part, root, path, facts.st_size, facts.st_mtime_ns)


def _read_newest(store: Store) -> Listing | None:
    names = store.list_names()
    return _read(store, names[-1]) if names else None


def _read(store: Store, name: str) -> Listing:
    try:
        listing = msgspec.json.decode(store.read_list(name), type=Listing)
    except msgspec.DecodeError as error:
        raise Fatal(f"{store.place}: the list of backup {name} does not read: {error}") from error
    if listing.format != FORMAT:
        raise Fatal(f"{store.place}: backup {name} has format {listing.format!r}; this version reads {FORMAT!r}")
    return listing
