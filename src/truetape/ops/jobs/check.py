"""Checks of the lake; a failed check fails the job."""

from truetape.errors import Fatal
from truetape.lake import Lake
from truetape.ops.job import Context, Job
from truetape.ops.place import list_lakes
from truetape.quality import run_checks


def _run(context: Context) -> dict[str, int | str]:
    findings = 0
    for place in list_lakes(context.settings):
        if not place.is_dir():
            context.say(f"{place}: no lake yet: nothing to check")
            continue
        report = run_checks(Lake(place))
        context.say(f"{place}: {report.summary}")
        findings += len(report.findings)
        if not report.is_fine:
            first = next(finding for finding in report.findings if finding.severity == "error")
            raise Fatal(f"{place}: {report.summary}; first: {first.venue} {first.symbol}: {first.what}")
    return {"findings": findings}


JOB = Job("check", "Run all checks over the lake.", "25 * * * *", _run, lambda settings: bool(list_lakes(settings)))
