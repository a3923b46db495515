"""REST weights: what a client has used, and when it is told to wait."""

from truetape import clock
from truetape.sim.fake import FakeVenue
from truetape.sim.protocol import Reply


class Meter:
    """Counts weight per quota in windows of protocol time."""

    def __init__(self, time_scale: float) -> None:
        self._time_scale = time_scale
        self._used: dict[str, tuple[int, int]] = {}

    def charge(self, fake: FakeVenue, reply: Reply, has_limits: bool) -> tuple[dict[str, str], int]:
        """Count an answer; returns the headers that tell the client, and seconds to wait when it is too much."""
        quota = fake.quotas.get(reply.quota)
        if quota is None:
            return {}, 0
        now_s = clock.monotonic_ns() / 1e9 * self._time_scale
        window = int(now_s // quota.window_s)
        key = f"{fake.name}/{reply.quota}"
        last, used = self._used.get(key, (window, 0))
        used = used + reply.weight if last == window else reply.weight
        self._used[key] = (window, used)
        headers = {}
        if quota.header:
            headers[quota.header] = str(used)
        if quota.left_header:
            headers[quota.left_header] = str(max(0, quota.weight_max - used))
        if used <= quota.weight_max or not has_limits:
            return headers, 0
        return headers, max(1, int(((window + 1) * quota.window_s - now_s) / self._time_scale))
