"""Columns of many frames at once, from JSON of a known shape: a msgspec struct says what to look for.

The compiled scanner takes frames that are spelled as usual. All others, and all frames where there is none, go through
msgspec: the same columns, several times slower.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import inspect

from truetape import compiled
from truetape.errors import DecodeError
from truetape.events.levels import list_texts, read_levels
from truetape.events.run import UNKNOWN, Floats, Integers, Words, array_known, join_words

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def note_side(number: int, fields: int = 2, *, is_spelled: bool = False) -> msgspec.Meta:
    """Note that a field of type Raw has the levels `[["1.5","2"],…]` of bids (0) or asks (1).

    Levels may have more fields than price and size; their spelling is kept where a checksum is made of it.
    """
    return msgspec.Meta(extra={"side": number, "fields": fields, "is_spelled": is_spelled})


def note_changes(bid: str, ask: str) -> msgspec.Meta:
    """Note that a field has levels `["buy",1.5,2.0]` of both sides, told apart by a word."""
    return msgspec.Meta(extra={"changes": (bid, ask)})


def note_time(read: Callable[[str], int | None]) -> msgspec.Meta:
    """Note that a text is an ISO time in UTC, given what returns its microseconds."""
    return msgspec.Meta(extra={"time": read})


class Scanned(NamedTuple):
    """What frames hold."""

    columns: dict[str, Any]
    """Path of a field (`data.t`) → its values, one a frame: numbers, flags, words by their place in the alphabet of the
    `Literal`, times in microseconds. There is no null: such numbers are UNKNOWN or nan."""
    side_counts: Integers
    """Levels of each frame's bids and asks, in turn."""
    flat: Floats
    """Price and size of each level, in turn."""
    words: Words
    """Each level as it is spelled, where that was asked for."""


class Scanner:
    """Reads frames that are each one message of a struct's shape."""

    def __init__(self, struct: Any) -> None:
        self._decode = msgspec.json.Decoder(list[struct], strict=False).decode
        info = inspect.type_info(struct)
        assert isinstance(info, inspect.StructType)
        self._reader = _make_object(info, "")
        self._shape = compiled.core.compile_shape(self._reader.spec) if compiled.core else None
        self._leaves = list(self._reader.list_leaves())

    def scan(self, payloads: Sequence[bytes]) -> Scanned:
        """Return the columns; raises msgspec.DecodeError or DecodeError when a frame is of another shape."""
        # hot: bench/decode.py
        if compiled.core and self._shape:
            found = compiled.core.scan(self._shape, payloads if isinstance(payloads, list) else [*payloads])
            if found is not None:
                columns, counts, flat, words, edges = found
                named = zip(self._leaves, columns, strict=True)
                return Scanned(
                    {leaf.path: np.frombuffer(column, leaf.dtype) for leaf, column in named},
                    np.frombuffer(counts, np.int64),
                    np.frombuffer(flat, np.float64),
                    Words(words, np.frombuffer(edges, np.int64)),
                )
        return self.scan_slowly(payloads)

    def scan_slowly(self, payloads: Sequence[bytes]) -> Scanned:
        """Do the same as `scan`, by msgspec."""
        messages = self._decode(b"[%b]" % b",".join(payloads))
        if len(messages) != len(payloads):
            raise DecodeError("frames are not one message each")
        heap = _Heap({}, [[], []], {})
        self._reader.read(messages, heap)
        return heap.finish()


class _Heap(NamedTuple):
    """What has been read."""

    columns: dict[str, Any]
    sides: list[list[Any]]
    """Bids and asks of each frame, as they are in JSON."""
    notes: dict[str, Any]
    """How these are written."""

    def finish(self) -> Scanned:
        bids, asks = self.sides
        nothing = Words(b"", np.empty(0, np.int64))
        if not bids:
            return Scanned(self.columns, np.empty(0, np.int64), np.empty(0, np.float64), nothing)
        if not asks:
            return Scanned(self.columns, *_part_changes(bids, self.notes["changes"]), nothing)
        sides = [side for both in zip(bids, asks, strict=True) for side in both]
        side_counts, flat = read_levels(sides, self.notes["fields"])
        words = nothing
        if self.notes["is_spelled"]:
            words = join_words([f"{price}:{size}" for price, size in list_texts(sides, self.notes["fields"])])
        return Scanned(self.columns, side_counts, flat, words)


