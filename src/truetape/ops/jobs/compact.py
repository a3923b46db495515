"""Many small files of a lake into few."""

from truetape.errors import ConfigError
from truetape.lake import compact
from truetape.ops.job import Context, Job
from truetape.ops.place import list_lakes


def _run(context: Context) -> dict[str, int | str]:
    lakes = list_lakes(context.settings)
    if not lakes:
        raise ConfigError("sinks: there is no lake to compact")
    removed = 0
    for lake in lakes:
        if not lake.is_dir():
            context.say(f"{lake}: no lake yet: nothing to join")
            continue
        removed += sum(compact(lake).values())
        context.say(f"{lake}: {removed} small files joined")
    return {"files_joined": removed}


JOB = Job(
    "compact",
    "Join the small files of the lake's tables.",
    "15 3 * * *",
    _run,
    lambda settings: bool(list_lakes(settings)),
)
