"""What proves a Polymarket book: the SHA-1 that frames carry, and that Down mirrors Up.

A hash is that of one token's whole book after all changes of one (market, timestamp): of several frames with
one timestamp all repeat the final hash, and the last of them is to be compared. Pure, and usable without the
engine: feed a Prover the book rows of any number of streams in tape order.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha1
from itertools import product
from operator import itemgetter
from typing import Any, NamedTuple

from truetape.events.rows import BOOK_DIFF, BookRow, Levels, Seal
from truetape.venues._sealing import Sealing

Level = tuple[str, str]

ORDER_MINS = ("5", "1", "10", "15", "20", "50", "100")
"""Values that a market's smallest order is searched among, when nothing told it."""


class Context(NamedTuple):
    """What is hashed beside the levels, in the venue's own text."""

    market: str
    asset: str
    timestamp: str
    order_min: str
    tick: str
    is_negative_risk: bool
    last_price: str


def hash_book(bids: Sequence[Level], asks: Sequence[Level], context: Context) -> str:
    """Return the hash of a book; levels best first, as the venue wrote their digits."""
    return _hash(_join(reversed(bids)), _join(reversed(asks)), context)


def prove_seal(bids: Sequence[Level], asks: Sequence[Level], seal: Seal) -> str:
    """Return the hash that a row's seal should have for this book."""
    return hash_book(bids, asks, Context(*seal.context))


def _join(levels: Iterable[Level]) -> str:
    return ",".join([write_level(price, size) for price, size in levels])


def _hash(bids: str, asks: str, context: tuple[Any, ...]) -> str:
    market, asset, timestamp, order_min, tick, is_negative_risk, last_price = context
    text = (
        f'{{"market":"{market}","asset_id":"{asset}","timestamp":"{timestamp}","hash":"",'
        f'"bids":[{bids}],"asks":[{asks}],"min_order_size":"{order_min}","tick_size":"{tick}",'
        f'"neg_risk":{"true" if is_negative_risk else "false"},"last_trade_price":"{last_price}"}}'
    )
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


def write_level(price: str, size: str) -> str:
    """Write a level as it is hashed."""
    return f'{{"price":"{price}","size":"{size}"}}'


def carry(context: tuple[Any, ...], proven: tuple[Any, ...]) -> tuple[Any, ...]:
    """Take the market's constants from a proven context of the same token."""
    return (*context[:3], proven[3], context[4], proven[5], context[6])


