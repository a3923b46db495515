"""What gaps are missing, asked of the venues' history."""

from datetime import UTC, datetime

from truetape import clock
from truetape.config import Settings
from truetape.errors import VenueUnreachable
from truetape.flow.repair import Handed, Repair, repair_beside
from truetape.ops.history import History
from truetape.ops.job import Context, Job
from truetape.ops.place import list_lakes
from truetape.tape import has_tape

NAME = "gaps_repair"
PENDING = "pending"
"""Mark of the gaps that were handed over, and when."""
PENDING_MAX_S = 3600
"""What is not in the lake by then was lost on the way, and is asked again."""


def _run(context: Context) -> dict[str, int | str]:
    if not has_tape(context.settings.tape):
        context.say("there is no tape yet: nothing is recorded that could have gaps")
        return {"repaired": 0, "unrecoverable": 0}
    now_s = clock.wall_ns() // 10**9
    pending = _read_pending(context.history, now_s)

    def remember(gaps: tuple[str, ...]) -> None:
        context.history.mark(NAME, PENDING, _write_pending(pending | dict.fromkeys(gaps, now_s)))

    asked: tuple[str, ...] = ()
    try:
        done = repair_beside(
            context.settings, pending=[*pending], now=datetime.fromtimestamp(now_s, UTC), on_hand=remember
        )
        asked = done.asked if isinstance(done, Handed) else ()
    finally:  # a run that is killed leaves it to the recorder, as its work goes on
        remember(asked)
    for trouble in done.troubles:
        context.say(trouble)
    if done.failed:
        failed = len(done.failed) if isinstance(done, Handed) else done.failed
        raise VenueUnreachable(f"{failed} gaps were not answered: {done.troubles[0]}")
    return _count(done)


def _count(done: Repair | Handed) -> dict[str, int | str]:
    if isinstance(done, Handed):
        return {"asked": len(done.asked), "waiting": done.waiting}
    told = {"repaired": done.repaired, "unrecoverable": done.unrecoverable}
    return {**told, "waiting": done.waiting, "left": done.left}


def _read_pending(history: History, now_s: int) -> dict[str, int]:
    words = (history.find_mark(NAME, PENDING) or "").split()
    told = {gap: int(at) for gap, at in (word.split("@") for word in words)}
    return {gap: at for gap, at in told.items() if now_s - at < PENDING_MAX_S}


def _write_pending(pending: dict[str, int]) -> str:
    return " ".join(f"{gap}@{at}" for gap, at in pending.items())


def _is_wanted(settings: Settings) -> bool:
    return bool(settings.venues) and bool(list_lakes(settings))


JOB = Job(NAME, "Ask the venues for what gaps are missing.", "35 */2 * * *", _run, _is_wanted)
