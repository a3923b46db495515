"""Old segments and old days off the disk."""

from truetape.config import Settings
from truetape.lake import vacuum
from truetape.ops.job import Context, Job
from truetape.ops.place import list_lakes
from truetape.ops.retention import prune


def _run(context: Context) -> dict[str, int | str]:
    report = prune(context.settings)
    if report.kept:
        context.say(f"kept {report.kept}")
    files = sum(vacuum(lake) for lake in list_lakes(context.settings))
    rows = sum(report.rows.values())
    return {"segments": report.segments, "bytes": report.bytes, "rows": rows, "files": files, "kept": report.kept}


def _is_wanted(settings: Settings) -> bool:
    rules = settings.retention
    return bool(rules.tape_days or rules.tape_bytes_max or rules.table_days)


JOB = Job("retention", "Throw away what the settings let go and nothing needs.", "45 3 * * *", _run, _is_wanted)
