"""The tape of jobs beside a recorder's: one lake for both, files of its own elsewhere, proven together."""

from pathlib import Path

import pytest

from truetape.config import Settings
from truetape.errors import TapeError
from truetape.flow import deliver, deliver_all, deliver_jobs, list_tapes, verify, verify_all
from truetape.sinks import name_beside
from truetape.tape import FrameKind, Source, open_writer

START_NS = 1_767_225_600 * 10**9


def write_totals(tape: Path, count: int) -> None:
    """Write answers that are a row each."""
    writer = open_writer(tape)
    source = writer.register(Source("coingecko", "rest", "jobs"))
    for number in range(count):
        body = (b'{"data":{"active_cryptocurrencies":1,"markets":1,"total_market_cap":{"usd":1},"total_volume":{},'
                b'"market_cap_percentage":{},"market_cap_change_percentage_24h_usd":0,"updated_at":%d}}' % number)  # fmt: skip
        meta = '{"url":"https://api.coingecko.com/api/v3/global","status":200}'
        writer.append(source, START_NS + number, 0, FrameKind.RESPONSE, body, meta)
    writer.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sinks = (f"lake:{tmp_path / 'lake'}", f"sqlite:{tmp_path / 'rows.db'}", f"csv:{tmp_path / 'out'}?gzip=true")
    return Settings(tape=str(tmp_path / "tape"), sinks=sinks)


def count(verdicts: dict[str, object]) -> dict[str, int]:
    return {Path(spec.partition("?")[0]).name: v.stored["coin_total"] for spec, v in verdicts.items()}  # type: ignore[attr-defined]


def test_one_lake_takes_both_and_files_take_one_each(settings: Settings, tmp_path: Path) -> None:
    write_totals(tmp_path / "tape", 3)
    write_totals(tmp_path / "tape-jobs", 5)
    assert len(deliver_all(settings)) == 6
    verdicts = verify_all(settings)
    assert all(verdict.balanced for verdict in verdicts.values()), verdicts
    assert count(verdicts) == {"lake": 8, "rows.db": 3, "rows-jobs.db": 5, "out": 3, "out-jobs": 5}
    assert list_tapes(settings.tape) == [settings.tape, f"{settings.tape}-jobs"]


def test_one_tape_alone_does_not_balance_with_what_both_stored(settings: Settings, tmp_path: Path) -> None:
    write_totals(tmp_path / "tape", 3)
    write_totals(tmp_path / "tape-jobs", 5)
    deliver(settings.tape, settings.sinks[:1])
    assert verify(settings.tape, settings.sinks[0]).balanced
    deliver_jobs(settings)
    assert verify(settings.tape, settings.sinks[0]).problems == [
        "coin_total: 3 rows are due (3 decoded, 0 repeats), 8 stored"
    ]
    write_totals(tmp_path / "tape-jobs", 1)
    beside = [f"{settings.tape}-jobs"]
    assert verify(settings.tape, settings.sinks[0], beside=beside).problems == [
        "the tape ends at 6, the sink stands at 5: run `truetape deliver`"
    ]


def test_either_tape_may_be_missing(settings: Settings, tmp_path: Path) -> None:
    assert deliver_jobs(settings) == []
    with pytest.raises(TapeError, match="is not a tape"):
        deliver_all(settings)
    write_totals(tmp_path / "tape-jobs", 2)
    assert [progress.end for progress in deliver_all(settings)] == [2, 2, 2]
    assert count(verify_all(settings)) == {"lake": 2, "rows-jobs.db": 2, "out-jobs": 2}


@pytest.mark.parametrize(
    ("spec", "beside"),
    [("lake:data/lake", "lake:data/lake"), ("csv:out?gzip=true", "csv:out-jobs?gzip=true"), ("memory:", "memory:"),
     ("sqlite:/a/rows.sqlite", "sqlite:/a/rows-jobs.sqlite")],
)  # fmt: skip
def test_another_tape_goes_into_the_same_lake_and_into_files_of_its_own(spec: str, beside: str) -> None:
    assert name_beside(spec, "-jobs") == beside
