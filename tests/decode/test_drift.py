"""Drift: what changes in a message type is found, what was always optional is not, and memory stays small."""

import json
from typing import Any

import pytest

from truetape.decode.drift import ABSENT, LEARN, PATHS_MAX, SHAPES_MAX, Drift
from truetape.events.instrument import Stream

STREAM = Stream(0, "binance", "trade", "BTC-USDT", "BTCUSDT", "spot", "spot")
USUAL = {"e": "trade", "p": "1.5", "deep": {"list": [{"x": 1}], "flag": True}, "none": None}


class Watch:
    """A drift detector and the rows that it wrote: (change, path, was, now)."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.drift = Drift(self.rows)

    def look(self, message: Any, times: int = 1, kind: str = "trade") -> None:
        """Show the same message so many times."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        for _ in range(times):
            self.drift.look(STREAM, "spot", kind, payload, (1, 1))

    @property
    def changes(self) -> list[tuple[Any, ...]]:
        """What was found."""
        return [row[6:] for row in self.rows]


@pytest.fixture
def watch() -> Watch:
    watch = Watch()
    watch.look(USUAL, LEARN)
    assert watch.rows == []
    return watch


def test_a_field_that_appears_is_told_once(watch: Watch) -> None:
    watch.look({**USUAL, "new": {"a": 1}}, 5)
    assert watch.changes == [("appeared", "$.new", "", "object"), ("appeared", "$.new.a", "", "number")]


def test_a_field_that_changes_its_type_is_told_once(watch: Watch) -> None:
    watch.look({**USUAL, "p": 1.5}, 5)
    watch.look(USUAL, 5)
    assert watch.changes == [("retyped", "$.p", "string", "number")]


def test_a_field_that_vanishes_is_told_and_told_again_when_it_is_back(watch: Watch) -> None:
    less = {key: value for key, value in USUAL.items() if key != "p"}
    watch.look(less, ABSENT - 1)
    assert watch.changes == []
    watch.look(less, 5)
    watch.look(USUAL, 2)
    assert watch.changes == [("vanished", "$.p", "string", ""), ("appeared", "$.p", "", "string")]


def test_a_field_that_was_sometimes_missing_never_vanishes() -> None:
    watch = Watch()
    for i in range(3 * LEARN):
        watch.look({**USUAL, **({"z": 1} if i % 7 else {})})
    watch.look(USUAL, 100)
    assert watch.changes == []


def test_a_short_absence_is_no_drift(watch: Watch) -> None:
    watch.look({"e": "trade"}, ABSENT - 1)
    watch.look(USUAL, 100)
    assert watch.changes == []


def test_other_messages_are_learnt_on_their_own(watch: Watch) -> None:
    watch.look({"other": 1}, 100, kind="quote")
    assert watch.changes == []


def test_keys_that_are_new_each_time_do_not_fill_memory(watch: Watch) -> None:
    for i in range(3 * PATHS_MAX):
        watch.look({**USUAL, f"key{i}": i})
    (shape,) = watch.drift.shapes.values()
    assert max(len(shape.types), len(shape.seen), len(shape.absent)) <= PATHS_MAX
    assert watch.changes[-1] == ("appeared", "$", "", f"more than {PATHS_MAX} paths")
    assert len(watch.changes) <= PATHS_MAX + 1
    watch.look({**USUAL, "p": 1}, 1)
    assert watch.changes[-1] == ("retyped", "$.p", "string", "number")


def test_message_types_without_end_do_not_fill_memory(watch: Watch) -> None:
    for i in range(SHAPES_MAX + 10):
        watch.look({}, 1, kind=f"kind{i}")
    assert len(watch.drift.shapes) == SHAPES_MAX


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"[" * 50_000, b"[" * 900 + b"]" * 900, b'{"' + b"k" * 10**6 + b'":1}']
)
def test_garbage_is_not_looked_at(watch: Watch, payload: bytes) -> None:
    watch.look(payload, 3)
    assert all(len(str(change)) < 400 for change in watch.changes)
