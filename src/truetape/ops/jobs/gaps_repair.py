"""What gaps are missing, asked of the venues' history."""

from datetime import UTC, datetime

from truetape import clock
from truetape.config import Settings
from truetape.errors import VenueUnreachable
from truetape.flow.relayed import relay_beside
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
        context.history.mark(NAME, PENDING, _write_pending(pending | dict.fromkeys((*asked, *gaps), now_s)))

    asked: tuple[str, ...] = ()
    done: list[Repair | Handed] = []
    now = datetime.fromtimestamp(now_s, UTC)
    try:
        for ask in (repair_beside, relay_beside) if context.settings.tardis.relay_repairs else (repair_beside,):
            handed = [one for one in done if isinstance(one, Handed)]
            busy = [*pending, *(gap for one in handed for gap in (*one.asked, *one.failed))]
            done.append(ask(context.settings, pending=busy, now=now, on_hand=remember))
            asked = tuple(gap for one in done if isinstance(one, Handed) for gap in one.asked)
    finally:  # a run that is killed leaves it to the recorder, as its work goes on
        remember(asked)
    for trouble in (trouble for one in done for trouble in one.troubles):
        context.say(trouble)
    failed = sum(len(one.failed) if isinstance(one, Handed) else one.failed for one in done)
    if failed:
        raise VenueUnreachable(
            f"{failed} gaps were not answered: {next(one.troubles[0] for one in done if one.failed)}"
        )
    counts = list(map(_count, done))
    return {**counts[0], **{f"relay_{name}": count for one in counts[1:] for name, count in one.items()}}


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
