"""The language of faults, and when an armed one strikes."""

from pathlib import Path

import pytest

from truetape.errors import ConfigError
from truetape.sim.faults import Armed, Fault, load_faults, parse_faults, spoil
from truetape.sim.hub import Judge, SimClock


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("at 5s binance cut", Fault("cut", "binance", "at", 5.0)),
        ("cut", Fault("cut")),
        ("at 8s binance freeze 3s", Fault("freeze", "binance", "at", 8.0, seconds=3.0)),
        ("drop 3 frames of btcusdt@trade", Fault("drop", pattern="btcusdt@trade", count=3)),
        ("at 1.5s okx drop 1 frame of trades:*", Fault("drop", "okx", "at", 1.5, pattern="trades:*")),
        ("every 1000 duplicate 1 frame of *@trade", Fault("duplicate", when="every", value=1000, pattern="*@trade")),
        ("after 200 reorder 1 frame of *", Fault("reorder", when="after", value=200)),
        ("corrupt 2 frames of *bookTicker", Fault("corrupt", pattern="*bookTicker", count=2)),
        (
            "at 14s change-field p price in 2 frames of *@trade",
            Fault("change-field", when="at", value=14, pattern="*@trade", count=2, key="p", new_key="price"),
        ),
        ("change-field p price", Fault("change-field", key="p", new_key="price")),
        (
            "at 16s binance 429 retry-after 2 for 3 requests",
            Fault("429", "binance", "at", 16.0, count=3, retry_after_s=2.0),
        ),
        (
            "at 26s polymarket close 4003 of polybolt",
            Fault("close", "polymarket", "at", 26.0, pattern="polybolt", count=4003),
        ),
        ("lose 3 frames of price.crypto*", Fault("lose", pattern="price.crypto*", count=3)),
        ("5xx for 2 requests of */depth*", Fault("5xx", count=2, pattern="*/depth*")),
        ("at 22s slow 2s for 1 request", Fault("slow", when="at", value=22.0, seconds=2.0)),
        ("429 for 3 connects of */ws*", Fault("429", pattern="*/ws*", count=3, is_of_connects=True)),
        ("after 0 tardis 5xx for 1 request", Fault("5xx", "tardis", "after")),
        ("at 24s coinbase cut-snapshot", Fault("cut-snapshot", "coinbase", "at", 24.0)),
    ],
)
def test_a_line_is_a_fault(line: str, fault: Fault) -> None:
    assert parse_faults(line) == (fault,)


