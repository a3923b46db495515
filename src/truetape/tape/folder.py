"""The folder of a tape kept in files: names, identity, manifest, lock.

tape.json        {"format": "truetape/1", "id": "…"}
lock             held by the writer; names its process, empty after an orderly close
manifest.jsonl   one line per sealed segment; a later line for the same first offset supersedes
segments/        00000000000000000000.arrows, named by the first offset
"""

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from truetape import clock
from truetape.errors import TapeError, TapeLocked
from truetape.tape.contract import SegmentInfo

FORMAT = "truetape/1"
SUFFIX = ".arrows"
_NAME = re.compile(r"\d{20}\.arrows")
_OURS = (".torn", ".tmp")
"""Endings of files beside the segments that recovery and archiving leave."""


class TapeIdentity(msgspec.Struct, frozen=True):
    """What `tape.json` says."""

    format: str
    id: str


@contextmanager
def explain_os_error(path: Path, doing: str) -> Iterator[None]:
    """Turn an operating system's refusal into one `TapeError` line."""
    try:
        yield
    except OSError as error:
        raise TapeError(f"cannot {doing} {path}: {error.strerror or error}") from error


def segment_path(folder: Path, first: int) -> Path:
    """Return where the segment that begins at offset `first` lies."""
    return folder / "segments" / f"{first:020d}{SUFFIX}"


def list_firsts(folder: Path) -> list[int]:
    """Return the first offsets of the segments present, ascending; refuse foreign files."""
    firsts = []
    with explain_os_error(folder / "segments", "list"), os.scandir(folder / "segments") as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                firsts.append(int(entry.name[:20]))
            elif not entry.name.startswith(".") and not entry.name.endswith(_OURS):
                raise TapeError(f"{entry.path} does not belong to a tape: move it out of the segments folder")
    return sorted(firsts)


class Listing:
    """The first offsets of a tape's segments; the folder is listed anew when it changed.

    A tape of months has a hundred thousand segments, and a reader that waits asks a hundred times a second.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._firsts: list[int] = []
        self._changed_ns, self._seen_ns = -1, 0
        """When the folder changed last, by its own clock, and when this was found, by ours."""
        self._is_settled = False

    def read(self) -> list[int]:
        """Return the first offsets of the segments present, ascending; refuse foreign files."""
        with explain_os_error(self._folder / "segments", "list"):
            changed_ns = (self._folder / "segments").stat().st_mtime_ns
        now_ns = clock.monotonic_ns()
        if changed_ns != self._changed_ns:
            self._changed_ns, self._seen_ns, self._is_settled = changed_ns, now_ns, False
        if not self._is_settled:
            self._firsts = list_firsts(self._folder)
            self._is_settled = now_ns - self._seen_ns >= _TICK_NS
        return self._firsts


_TICK_NS = 3_000_000_000
"""Two changes within this time may leave the same time on a folder: file systems count in steps of up to two seconds."""


def sync_folder(folder: Path) -> None:
    """Make names created in a folder durable."""
    with explain_os_error(folder, "sync"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_identity(folder: Path) -> TapeIdentity:
    """Return the identity of the tape in `folder`, or say in one line why it is none."""
    path = folder / "tape.json"
    try:
        identity = msgspec.json.decode(path.read_bytes(), type=TapeIdentity)
    except FileNotFoundError:
        why = "it has no tape.json" if folder.is_dir() else "there is no such folder"
        raise TapeError(f"{folder} is not a tape: {why}") from None
    except NotADirectoryError:
        raise TapeError(f"{folder} is not a tape: it is a file") from None
    except msgspec.DecodeError as error:
        raise TapeError(f"{path} is not a tape's identity: {error}") from error
    except OSError as error:
        raise TapeError(f"cannot read {path}: {error.strerror}") from error
    if identity.format != FORMAT:
        raise TapeError(f"{folder} has format {identity.format!r}; this version reads {FORMAT!r}")
    return identity


def create_folder(folder: Path) -> None:
    """Create an empty tape in `folder` unless it holds one; refuse a folder with anything else in it."""
    with explain_os_error(folder, "create a tape in"):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "tape.json").exists():
            return
        # What an interrupted creation leaves is not foreign.
        foreign = sorted({entry.name for entry in folder.iterdir()} - {"segments", "lock", "tape.json.tmp"})
        if foreign:
            raise TapeError(f"{folder} is not a tape and not empty: it has {foreign[0]!r} and no tape.json")
        (folder / "segments").mkdir(exist_ok=True)
        identity = msgspec.json.encode(TapeIdentity(FORMAT, secrets.token_hex(16)))
        write_durably(folder / "tape.json", identity + b"\n")


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole file so that it is there entirely or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def read_manifest(folder: Path) -> dict[int, SegmentInfo]:
    """Return sealed segments by first offset; a torn last line is not there yet."""
    path = folder / "manifest.jsonl"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TapeError(f"cannot read {path}: {error.strerror}") from error
    infos = {}
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        try:
            info = msgspec.json.decode(line, type=SegmentInfo)
        except msgspec.DecodeError as error:
            raise TapeError(f"{path} line {number} is corrupt: {error}") from error
        infos[info.first] = info
    return infos


def append_manifest(folder: Path, info: SegmentInfo) -> None:
    """Add one line durably, over a torn last line if there is one."""
    path = folder / "manifest.jsonl"
    with explain_os_error(path, "write"), path.open("ab+") as file:
        whole = file.seek(0, os.SEEK_END)
        if whole and os.pread(file.fileno(), 1, whole - 1) != b"\n":
            whole = os.pread(file.fileno(), whole, 0).rfind(b"\n") + 1
            file.truncate(whole)
        try:
            file.write(msgspec.json.encode(info) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), whole)
            raise
    sync_folder(folder)


def boot_id() -> str:
    """Return a name of the machine's present run; empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class TapeLock:
    """The right to write a tape, held until released or the process ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        with explain_os_error(self.path, "open"):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = (self._read() or ["unknown"])[0]
            os.close(self._descriptor)
            message = f"tape {folder} is being written by process {holder}: one writer at a time"
            raise TapeLocked(message) from error
        before = self._read()
        self.unclean = bool(before)
        """The last writer did not close."""
        boot = boot_id()
        self.rebooted = self.unclean and (not boot or before[1:] != [boot])
        """And the machine may have lost what it had not yet put on disk."""
        self._write(f"{os.getpid()}\n{boot}\n")

    def _read(self) -> list[str]:
        return os.pread(self._descriptor, 200, 0).decode("utf-8", "replace").split()

    def _write(self, text: str) -> None:
        with explain_os_error(self.path, "write"):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)
            os.fsync(self._descriptor)

    def release(self, clean: bool) -> None:
        """Let go; `clean` says that everything is sealed."""
        try:
            if clean:
                self._write("")
        finally:
            os.close(self._descriptor)


def find_writer(folder: Path) -> int | None:
    """Return the process id of whoever writes the tape now; None when nobody does."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").split()
        return int(holder[0]) if holder and holder[0].isdigit() else -1
    finally:
        os.close(descriptor)
    return None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
