"""Feeds the fake venues from recordings instead of synthetic markets."""

from collections.abc import Sequence

from truetape.sim.protocol import FakeVenue
from truetape.sim.world import World


class Recording:
    """Recorded frames, served in their own order to whoever subscribes their streams."""

    def __init__(self, paths: Sequence[str], speed: float = 1.0) -> None:
        self.paths, self.speed = tuple(paths), speed

    def attach(self, world: World, fakes: Sequence[FakeVenue]) -> None:
        """Take the markets' place."""
        world.is_synthetic = False

    async def play(self) -> None:
        """Play."""

    def describe(self) -> dict[str, object]:
        """Say how far it is."""
        return {}