def test_a_script_is_lines_semicolons_yaml_or_a_file(tmp_path: Path) -> None:
    wanted = (Fault("cut", "binance", "at", 5.0), Fault("drop", count=2))

    assert parse_faults("# two things\nat 5s binance cut  # now\n\ndrop 2 frames\n") == wanted
    assert parse_faults("at 5s binance cut; drop 2 frames") == wanted
    assert parse_faults("- at 5s binance cut\n- drop 2 frames\n") == wanted
    (tmp_path / "faults.txt").write_text("at 5s binance cut\ndrop 2 frames")
    assert load_faults(str(tmp_path / "faults.txt")) == wanted
    assert parse_faults("") == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("at 5s binance explode", "explode"),
        ("at noon cut", "at noon cut"),
        ("freeze", "duration"),
        ("change-field p", "keys|understood"),
        ("every 5 cut", "time"),
        ("close", "code"),
        ("close 99", "code"),
        ("drop 3 frames off btcusdt", "understood"),
        ("at 1.2.3s binance cut", "understood"),
        ("429 retry-after 1.2.3", "understood"),
        ("at 5s cut of btcusdt@trade", "whole venue"),
        ("every 0 drop 1 frame", "whole number"),
        ("every 1.5 drop 1 frame", "whole number"),
        ("after 1.5 drop 1 frame", "whole number"),
        ("drop 0 frames", "of 0 frames"),
        ("drop 3 connects", "happens to connects"),
    ],
)
def test_a_wrong_line_is_named(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_faults(line)


def test_triggers_count_what_matches() -> None:
    every = Armed(parse_faults("every 3 drop 1 frame")[0])
    assert [every.take(0) for _ in range(7)] == [False, False, True, False, False, True, False]

    after = Armed(parse_faults("after 2 drop 2 frames")[0])
    assert [after.take(0) for _ in range(6)] == [False, False, True, True, False, False]
    assert after.is_spent

    timed = Armed(parse_faults("at 5s drop 1 frame")[0])
    assert [timed.take(s) for s in (0, 4.9, 5, 6)] == [False, False, True, False]


def test_streams_are_matched_by_pattern_and_venue() -> None:
    armed = Armed(parse_faults("binance drop 1 frame of *@trade")[0])

    assert armed.fits("binance", "btcusdt@trade")
    assert not armed.fits("binance", "btcusdt@depth")
    assert not armed.fits("okx", "btcusdt@trade")


def test_frames_are_spoilt_in_the_middle_or_by_a_key() -> None:
    frame = b'{"e":"trade","p":"1.5"}'

    assert spoil(Fault("corrupt"), frame) == frame[: len(frame) * 2 // 3]
    assert spoil(Fault("change-field", key="p", new_key="price"), frame) == b'{"e":"trade","price":"1.5"}'


def test_a_hash_is_changed_in_one_digit_whatever_the_spaces() -> None:
    for frame in (b'{"hash":"0a1f","x":1}', b'{"hash": "f000"}'):
        spoilt = spoil(Fault("wrong-hash"), frame)
        assert sum(a != b for a, b in zip(spoilt, frame, strict=True)) == 1


class StillClock(SimClock):
    """Stands where it is put."""

    at_s = 0.0

    def elapsed_s(self) -> float:
        return self.at_s


def test_spells_hold_from_their_time_for_their_length() -> None:
    time = StillClock()
    judge = Judge(parse_faults("at 10s mute 5s of btc-*; at 12s polymarket ghost 5s"), time)
    held = {}
    for at_s in (9.9, 10.0, 12.0, 14.9, 15.0, 17.1):
        time.at_s = at_s
        held[at_s] = [bool(judge.find_spell(action, "polymarket", "btc-x")) for action in ("mute", "ghost")]
        assert not judge.find_spell("mute", "polymarket", "eth-x")
        assert not judge.find_spell("ghost", "kalshi", "btc-x")
    assert list(held.values()) == [[0, 0], [1, 0], [1, 1], [1, 1], [0, 1], [0, 0]]
    assert not judge.is_watching


def test_quirks_are_kept_for_whoever_makes_the_markets() -> None:
    judge = Judge(parse_faults("every 4 late 60s of btc-*; split; at 5s cut; drop 1 frame"), StillClock())
    assert [(q.action, q.pattern, q.value) for q in judge.quirks] == [("late", "btc-*", 4.0), ("split", "*", 0.0)]
    assert (len(judge.frames), len(judge.timed), len(judge.spells)) == (1, 1, 0)


def test_a_long_script_is_no_file_name() -> None:
    script = "; ".join(["at 5s binance cut"] * 100)
    assert len(load_faults(script)) == 100


def test_more_faults_may_be_armed_while_it_runs() -> None:
    judge = Judge(parse_faults("at 1s binance cut"), SimClock(1e6))  # market time runs: all of it is over at once
    judge.timed.clear()
    assert judge.is_calm
    judge.arm(
        parse_faults("at 5000s drop 1 frame of *; at 7000s okx cut; after 3 drop 1 frame of a; 5xx for 1 request")
    )
    assert not judge.is_calm
    assert [armed.fault.value > 7000 for armed in judge.timed] == [True]
    assert [armed.fault.value for armed in judge.frames][1] == 3
    assert len(judge.rest) == 1
    judge.timed.clear()
    judge.frames.clear()
    assert judge.is_calm
    with pytest.raises(ConfigError, match="'late' can only be there from the start"):
        judge.arm(parse_faults("every 4 late 3600s of btc-*"))
