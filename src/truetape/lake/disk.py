"""What must be true of the disk before anybody is told that data is stored."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4


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
