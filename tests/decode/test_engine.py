"""The engine: the same frames give the same rows however they come, nothing stops it, and its counts balance."""

import random
from pathlib import Path

import pytest
from framed import START_NS, Outcome, Tape, check_balance, decode, read_recorded

from truetape.tape.frame import Frame, FrameKind

RECORDED = {
    "binance-spot": ("binance", "cryptofeed_binance_20210404.jsonl.gz"),
    "binance-usdm": ("binance", "cryptofeed_binance_futures_20210417.jsonl.gz"),
    "kraken": ("kraken", "cryptofeed_kraken_20210417.jsonl.gz"),
    "kraken-futures": ("kraken", "cryptofeed_kraken_futures_20210417.jsonl.gz"),
    "okx": ("okx", "cryptofeed_okx_20220513.jsonl.gz"),
    "bybit": ("bybit", "cryptofeed_bybit_20260809_linear.jsonl.gz"),
    "coinbase": ("coinbase", "cryptofeed_coinbase_20260809.jsonl.gz"),
    "deribit": ("deribit", "cryptofeed_deribit_20210722.jsonl.gz"),
}
FRAMES_MAX = 1500


@pytest.fixture(scope="module", params=RECORDED)
def frames(request: pytest.FixtureRequest, recordings: Path) -> list[Frame]:
    """A recording with connections and a recorder that come and go in the middle of it."""
    venue, name = RECORDED[request.param]
    recorded = read_recorded(recordings / "crypto" / venue / name, venue, frames_max=FRAMES_MAX)
    return disturb(recorded, random.Random(name))


def disturb(frames: list[Frame], chance: random.Random) -> list[Frame]:
    """Lose, repeat, swap and spoil some frames, and put events among them."""
    done: list[Frame] = []
    for frame in frames:
        roll = chance.random()
        if frame.kind > FrameKind.BINARY or roll > 0.04:
            done.append(frame)
        elif roll < 0.01:
            done += [frame, frame]
        elif roll < 0.015:
            done.append(frame._replace(payload=frame.payload[: len(frame.payload) // 2]))
        elif roll < 0.02:
            done.insert(-1, frame)
        elif roll < 0.025:
            meta = chance.choice(EVENTS)
            done += [frame, frame._replace(kind=int(FrameKind.EVENT), payload=b"", meta=f'{{"event":"{meta}"}}')]
    return done


EVENTS = (
    "tick",
    "closed",
    "opened",
    "dropped",
    "started",
    "stopped",
    "torn_tail",
    "damaged",
    "clock_step",
    "unheard_of",
)


@pytest.fixture(scope="module")
def whole(frames: list[Frame]) -> Outcome:
    return decode(frames)


def assert_same(one: Outcome, other: Outcome) -> None:
    assert one.tables.keys() == other.tables.keys()
    for kind, table in one.tables.items():
        assert table.equals(other.tables[kind]), kind
    assert one.counts == other.counts
    assert one.state == other.state


@pytest.mark.parametrize("seed", range(3))
def test_cuts_takes_and_restores_change_nothing(frames: list[Frame], whole: Outcome, seed: int) -> None:
    chance = random.Random(seed)
    cuts = [chance.randrange(len(frames)) for _ in range(chance.choice([5, 60]))]
    takes = [chance.randrange(len(frames)) for _ in range(chance.choice([3, 40]))]
    assert_same(whole, decode(frames, cuts))
    assert_same(whole, decode(frames, cuts, takes))
    assert_same(whole, decode(frames, cuts, takes, [chance.randrange(len(frames)) for _ in range(10)]))


def test_one_frame_a_batch_changes_nothing(frames: list[Frame], whole: Outcome) -> None:
    assert_same(whole, decode(frames[:], range(len(frames))))


def test_rows_of_every_kind_are_in_tape_order_and_have_a_place_of_their_own(whole: Outcome) -> None:
    for kind, table in whole.tables.items():
        places = list(zip(table["tape_offset"].to_pylist(), table["tape_row"].to_pylist(), strict=True))
        assert places == sorted(set(places)), kind


def test_counts_balance(whole: Outcome) -> None:
    check_balance(whole)
    assert whole.counts["quarantined"] > 0


def test_an_empty_tape_has_nothing() -> None:
    assert decode(Tape()).counts == {"frames": 0, "decoded": 0, "quarantined": 0, "control": 0}
    assert START_NS
