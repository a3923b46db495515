"""The past of venues that are kept without being recorded."""

from datetime import UTC, datetime

from truetape import clock
from truetape.errors import VenueUnreachable
from truetape.flow.archive import Kept, keep_past
from truetape.ops.job import Context, Job

NAME = "archive"


def _run(context: Context) -> dict[str, int | str]:
    now = datetime.fromtimestamp(clock.wall_ns() // 10**9, UTC)

    def take(kept: Kept) -> None:
        if kept.until is not None:  # what is marked is durable, so that a run that is killed goes on here
            context.history.mark(NAME, kept.key, kept.until.isoformat())
        context.say(f"{kept.key}: {kept.status}, {kept.rows:,} rows{kept.reason and f'; {kept.reason}'}")

    done = keep_past(context.settings, now, lambda key: context.history.find_mark(NAME, key), take)
    failed = [kept for kept in done if kept.status == "failed"]
    if failed:
        raise VenueUnreachable(f"{len(failed)} of {len(done)} streams failed: {failed[0].key}: {failed[0].reason}")
    absent = sum(kept.status == "absent" for kept in done)
    return {"streams": len(done), "rows": sum(kept.rows for kept in done), "absent": absent}


JOB = Job(
    NAME,
    "Fetch what is new of the past that `archive` keeps.",
    "40 1 * * *",
    _run,
    lambda settings: bool(settings.archive),
)
