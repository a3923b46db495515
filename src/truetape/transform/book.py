"""Order books by the second: what stood in a book at the end of each second, from its changes.

Vectorised: a book of one outcome is a table of seconds by prices that is filled with what changed and then forward.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

BLOCK_S = 1800
"""Seconds that are held at once: bounds the memory of a market that lasts a day."""


class Changes(NamedTuple):
    """Changes of one book in the order they were received."""

    available_us: Integers
    frame: Integers
    """Number of the frame that a change came in: a snapshot is one frame."""
    is_snapshot: Flags
    is_bid: Flags
    price: Floats
    amount: Floats

    def cut(self, low: int, high: int) -> "Changes":
        """Give the changes between two places."""
        some = slice(low, high)
        return Changes(
            self.available_us[some], self.frame[some], self.is_snapshot[some], self.is_bid[some], self.price[some],
            self.amount[some],
        )  # fmt: skip


class BookSeconds(NamedTuple):
    """One book at every second of a window; nan where there is none."""

    bid: Floats
    ask: Floats
    bid_depth: Floats
    """Shares on all levels."""
    ask_depth: Floats
    large_orders: Integers
    """Levels of both sides that hold at least so many shares."""
    heard_us: Integers
    """When the book was last changed, 0 before its first whole picture: until then nothing is known of it."""


def summarise_book(
    changes: Changes, opens_us: int, seconds: int, large_min: float, *, block_s: int = BLOCK_S
) -> BookSeconds:
    """Give the book as known at `seconds` seconds from `opens_us` on: what was available by then, and nothing later."""
    place = np.maximum(-((opens_us - changes.available_us) // 1_000_000), 0)
    prices, level = np.unique(changes.price, return_inverse=True)
    level = np.where(changes.is_bid, level, level + len(prices))
    out = BookSeconds(*(np.full(seconds, np.nan) for _ in range(4)), *(np.zeros(seconds, np.int64) for _ in range(2)))
    state, heard, is_known = np.zeros(2 * len(prices)), 0, False
    for begin in range(0, seconds, block_s):
        length = min(block_s, seconds - begin)
        low, high = (int(bound) for bound in np.searchsorted(place, [begin, begin + length]))
        part = changes.cut(low, high)
        table, known = _fill(part, place[low:high] - begin, level[low:high], (length, len(state)), state, is_known)
        _measure(out, begin, table, known, prices, large_min)
        heard = _note_heard(out, begin, length, part, place[low:high] - begin, known, heard)
        state, is_known = table[-1], bool(known[-1])
    return out


def _fill(
    changes: Changes, place: Integers, level: Integers, shape: tuple[int, int], state: Floats, is_known: bool
) -> tuple[Floats, Flags]:
    """Give what stood on each level at the end of each second, and from when on a whole picture was there."""
    table = np.full((shape[0] + 1, shape[1]), np.nan)
    table[0] = state
    known = np.zeros(shape[0], np.bool_)
    # A picture replaces all that was: of its second count only the rows from the last picture on.
    pictured = np.flatnonzero(changes.is_snapshot)
    keep = np.ones(len(place), np.bool_)
    if len(pictured):
        frames, seconds = changes.frame[pictured], place[pictured]
        is_last = np.append(seconds[1:] != seconds[:-1], True)
        last_frame = frames[is_last]
        begins = pictured[np.searchsorted(frames, last_frame)]
        starts = np.searchsorted(place, seconds[is_last])
        for start, begin in zip(starts, begins, strict=True):
            keep[start:begin] = False
        table[seconds[is_last] + 1] = 0.0
        known[seconds[is_last]] = True
    # Of several changes of one level in one second the last counts: numpy assigns in order.
    table[place[keep] + 1, level[keep]] = changes.amount[keep]
    rows = np.where(np.isnan(table), 0, np.arange(shape[0] + 1)[:, None])
    np.maximum.accumulate(rows, axis=0, out=rows)
    filled = np.take_along_axis(table, rows, axis=0)[1:]
    return filled, np.logical_or.accumulate(known) | is_known


def _measure(out: BookSeconds, begin: int, table: Floats, known: Flags, prices: Floats, large_min: float) -> None:
    window, count = slice(begin, begin + len(table)), len(prices)
    bids, asks = table[:, :count], table[:, count:]
    if count:
        best_bid, best_ask = count - 1 - np.argmax(bids[:, ::-1] > 0, axis=1), np.argmax(asks > 0, axis=1)
        out.bid[window] = np.where((bids > 0).any(axis=1) & known, prices[best_bid], np.nan)
        out.ask[window] = np.where((asks > 0).any(axis=1) & known, prices[best_ask], np.nan)
    out.bid_depth[window] = np.where(known, bids.sum(axis=1).round(6), np.nan)
    out.ask_depth[window] = np.where(known, asks.sum(axis=1).round(6), np.nan)
    out.large_orders[window] = np.where(known, (table >= large_min).sum(axis=1), 0)


def _note_heard(
    out: BookSeconds, begin: int, length: int, changes: Changes, place: Integers, known: Flags, heard: int
) -> int:
    last = np.zeros(length + 1, np.int64)
    last[0] = heard
    np.maximum.at(last, place + 1, changes.available_us)
    np.maximum.accumulate(last, out=last)
    out.heard_us[begin : begin + length] = np.where(known, last[1:], 0)
    return int(last[-1])
