"""Where the stages meet: record, deliver, replay, verify, import.

A process loads only the stage that it is for: who delivers needs no sockets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from truetape.flow.beside import deliver_all as deliver_all
    from truetape.flow.beside import deliver_jobs as deliver_jobs
    from truetape.flow.beside import list_tapes as list_tapes
    from truetape.flow.beside import verify_all as verify_all
    from truetape.flow.fault import find_faults as find_faults
    from truetape.flow.file import export as export
    from truetape.flow.foreign import import_files as import_files
    from truetape.flow.health import examine as examine
    from truetape.flow.live import LiveStatus as LiveStatus
    from truetape.flow.live import idle as idle
    from truetape.flow.live import record as record
    from truetape.flow.proof import Verdict as Verdict
    from truetape.flow.proof import find_damage as find_damage
    from truetape.flow.proof import verify as verify
    from truetape.flow.survey import list_services as list_services
    from truetape.flow.survey import read_all_status as read_all_status
    from truetape.flow.survey import read_status as read_status
    from truetape.flow.view import Progress as Progress
    from truetape.flow.view import View as View
    from truetape.flow.view import deliver as deliver
    from truetape.flow.view import pace as pace
    from truetape.flow.view import replay as replay

_WHERE = {
    "LiveStatus": "truetape.flow.live",
    "Progress": "truetape.flow.view",
    "Verdict": "truetape.flow.proof",
    "View": "truetape.flow.view",
    "deliver": "truetape.flow.view",
    "deliver_all": "truetape.flow.beside",
    "deliver_jobs": "truetape.flow.beside",
    "find_damage": "truetape.flow.proof",
    "examine": "truetape.flow.health",
    "find_faults": "truetape.flow.fault",
    "export": "truetape.flow.file",
    "idle": "truetape.flow.live",
    "import_files": "truetape.flow.foreign",
    "list_services": "truetape.flow.survey",
    "list_tapes": "truetape.flow.beside",
    "pace": "truetape.flow.view",
    "read_all_status": "truetape.flow.survey",
    "read_status": "truetape.flow.survey",
    "record": "truetape.flow.live",
    "replay": "truetape.flow.view",
    "verify": "truetape.flow.proof",
    "verify_all": "truetape.flow.beside",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
