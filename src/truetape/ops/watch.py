"""Look at a recording's vitals again and again, and let people know."""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from truetape import clock
from truetape.config import Settings
from truetape.ops.alert import Desk, Message, find_troubles
from truetape.ops.history import open_history
from truetape.ops.letter import Postman
from truetape.ops.vital import Vitals

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
                say(Message("truetape: a message could not be sent", message.title, is_recovery=False))
        await asyncio.sleep(LOOK_S)


def add_surroundings(vitals: Vitals, settings: Settings) -> Vitals:
    """Add what the recorder does not know: the disk, and jobs whose last run failed."""
    place = Path(settings.tape)
    while not place.exists():
        place = place.parent
    failed: dict[str, str] = {}
    with open_history(Path(settings.ops.state)) as history:
        seen: set[str] = set()
        for run in history.list_runs(limit=200):
            if run.job not in seen and run.state in ("done", "failed", "killed"):
                seen.add(run.job)
                if run.state != "done":
                    failed[run.job] = run.error or run.state
    return msgspec.structs.replace(vitals, disk_free_bytes=shutil.disk_usage(place).free, failed_jobs=failed)
