"""Levels of order books from the venue's text to flat numbers, those of many frames at once.

Making a Python object of each number costs most of decoding a book: here nothing runs per level.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from truetape.errors import DecodeError
from truetape.events.run import Floats, Integers

_DIGITS = b"0123456789."
_MARKS = b'[]",\n'
_QUOTE, _DOT, _ZERO = b'".0'
_LARGEST = 1e300


def read_levels(sides: Sequence[Any], fields: int = 2) -> tuple[Integers, Floats]:
    """Return the levels of each side, and price and size of each level in turn, of texts `[["1.5","2"],…]`.

    Levels may have more fields than these two; all must be numbers.

    DecodeError when a text is not spelled just so, or has a number that is no `Size`: read it by itself then.
    """
    # hot: bench/decode.py
    text = b"\n".join(sides)
    if not sides:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    counts = _count_levels(text.translate(None, _DIGITS), len(sides), fields)
    quotes = np.flatnonzero(np.frombuffer(text, np.uint8) == _QUOTE)
    sizes = quotes[1::2] - quotes[0::2] - 1
    edges = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=edges[1:])
    numbers = text.translate(None, _MARKS)
    if edges[-1] != len(numbers):
        raise DecodeError("levels have digits outside of texts")
    if not len(sizes):
        return counts, np.empty(0, np.float64)
    _check_spelling(numbers, edges, sizes)
    array = pa.StringArray.from_buffers(len(sizes), pa.py_buffer(edges), pa.py_buffer(numbers))
    try:
        flat = array.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise DecodeError(f"a level is not a number: {error}") from error
    if not flat.max() <= _LARGEST:
        raise DecodeError("a level is not finite")
    if fields > 2:
        flat = flat.reshape(-1, fields)[:, :2].reshape(-1)
    return counts, flat


def list_texts(sides: Sequence[Any], fields: int = 2) -> list[tuple[str, str]]:
    """Return price and size of each level as they are spelled, of texts that `read_levels` took."""
    texts = b"".join(sides).decode().split('"')[1::2]
    return list(zip(texts[0::fields], texts[1::fields], strict=True))


def _count_levels(skeleton: bytes, sides: int, fields: int) -> Integers:
    """Count the levels of each side by what is left of its text without digits, which leaves no choice."""
    ends = np.flatnonzero(np.frombuffer(skeleton + b"\n", np.uint8) == ord("\n"))
    if len(ends) != sides:
        raise DecodeError("levels have line breaks")
    # `[]` and its break are 3; a level of two fields adds 8, but the first one 7.
    counts: Integers = np.diff(ends, prepend=-1) // (3 * fields + 2)
    listed = counts.tolist()
    spelled = {count: _spell_skeleton(count, fields) for count in set(listed)}
    if skeleton != b"\n".join(map(spelled.__getitem__, listed)):
        raise DecodeError("levels are not pairs of texts of digits")
    return counts


@lru_cache(maxsize=1024)
def _spell_skeleton(count: int, fields: int) -> bytes:
    """Return what the text of a side of so many levels is without its digits."""
    level = b"[" + b",".join([b'""'] * fields) + b"],"
    return b"[" + (level * count)[:-1] + b"]"


def _check_spelling(numbers: bytes, edges: npt.NDArray[np.int32], sizes: Integers) -> None:
    """Refuse what JSON does not take for a number: an empty text, `01`, `.5`, `5.`"""
    digits = np.frombuffer(numbers, np.uint8)
    if not sizes.min():
        raise DecodeError("a level has an empty text")
    first, last = digits.take(edges[:-1]), digits.take(edges[1:] - 1)
    zeros = np.flatnonzero((first == _ZERO) & (sizes > 1))
    if not first.min() >= _ZERO or last.min() == _DOT or (digits.take(edges[zeros] + 1) != _DOT).any():
        raise DecodeError("a level is not spelled as a number")
