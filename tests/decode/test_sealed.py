"""Ladders keep a side as it is hashed; best levels tell crossed and mirrored books."""

from hypothesis import given
from hypothesis import strategies as st

from truetape.decode.sealed import Ladder, Level, Tally, is_crossed, mirrors_best
from truetape.venues.polymarket.proof import write_level

CHANGES = st.lists(st.tuples(st.integers(1, 99), st.sampled_from(("0", "0.0", "1", "2.50", "300"))), max_size=60)


def ladder(*levels: Level, is_ask: bool = False) -> Ladder:
    made = Ladder([], write_level, is_ask=is_ask)
    made.replace(list(levels))
    return made


@given(CHANGES, st.booleans(), st.integers(0, 60))
def test_a_ladder_is_what_is_left_of_all_changes_worst_first(
    changes: list[tuple[int, str]], is_ask: bool, cut: int
) -> None:
    levels = [(f"0.{cents:02d}", size) for cents, size in changes]
    changed = Ladder([], write_level, is_ask=is_ask)
    for level in levels[:cut]:
        changed.apply([level])
    changed.join()
    changed.apply(levels[cut:])
    sizes = dict(levels)
    wanted = sorted(((p, s) for p, s in sizes.items() if float(s)), reverse=is_ask)
    assert changed.levels == wanted
    assert changed.join() == ",".join(write_level(*level) for level in wanted)
    assert changed.best == (float(wanted[-1][0]) if wanted else None)
    assert Ladder(changed.levels, write_level, is_ask=is_ask).join() == changed.join()


def test_the_list_given_is_kept_up_to_date() -> None:
    levels: list[Level] = [("0.4", "1")]
    made = Ladder(levels, write_level, is_ask=False)
    made.apply([("0.41", "2")])
    made.apply([])
    assert levels == [("0.4", "1"), ("0.41", "2")]


def test_digits_are_the_venues() -> None:
    made = ladder(("0.40", "1.00"))
    made.apply([("0.4", "2")])
    assert made.join() == '{"price":"0.4","size":"2"}'


def test_crossed_books_are_told() -> None:
    bids = ladder(("0.4", "1"))
    assert is_crossed(bids, ladder(("0.4", "1"), is_ask=True))
    assert not is_crossed(bids, ladder(("0.41", "1"), is_ask=True))
    assert not is_crossed(bids, ladder(is_ask=True))


def test_the_best_levels_of_two_outcomes_mirror_each_other() -> None:
    bids = ladder(("0.39", "7"), ("0.4", "1"))
    assert mirrors_best(bids, ladder(("0.6", "1"), is_ask=True))
    assert mirrors_best(bids, ladder(("0.6", "1.0"), is_ask=True))
    assert not mirrors_best(bids, ladder(("0.6", "2"), is_ask=True))
    assert not mirrors_best(bids, ladder(("0.61", "1"), is_ask=True))
    assert not mirrors_best(bids, ladder(is_ask=True))
    assert mirrors_best(ladder(), ladder(is_ask=True))


def test_an_empty_tally_has_nothing_to_tell() -> None:
    assert Tally(minute=5, epoch="0.01").is_empty
    assert not Tally(fetched=1).is_empty
