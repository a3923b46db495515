"""Copies of tape and sinks to another place."""

from truetape.errors import ConfigError
from truetape.ops.backup import back_up
from truetape.ops.job import Context, Job


def _run(context: Context) -> dict[str, int | str]:
    place = context.settings.backup.to
    if not place:
        raise ConfigError("backup.to: empty; name a folder or s3://bucket/prefix to back up to")
    report = back_up(context.settings, place)
    context.say(f"backup {report.name}: {report.new_files} of {report.files} files were new")
    return {"name": report.name, "files": report.files, "new_files": report.new_files, "new_bytes": report.new_bytes}


JOB = Job(
    "backup", "Back up the tape and the sinks, what is new of them.", "30 2 * * *", _run, lambda s: bool(s.backup.to)
)
