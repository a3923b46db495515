"""Names for what a lake held at one moment: pinned versions stay readable, whatever is compacted or thrown away."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from truetape import clock
from truetape.errors import ConfigError
from truetape.events.schema import KINDS
from truetape.lake.digest import lake_hash
from truetape.lake.disk import find_folder, open_delta, replace_file
from truetape.lake.rows import connect_duckdb, translate_errors
from truetape.lake.snapshot import Filter, list_models, take_snapshot

Span = tuple[datetime | None, datetime | None]
"""From when to when; null: no such bound."""
_FOLDER = "_pins"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


class PinnedTable(msgspec.Struct, frozen=True):
    """One table as it was."""

    version: int
    rows: int


class Pin(msgspec.Struct, frozen=True):
    """A lake as it was when somebody gave it a name."""

    name: str
    made_at: datetime
    sha256: str
    """Hash of the event tables' rows, as `lake_hash` makes it."""
    tables: dict[str, PinnedTable]
    """Event tables and built tables by name."""
    note: str = ""
    tapes: dict[str, int] | None = None
    """Tape's id → offset below which its frames are in it; null in pins that were made before this was kept."""
    since: datetime | None = None
    until: datetime | None = None
    """What was received between these is to be built again from the tape; null: without such a bound."""
    offsets: tuple[int, int] | None = None
    """Lowest and highest offset of these rows, whatever tape they are of; null: not known, as in older pins, or none."""

    def needs(self, tape_id: str, first: int, end: int, received_ns: int) -> bool:
        """Tell whether rows that it is to keep came from a segment: its first offset and its end, when its first came.

        Pins that do not say which tapes they were built from need what came before them.
        """
        if self.tapes is None:
            return received_ns < self.made_at.timestamp() * 1e9
        if first >= self.tapes.get(tape_id, 0):
            return False
        if self.offsets is None:
            return not (self.since or self.until)
        return self.offsets[0] < end and first <= self.offsets[1]


Read = TypeVar("Read")


class _Stand(msgspec.Struct, frozen=True):
    """What a view's checkpoint says of how far it is."""

    tape_id: str
    offset: int


class Difference(msgspec.Struct, frozen=True):
    """One table that is not the same in two pins."""

    table: str
    version_before: int | None
    version_after: int | None
    rows_before: int
    rows_after: int


def pin_lake(path: str | Path, name: str, note: str = "", span: Span = (None, None)) -> Pin:
    """Give what a lake holds now a name; ConfigError when the name is taken or is none.

    Of a `span` of reception alone must the rows be built again from the tape; all of them stay readable.
    """
    if span[0] and span[1] and span[0] >= span[1]:
        raise ConfigError(f"pin {name!r}: --from {span[0].isoformat()} is not before --to {span[1].isoformat()}")
    root = Path(path)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"pin {name!r}: a name has letters, digits, `_`, `.` and `-`, at most 80, none of the last three first"
        )
    if _find_file(root, name).exists():
        raise ConfigError(f"pin {name!r} is there already; pins do not change: take another name")
    pin = describe_lake(root, name, note, span)
    (root / _FOLDER).mkdir(exist_ok=True)
    replace_file(_find_file(root, name), msgspec.json.encode(pin), lambda step: None)
    return pin


def describe_lake(path: str | Path, name: str = "now", note: str = "", span: Span = (None, None)) -> Pin:
    """Say what a lake holds now, as a pin would."""
    root = find_folder(path)
    names = [kind for kind in KINDS if DeltaTable.is_deltatable(str(root / kind))]
    tables = {table: _describe(root / table) for table in [*names, *list_models(root)]}
    made_at = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    versions = {kind: tables[kind].version for kind in names}
    tapes = _find_tapes(root, names)  # read after the tables: it is never less than what they hold
    offsets = _find_offsets(root, versions, span)
    return Pin(name, made_at, lake_hash(root, versions=versions), tables, note, tapes, *span, offsets)


def find_holder(path: str | Path, tape_id: str, first: int, end: int, received_ns: int) -> str | None:
    """Return the name of a pin that needs a tape's segment; null when none does. See `Pin.needs`."""
    pins = list_pins(path) if Path(path).is_dir() else ()
    return next((pin.name for pin in pins if pin.needs(tape_id, first, end, received_ns)), None)


def _find_offsets(root: Path, versions: dict[str, int], span: Span) -> tuple[int, int] | None:
    """Return the lowest and the highest offset of a lake's rows that were received in a span."""
    wanted, found = Filter(start=span[0], end=span[1]), []
    connection = connect_duckdb()
    with translate_errors():
        for kind, version in versions.items():
            rows = take_snapshot(root, KINDS[kind], version).build_query(wanted)
            told = connection.execute(f"SELECT min(tape_offset), max(tape_offset) FROM ({rows})").fetchone()  # noqa: S608
            found += [offset for offset in told or () if offset is not None]
    return (min(found), max(found)) if found else None


def _find_tapes(root: Path, names: list[str]) -> dict[str, int]:
    """Return how far each tape is in a lake: tables may be a commit ahead of their view's checkpoint."""
    stands = [_read(file, _Stand, "the checkpoint of a view") for file in (root / "_views").glob("*.json")]
    tables = [open_delta(root / name) for name in names]
    return {
        stand.tape_id: max(stand.offset, *(table.transaction_version(stand.tape_id) or 0 for table in tables), 0)
        for stand in stands
    }


def list_pins(path: str | Path) -> list[Pin]:
    """List the pins of a lake, oldest first."""
    files = sorted((find_folder(path) / _FOLDER).glob("*.json"))
    return sorted((_read(file, Pin, "a pin") for file in files), key=lambda pin: pin.made_at)


def read_pin(path: str | Path, name: str) -> Pin:
    """Return a pin; ConfigError names those there are when there is none of that name."""
    file = _find_file(find_folder(path), name)
    if not _NAME.fullmatch(name) or not file.exists():
        known = ", ".join(pin.name for pin in list_pins(path)) or "none"
        raise ConfigError(f"pin {name!r}: there is no such pin (there are: {known})")
    return _read(file, Pin, "a pin")


def drop_pin(path: str | Path, name: str) -> None:
    """Take a name away; what it held may go with the next vacuum."""
    read_pin(path, name)
    _find_file(Path(path), name).unlink()


def compare_pins(before: Pin, after: Pin) -> list[Difference]:
    """List the tables that differ."""
    found = []
    for table in sorted(before.tables.keys() | after.tables.keys()):
        old, new = before.tables.get(table), after.tables.get(table)
        if old != new:
            found.append(
                Difference(
                    table, old.version if old else None, new.version if new else None,
                    old.rows if old else 0, new.rows if new else 0,
                )
            )  # fmt: skip
    return found


def list_kept(path: str | Path, table: str) -> list[int]:
    """Return the versions of a table that pins hold."""
    return sorted({pin.tables[table].version for pin in list_pins(path) if table in pin.tables})


def _describe(folder: Path) -> PinnedTable:
    table = open_delta(folder)
    rows = pa.table(table.get_add_actions())["num_records"].to_pylist()
    return PinnedTable(table.version(), sum(count or 0 for count in rows))


def _find_file(root: Path, name: str) -> Path:
    return root / _FOLDER / f"{name}.json"


def _read(file: Path, kind: type[Read], what: str) -> Read:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{file}: not {what}: {error}") from error
