"""Where the stages meet: record, deliver, replay, verify, import."""

from truetape.flow.beside import deliver_all as deliver_all
from truetape.flow.beside import deliver_jobs as deliver_jobs
from truetape.flow.beside import list_tapes as list_tapes
from truetape.flow.beside import verify_all as verify_all
from truetape.flow.file import export as export
from truetape.flow.foreign import import_files as import_files
from truetape.flow.health import examine as examine
from truetape.flow.live import LiveStatus as LiveStatus
from truetape.flow.live import idle as idle
from truetape.flow.live import record as record
from truetape.flow.proof import Verdict as Verdict
from truetape.flow.proof import verify as verify
from truetape.flow.survey import list_services as list_services
from truetape.flow.survey import read_all_status as read_all_status
from truetape.flow.survey import read_status as read_status
from truetape.flow.view import Progress as Progress
from truetape.flow.view import View as View
from truetape.flow.view import deliver as deliver
from truetape.flow.view import pace as pace
from truetape.flow.view import replay as replay
