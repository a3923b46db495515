"""Datasets as files with a manifest, and the proof that the lake gives the same rows again.

The manifest says what a file holds, from which rows and table versions, and hashes of both. The proof links the
tables at these versions into an empty lake, builds the models there, selects the same markets and compares.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from truetape.errors import BuildError, ConfigError, TruetapeError
from truetape.events.schema import KINDS
from truetape.flow.file import export
from truetape.lake import Lake, Rows
from truetape.lake.digest import ColumnHasher
from truetape.tape import hash_file
from truetape.transform import build, read_variables

DATASETS = ("canonical", "truth")
"""Gold tables of markets that can be exported with a manifest."""
_FORMAT = 1
_MARGIN = timedelta(minutes=5)
"""Inputs are hashed this far around the markets' windows; the versions cover what lies outside."""


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which markets are wanted; what is not given does not choose."""

    markets: tuple[str, ...] = ()
    asset: str | None = None
    start: datetime | None = None
    """Markets that open then or later."""
    end: datetime | None = None
    """Markets that open before."""


class InputTable(msgspec.Struct, frozen=True):
    """One table a dataset was made from, and its rows around the markets."""

    kind: str
    version: int
    rows: int
    rows_sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a dataset's file holds and what it was made from."""

    format: int
    dataset: str
    truetape: str
    """Version of truetape that wrote it."""
    file: str
    sha256: str
    """Of the file's bytes."""
    rows: int
    rows_sha256: str
    """Of the rows in their order, whatever file they are in."""
    columns: tuple[str, ...]
    selection: Selection
    markets: tuple[str, ...]
    since: datetime
    until: datetime
    """Inputs were hashed from then to then, by reception."""
    inputs: tuple[InputTable, ...]
    variables: dict[str, str | int | float] = {}
    """Of the build, where they were not the models' own."""


class Rebuild(msgspec.Struct, frozen=True):
    """What the proof found."""

    is_equal: bool
    file: str
    rows: int
    rows_sha256: str
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export_dataset(
    lake: Lake,
    dataset: str,
    selection: Selection,
    target: Path,
    *,
    variables: Mapping[str, str | int | float] | None = None,
) -> Manifest:
    """Write a dataset's rows to a file and its manifest beside it; ConfigError when nothing is selected.

    `variables` are those that the lake's tables were built with, for the proof needs the same; null: those of the
    last build.
    """
    rows = select_rows(lake, dataset, selection)
    export(rows, target)
    count, digest = hash_rows(rows)
    markets, since, until = _span_markets(lake, selection)
    manifest = Manifest(
        format=_FORMAT, dataset=dataset, truetape=version("truetape"), file=target.name, sha256=hash_file(target),
        rows=count, rows_sha256=digest, columns=tuple(rows.sql("select * from rows limit 0").arrow().schema.names),
        selection=selection, markets=markets, since=since, until=until, inputs=_hash_inputs(lake, since, until, {}),
        variables=dict(read_variables(lake.path, dataset) if variables is None else variables),
    )  # fmt: skip
    name_manifest(target).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    return manifest


def name_manifest(file: Path) -> Path:
    """Name the manifest of a dataset's file."""
    return file.with_name(f"{file.name}.manifest.json")


def read_manifest(file: Path) -> Manifest:
    """Read the manifest beside a dataset's file."""
    path = name_manifest(file)
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no {path.name} beside it; truetape export writes one") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}") from error
    if manifest.format != _FORMAT:
        raise ConfigError(f"{path}: format {manifest.format} (allowed: {_FORMAT})")
    return manifest


def verify_dataset(lake: Lake, file: Path) -> Rebuild:
    """Build a dataset again from the table versions its manifest names, and compare with the file."""
    manifest = read_manifest(file)
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    problems = []
    if hash_file(file) != manifest.sha256:
        problems.append(f"{file.name} is not the file that was written: its sha256 differs from the manifest's")
    notes = [] if version("truetape") == manifest.truetape else [f"written by truetape {manifest.truetape}"]
    with tempfile.TemporaryDirectory(prefix="truetape-verify-") as folder:
        root = Path(folder)
        problems += [text for table in manifest.inputs if (text := _link_table(lake.path, root, table)) is not None]
        if problems:
            return Rebuild(False, str(file), 0, "", tuple(problems), tuple(notes))
        again = Lake(root)
        versions = {table.kind: table.version for table in manifest.inputs}
        problems += _compare_inputs(manifest, _hash_inputs(again, manifest.since, manifest.until, versions))
        if problems:
            return Rebuild(False, str(file), 0, "", tuple(problems), tuple(notes))
        try:
            build(root, sorted({manifest.dataset, "truth"}), variables=manifest.variables)
            count, digest = hash_rows(select_rows(again, manifest.dataset, manifest.selection))
        except (BuildError, ConfigError) as error:
            return Rebuild(False, str(file), 0, "", (*problems, f"it does not build again: {error}"), tuple(notes))
    if digest != manifest.rows_sha256:
        told = f"{count:,} rows" if count != manifest.rows else "as many rows, with other values"
        problems.append(f"the lake gives {told}; the manifest says {manifest.rows:,} of {manifest.rows_sha256[:12]}")
    return Rebuild(not problems, str(file), count, digest, tuple(problems), tuple(notes))


