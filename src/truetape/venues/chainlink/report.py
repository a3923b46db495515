"""Reads Chainlink's signed reports: ABI-encoded words of 32 bytes, prices in units of 10^-18.

    fullReport = (bytes32[3] context, bytes blob, bytes32[] rs, bytes32[] ss, bytes32 vs)
    blob of version 3 = feedId, validFrom, observations, nativeFee, linkFee, expiresAt, benchmarkPrice, bid, ask

Signatures are not checked: that needs the keys of the network of the day, which are on a chain.
"""

from binascii import Error, unhexlify
from typing import NamedTuple

from truetape.errors import DecodeError

VERSION = 3
"""The report version of crypto prices; the first two bytes of a feed id name it."""
SCALE = 10**18

_WORD = 32
_HEAD_WORDS = 7
_BLOB_WORDS = 9
_UINT32_MAX = 2**32 - 1
_INT192_MAX = 2**191 - 1
_PATH = "fullReport"


class Report(NamedTuple):
    """A report of version 3; prices and fees are exact integers, times are seconds."""

    feed_id: str
    valid_from_s: int
    observed_s: int
    native_fee: int
    link_fee: int
    expires_s: int
    price: int
    bid: int
    ask: int


def decode_report(text: str) -> Report:
    """Decode a full report from its hexadecimal text; DecodeError for any other version or shape."""
    return _decode_blob(_cut_blob(_read_bytes(text)))


def make_float(value: int) -> float:
    """Return the float nearest to an integer of 10^-18 units."""
    return value / SCALE  # one division of integers rounds once


def write_exact(value: int) -> str:
    """Write an integer of 10^-18 units as decimal text, all digits, without trailing zeros."""
    whole, rest = divmod(abs(value), SCALE)
    digits = f"{rest:018d}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def _read_bytes(text: str) -> bytes:
    if not text.startswith("0x"):
        raise DecodeError("report does not begin with 0x", _PATH)
    try:
        data = unhexlify(text[2:])
    except (Error, ValueError) as error:
        raise DecodeError("report is not hexadecimal", _PATH) from error
    if len(data) < _HEAD_WORDS * _WORD or len(data) % _WORD:
        raise DecodeError(f"report of {len(data)} bytes is not made of at least {_HEAD_WORDS} words", _PATH)
    return data


def _cut_blob(data: bytes) -> bytes:
    """Return the blob, once blob and both arrays of signatures are known to lie within the report."""
    blob, length = _find_dynamic(data, 3, "blob", 1)
    counts = {_find_dynamic(data, head, name, _WORD)[1] for head, name in ((4, "rs"), (5, "ss"))}
    if len(counts) != 1:
        raise DecodeError("report has signatures in halves", _PATH)
    return data[blob : blob + length]


def _find_dynamic(data: bytes, head: int, name: str, size: int) -> tuple[int, int]:
    """Return where a value of changing length begins, and its length in units of `size` bytes."""
    start = _read_word(data, head)
    if start % _WORD or start + _WORD > len(data):
        raise DecodeError(f"{name} of the report begins outside of it", _PATH)
    length = int.from_bytes(data[start : start + _WORD], "big")
    if start + _WORD + length * size > len(data):
        raise DecodeError(f"{name} of the report ends outside of it", _PATH)
    return start + _WORD, length


def _decode_blob(blob: bytes) -> Report:
    version = int.from_bytes(blob[:2], "big")
    if version != VERSION:
        raise DecodeError(f"report version {version} has no rule (allowed: {VERSION})", _PATH)
    if len(blob) != _BLOB_WORDS * _WORD:
        raise DecodeError(f"blob of version 3 has {len(blob)} bytes instead of {_BLOB_WORDS * _WORD}", _PATH)
    valid_from, observed, expires = (_read_unsigned(blob, at, _UINT32_MAX) for at in (1, 2, 5))
    native_fee, link_fee = (_read_unsigned(blob, at, 2**192 - 1) for at in (3, 4))
    price, bid, ask = (_read_signed(blob, at) for at in (6, 7, 8))
    feed_id = f"0x{blob[:_WORD].hex()}"
    return Report(feed_id, valid_from, observed, native_fee, link_fee, expires, price, bid, ask)


def _read_word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at * _WORD : (at + 1) * _WORD], "big")


def _read_unsigned(blob: bytes, at: int, most: int) -> int:
    value = _read_word(blob, at)
    if value > most:
        raise DecodeError(f"word {at} of the blob is larger than its type", _PATH)
    return value


def _read_signed(blob: bytes, at: int) -> int:
    """Read an int192: negative numbers fill the whole word with ones."""
    value = int.from_bytes(blob[at * _WORD : (at + 1) * _WORD], "big", signed=True)
    if not -_INT192_MAX - 1 <= value <= _INT192_MAX:
        raise DecodeError(f"word {at} of the blob is larger than its type", _PATH)
    return value
