"""Gold tables from what is new in the lake."""

from truetape.ops.job import Context, Job
from truetape.ops.place import list_lakes
from truetape.transform import build
from truetape.transform.engine import ignore_progress


def _run(context: Context) -> dict[str, int | str]:
    show = context.show or ignore_progress
    rows, variables = 0, {"large_order_min": context.settings.build.large_order_min}
    for lake in list_lakes(context.settings):
        if not lake.is_dir():
            context.say(f"{lake}: no lake yet: nothing to build from")
            continue
        for model in build(lake, variables=variables, on_progress=show).models:
            context.say(f"{model.name}: {model.rows:,} rows")
            rows += model.rows
    return {"rows": rows}


JOB = Job(
    "build", "Build the gold tables from what is new.", "5 * * * *", _run, lambda settings: bool(list_lakes(settings))
)
