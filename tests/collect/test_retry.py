"""Whether and when to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.collect.retry import Backoff, GiveUp, Retry, make_decide
from truetape.errors import ConfigError, RateLimited, Refused, VenueUnreachable


@given(attempt=st.integers(1, 100_000), draw=st.floats(0, 1, exclude_max=True))
def test_delay_is_capped_and_jittered(attempt: int, draw: float) -> None:
    backoff = Backoff(base_s=0.5, cap_s=30)
    verdict = make_decide(backoff, lambda: draw)(VenueUnreachable("x"), attempt)
    assert isinstance(verdict, Retry)
    assert 0 <= verdict.delay_s <= min(30, 0.5 * 2 ** min(attempt, 40))
    assert verdict.delay_s == pytest.approx(draw * min(30, 0.5 * 2 ** min(attempt, 32)))


def test_ceiling_doubles_until_the_cap() -> None:
    rule = make_decide(Backoff(base_s=1, cap_s=10), lambda: 0.999999)
    delays = [rule(VenueUnreachable("x"), attempt).delay_s for attempt in range(1, 6)]  # type: ignore[union-attr]
    assert [round(d) for d in delays] == [2, 4, 8, 10, 10]


def test_retry_after_is_kept() -> None:
    rule = make_decide(Backoff(), lambda: 0.0)
    assert rule(RateLimited("slow", 12.5), 1) == Retry(12.5)
    assert rule(RateLimited("slow", 0), 1) == Retry(Backoff().banned_s)


@pytest.mark.parametrize("error", [Refused("no"), ConfigError("bad")])
def test_fatal_gives_up(error: Exception) -> None:
    assert make_decide(Backoff())(error, 1) == GiveUp(str(error))
