"""Where backups lie: objects named by the hash of their content, and lists of them; a folder or an S3 bucket."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from pyarrow import fs

from truetape import clock
from truetape.config import hide_userinfo
from truetape.errors import ConfigError, Fatal, Transient
from truetape.lake.disk import sync_folder

PIECE_BYTES = 4 * 1024 * 1024
PARTIAL = ".partial"
LEFT_NS = 86_400 * 10**9
"""What was half written so long ago was left by somebody who died."""


class Store:
    """Objects under one root; what is there once is never written again."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._files, self._root = _open_place(place)
        self._known: dict[str, int] | None = None

    def put(self, source: BinaryIO, size_max: int | None = None) -> tuple[str, int, bool]:
        """Store what a file holds, at most so many bytes; return its hash, its size, and whether it was new.

        Reads the file twice when it is new: first to name it, then to carry it.
        """
        digest, size = _hash(source, size_max)
        if self.has(digest, size):
            return digest, size, False
        source.seek(0)
        path = self._path(digest)
        with self._told(f"write {path}"):
            self._write(path, _read_pieces(source, size))
        self._list_known()[digest] = size
        return digest, size, True

    def fetch(self, digest: str, target: Path) -> None:
        """Write an object to a file that is not there yet; raises Fatal when its content is not what its name says."""
        target.parent.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        with (
            self._told(f"read {digest}"),
            self._files.open_input_stream(self._path(digest)) as source,
            target.open("xb") as file,
        ):
            while piece := source.read(PIECE_BYTES):
                found.update(piece)
                file.write(piece)
        if found.hexdigest() != digest:
            raise Fatal(f"{self.place}: object {digest} is damaged: its content has hash {found.hexdigest()}")

    def has(self, digest: str, size: int) -> bool:
        """Say whether an object is there in its whole size; one that a power cut left shorter is not."""
        return self._list_known().get(digest) == size

    def write_list(self, name: str, content: bytes) -> None:
        """Store a list of a backup's files; it is there entirely or not at all."""
        path = f"{self._root}/backups/{name}.json"
        with self._told(f"write {path}"):
            self._write(path, [content])

    def read_list(self, name: str) -> bytes:
        """Return the list of a backup."""
        with self._told(f"read backup {name}"), self._files.open_input_stream(f"{self._root}/backups/{name}.json") as f:
            return bytes(f.read())

    def list_names(self) -> list[str]:
        """List the backups, oldest first."""
        return sorted(
            info.path.rpartition("/")[2].removesuffix(".json")
            for info in self._list("backups")
            if info.path.endswith(".json")
        )

    def _write(self, path: str, pieces: Iterable[bytes]) -> None:
        """Write a file that is there entirely or not at all, also when somebody else writes the same, or dies."""
        folder = path.rpartition("/")[0]
        partial = f"{path}.{os.getpid()}{PARTIAL}"
        self._files.create_dir(folder, recursive=True)
        try:
            with self._files.open_output_stream(partial) as target:
                for piece in pieces:
                    target.write(piece)
        except BaseException:  # as on a full disk, of which it would keep the rest
            with contextlib.suppress(OSError):
                self._files.delete_file(partial)
            raise
        is_local = isinstance(self._files, fs.LocalFileSystem)
        if is_local:
            sync_folder(Path(partial))
        self._files.move(partial, path)
        if is_local:
            sync_folder(Path(folder))

    def _list_known(self) -> dict[str, int]:
        if self._known is None:
            found = {info.path.rpartition("/")[2]: info for info in self._list("objects")}
            self._known = {name: info.size for name, info in found.items() if not name.endswith(PARTIAL)}
            for name, info in found.items():
                if name.endswith(PARTIAL) and clock.wall_ns() - (info.mtime_ns or 0) > LEFT_NS:
                    with contextlib.suppress(OSError):  # somebody else takes it away, too
                        self._files.delete_file(info.path)
        return self._known

    def _list(self, folder: str) -> Iterator[fs.FileInfo]:
        selector = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True, recursive=True)
        with self._told(f"list {folder}"):
            found = self._files.get_file_info(selector)
        return (info for info in found if info.type == fs.FileType.File)

    def _path(self, digest: str) -> str:
        return f"{self._root}/objects/{digest[:2]}/{digest}"

    def _told(self, doing: str) -> "_Told":
        return _Told(f"{self.place}: cannot {doing}")


class _Told:
    """Turns a store's errors into one line."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise Fatal(f"{self._doing}: it is not there") from error
        if isinstance(error, (OSError, pa.ArrowException)):
            raise Transient(f"{self._doing}: {str(error).splitlines()[0]}") from error


def check_place(place: str) -> None:
    """Refuse what is neither a folder nor a bucket; opens nothing."""
    if "://" in place and not place.startswith("s3://"):
        raise ConfigError(f"backup.to: {hide_userinfo(place)!r} is neither a folder nor s3://bucket/prefix")
    if "@" in place.partition("://")[2].partition("/")[0]:
        raise ConfigError(
            f"backup.to: {hide_userinfo(place)!r} holds a key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )


def _open_place(place: str) -> tuple[fs.FileSystem, str]:
    """Open a folder, or `s3://bucket/prefix?endpoint_override=…`; keys of S3 come from its usual variables."""
    if "://" not in place:
        root = Path(place)
        if root.exists() and not root.is_dir():
            raise ConfigError(f"{place}: it is a file; backups go into a folder, or to s3://bucket/prefix")
        return fs.LocalFileSystem(), str(root.resolve())
    check_place(place)
    try:
        files, root_path = fs.FileSystem.from_uri(place)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"backup.to: {hide_userinfo(place)!r}: {str(error).splitlines()[0]}") from error
    if not root_path.strip("/"):
        raise ConfigError(f"backup.to: {hide_userinfo(place)!r} names no bucket (allowed: s3://bucket/prefix)")
    return files, root_path.rstrip("/")


def _hash(source: BinaryIO, size_max: int | None) -> tuple[str, int]:
    found, size = hashlib.sha256(), 0
    for piece in _read_pieces(source, size_max):
        found.update(piece)
        size += len(piece)
    return found.hexdigest(), size


def _read_pieces(source: BinaryIO, size_max: int | None) -> Iterator[bytes]:
    left = size_max
    while left is None or left > 0:
        piece = source.read(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
        if not piece:
            return
        if left is not None:
            left -= len(piece)
        yield piece
