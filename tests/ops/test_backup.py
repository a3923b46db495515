"""Backups: incremental, and equal by hash when they come back."""

import shutil
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hourly_trades import write_trades

from truetape.cli.backup import command as backup_command
from truetape.cli.prune import command as prune_command
from truetape.config import Settings
from truetape.errors import ConfigError, Fatal
from truetape.flow import deliver, verify
from truetape.lake import lake_hash
from truetape.ops import back_up, list_backups, restore
from truetape.ops.lock import hold
from truetape.tape import find_folder, list_sealed, verify_tape


def wipe(settings: Settings) -> None:
    shutil.rmtree(settings.tape)
    for spec in settings.sinks:
        place = Path(spec.partition(":")[2])
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def test_what_comes_back_is_equal_by_hash_and_balances(settings: Settings, tmp_path: Path) -> None:
    before = lake_hash(tmp_path / "lake")
    place = str(tmp_path / "backups")
    made = back_up(settings, place)
    wipe(settings)
    back = restore(settings, place)
    assert (back.files, back.bytes) == (made.files, made.bytes)
    assert lake_hash(tmp_path / "lake") == before
    assert verify_tape(find_folder(settings.tape)).problems == ()
    for spec in settings.sinks:
        assert verify(settings.tape, spec).balanced


def test_a_second_backup_copies_only_what_is_new(settings: Settings, tmp_path: Path) -> None:
    place = str(tmp_path / "backups")
    first = back_up(settings, place)
    again = back_up(settings, place)
    assert again.new_files == 0
    assert again.files == first.files
    write_trades(Path(settings.tape), 600, 100)
    deliver(settings.tape, settings.sinks, settings.deliver)
    more = back_up(settings, place)
    assert 0 < more.new_bytes < first.new_bytes
    assert [b.name for b in list_backups(place)] == [first.name, again.name, more.name]


def test_an_older_backup_can_be_named(settings: Settings, tmp_path: Path) -> None:
    place = str(tmp_path / "backups")
    first = back_up(settings, place)
    write_trades(Path(settings.tape), 600, 100)
    back_up(settings, place)
    wipe(settings)
    restore(settings, place, first.name)
    assert list_sealed(find_folder(settings.tape))[-1].end == 600


def test_a_sink_that_lags_is_carried_on_after_restoring(settings: Settings, tmp_path: Path) -> None:
    write_trades(Path(settings.tape), 600, 100)
    place = str(tmp_path / "backups")
    back_up(settings, place)
    wipe(settings)
    restore(settings, place)
    deliver(settings.tape, settings.sinks, settings.deliver)
    assert verify(settings.tape, settings.sinks[0]).stored["trade"] == 700


def test_a_damaged_object_is_refused(settings: Settings, tmp_path: Path) -> None:
    place = tmp_path / "backups"
    back_up(settings, str(place))
    victim = max((path for path in (place / "objects").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    wipe(settings)
    with pytest.raises(Fatal, match="is damaged"):
        restore(settings, str(place))


def test_a_damaged_segment_is_not_backed_up(settings: Settings, tmp_path: Path) -> None:
    victim = next((Path(settings.tape) / "segments").iterdir())
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(Fatal, match="not as the manifest says"):
        back_up(settings, str(tmp_path / "backups"))


def test_restoring_over_anything_is_refused(settings: Settings, tmp_path: Path) -> None:
    place = str(tmp_path / "backups")
    back_up(settings, place)
    with pytest.raises(ConfigError, match="is not empty"):
        restore(settings, place)


def test_wrong_places_and_names_are_told(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a folder nor s3"):
        back_up(settings, "ftp://somewhere/else")
    with pytest.raises(ConfigError, match="there is no backup"):
        restore(settings, str(tmp_path / "none"))
    back_up(settings, str(tmp_path / "backups"))
    with pytest.raises(ConfigError, match="no backup 'x'"):
        restore(settings, str(tmp_path / "backups"), "x")
    fewer = msgspec.structs.replace(settings, sinks=())
    with pytest.raises(ConfigError, match="the backup has 2, the settings have 0"):
        restore(fewer, str(tmp_path / "backups"))


def test_a_backup_by_hand_and_the_job_are_not_at_it_at_once(settings: Settings, tmp_path: Path) -> None:
    config = tmp_path / "truetape.yaml"
    config.write_text(yaml.safe_dump(msgspec.to_builtins(settings)))
    for command, name in ((backup_command, "backup"), (prune_command, "retention")):
        words = ["--config", str(config), *(["--to", str(tmp_path / "copies")] if name == "backup" else [])]
        with hold(Path(settings.ops.state) / "locks", name):
            done = CliRunner().invoke(command, words)
        assert (done.exit_code, done.output.startswith(f"{name} is already running: process ")) == (0, True), done
        assert CliRunner().invoke(command, words).exit_code == 0
    assert len(list_backups(str(tmp_path / "copies"))) == 1
