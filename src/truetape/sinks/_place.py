"""What sinks on the local disk share: options, names made from data, the checkpoint file."""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from truetape.errors import ConfigError, SinkError
from truetape.events.checkpoint import Checkpoint

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


def check_options(sink: str, location: str, options: Mapping[str, str], allowed: Collection[str] = ()) -> None:
    """Refuse a missing place and unknown options with one line."""
    if not location:
        raise ConfigError(f"sink {sink}: the place is missing; write {sink}:PLACE")
    for key in options:
        if key not in allowed:
            raise ConfigError(f"sink {sink}: unknown option {key!r}; allowed: {', '.join(allowed) or 'none'}")


def find_folder(sink: str, location: str) -> Path:
    """Return the folder of a sink, which need not be there yet; refuse a file."""
    folder = Path(location)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"sink {sink}: {folder} is a file; name a folder, {sink}:DIR")
    return folder


def read_flag(sink: str, options: Mapping[str, str], key: str) -> bool:
    """Read a true/false option; false when absent."""
    text = options.get(key, "false")
    if text not in ("true", "false"):
        raise ConfigError(f"sink {sink}: {key}={text!r}; allowed: true, false")
    return text == "true"


def make_filename(text: str) -> str:
    """Make a file name of a text that came with the data: itself when harmless, else marked by its hash."""
    if _SAFE.fullmatch(text) and not text.endswith("."):
        return text
    kept = re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:60].strip("_")
    return f"{kept or 'x'}~{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def read_checkpoint(path: Path, tape_id: str) -> Checkpoint | None:
    """Read a checkpoint file; None when there is none yet."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        checkpoint = msgspec.json.decode(content, type=Checkpoint)
    except msgspec.DecodeError as error:
        raise SinkError(f"checkpoint {path} does not read: {error}") from error
    if checkpoint.tape_id != tape_id:
        raise SinkError(f"checkpoint {path} is of tape {checkpoint.tape_id!r}, not {tape_id!r}")
    return checkpoint
