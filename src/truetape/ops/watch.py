"""Look at a recording's vitals again and again, and let people know."""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from truetape import clock
from truetape.config import Settings, load_secrets, mask_secrets
from truetape.errors import Transient, describe_os_error
from truetape.ops.alert import Desk, Message, find_troubles
from truetape.ops.history import Run, open_history
from truetape.ops.letter import Postman
from truetape.ops.place import find_place
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
    """Add what the recorder does not know: the disks, and how the jobs' last runs went."""
    troubles = list(vitals.troubles)
    newest: list[Run] = []
    ended: list[Run] = []
    try:
        with open_history(Path(settings.ops.state)) as history:
            newest = history.list_newest("running", "done", "failed", "killed")
            ended = history.list_newest("done", "failed", "killed")
    except Transient as error:  # a full disk is what people must hear of
        troubles.append(str(error))
    except OSError as error:
        troubles.append(describe_os_error(error))
    free, place = min(_measure_disks(settings))
    secrets = load_secrets()
    return msgspec.structs.replace(
        vitals,
        troubles=tuple(mask_secrets(trouble, secrets) for trouble in troubles),
        failing={poll: mask_secrets(why, secrets) for poll, why in vitals.failing.items()},
        disk_free_bytes=free,
        disk_place=place,
        failed_jobs={run.job: run.error or run.state for run in ended if run.state != "done"},
        jobs=tuple(map(_describe_run, newest)),
    )


def _describe_run(run: Run) -> JobVital:
    age_s = clock.wall_ns() / 1e9 - (run.ended_at or run.started_at).timestamp()
    return JobVital(run.job, run.state, age_s)


def _measure_disks(settings: Settings) -> Iterator[tuple[int, str]]:
    """Yield what is free of each disk, and what lies there: the tape is named before sinks, and these before the state."""
    known = set[int]()
    for place in (Path(settings.tape), *map(find_place, settings.sinks), Path(settings.ops.state)):
        there = place
        while not there.exists():
            there = there.parent
        if (device := there.stat().st_dev) not in known:
            known.add(device)
            yield shutil.disk_usage(there).free, str(place)
