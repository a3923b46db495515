"""Schema drift: fields that appear, vanish or change their type, found by looking at some frames whole."""

from typing import Any

import msgspec

from truetape.events.instrument import Stream
from truetape.events.rows import PlainRow

SAMPLE_EVERY = 251
"""One frame in so many is looked at whole; a prime, so that no rhythm of the venue hides a message type."""
LEARN = 40
"""Samples of one message type before anything counts as drift."""
ABSENT = 10
"""A field that was in every sample and is missing in so many in a row has vanished."""

PATHS_MAX = 1000
"""Paths of one message type that are watched; keys that are names or numbers would be new for ever."""
SHAPES_MAX = 1000
"""Message types that are watched."""
PATH_SIZE_MAX = 200
DEPTH_MAX = 16


class Shape(msgspec.Struct):
    """What samples of one message type looked like."""

    samples: int = 0
    seen: dict[str, int] = {}
    """path → number of samples that had it."""
    types: dict[str, str] = {}
    """path → types seen, joined by |."""
    absent: dict[str, int] = {}
    is_full: bool = False
    """More paths came than are watched: new ones are not looked at any more."""


class Drift:
    """Learns the shapes of messages and writes `drift` rows when they change."""

    def __init__(self, rows: list[PlainRow]) -> None:
        self._rows = rows
        self.shapes: dict[str, Shape] = {}

    def look(self, stream: Stream, feed: str, message: str, payload: bytes, at: tuple[int, int]) -> None:
        """Compare one frame with what its kind looked like before."""
        shape = self._find_shape(f"{stream.venue}|{feed}|{message}")
        try:
            now = _list_types(msgspec.json.decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if shape is None:
            return
        shape.samples += 1
        if now == shape.types and not shape.absent and len(shape.seen) == len(now):  # as ever
            for path in now:
                shape.seen[path] += 1
            return
        for path, kind in now.items():
            known = shape.types.get(path)
            if known is None:
                if len(shape.types) >= PATHS_MAX:
                    if not shape.is_full:
                        shape.is_full = True
                        self._append(stream, feed, message, "appeared", "$", "", f"more than {PATHS_MAX} paths", at)
                    continue
                shape.types[path] = kind
                if shape.samples > LEARN:
                    self._append(stream, feed, message, "appeared", path, "", kind, at)
            elif kind not in known.split("|"):
                shape.types[path] = f"{known}|{kind}"
                if shape.samples > LEARN:
                    self._append(stream, feed, message, "retyped", path, known, kind, at)
            shape.seen[path] = shape.seen.get(path, 0) + 1
            shape.absent.pop(path, None)
        self._find_vanished(shape, now, stream, feed, message, at)

    def _find_shape(self, name: str) -> Shape | None:
        shape = self.shapes.get(name)
        if shape is None and len(self.shapes) < SHAPES_MAX:
            shape = self.shapes[name] = Shape()
        return shape

    def _find_vanished(
        self, shape: Shape, now: dict[str, str], stream: Stream, feed: str, message: str, at: tuple[int, int]
    ) -> None:
        for path in [p for p in shape.seen if p not in now]:
            missed = shape.absent.get(path, 0) + 1
            if shape.seen[path] + missed < shape.samples or shape.seen[path] < LEARN:
                shape.absent.pop(path, None)
                del shape.seen[path]  # never was in every sample: optional
            elif missed >= ABSENT:
                self._append(stream, feed, message, "vanished", path, shape.types[path], "", at)
                del shape.seen[path], shape.absent[path], shape.types[path]
            else:
                shape.absent[path] = missed

    def _append(
        self, stream: Stream, feed: str, message: str, change: str, path: str, was: str, now: str, at: tuple[int, int]
    ) -> None:
        self._rows.append((stream.index, None, *at, feed, message, change, path, was, now))


def _list_types(tree: Any) -> dict[str, str]:
    """Return every path with its JSON type; of an array only the first element."""
    found: dict[str, str] = {}
    _walk(tree, "$", 0, found)
    return found


def _walk(tree: Any, path: str, depth: int, found: dict[str, str]) -> None:
    if len(path) > PATH_SIZE_MAX or depth > DEPTH_MAX:
        return
    name = found[path] = _NAMES[type(tree)]
    if name == "object":
        for key, value in tree.items():
            _walk(value, f"{path}.{key}", depth + 1, found)
    elif name == "array" and tree:
        _walk(tree[0], f"{path}[]", depth + 1, found)


_NAMES = {
    dict: "object", list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null",
}  # fmt: skip