def _part_changes(frames: list[list[tuple[str, float, float]]], names: tuple[str, str]) -> tuple[Integers, Floats]:
    flat: list[float] = []
    side_counts: list[int] = []
    for changes in frames:
        for name in names:
            own = [number for side, *level in changes if side == name for number in level]
            flat += own
            side_counts.append(len(own) // 2)
    return np.array(side_counts, np.int64), np.array(flat, np.float64)


# -- readers: a part of a message each, in both ways ------------------------------------------------------------


class _Object(NamedTuple):
    names: tuple[str, ...]
    keys: tuple[bytes, ...]
    readers: tuple[Any, ...]

    @property
    def spec(self) -> tuple[Any, ...]:
        return "object", tuple((key, reader.spec) for key, reader in zip(self.keys, self.readers, strict=True))

    def list_leaves(self) -> list["_Leaf"]:
        return [leaf for reader in self.readers for leaf in reader.list_leaves()]

    def read(self, values: list[Any], heap: _Heap) -> None:
        for name, reader in zip(self.names, self.readers, strict=True):
            reader.read(list(map(attrgetter(name), values)), heap)


class _Only(NamedTuple):
    """A list of one."""

    reader: Any

    @property
    def spec(self) -> tuple[Any, ...]:
        return "only", self.reader.spec

    def list_leaves(self) -> list["_Leaf"]:
        leaves: list[_Leaf] = self.reader.list_leaves()
        return leaves

    def read(self, values: list[Any], heap: _Heap) -> None:
        self.reader.read(list(map(itemgetter(0), values)), heap)


class _Leaf(NamedTuple):
    """A column."""

    path: str
    dtype: Any
    spec: tuple[Any, ...]
    pack: Callable[[list[Any]], Any]

    def list_leaves(self) -> list["_Leaf"]:
        return [self]

    def read(self, values: list[Any], heap: _Heap) -> None:
        heap.columns[self.path] = self.pack(values)


class _Levels(NamedTuple):
    """Levels of one side, or changes of both."""

    number: int
    notes: dict[str, Any]

    @property
    def spec(self) -> tuple[Any, ...]:
        if "changes" in self.notes:
            return "changes", tuple(name.encode() for name in self.notes["changes"])
        return "side", self.number, self.notes["fields"], self.notes["is_spelled"]

    def list_leaves(self) -> list[_Leaf]:
        return []

    def read(self, values: list[Any], heap: _Heap) -> None:
        heap.sides[self.number][:] = values
        heap.notes.update(self.notes)


def _make_object(info: inspect.StructType, path: str) -> _Object:
    fields = info.fields
    return _Object(
        tuple(field.name for field in fields),
        tuple(field.encode_name.encode() for field in fields),
        tuple(_make_reader(field, f"{path}{field.name}") for field in fields),
    )


def _make_reader(field: inspect.Field, path: str) -> Any:
    kind: Any = field.type
    notes: dict[str, Any] = {}
    if isinstance(kind, inspect.Metadata):
        kind, notes = kind.type, kind.extra or {}
    match kind:
        case inspect.StructType():
            return _make_object(kind, f"{path}.")
        case inspect.TupleType(item_types=(inspect.StructType() as only,)):
            return _Only(_make_object(only, f"{path}."))
        case inspect.StrType() if "time" in notes and field.required:
            return _make_time(path, notes["time"])
    if "side" in notes or "changes" in notes:
        return _Levels(notes.get("side", 0), notes)
    return _make_leaf(kind, path, field)


def _make_time(path: str, read: Callable[[str], int | None]) -> _Leaf:
    def pack(texts: list[str]) -> Integers:
        return array_known([read(text) for text in texts])

    return _Leaf(path, np.int64, ("time",), pack)


def _make_leaf(kind: Any, path: str, field: inspect.Field) -> _Leaf:
    is_required, is_nullable, default = field.required, False, field.default
    if isinstance(kind, inspect.UnionType) and kind.includes_none and len(kind.types) == 2:
        is_nullable = True
        kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    is_known = not (is_required or default is None)
    match kind:
        case inspect.IntType(gt=None, lt=None, multiple_of=None):
            bounds = _list_bounds(kind, _LOWEST, _HIGHEST)
            whole = "whole", is_required, is_nullable, default if is_known else UNKNOWN, *bounds
            return _Leaf(path, np.int64, whole, array_known)
        case inspect.FloatType(gt=None, lt=None, multiple_of=None):
            bounds = _list_bounds(kind, -np.inf, np.inf)
            real = "real", is_required, is_nullable, default if is_known else np.nan, *bounds
            return _Leaf(path, np.float64, real, _pack_reals)
        case inspect.BoolType() if not is_nullable:
            return _Leaf(path, bool, ("flag", is_required, int(default is True)), _pack_flags)
        case inspect.LiteralType() if not is_nullable:
            words = [str(value) for value in kind.values]
            place = words.index(str(default)) if is_known else 0
            spec = "word", is_required, place, tuple(word.encode() for word in words)
            return _Leaf(path, np.int8, spec, lambda values: np.array([*map(words.index, values)], np.int8))
    raise TypeError(f"{path} is of a type that is not scanned: {kind}")


def _list_bounds(kind: Any, low: float, high: float) -> tuple[float, float]:
    return (low if kind.ge is None else kind.ge), (high if kind.le is None else kind.le)


def _pack_reals(values: list[Any]) -> Floats:
    if None in values:
        values = [np.nan if value is None else value for value in values]
    return np.fromiter(values, np.float64, len(values))


def _pack_flags(values: list[bool]) -> Any:
    return np.frombuffer(bytearray(values), bool)
