"""Writes signed reports as Chainlink does: words of 32 bytes, prices as integers of 18 decimals.

    fullReport = (bytes32[3] context, bytes blob, bytes32[] rs, bytes32[] ss, bytes32 vs)

The signatures are made up: nothing that reads a fake venue can ask the chain for the keys of its signers.
"""

from hashlib import sha256
from typing import NamedTuple

SIGNERS = 6
LIFE_S = 30 * 24 * 3600
"""A report can be used on a chain for so long."""
NATIVE_FEE, LINK_FEE = 96_242_017_120_729, 14_812_332_480_113_000
_WORD = 32


class Tick(NamedTuple):
    """What a stream says of one second, in E18."""

    price: int
    bid: int
    ask: int


def make_report(feed_id: str, second: int, tick: Tick) -> dict[str, object]:
    """Make the report of one second, in the envelope that socket and REST share."""
    return {
        "feedID": feed_id,
        "validFromTimestamp": second,
        "observationsTimestamp": second,
        "fullReport": f"0x{encode_report(feed_id, second, tick).hex()}",
    }


def encode_report(feed_id: str, second: int, tick: Tick) -> bytes:
    """Encode a full report of version 3."""
    blob = bytes.fromhex(feed_id[2:]) + b"".join(
        _write_word(value)
        for value in (second, second, NATIVE_FEE, LINK_FEE, second + LIFE_S, tick.price, tick.bid, tick.ask)
    )
    seed = sha256(blob).digest()
    rs, ss = (_write_array([sha256(seed + bytes((part, i))).digest() for i in range(SIGNERS)]) for part in (1, 2))
    dynamic = (_write_word(len(blob)) + blob, rs, ss)
    at, heads = 7 * _WORD, []
    for part in dynamic:
        heads.append(_write_word(at))
        at += len(part)
    context = seed, _write_word(second), _write_word(0)
    return b"".join((*context, *heads, _write_word(seed[0] & 1), *dynamic))


def _write_array(words: list[bytes]) -> bytes:
    return _write_word(len(words)) + b"".join(words)


def _write_word(value: int) -> bytes:
    return value.to_bytes(_WORD, "big", signed=value < 0)
