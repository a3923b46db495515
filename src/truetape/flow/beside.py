"""The tape of jobs beside a recorder's: delivered into the same lake, and into files of its own where a sink takes one tape."""

from truetape.collect.errand import SUFFIX, name_tape
from truetape.config import Settings
from truetape.flow.proof import Verdict, verify
from truetape.flow.view import OnProgress, Progress, deliver
from truetape.sinks import name_beside, split_spec
from truetape.tape import has_tape


def list_tapes(tape: str) -> list[str]:
    """List the tapes there are of a recording: the recorder's and that of its jobs; the recorder's where there is none."""
    return [one for one in (tape, name_tape(tape)) if has_tape(one)] or [tape]


def deliver_all(settings: Settings, on_progress: OnProgress | None = None) -> list[Progress]:
    """Carry what the recorder and what jobs fetched into the sinks; raises TapeError where there is neither."""
    recorded = settings.tape in list_tapes(settings.tape)
    own = deliver(settings.tape, settings.sinks, settings.deliver, on_progress) if recorded else []
    return own + deliver_jobs(settings, on_progress)


def deliver_jobs(settings: Settings, on_progress: OnProgress | None = None) -> list[Progress]:
    """Carry what jobs have fetched into the sinks; nothing where no job ever fetched anything."""
    tape = name_tape(settings.tape)
    if not has_tape(tape):
        return []
    return deliver(tape, tuple(name_beside(spec, SUFFIX) for spec in settings.sinks), settings.deliver, on_progress)


def verify_all(settings: Settings) -> dict[str, Verdict]:
    """Prove what each sink holds of the recorder's tape and of the jobs'."""
    tape, *beside = list_tapes(settings.tape)
    verdicts: dict[str, Verdict] = {}
    for spec in settings.sinks:
        if split_spec(spec)[0] == "lake":
            verdicts[spec] = verify(tape, spec, beside=beside)
            continue
        for one in (tape, *beside):
            own = spec if one == settings.tape else name_beside(spec, SUFFIX)
            verdicts[own] = verify(one, own)
    return verdicts
