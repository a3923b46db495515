"""Jobs: one at a time, tried again, written down, cleaned up after."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from truetape.config import BackupSettings, JobSettings, OpsSettings, Settings
from truetape.errors import Busy, ConfigError, Fatal, VenueUnreachable
from truetape.ops import list_jobs, load_job, open_history, run_job
from truetape.ops.job import Context, Job
from truetape.ops.lock import hold


def make_settings(folder: Path, **jobs: JobSettings) -> Settings:
    return Settings(tape=str(folder / "tape"), sinks=(), ops=OpsSettings(state=str(folder / "state")), jobs=jobs)


def make_job(run: object, name: str = "try") -> Job:
    return Job(name, "Try something.", "", run)


def test_a_run_is_written_down_with_what_it_counted(tmp_path: Path) -> None:
    done = run_job(make_job(lambda context: {"rows": 3}), make_settings(tmp_path))
    assert (done.state, done.report, done.attempts) == ("done", '{"rows":3}', 1)
    with open_history(tmp_path / "state") as history:
        assert history.list_runs() == [done]


def test_what_is_away_is_tried_again(tmp_path: Path) -> None:
    tries = []

    def run(context: Context) -> dict[str, int | str]:
        tries.append(1)
        if len(tries) < 2:
            raise VenueUnreachable("away")
        return {}

    assert run_job(make_job(run), make_settings(tmp_path)).attempts == 2


def test_what_cannot_be_helped_fails_at_once_and_says_why(tmp_path: Path) -> None:
    def run(context: Context) -> dict[str, int | str]:
        raise Fatal("no such table")

    with pytest.raises(Fatal, match="no such table"):
        run_job(make_job(run), make_settings(tmp_path))
    with open_history(tmp_path / "state") as history:
        failed = history.list_runs("try")[0]
    assert (failed.state, failed.error, failed.attempts) == ("failed", "no such table", 1)


def test_tries_end(tmp_path: Path) -> None:
    def run(context: Context) -> dict[str, int | str]:
        raise VenueUnreachable("still away")

    job = make_job(run)
    with pytest.raises(VenueUnreachable):
        run_job(job, make_settings(tmp_path, **{"try": JobSettings(attempts=1)}))


def hold_forever(folder: Path, ready: object) -> None:
    def run(context: Context) -> dict[str, int | str]:
        (context.scratch / "half").write_text("done")
        context.history.mark("try", "page", "7")
        ready.set()
        time.sleep(60)
        return {}

    run_job(make_job(run), make_settings(folder))


def test_of_two_one_runs_and_a_killed_one_is_told_and_goes_on(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("fork")
    ready = spawned.Event()
    first = spawned.Process(target=hold_forever, args=(tmp_path, ready))
    first.start()
    assert ready.wait(20)
    with pytest.raises(Busy, match=f"try is already running: process {first.pid} since"):
        run_job(make_job(lambda context: {}), make_settings(tmp_path))
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with open_history(tmp_path / "state") as history:
        assert [run.state for run in history.list_runs("try")] == ["killed"]  # before anybody begins it again
    seen = {}

    def go_on(context: Context) -> dict[str, int | str]:
        seen["page"] = context.history.find_mark("try", "page")
        seen["left"] = [path.name for path in (tmp_path / "state").glob("truetape-job-*") if path != context.scratch]
        return {}

    assert run_job(make_job(go_on), make_settings(tmp_path)).state == "done"
    assert seen == {"page": "7", "left": []}
    with open_history(tmp_path / "state") as history:
        assert [run.state for run in history.list_runs("try")] == ["done", "killed"]


def test_the_scratch_folder_is_gone_afterwards(tmp_path: Path) -> None:
    run_job(make_job(lambda context: {"made": (context.scratch / "x").write_text("x")}), make_settings(tmp_path))
    assert list((tmp_path / "state").glob("truetape-job-*")) == []


def test_an_unknown_job_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean compact"):
        load_job("compactt")


@pytest.mark.parametrize("job", list_jobs(), ids=lambda job: job.name)
def test_every_job_runs_on_a_recording(job: Job, settings: Settings, tmp_path: Path) -> None:
    whole = msgspec.structs.replace(settings, backup=BackupSettings(to=str(tmp_path / "backups")))
    assert run_job(job, whole).state == "done"


@pytest.mark.parametrize("job", list_jobs(), ids=lambda job: job.name)
def test_of_every_job_two_started_together_run_one(job: Job, settings: Settings, tmp_path: Path) -> None:
    import yaml

    (tmp_path / "truetape.yaml").write_text(
        yaml.safe_dump(msgspec.to_builtins(msgspec.structs.replace(settings, backup=BackupSettings(to="backups"))))
    )
    command = [sys.executable, "-m", "truetape.cli", "jobs", "run", job.name]
    from truetape.ops.lock import hold

    with hold(Path(settings.ops.state) / "locks", job.name):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{job.name} is already running: process {os.getpid()} since" in done.stdout


def test_a_lock_is_held_on_a_full_disk_too(small_disk: Callable[..., Path]) -> None:
    place = small_disk("-t", "tmpfs", "-o", "size=64k", "tmpfs")
    (place / "locks").mkdir()
    with pytest.raises(OSError, match="No space"), (place / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with hold(place / "locks", "retention"), pytest.raises(Busy, match="somebody holds"):  # noqa: SIM117
        with hold(place / "locks", "retention"):
            pass
