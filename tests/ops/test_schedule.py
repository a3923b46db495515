"""When jobs run, in time that jumps; what pauses do."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from truetape import clock
from truetape.config import JobSettings, OpsSettings, Settings
from truetape.ops import load_job, open_history
from truetape.ops.job import Job
from truetape.ops.schedule import Launch, Tell, catch_up, keep_schedule, launch_process

START = datetime(2026, 1, 5, 1, 0, 30, tzinfo=UTC)


def make_settings(folder: Path, missed: str = "run") -> Settings:
    jobs = {name: JobSettings(at="never") for name in ("build", "check", "report")}
    return Settings(
        tape=str(folder / "tape"),
        ops=OpsSettings(state=str(folder / "state")),
        jobs={**jobs, "compact": JobSettings(at="0 */6 * * *", missed=missed)},
    )


def keep_for(settings: Settings, hours: float, start: datetime = START) -> list[tuple[str, datetime]]:
    launched = []

    async def launch(job: Job, due_at: datetime) -> None:
        with open_history(Path(settings.ops.state)) as history:
            history.end(history.begin(job.name, due_at), "done", 1, "{}")
        launched.append((job.name, due_at))

    run_schedule(settings, hours, start, launch)
    return launched


def run_schedule(
    settings: Settings, hours: float, start: datetime, launch: Launch, tell: Tell = lambda job, why: None
) -> None:
    async def main() -> None:
        try:
            async with asyncio.timeout(hours * 3600):
                await keep_schedule(settings, launch, tell)
        except TimeoutError:
            return

    with clock.step_virtual(start.timestamp()):
        clock.run(main())


def test_a_job_runs_at_each_of_its_times_and_never_twice(tmp_path: Path) -> None:
    launched = keep_for(make_settings(tmp_path), 24)
    assert [due.hour for _, due in launched] == [6, 12, 18, 0]
    assert {name for name, _ in launched} == {"compact"}


def test_after_a_pause_it_runs_once_and_the_rest_is_written_down(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    keep_for(settings, 7)
    launched = keep_for(settings, 1, START.replace(day=7))
    assert [due for _, due in launched] == [datetime(2026, 1, 7, tzinfo=UTC)]
    with open_history(tmp_path / "state") as history:
        missed = [run.due_at for run in history.list_runs("compact") if run.state == "missed"]
    assert sorted(missed) == [datetime(2026, 1, day, hour, tzinfo=UTC) for day, hour in
                              [(5, 12), (5, 18), (6, 0), (6, 6), (6, 12), (6, 18)]]  # fmt: skip


def test_where_it_says_skip_what_was_missed_is_only_written_down(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "skip")
    keep_for(settings, 7)
    launched = keep_for(settings, 1, START.replace(day=7, hour=1))
    assert launched == []
    with open_history(tmp_path / "state") as history:
        assert sum(run.state == "missed" for run in history.list_runs("compact")) == 7


def test_a_job_that_never_ran_counts_from_now(tmp_path: Path) -> None:
    with clock.step_virtual(START.timestamp()):
        assert catch_up(make_settings(tmp_path), load_job("compact"), "0 * * * *") == START.replace(second=0)
        assert catch_up(make_settings(tmp_path), load_job("compact"), "0 3 * * *") is None


def test_a_job_that_somebody_runs_already_is_tried_again_once_a_minute(tmp_path: Path) -> None:
    """It is not written down as begun: asking again at once would ask for as long as the other one runs."""
    settings, launched = make_settings(tmp_path), list[datetime]()

    async def launch(job: Job, due_at: datetime) -> None:
        launched.append(due_at)

    run_schedule(settings, 0.1, START.replace(hour=5, minute=59), launch)
    assert launched == [START.replace(hour=6, minute=0, second=0)] * 6


def test_a_run_that_is_killed_is_begun_again_as_often_as_a_run_is_tried(tmp_path: Path) -> None:
    settings, launched = make_settings(tmp_path), list[datetime]()

    async def launch(job: Job, due_at: datetime) -> None:
        with open_history(Path(settings.ops.state)) as history:
            history.end(history.begin(job.name, due_at), "killed", 1, "{}")
        launched.append(due_at)

    run_schedule(settings, 6, START.replace(hour=5), launch)
    assert launched == [START.replace(hour=6, minute=0, second=0)] * 3


def test_a_history_that_cannot_be_written_is_told_and_the_schedule_goes_on(tmp_path: Path) -> None:
    """As on a disk that is full for a while."""
    settings, told, launched = make_settings(tmp_path), list[tuple[str, str]](), list[datetime]()
    database = tmp_path / "state/jobs.sqlite"
    database.mkdir(parents=True)

    async def launch(job: Job, due_at: datetime) -> None:
        with open_history(Path(settings.ops.state)) as history:
            history.begin(job.name, due_at)
        launched.append(due_at)

    def tell(job: str, why: str) -> None:
        told.append((job, why))
        if len(told) == 3:
            database.rmdir()

    run_schedule(settings, 7, START, launch, tell)
    assert [job for job, _ in told[:3]] == ["compact"] * 3
    assert f"{database}: the jobs' history cannot be read or written (unable to open" in told[0][1]
    assert told[3] == ("compact", "")
    assert launched == [START.replace(hour=6, minute=0, second=0)]


def test_what_a_clock_wrote_that_was_ahead_does_not_stop_the_schedule(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    ahead = keep_for(settings, 7, START.replace(year=2027))
    assert [due.hour for _, due in ahead] == [6]
    launched = keep_for(settings, 24)
    assert [due for _, due in launched][:2] == [START.replace(hour=hour, minute=0, second=0) for hour in (6, 12)]
    again = keep_for(settings, 13)  # set back by a day: what has run is not run once more
    assert again == []


async def test_a_launched_job_runs_in_a_process_of_its_own(settings: Settings, tmp_path: Path) -> None:
    import msgspec
    import yaml

    config = tmp_path / "truetape.yaml"
    config.write_text(yaml.safe_dump(msgspec.to_builtins(settings)))
    said = []
    await launch_process(config, said.append, load_job("compact"), START)
    assert said[0].startswith("job compact: ")
    assert said[-1].startswith("job compact done")
    with open_history(Path(settings.ops.state)) as history:
        assert history.list_runs("compact")[0].due_at == START


@pytest.mark.parametrize("missing", ["retention"])
async def test_a_job_that_fails_is_told(missing: str, tmp_path: Path) -> None:
    config = tmp_path / "truetape.yaml"
    config.write_text(f"tape: {tmp_path / 'none'}\nops: {{state: {tmp_path / 'state'}}}\nretention: {{tape_days: 1}}\n")
    said = []
    await launch_process(config, said.append, load_job(missing), START)
    assert said[0].startswith(f"job {missing} failed (exit code 2)")
