"""The report of the lake as it is now."""

from pathlib import Path

from truetape.lake import Lake
from truetape.ops.job import Context, Job
from truetape.ops.place import list_lakes
from truetape.quality import write_report


def _run(context: Context) -> dict[str, int | str]:
    pages = []
    for place in list_lakes(context.settings):
        if not place.is_dir():
            context.say(f"{place}: no lake yet: nothing to report")
            continue
        page = write_report(Lake(place), Path(context.settings.ops.state) / "report" / place.name, str(place))
        context.say(f"report: {page}")
        pages.append(str(page))
    return {"pages": len(pages), "page": pages[-1] if pages else ""}


JOB = Job(
    "report", "Write the report page of the lake.", "0 4 * * *", _run, lambda settings: bool(list_lakes(settings))
)
