"""How far the indexes of the chain are that the Data API and the subgraphs answer from."""

from truetape.sim.world import World

VENUE = "polymarket"


def find_index_time(world: World, feed: str, path: str, lag_s: int) -> float:
    """Return the time that an index has come to: some seconds ago, or where it was when a `stale` spell began."""
    now_s = world.time.now_us() / 1e6
    spell = world.judge.find_spell("stale", VENUE, path)
    if spell is not None:
        world.judge.record(VENUE, feed, path, "stale")
        now_s -= world.time.elapsed_s() - spell.value
    return now_s - lag_s
