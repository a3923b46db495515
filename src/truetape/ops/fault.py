"""What is wrong with what settings say of jobs and backups."""

from collections.abc import Iterator

from truetape.config import Settings
from truetape.errors import ConfigError
from truetape.ops.cron import check_jobs
from truetape.ops.store import check_place


def find_job_faults(settings: Settings) -> Iterator[str]:
    """Yield one line for what jobs could not begin with: names, times, where backups go."""
    try:
        check_jobs(settings)
        if settings.backup.to:
            check_place(settings.backup.to)
    except ConfigError as error:
        yield str(error)