def list_contexts(context: tuple[Any, ...], others: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """List what a hash may have been made in instead: a trade or another tick may come a frame before or after it."""
    for _, _, _, order_min, tick, is_negative_risk, last_price in others:
        for some_tick, some_price in product({tick, context[4]}, {last_price, context[6]}):
            yield (*context[:3], order_min, some_tick, is_negative_risk, some_price)


def list_guesses(context: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """List the constants that markets are known to have."""
    for order_min, is_negative_risk in product((context[3], *ORDER_MINS), (False, True)):
        yield (*context[:3], order_min, context[4], is_negative_risk, context[6])


def find_constants(bids: Sequence[Level], asks: Sequence[Level], seal: Seal) -> Context | None:
    """Search the constants of a market that make a full picture's hash come out; null when none of the usual do."""
    tried = (Context(*context) for context in list_guesses(seal.context))
    return next((context for context in tried if hash_book(bids, asks, context) == seal.expected), None)


class Verdict(NamedTuple):
    """What became of one batch of changes of one token, or of one full picture."""

    stream: int
    batch: str
    offset: int
    """Tape offset of the frame that the batch was judged by."""
    is_proven: bool
    expected: str
    made: str


class _Ladder:
    """One side of a book, its levels kept as the JSON that is hashed."""

    __slots__ = ("prices", "texts")

    def __init__(self) -> None:
        self.prices: list[float] = []
        self.texts: dict[float, str] = {}

    def apply(self, levels: Levels) -> None:
        prices, texts = self.prices, self.texts
        for text, size in levels:
            price = float(text)
            if float(size) == 0.0:
                if texts.pop(price, None) is not None:
                    del prices[bisect_left(prices, price)]
            else:
                if price not in texts:
                    insort(prices, price)
                texts[price] = write_level(str(text), str(size))

    def join(self, *, descending: bool) -> str:
        return ",".join(map(self.texts.__getitem__, reversed(self.prices) if descending else self.prices))


class _Book:
    """One token's book and the batch that is not judged yet."""

    __slots__ = ("asks", "bids", "constants", "doubt")

    def __init__(self) -> None:
        self.bids = _Ladder()
        self.asks = _Ladder()
        self.constants: tuple[str, bool] | None = None
        """order_min and is_negative_risk, where a full picture proved them."""
        self.doubt: Verdict | None = None

    def hash(self, context: Context) -> str:
        if self.constants is not None:
            context = context._replace(order_min=self.constants[0], is_negative_risk=self.constants[1])
        return _hash(self.bids.join(descending=False), self.asks.join(descending=True), context)


class Prover:
    """Rebuilds the books of any number of streams and says which batches their hashes prove.

    A batch is proven as soon as the book matches, and broken when another batch begins before it did: so
    feed gives a broken verdict one batch late, and `finish` those that are still in doubt.
    """

    def __init__(self) -> None:
        self._books: dict[tuple[int, str], _Book] = {}

    def feed(self, row: BookRow) -> list[Verdict]:
        """Take one row; return the verdicts it allows, none for changes of a book that has no picture yet."""
        # hot: bench/decode.py
        key = (row[0], row[4])
        seal = row[12]
        book = self._books.get(key)
        if row[5] != BOOK_DIFF:
            return self._replace(key, row)
        if book is None:
            return []
        doubt, verdicts = book.doubt, []
        if doubt is not None and (not isinstance(seal, Seal) or seal.batch != doubt.batch):
            verdicts.append(doubt)
            book.doubt = None
        book.bids.apply(row[9])
        book.asks.apply(row[10])
        if isinstance(seal, Seal):
            made = book.hash(Context(*seal.context))
            verdict = Verdict(row[0], seal.batch, row[3], made == seal.expected, seal.expected, made)
            if verdict.is_proven:
                verdicts.append(verdict)
                book.doubt = None
            else:
                book.doubt = verdict
        return verdicts

    def finish(self) -> list[Verdict]:
        """Return the batches that never matched and that nothing followed: broken, or cut off."""
        return [book.doubt for book in self._books.values() if book.doubt is not None]

    def _replace(self, key: tuple[int, str], row: BookRow) -> list[Verdict]:
        old, book = self._books.get(key), _Book()
        self._books[key] = book
        book.bids.apply(row[9])
        book.asks.apply(row[10])
        verdicts = [old.doubt] if old is not None and old.doubt is not None else []
        seal = row[12]
        if isinstance(seal, Seal):
            if old is not None:
                book.constants = old.constants
            made = book.hash(Context(*seal.context))
            if made != seal.expected and not seal.is_certain:
                made = self._search(book, row, seal) or made
            verdicts.append(Verdict(row[0], seal.batch, row[3], made == seal.expected, seal.expected, made))
        return verdicts

    def _search(self, book: _Book, row: BookRow, seal: Seal) -> str | None:
        bids = sorted(((str(p), str(s)) for p, s in row[9]), key=_tell_price, reverse=True)
        asks = sorted(((str(p), str(s)) for p, s in row[10]), key=_tell_price)
        found = find_constants(bids, asks, seal)
        if found is None:
            return None
        book.constants = (found.order_min, found.is_negative_risk)
        return seal.expected


def _tell_price(level: Level) -> float:
    return float(level[0])


PARTS = 10**6
"""Prices have at most four decimals; compared as integers of millionths."""


def find_mirror_break(
    up: tuple[Sequence[Level], Sequence[Level]], down: tuple[Sequence[Level], Sequence[Level]]
) -> dict[str, object] | None:
    """Return evidence where Down is not the mirror of Up (bid p is ask 1 - p, of the same size); null when it is.

    Each book as (bids, asks); the order of levels does not matter. Compare pictures of one timestamp only.
    """
    for name, theirs, ours in (("up bids, down asks", up[0], down[1]), ("up asks, down bids", up[1], down[0])):
        wanted = {PARTS - round(float(price) * PARTS): float(size) for price, size in theirs if float(size)}
        got = {round(float(price) * PARTS): float(size) for price, size in ours if float(size)}
        if wanted != got:
            odd = sorted(price for price in wanted.keys() | got.keys() if wanted.get(price) != got.get(price))
            price = odd[0]
            return {
                "sides": name, "levels": len(odd), "price": price / PARTS,
                "expected": wanted.get(price), "got": got.get(price),
            }  # fmt: skip
    return None


SEALING = Sealing(
    write_level=write_level,
    seal=_hash,
    carry=carry,
    list_contexts=list_contexts,
    list_guesses=list_guesses,
    name_market=itemgetter(0),
    name_epoch=itemgetter(4),
    find_mirror_break=find_mirror_break,
)
