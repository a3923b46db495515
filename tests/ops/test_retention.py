"""Old segments go, what is needed stays, and the rest balances as the whole did."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hourly_trades import DAY_NS, START_NS, write_trades

from truetape import clock
from truetape.config import RetentionSettings, Settings
from truetape.errors import ConfigError, TapeError
from truetape.flow import deliver, deliver_jobs, replay, verify, verify_all
from truetape.lake import Lake, drop_pin, lake_hash, list_pins, pin_lake, vacuum
from truetape.ops import prune
from truetape.tape import FrameKind, Source, TapeSettings, find_folder, list_sealed, open_writer, verify_tape

NOW_S = (START_NS + 26 * DAY_NS) / 1e9


def with_rules(settings: Settings, **rules: object) -> Settings:
    return msgspec.structs.replace(settings, retention=RetentionSettings(**rules))


def test_nothing_goes_unless_the_settings_say_so(settings: Settings) -> None:
    with clock.compress(NOW_S, 1):
        assert prune(settings).segments == 0


def test_old_segments_go_and_the_rest_balances(settings: Settings) -> None:
    before = verify(settings.tape, settings.sinks[0])
    kept_rules = with_rules(settings, tape_days=10)
    with clock.compress(NOW_S, 1):
        would = prune(kept_rules, dry_run=True)
        assert len(list_sealed(find_folder(settings.tape))) == 6
        done = prune(kept_rules)
    assert (done.segments, done.bytes) == (would.segments, would.bytes)
    assert done.segments == 3
    assert verify_tape(find_folder(settings.tape)).problems == ()
    for spec in settings.sinks:
        after = verify(settings.tape, spec)
        assert after.balanced, after.problems
    assert after.frames == before.frames


def test_a_pruned_tape_goes_on(settings: Settings) -> None:
    with clock.compress(NOW_S, 1):
        prune(with_rules(settings, tape_days=10))
    write_trades(Path(settings.tape), 600, 100)
    deliver(settings.tape, settings.sinks, settings.deliver)
    with clock.compress(NOW_S + 10 * 86_400, 1):
        assert prune(with_rules(settings, tape_days=10)).segments == 3
    verdict = verify(settings.tape, settings.sinks[0])
    assert verdict.balanced, verdict.problems
    assert verdict.stored["trade"] == 700
    rows = [row for tables in replay(settings.tape) for row in tables.get("trade", _nothing()).to_pylist()]
    assert len(rows) == 100


def _nothing() -> object:
    import pyarrow as pa

    return pa.table({})


def test_the_tape_is_kept_below_a_size(settings: Settings) -> None:
    sizes = [info.bytes for info in list_sealed(find_folder(settings.tape))]
    with clock.compress(NOW_S, 1):
        done = prune(with_rules(settings, tape_bytes_max=sum(sizes[2:])))
    assert done.segments == 2


def test_what_a_sink_lacks_stays(settings: Settings) -> None:
    write_trades(Path(settings.tape), 600, 200)
    deliver(settings.tape, settings.sinks[:1], settings.deliver)
    with clock.compress(NOW_S + 100 * 86_400, 1):
        done = prune(with_rules(settings, tape_days=1))
    assert done.segments == 6
    assert "sqlite:" in done.kept
    assert "stands at offset 600" in done.kept


def test_a_damaged_segment_stays_and_is_named(settings: Settings) -> None:
    victim = min((Path(settings.tape) / "segments").iterdir())
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with clock.compress(NOW_S, 1), pytest.raises(TapeError, match="not as the manifest says"):
        prune(with_rules(settings, tape_days=10))
    assert victim.exists()


def test_old_days_of_a_table_go_and_still_balance(settings: Settings, tmp_path: Path) -> None:
    with clock.compress(NOW_S, 1):
        done = prune(with_rules(settings, table_days={"trade": 5}))
    left = len(Lake(tmp_path / "lake").sql("select * from trade").arrow())
    assert 0 < left < 600
    assert done.rows == {"trade": 600 - left}
    verdict = verify(settings.tape, settings.sinks[0])
    assert verdict.balanced, verdict.problems
    assert verdict.dropped == {"trade": 600 - left}
    with clock.compress(NOW_S, 1):
        assert prune(with_rules(settings, table_days={"trade": 5})).rows == {}


def test_rows_that_vanish_otherwise_do_not_balance(settings: Settings, tmp_path: Path) -> None:
    from deltalake import DeltaTable

    DeltaTable(tmp_path / "lake" / "trade").delete("date < '2026-01-10'")
    assert not verify(settings.tape, settings.sinks[0]).balanced


def test_an_unknown_table_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"retention\.table_days: no table 'trades'"):
        prune(with_rules(settings, table_days={"trades": 5}))


def test_an_open_gap_holds_the_tape_from_where_it_began(tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    write_trades(tape, 0, 200)
    write_event(tape, START_NS + 200 * 3600 * 10**9, '{"event":"closed","reason":"cut"}')
    write_trades(tape, 200, 100, "ETH")
    settings = Settings(tape=str(tape), sinks=(f"lake:{tmp_path / 'lake'}",), retention=RetentionSettings(tape_days=1))
    deliver(settings.tape, settings.sinks, settings.deliver)
    with clock.compress(NOW_S, 1):
        done = prune(settings)
        assert done.segments == 1
        assert "is open" in done.kept
        patient = msgspec.structs.replace(settings, retention=RetentionSettings(tape_days=1, open_gap_days=5))
        assert prune(patient).segments == 2, "all but the newest, which says where the tape goes on"
    assert verify(settings.tape, settings.sinks[0]).balanced


def write_event(folder: Path, at_ns: int, event: str) -> None:
    """Let something happen to the connection of the trades."""
    writer = open_writer(str(folder), TapeSettings())
    source = writer.register(Source("binance", "spot", "binance/spot/BTC#1"))
    writer.append(source, at_ns, 0, FrameKind.EVENT, b"", event)
    writer.close()


def test_a_crash_while_pruning_loses_nothing(settings: Settings) -> None:
    folder = find_folder(settings.tape)
    with clock.compress(NOW_S, 1):
        saved = {path: path.read_bytes() for path in (folder / "segments").iterdir()}
        manifest = (folder / "manifest.jsonl").read_bytes()
        prune(with_rules(settings, tape_days=10))
        for path, content in saved.items():  # as if it had died before the first segment was taken off
            path.write_bytes(content)
        (folder / "manifest.jsonl").write_bytes(manifest)
        assert verify(settings.tape, settings.sinks[0]).balanced
        assert prune(with_rules(settings, tape_days=10)).segments == 3
    assert len(list_sealed(folder)) == 3
    assert verify(settings.tape, settings.sinks[0]).balanced


def test_the_tape_of_jobs_is_pruned_by_the_same_rules(settings: Settings) -> None:
    jobs = f"{settings.tape}-jobs"
    write_trades(Path(jobs), 0, 600)
    rules = with_rules(settings, tape_days=10)
    with clock.compress(NOW_S, 1):
        assert "stands at offset 0" in prune(rules, dry_run=True).kept
        deliver_jobs(settings)
        assert prune(rules, dry_run=True).segments == 6
        assert prune(rules).segments == 6
        assert prune(rules).segments == 0
    for tape in (settings.tape, jobs):
        assert len(list_sealed(find_folder(tape))) == 3
    assert all(verdict.balanced for verdict in verify_all(settings).values())


def test_a_pinned_dataset_keeps_the_tape_and_the_files_it_was_built_from(settings: Settings, tmp_path: Path) -> None:
    """What was pinned stays readable, and can be built again from the tape to the same hash; unpinned, all goes."""
    lake, rules = tmp_path / "lake", with_rules(settings, tape_days=10, table_days={"trade": 5})
    pin = pin_lake(lake, "paper-1")
    write_trades(Path(settings.tape), 600, 100)
    deliver(settings.tape, settings.sinks, settings.deliver)
    with clock.compress(NOW_S + 10 * 86_400, 1):
        done = prune(rules)
        vacuum(lake, 0, force=True)
    assert done.segments == 0
    assert "the pinned dataset 'paper-1' was built from it" in done.kept
    assert done.rows["trade"] > 0
    assert len(Lake(lake, "paper-1").sql("from trade").arrow()) == 600
    assert lake_hash(lake, versions={name: table.version for name, table in pin.tables.items()}) == pin.sha256
    rows = [row for tables in replay(settings.tape, end=600) for row in tables.get("trade", _nothing()).to_pylist()]
    kept = Lake(lake, "paper-1").sql("from trade").arrow().drop_columns(["date"]).to_pylist()
    assert sorted(row["tape_offset"] for row in rows) == sorted(row["tape_offset"] for row in kept) == [*range(600)]
    drop_pin(lake, "paper-1")
    with clock.compress(NOW_S + 10 * 86_400, 1):
        assert prune(rules).segments == 6
        vacuum(lake, 0, force=True)
    assert verify(settings.tape, settings.sinks[0]).balanced


def test_what_was_recorded_after_a_pin_may_go_but_not_before_what_it_needs(settings: Settings, tmp_path: Path) -> None:
    """A pin of another tape, or of an earlier time, holds only what is its own."""
    pin_lake(tmp_path / "lake", "old")
    path = tmp_path / "lake/_pins/old.json"
    said = msgspec.json.decode(path.read_bytes())
    rules = with_rules(settings, tape_days=10)
    with clock.compress(NOW_S, 1):
        path.write_bytes(msgspec.json.encode({**said, "tapes": {"another": 10**9}}))
        assert prune(rules, dry_run=True).segments == 3
        path.write_bytes(msgspec.json.encode({**said, "tapes": None, "made_at": "2026-01-09T00:00:00Z"}))
        assert prune(rules, dry_run=True).segments == 0, "a pin that does not say: what was received before it"
        path.write_bytes(msgspec.json.encode({**said, "tapes": None, "made_at": "2026-01-01T00:00:00Z"}))
        assert prune(rules, dry_run=True).segments == 3


def test_a_pin_holds_only_the_tape_that_its_rows_came_from(settings: Settings, tmp_path: Path) -> None:
    """What had gone from the lake before holds nothing; the rest is built again from what is left of the tape."""
    lake, rules = tmp_path / "lake", with_rules(settings, tape_days=1)
    with clock.compress(NOW_S, 1):
        prune(with_rules(settings, table_days={"trade": 16}))
    pin = pin_lake(lake, "paper-1")
    assert pin.offsets is not None
    first, last = pin.offsets
    assert (200 < first < 300, last) == (True, 599)
    with clock.compress(NOW_S + 10 * 86_400, 1):
        assert "'paper-1' was built from it" in prune(rules, dry_run=True).kept
        assert prune(rules).segments == 2
    check_rebuilt(settings, lake, "paper-1", first, last)
    drop_pin(lake, "paper-1")
    with clock.compress(NOW_S + 10 * 86_400, 1):
        assert prune(rules).segments == 3
    assert verify(settings.tape, settings.sinks[0]).balanced


def test_a_pin_of_a_span_holds_the_tape_of_that_span(settings: Settings, tmp_path: Path) -> None:
    lake, rules = tmp_path / "lake", with_rules(settings, tape_days=1)
    at = [datetime.fromtimestamp(START_NS / 1e9 + hours * 3600, UTC) for hours in (250, 350)]
    pin_lake(lake, "early", span=(None, at[0]))
    pin_lake(lake, "middle", span=(at[0], at[1]))
    assert [pin.offsets for pin in list_pins(lake)] == [(0, 249), (250, 349)]
    assert pin_lake(lake, "never", span=(None, at[0].replace(year=2020))).offsets is None
    with pytest.raises(ConfigError, match="is not before --to"):
        pin_lake(lake, "wrong", span=(at[1], at[0]))
    with clock.compress(NOW_S + 10 * 86_400, 1):
        assert prune(rules).segments == 0
        drop_pin(lake, "early")
        assert prune(rules).segments == 2
    check_rebuilt(settings, lake, "middle", 250, 349)


def check_rebuilt(settings: Settings, lake: Path, name: str, first: int, last: int) -> None:
    """Hold rows of a pin against those that the rest of the tape gives."""
    rows = [row for tables in replay(settings.tape) for row in tables.get("trade", _nothing()).to_pylist()]
    kept = Lake(lake, name).sql("from trade").arrow().drop_columns(["date"]).to_pylist()
    told, held = (
        sorted((row for row in one if first <= row["tape_offset"] <= last), key=lambda row: row["tape_offset"])
        for one in (rows, kept)
    )
    assert told == held
    assert [row["tape_offset"] for row in held] == [*range(first, last + 1)]
