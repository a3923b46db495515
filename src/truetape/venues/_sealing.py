"""What decoding asks of a venue whose frames seal whole books by a text (`events.rows.Seal`). Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

Context = tuple[Any, ...]
"""What is hashed beside the levels, as in `Seal.context`: only the venue knows its order."""
Sides = tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]
"""Bids and asks of a book, in any order."""


class Sealing(msgspec.Struct, frozen=True):
    """How a venue's seals are made, and what else of a sealed book can be proven."""

    write_level: Callable[[str, str], str]
    """(price, size) → the level as it is sealed."""
    seal: Callable[[str, str, Context], str]
    """(bids, asks, context) → the text that `Seal.expected` should be; written levels, worst first, commas between."""
    carry: Callable[[Context, Context], Context]
    """(context, proven one of the same book) → the context, what nothing told taken from the proven one."""
    list_contexts: Callable[[Context, Sequence[Context]], Iterable[Context]]
    """(context, others that its book had just before or after) → what it may have been sealed in instead."""
    list_guesses: Callable[[Context], Iterable[Context]]
    """Contexts to try for a picture whose market was never told: all that the venue is known to use."""
    name_market: Callable[[Context], str]
    """What the books of one market's outcomes have in common."""
    name_epoch: Callable[[Context], str]
    """The price step: when it changes, another epoch of the book begins."""
    find_mirror_break: Callable[[Sides, Sides], dict[str, object] | None]
    """(a book, the book of its market's other outcome) → where they do not mirror each other; null when they do.

    The mirror: a bid at p of one is an ask at 1 - p of the other, of the same size."""