def select_rows(lake: Lake, dataset: str, selection: Selection) -> Rows:
    """Select a dataset's rows, in the one order they are always in."""
    if dataset not in DATASETS:
        raise ConfigError(f"dataset {dataset!r}: unknown (allowed: {', '.join(DATASETS)})")
    missing = [name for name in (dataset, "truth") if not (lake.path / name / "_delta_log").is_dir()]
    if missing:
        raise ConfigError(f"lake {lake.path}: no table {missing[0]} yet; truetape build makes it")
    order = "t" if dataset == "canonical" else "opens_at"
    query = f"""
        select * exclude (date) from {dataset} where (venue, market_id) in (
            select (venue, market_id) from truth
            where (len($markets::varchar[]) = 0 or market_id in (select unnest($markets::varchar[])))
                and ($asset::varchar is null or lower(asset) = lower($asset))
                and ($start::timestamptz is null or opens_at >= $start)
                and ($end::timestamptz is null or opens_at < $end)
        ) order by venue, asset, market_id, {order}"""  # noqa: S608  # names of ours
    return lake.sql(query, _make_values(selection))


def _make_values(selection: Selection) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.structs.asdict(selection)
    return values | {"markets": list(selection.markets)}


def _span_markets(lake: Lake, selection: Selection) -> tuple[tuple[str, ...], datetime, datetime]:
    chosen = select_rows(lake, "truth", selection)
    ((names, first, last),) = (
        chosen.sql("select list(market_id order by opens_at, market_id), min(opens_at), max(ends_at) from rows")
        .duckdb()
        .fetchall()
    )
    return tuple(names), first.astimezone(UTC) - _MARGIN, last.astimezone(UTC) + _MARGIN


def _hash_inputs(lake: Lake, since: datetime, until: datetime, versions: dict[str, int]) -> tuple[InputTable, ...]:
    """Hash the rows around the markets of every kind there is, as it is now or at the given versions."""
    tables = []
    for kind, now in sorted(lake.versions().items()):
        rows = lake.rows(kind, start=since, end=until, version=versions.get(kind, now))
        tables.append(InputTable(kind, versions.get(kind, now), *hash_rows(rows)))
    return tuple(tables)


def _compare_inputs(manifest: Manifest, found: tuple[InputTable, ...]) -> list[str]:
    known = {table.kind: table for table in found}
    return [
        f"rows of {table.kind} around the markets are not those the manifest names"
        for table in manifest.inputs
        if table != known.get(table.kind)
    ]


def _link_table(lake: Path, root: Path, table: InputTable) -> str | None:
    """Make a table of the other lake as it was at a version: its log up to there, links to its data. Say what fails."""
    source, target = lake / table.kind, root / table.kind
    log = source / "_delta_log"
    if table.kind not in KINDS or not log.is_dir():
        return f"there is no table {table.kind} any more"
    (target / "_delta_log").mkdir(parents=True)
    for entry in log.iterdir():
        number = entry.name.split(".")[0]
        if number.isdecimal() and int(number) <= table.version:
            shutil.copyfile(entry, target / "_delta_log" / entry.name)
    for entry in source.iterdir():
        if entry.name != "_delta_log":
            (target / entry.name).symlink_to(entry.resolve())
    try:
        lake_rows = Lake(root).rows(table.kind, version=table.version)
        lake_rows.sql("select count(*) from rows").arrow()
    except TruetapeError as error:
        return f"{table.kind} cannot be read at version {table.version} any more: {error}"
    return None


def hash_rows(rows: Rows) -> tuple[int, str]:
    """Count rows and hash them in their order: names, types, values and nulls."""
    hashers: dict[str, ColumnHasher] = {}
    count = 0
    for batch in rows.batches():
        count += batch.num_rows
        for name, values in _normalize(batch):
            hashers.setdefault(name, ColumnHasher()).update(values)
    total = hashlib.sha256(f"{count}\0".encode())
    for name in sorted(hashers):
        total.update(f"{name}\0{hashers[name].hexdigest()}\0".encode())
    return count, total.hexdigest()


def _normalize(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """Give each column in one of the types that hashes are made of: texts, booleans, and 64 bits."""
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        kind = values.type
        if pa.types.is_integer(kind):
            yield name, values.cast(pa.int64())
        elif pa.types.is_decimal(kind) or pa.types.is_date(kind) or pa.types.is_large_string(kind):
            yield name, values.cast(pa.string())
        elif pa.types.is_floating(kind):
            yield name, values.cast(pa.float64())
        else:
            yield name, values
