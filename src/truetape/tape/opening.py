"""Choose the kind of tape by its URL."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from truetape.errors import TapeError
from truetape.tape.contract import TapeReader, TapeSettings, TapeWriter
from truetape.tape.reader import FileTapeReader
from truetape.tape.writer import FileTapeWriter


def open_writer(tape: str | Path, settings: TapeSettings | None = None) -> TapeWriter:
    """Open a tape for writing: a path or `file://` URL is a folder, made when absent."""
    return FileTapeWriter(find_folder(tape), settings)


def open_reader(tape: str | Path) -> TapeReader:
    """Open a tape for reading: a path or `file://` URL is a folder that must hold one."""
    return FileTapeReader(find_folder(tape))


def has_tape(tape: str | Path) -> bool:
    """Tell whether there is a tape to read."""
    return (find_folder(tape) / "tape.json").exists()


def find_folder(tape: str | Path) -> Path:
    """Return the folder that a path or `file://` URL names; refuse other schemes."""
    text = str(tape)
    if "://" not in text:
        return Path(tape)
    url = urlsplit(text)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return Path(unquote(url.path))
    raise TapeError(f"tape {text!r}: {url.scheme}:// is not available in this version; give a path or file:// URL")
