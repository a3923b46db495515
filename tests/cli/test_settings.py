"""init, config, doctor: settings, and what is said when they are wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import Run

VENUE = "venues: {binance: {instruments: [BTC-USDT]"


def test_init_writes_what_config_shows(truetape: Run, tmp_path: Path) -> None:
    assert truetape("init").code == 0
    shown = truetape("config", "show", "--json").json
    assert shown["tape"] == "data/tape"
    assert shown["venues.binance.instruments"] == ["BTC-USDT", "ETH-USDT"]
    assert set(yaml.safe_load((tmp_path / "truetape.yaml").read_text())) == {"tape", "sinks", "venues"}


def test_init_does_not_replace_settings(truetape: Run, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("tape: mine\n")
    assert "--force" in refused("init")
    assert (tmp_path / "truetape.yaml").read_text() == "tape: mine\n"
    assert truetape("init", "--force").code == 0


def test_without_a_file_the_defaults_hold(truetape: Run) -> None:
    done = truetape("config", "show", env={"TRUETAPE__RECORD__FSYNC_INTERVAL_MS": "50"})
    assert done.code == 0
    assert "record.fsync_interval_ms: 50" in done.out


def test_schema_is_json(truetape: Run) -> None:
    schema = truetape("config", "schema").json
    assert "$ref" in schema or "properties" in schema


def test_doctor(truetape: Run) -> None:
    truetape("init")
    done = truetape("doctor", "--json")
    findings = {finding["what"]: finding for finding in done.json}
    assert {"python", "settings", "disk", "venue binance"} <= set(findings)
    assert done.code == (0 if all(finding["ok"] for finding in done.json) else 1)


def test_doctor_finds_a_wrong_setting(truetape: Run, tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text(VENUE + "}, binnace: {instruments: [all]}}\n")
    done = truetape("doctor", "--json")
    assert done.code == 1
    assert any("did you mean binance" in finding["detail"] for finding in done.json if not finding["ok"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tapes: x", ["tapes", "did you mean tape"]),
        (VENUE + ", chanels: [trade]}}", ["venues.binance.chanels", "did you mean channels"]),
        ("record: {fsync_interval_ms: soon}", ["record.fsync_interval_ms", "soon"]),
        ("record: {fsync_interval_ms: -1}", ["record.fsync_interval_ms", "-1"]),
        ("log: {level: loud}", ["log.level", "loud", "(allowed: debug, info, warning, error)"]),
        ("jobs: {backup: {missd: skip}}", ["jobs.backup.missd", "did you mean missed"]),
        ("jobs: {check: {missed: maybe}}", ["jobs.check.missed: 'maybe' (allowed: run, skip)"]),
        ("tardis: {book_levels: 7}", ["tardis.book_levels: 7 (allowed: 5, 25)"]),
        ("1: 2", ["1: a key is text"]),
        ("snapshots: {no: {}}", ["snapshots.False: a key is text"]),
        ("tape: &a {x: *a}", ["tape: Expected `str`"]),
        ("sinks: lake:x", ["sinks"]),
        ("- a list", ["list"]),
        ("tape: [", ["line 2"]),
        (VENUE + ", url: 'ftp://x'}}", ["venues.binance.url", "http://"]),
    ],
)
def test_wrong_settings_are_one_line(refused: Callable[..., str], tmp_path: Path, text: str, says: list[str]) -> None:
    (tmp_path / "truetape.yaml").write_text(text + "\n")
    line = refused("config", "show")
    assert "truetape.yaml" in line or "venues." in line
    for part in says:
        assert part in line


def test_the_doctor_asks_venues_for_their_listings_where_there_are_any(truetape: Run, tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text(
        "venues:\n  tardis: {instruments: [all]}\n  coinbase: {instruments: [BTC-USD], url: 'http://127.0.0.1:1'}\n"
    )
    told = {finding["what"]: finding for finding in truetape("doctor", "--network", "--json").json}
    assert told["network tardis"]["detail"] == "not asked: it has no listing"
    assert not told["network coinbase"]["ok"] and "127.0.0.1:1" in told["network coinbase"]["detail"]


NAMED = [
    ("sinks: ['moon:x']", "sinks: unknown sink 'moon' in 'moon:x'; nearest is 'memory'"),
    ("sinks: ['lake:']", "sinks: sink lake: the place is missing"),
    ("sinks: ['csv:x?gzipp=true']", "sinks: sink csv: unknown option 'gzipp'; allowed: gzip"),
    ("sinks: ['lake:x', 'lake:x']", "sinks: 'lake:x' is given twice"),
    ("tape: ''", "tape: empty"),
    (VENUE + ", channels: [trad]}}", "venues.binance.channels: 'trad' is not there"),
    ("archive: {binance: {instruments: [BTC-USDT], channels: [trad]}}", "archive.binance.channels: 'trad'"),
    ("snapshots: {one: {preset: moon}}", "snapshots.one.preset: 'moon' is not known"),
    ("retention: {table_days: {trades: 3}}", "retention.table_days: no table 'trades'"),
    ("jobs: {bakup: {at: never}}", "jobs.bakup: job 'bakup': unknown"),
    ("jobs: {backup: {at: '61 * * * *'}}", "jobs.backup.at: '61 * * * *' is not five fields of cron"),
    ("backup: {to: 's3://me:secret@bucket/x'}", "backup.to: 's3://…@bucket/x' holds a key; set AWS_ACCESS_KEY_ID"),
    ("backup: {to: 'ftp://me:secret@host'}", "backup.to: 'ftp://…@host' is neither a folder nor s3://"),
]


@pytest.mark.parametrize(("text", "says"), NAMED)
def test_what_there_is_not_is_refused_when_settings_are_read(
    refused: Callable[..., str], tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "truetape.yaml").write_text(text + "\n")
    assert f"truetape.yaml: {says}" in refused("config", "show")


def test_all_that_there_is_not_is_found_by_the_doctor(truetape: Run, tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("sinks: ['moon:x', 'lake:']\njobs: {bakup: {}}\n")
    done = truetape("doctor", "--json")
    assert done.code == 1
    wrong = [finding["detail"] for finding in done.json if finding["what"] == "settings"]
    assert [detail.partition(":")[0] for detail in wrong] == ["sinks", "sinks", "jobs.bakup"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TRUETAPE__LOG__LEVEL", "loud", "variable TRUETAPE__LOG__LEVEL: log.level: 'loud' (allowed: debug"),
        ("TRUETAPE__SINKS", "lake:x", "variable TRUETAPE__SINKS: sinks: Expected `array`, got `str`"),
        ("TRUETAPE__RECRD__X", "1", "variable TRUETAPE__RECRD__X: recrd: unknown key"),
        ("TRUETAPE__", "1", "variable TRUETAPE__: names no key"),
        ("TRUETAPE__SINKS", "[lake:x", "variable TRUETAPE__SINKS: sinks: Expected `array`, got `str`"),
    ],
)
def test_a_variable_that_is_wrong_is_named(refused: Callable[..., str], name: str, value: str, says: str) -> None:
    assert says in refused("config", "show", env={name: value})


def test_a_variable_that_sends_no_venue_anywhere_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("venues: {binance: {instruments: [BTC-USDT]}}\n")
    line = refused("record", "--duration", "1", env={"TRUETAPE_URL_BINANSE": "http://127.0.0.1:1"})
    assert "variable TRUETAPE_URL_BINANSE: there is no venue 'binanse'" in line
    assert line.endswith("did you mean binance?\n")


def test_a_variable_may_hold_a_schedule(truetape: Run) -> None:
    done = truetape("config", "show", "--json", env={"TRUETAPE__JOBS__BACKUP__AT": "*/5 * * * *"})
    assert done.json["jobs.backup.at"] == "*/5 * * * *"


def test_a_line_of_the_environment_file_that_does_not_read_is_named_and_not_shown(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("A=1\n\n\nB='open secret\nC=2\n")
    line = refused("config", "show")
    assert ".env, line 4: does not read" in line
    assert "secret" not in line


@pytest.mark.parametrize("command", [["config", "show"], ["record"], ["status"], ["sql", "select 1"], ["verify"]])
def test_a_missing_settings_file_is_named(refused: Callable[..., str], command: list[str]) -> None:
    assert "other.yaml" in refused(*command, "--config", "other.yaml")


def test_unwritable_folder(refused: Callable[..., str]) -> None:
    assert "/proc/nobody" in refused("init", "/proc/nobody/may")


def test_passwords_are_not_shown(truetape: Run, tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text(
        VENUE + ', url: "http://me:s3cret@127.0.0.1:1"}}\nsinks: ["postgres://me:s3cret@db/x"]\n'
    )
    for arguments in (["config", "show"], ["config", "show", "--json"], ["doctor"], ["doctor", "--json"]):
        done = truetape(*arguments, env={"MY_API_KEY": "s3cret"})
        assert "s3cret" not in done.out + done.err
    (tmp_path / "truetape.yaml").write_text(VENUE + ', url: "http://me:s3cret@127.0.0.1:1"}}\n')
    assert json.loads(truetape("config", "show", "--json").out)["venues.binance.url"] == "http://…@127.0.0.1:1"


def test_every_value_says_where_it_comes_from(truetape: Run, tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("tape: mine\nvenues: {binance: {instruments: [BTC-USDT]}}\n")
    (tmp_path / ".env").write_text("TRUETAPE__LOG__LEVEL=debug\n")
    env = {"TRUETAPE_URL_BINANCE": "http://127.0.0.1:9", "TRUETAPE__RETENTION__TABLE_DAYS": "{trade: 5}"}
    done = truetape("config", "show", "--origin", "--json", env=env)
    told = {row["key"]: (row["value"], row["from"]) for row in json.loads(done.out)}
    assert told["tape"] == ("mine", "truetape.yaml")
    assert told["log.level"] == ("debug", "TRUETAPE__LOG__LEVEL in .env")
    assert told["venues.binance.url"] == ("http://127.0.0.1:9", "variable TRUETAPE_URL_BINANCE")
    assert told["venues.binance.instruments"] == ("BTC-USDT", "truetape.yaml")
    assert told["retention.table_days.trade"] == ("5", "variable TRUETAPE__RETENTION__TABLE_DAYS")
    assert told["record.fsync_interval_ms"] == ("200", "default")
