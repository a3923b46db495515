"""What a relay told around a range of time: all of it, or nothing for too long, and from when until when."""

import pytest

from truetape.decode.hearing import Hearing
from truetape.events.backfill import Range

SPAN = Range(100, 200, from_us=40, to_us=260)
QUIET_US = 60


@pytest.mark.parametrize(
    ("times", "silence"),
    [
        ([], (40, 260)),
        ([30, 300], (40, 260)),  # what was told around another range
        ([120, 170, 230], (40, 120)),
        ([90, 140], (140, 260)),
        ([90, 150, 205], None),
        ([100, 160, 200], None),
        ([90, 155, 205], (90, 155)),
        ([45, 105, 107, 180, 205], (107, 180)),
        ([40, 100, 90, 95, 160, 200], None),  # some come again
        ([40, 99, 159, 199, 255], None),
        ([40, 100, 160, 200, 261], None),
    ],
)
def test_silence_is_found(times: list[int], silence: tuple[int, int] | None) -> None:
    hearing = Hearing()
    for at_us in times:
        hearing.hear(SPAN, at_us)
    assert hearing.find_silence(SPAN, QUIET_US) == silence


def test_what_is_asked_for_without_more_is_all_there_is() -> None:
    hearing = Hearing()
    for at_us in (9, 10, 20, 21):
        hearing.hear(Range(10, 20), at_us)
    assert (hearing.first_us, hearing.last_us) == (10, 20)
