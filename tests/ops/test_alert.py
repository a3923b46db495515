"""Which troubles are told, together, rarely, and taken back."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from truetape.collect.status import ServiceStatus
from truetape.config import AlertSettings
from truetape.decode.status import StreamStatus
from truetape.ops.alert import Desk, find_troubles
from truetape.ops.vital import Vitals

RULES = AlertSettings(group_seconds=30, repeat_hours=1, messages_per_hour_max=3)
NOW_NS = 10**18
WELL = Vitals(NOW_NS, disk_free_bytes=10**11)


def stream(age_s: float | None = 1.0, **more: object) -> StreamStatus:
    seen_ns = 0 if age_s is None else NOW_NS - int(age_s * 1e9)
    return msgspec.convert(
        {"venue": "binance", "symbol": "BTC-USDT", "channel": "trade", "rows": 5, "seen_ns": seen_ns, "gap": "", "gaps": 0,
         "price": None, "lag_ms": 3.0, **more}, StreamStatus)  # fmt: skip


def test_nothing_is_wrong_when_all_is_well() -> None:
    assert find_troubles(msgspec.structs.replace(WELL, streams=(stream(),)), None, RULES) == {}


def test_each_rule_finds_its_trouble_and_names_it() -> None:
    now = Vitals(
        NOW_NS, dropped=7, behind=10**7, disk_free_bytes=10**9, failed_jobs={"backup": "no space"}, troubles=("binance: refused",),
        counts={"quarantined": 20, "rows.error": 40, "rows.drift": 1},
        streams=(stream(gap="silence", age_s=90.0), stream(symbol="ETH-USDT", channel="quote", age_s=1000.0), stream(symbol="X", gap="disconnect", age_s=2.0)),
    )  # fmt: skip
    found = find_troubles(now, WELL, RULES)
    assert set(found) == {
        "gap binance BTC-USDT trade", "stale binance ETH-USDT quote", "quarantined", "rows.error", "rows.drift", "dropped",
        "disk", "behind", "job backup", "trouble binance: refused",
    }  # fmt: skip
    assert found["gap binance BTC-USDT trade"] == "binance BTC-USDT trade: in a gap for 90 s (silence)"
    assert found["job backup"] == "job backup failed: no space"


def test_a_service_that_misses_snapshots_is_one_trouble() -> None:
    missing = ServiceStatus("fake", 3, 40, 20, 20, 70, 20, 0, 900.0, 0, ("decode",))
    blind = tuple(stream(symbol=f"fake/m{n}", channel="market_snapshot", gap="decode", age_s=None) for n in range(20))
    found = find_troubles(msgspec.structs.replace(WELL, services=(missing,), streams=blind), None, RULES)
    assert found == {"snapshots fake": "snapshots.fake: snapshots are missed (decode)"}


def test_what_begins_together_is_told_together() -> None:
    desk = Desk(RULES)
    assert desk.judge({"a": "A"}, 0.0) == []
    assert desk.judge({"a": "A", "b": "B"}, 10.0) == []
    (message,) = desk.judge({"a": "A", "b": "B"}, 30.0)
    assert (message.title, message.body) == ("truetape: 2 troubles", "A\nB")


def test_what_ends_is_taken_back_once() -> None:
    desk = Desk(RULES)
    desk.judge({"a": "A"}, 0.0)
    desk.judge({"a": "A"}, 30.0)
    assert desk.judge({}, 100.0) == []
    (message,) = desk.judge({}, 131.0)
    assert message.is_recovery
    assert message.body == "over after 100 s: A"
    assert desk.judge({}, 500.0) == []


def test_what_comes_and_goes_within_the_time_is_not_told() -> None:
    desk = Desk(RULES)
    assert [desk.judge({"a": "A"} if second == 0 else {}, float(second)) for second in range(100)] == [[]] * 100


def test_what_stays_is_repeated_rarely() -> None:
    desk = Desk(RULES)
    told = [at for at in range(0, 3 * 3600, 10) if desk.judge({"a": "A"}, float(at))]
    assert told == [30, 3630, 7230]


def test_a_flood_is_held_back_and_told_later() -> None:
    desk = Desk(RULES)
    sent = [m for at in range(0, 3600, 40) for m in desk.judge({f"t{at // 200}": str(at)}, float(at))]
    assert len(sent) == RULES.messages_per_hour_max
    assert desk.held
    late = [m for at in (7300.0, 7331.0) for m in desk.judge({"last": "still here"}, at)]
    assert any("still here" in message.body for message in late)


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.integers(1, 600)), max_size=60))
def test_whatever_happens_limits_hold_and_recoveries_follow_troubles(steps: list[tuple[set[str], int]]) -> None:
    desk, now, sent, told = Desk(RULES), 0.0, [], set()
    for wrong, pause in steps:
        now += pause
        for message in desk.judge({key: key for key in wrong}, now):
            sent.append(now)
            keys = {line.rpartition(" ")[2] for line in message.body.splitlines()}
            if message.is_recovery:
                assert keys <= told
                told -= keys
            else:
                told |= keys
        assert sum(now - at < 3600 for at in sent) <= RULES.messages_per_hour_max
