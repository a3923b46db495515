"""The one error tree; what a caller can do is in the name.

TruetapeError
├── Transient            try again later, with back-off
│   ├── VenueUnreachable     the host, the network or the handshake failed
│   ├── RateLimited          the venue told us to wait; carries how long
│   └── Busy                 somebody else is doing it right now; names who
└── Fatal                trying again cannot help; a person must act
    ├── ConfigError          a setting is wrong: key, what was given, what is allowed
    ├── MissingExtra         an optional dependency is not installed; names the extra
    ├── Refused              the venue refused us (401, 403): names the setting that holds the key
    ├── TapeError            the tape is corrupt, foreign, locked or on a full disk
    │   └── TapeLocked           another process writes this tape
    ├── SinkError            a sink cannot take what it was given
    ├── BuildError           a model or a check of it fails, or another build runs; gold is as it was
    └── DecodeError          one message does not decode; becomes a `quarantine` row
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TruetapeError(Exception):
    """Base of everything truetape raises on purpose."""


def describe_os_error(error: OSError) -> str:
    """Say in one line what the system refused, and where."""
    where = f"{error.filename}: " if error.filename else ""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{where}there is a file where a folder is wanted"
    return f"{where}{error.strerror or error}"


def suggest(given: str, known: Iterable[str]) -> str:
    """Return the end of a line that refuses a name: the nearest one that is known; empty when none is near."""
    near = get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class Transient(TruetapeError):
    """Trying again later may help."""


class VenueUnreachable(Transient):
    """The host, the network or the handshake failed."""


class RateLimited(Transient):
    """The venue asked us to wait `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Busy(Transient):
    """Somebody else is doing it right now."""


class Fatal(TruetapeError):
    """Trying again cannot help."""


class ConfigError(Fatal):
    """A setting is wrong; the message is one line: key, what was given, what is allowed."""


class MissingExtra(Fatal):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional part: pip install 'truetape[{extra}]'")
        self.extra = extra


class Refused(Fatal):
    """The venue refused us (401, 403)."""


class TapeError(Fatal):
    """The tape is corrupt, foreign, locked or its disk is full."""


class TapeLocked(TapeError):
    """Another process writes this tape."""


class SinkError(Fatal):
    """A sink cannot take what it was given."""


class BuildError(Fatal):
    """A model or a check of it fails, or another build runs; gold is as it was."""


class DecodeError(Fatal):
    """One message does not decode; `path` is the JSON path of the offending value."""

    def __init__(self, reason: str, path: str = "$") -> None:
        super().__init__(f"{reason} - at `{path}`")
        self.reason = reason
        self.path = path
