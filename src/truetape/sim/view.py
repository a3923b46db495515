"""What several fake venues need of a book: the best levels as a picture, and what changed between two pictures."""

from collections.abc import Sequence

from truetape.sim.market import Market

Level = tuple[int, int]
Side = Sequence[Level]


class View:
    """The top `depth` levels as last sent, so that the next frame says exactly what became of them."""

    def __init__(self, market: Market, depth: int, interval_us: int) -> None:
        self._market, self._depth, self.interval_us = market, depth, interval_us
        self.due_us = market.now_us + interval_us
        bids, asks = market.book(depth)
        self.sides = (dict(bids), dict(asks))
        """(bids, asks) as of the last frame: what a newcomer's snapshot must say."""

    def is_due(self, at_us: int) -> bool:
        """Say whether a frame is due; asking counts as taking it."""
        if at_us < self.due_us:
            return False
        self.due_us = at_us - at_us % self.interval_us + self.interval_us
        return True

    def compare(self) -> tuple[list[Level], list[Level]]:
        """Return what changed since the last call, per side: (price, size now), 0 for what left the picture."""
        bids, asks = self._market.book(self._depth)
        changed = tuple(
            [level for level in new if old.get(level[0]) != level[1]] + [(p, 0) for p in old if p not in now]
            for old, new, now in zip(self.sides, (bids, asks), (dict(bids), dict(asks)), strict=True)
        )
        self.sides = (dict(bids), dict(asks))
        return changed[0], changed[1]

    def picture(self) -> tuple[list[Level], list[Level]]:
        """Return (bids, asks) as of the last frame, best first."""
        return list(self.sides[0].items()), list(self.sides[1].items())
