"""What keeps a recording running for months: jobs and their schedule, locks, backup, retention."""

from truetape.ops.backup import BackupReport, back_up, list_backups, restore
from truetape.ops.fault import find_job_faults
from truetape.ops.history import Run, open_history
from truetape.ops.retention import PruneReport, prune
from truetape.ops.runner import list_jobs, load_job, run_job

__all__ = [
    "BackupReport",
    "PruneReport",
    "Run",
    "back_up",
    "find_job_faults",
    "list_backups",
    "list_jobs",
    "load_job",
    "open_history",
    "prune",
    "restore",
    "run_job",
]
