"""Look at a recording's vitals again and again, and let people know."""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from truetape import clock
from truetape.config import Settings, load_secrets, mask_secrets
from truetape.ops.alert import Desk, Message, find_troubles
from truetape.ops.history import Run, open_history
from truetape.ops.letter import Postman
from truetape.ops.vital import JobVital, Vitals

LOOK_S = 5.0
COUNT_S = 60.0
"""What is counted is counted over this time."""


async def keep_watch(
    settings: Settings, look: Callable[[], Vitals], postman: Postman | None, say: Callable[[Message], None]
) -> None:
    """Judge the vitals every few seconds; say what there is to say, and post it where there is a postman."""
    desk = Desk(settings.alerts)
    past: deque[tuple[float, Vitals]] = deque()
    while True:
        now_s, now = clock.monotonic_ns() / 1e9, look()
        past.append((now_s, now))
        while len(past) > 1 and now_s - past[1][0] >= COUNT_S:
            past.popleft()
        for message in desk.judge(find_troubles(now, past[0][1], settings.alerts), now_s):
            say(message)
            if postman is not None and not await postman.send(message):
                say(
                    Message(
                        "truetape: a message could not be sent",
                        f"could not be sent everywhere, tried again later: {message.title}",
                        is_recovery=False,
                    )
                )
        if postman is not None:
            await postman.resend()
        await asyncio.sleep(LOOK_S)


def add_surroundings(vitals: Vitals, settings: Settings) -> Vitals:
    """Add what the recorder does not know: the disk, and how the jobs' last runs went."""
    place = Path(settings.tape)
    while not place.exists():
        place = place.parent
    newest: dict[str, Run] = {}
    ended: dict[str, Run] = {}
    with open_history(Path(settings.ops.state)) as history:
        for run in history.list_runs(limit=200):
            if run.state != "missed":
                newest.setdefault(run.job, run)
            if run.state in ("done", "failed", "killed"):
                ended.setdefault(run.job, run)
    failed = {job: run.error or run.state for job, run in ended.items() if run.state != "done"}
    now_s = clock.wall_ns() / 1e9
    jobs = [
        JobVital(job, run.state, now_s - (run.ended_at or run.started_at).timestamp()) for job, run in newest.items()
    ]
    secrets = load_secrets()
    troubles = tuple(mask_secrets(trouble, secrets) for trouble in vitals.troubles)
    failing = {poll: mask_secrets(why, secrets) for poll, why in vitals.failing.items()}
    return msgspec.structs.replace(
        vitals,
        troubles=troubles,
        failing=failing,
        disk_free_bytes=shutil.disk_usage(place).free,
        failed_jobs=failed,
        jobs=tuple(jobs),
    )
