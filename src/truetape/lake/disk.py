"""Where a lake lies, and what must be true of the disk before anybody is told that data is stored."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from truetape.errors import ConfigError


def find_folder(lake: str | Path) -> Path:
    """Return the folder of a lake; ConfigError when there is none, or when any of its tables may not be read.

    A table that may not be read would look like one that is not there, and a folder that is no lake like one without
    gaps. An empty folder may become a lake.
    """
    path = Path(lake)
    if not path.is_dir():
        why = "it is a file" if path.exists() else "there is no such folder"
        raise ConfigError(f"no lake at {path}: {why} (`truetape record` or `truetape deliver` makes one)")
    _check_readable(path)
    held = [*path.iterdir()]
    for table in filter(Path.is_dir, held):
        _check_readable(table)
        _check_readable(table / "_delta_log")
    if held and not any(_is_of_lake(one) for one in held):
        near = [one.name for one in held if one.is_dir() and any(_is_of_lake(part) for part in one.iterdir())]
        hint = f"; did you mean {path / min(near)}?" if near else ""
        raise ConfigError(f"no lake at {path}: that folder holds other things{hint}")
    return path


def _is_of_lake(path: Path) -> bool:
    """Tell a table, and what a lake notes of views, builds and pins, from what is no part of a lake."""
    return (path / "_delta_log").is_dir() or (path.name.startswith("_") and path.is_dir())


def _check_readable(folder: Path) -> None:
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(f"{folder}: may not be read (permission denied)")


def open_delta(table: Path, version: int | None = None) -> DeltaTable:
    """Open a table for reading; TableNotFoundError when there is none, ConfigError in one line when it does not open."""
    try:
        return DeltaTable(table, version=version)
    except TableNotFoundError:
        raise
    except (DeltaError, OSError) as error:
        at = "" if version is None else f" at version {version}"
        raise ConfigError(f"lake table {table}{at} does not open: {str(error).splitlines()[0]}") from error


def sync_folder(path: Path) -> None:
    """Make names created in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, content: bytes, step: Callable[[str], None]) -> None:
    """Write a file durably so that a reader finds the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two writers must not take each other's draft away.
    draft = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    with draft.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    step("draft")
    draft.replace(path)
    sync_folder(path.parent)
