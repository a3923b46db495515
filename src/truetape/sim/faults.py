"""Scripted faults: what a fake venue does wrong, when, and an exact record of what it did.

A script is lines of text (or a YAML list of them); `#` starts a comment:

    at 5s binance cut                                   # close its connections without a goodbye
    at 8s binance freeze 3s                             # send nothing, still answer pings; frames are lost
    at 10s drop 3 frames of btcusdt@trade
    every 1000 duplicate 1 frame of *@trade             # every 1000th frame of what matches
    after 200 reorder 1 frame of btcusdt@trade          # once, after the 200th: it changes places with the next
    at 12s corrupt 2 frames of *bookTicker              # cut off in the middle
    at 14s change-field p price in 2 frames of *@trade  # rename a key
    at 16s binance 429 retry-after 2 for 3 requests
    at 18s binance 429 retry-after 2 for 3 connects     # WebSockets are refused on opening; 5xx and slow, too
    at 20s binance 5xx for 2 requests of */depth*
    at 22s slow 2s for 1 request
    at 24s binance cut-snapshot                         # body of the next book snapshot ends too early
    at 26s polymarket close 4003 of polybolt            # close a product line's connections with this code
    at 28s lose 3 frames of price.crypto*               # never sent nor numbered; a venue that counts them tells

and of the prediction venues, where streams are `<slug>`, `<slug>:Up`, `<slug>:Down`, `crypto_prices_chainlink:btc/usd`:

    at 60s mute 300s of btc-updown-15m-*:Up             # connections of before then get no data, but their PONGs
    at 90s wrong-hash 1 frame of eth-updown-15m-*       # a digit of each hash is another one
    at 95s ghost 60s of btc-updown-15m-*                # the book is answered as 0.01 / 0.99
    at 99s polymarket 425 for 9 requests                # the market engine restarts
    at 120s stale 300s                                  # listings are answered as they were when it began
    every 4 late 3600s of btc-updown-15m-*              # every 4th market is resolved so much later
    every 5 dispute 7200s of eth-*                      # disputed, resolved so much later
    every 9 split of sol-*                              # settled half and half
    every 7 version of xrp-*                            # of a protocol that nobody knows
    every 6 miss 3s of btc-updown-15m-*                 # no oracle price so near to the window's boundaries

Without a trigger a fault is armed from the start; without a venue it holds for all. Times are market time.
"""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from truetape.errors import ConfigError

ACTIONS = (
    "cut",
    "freeze",
    "close",
    "drop",
    "lose",
    "duplicate",
    "reorder",
    "corrupt",
    "change-field",
    "429",
    "5xx",
    "slow",
    "cut-snapshot",
    "425",
    "wrong-hash",
    "mute",
    "ghost",
    "stale",
    "late",
    "dispute",
    "split",
    "version",
    "miss",
)
SPELLS = ("mute", "ghost", "stale")
"""Actions that hold for a time, on whatever passes."""
QUIRKS = ("late", "dispute", "split", "version", "miss")
"""Actions that make prediction markets odd; `every` counts the windows of a series."""
DONE_MAX = 100_000
"""Records of what was done that are kept; the oldest go first."""

_WHEN: dict[str, Literal["at", "after", "every"]] = {"at": "at", "after": "after", "every": "every"}
_LINE = re.compile(
    r"^(?:(?P<when>at|after|every)\s+(?P<value>\d+(?:\.\d+)?)s?\s+)?"
    r"(?:(?P<venue>[a-z][a-z_]*)\s+)??"
    rf"(?P<action>{'|'.join(map(re.escape, ACTIONS))})(?=\s|$)"
    r"(?P<rest>.*)$"
)
_HASH = re.compile(rb'("hash": ?")([0-9a-f])')
_KEYS = re.compile(r"^\s+(?P<key>[\w-]+)\s+(?P<new_key>[\w-]+)(?:\s+in(?=\s))?")
_REST = re.compile(
    r"^(?:\s+(?P<seconds>\d+(?:\.\d+)?)s)?"
    r"(?:\s+retry-after\s+(?P<retry>\d+(?:\.\d+)?))?"
    r"(?:\s+(?:for\s+)?(?P<count>\d+)(?:\s+(?P<unit>frames?|requests?|connects?|times?))?)?"
    r"(?:\s+of\s+(?P<pattern>\S+))?\s*$"
)


class Fault(msgspec.Struct, frozen=True):
    """One line of a script."""

    action: str
    venue: str = ""
    """Empty: every venue."""
    when: Literal["at", "after", "every"] = "at"
    value: float = 0.0
    """Seconds for `at`, matching frames or requests for `after` and `every`."""
    pattern: str = "*"
    """Streams (or request paths) concerned, with `*` and `?`."""
    count: int = 1
    """Frames or requests concerned each time it is triggered; the code of a `close`."""
    seconds: float = 0.0
    """How long a freeze or a slow answer takes."""
    retry_after_s: float = 1.0
    is_of_connects: bool = False
    """It acts on WebSockets that are being opened, not on other requests."""
    key: str = ""
    new_key: str = ""

    @property
    def is_timed(self) -> bool:
        """Say whether it acts on connections as such, not on frames or requests passing by."""
        return self.action in ("cut", "freeze", "close")

    @property
    def is_rest(self) -> bool:
        """Say whether it acts on HTTP requests."""
        return self.action in ("429", "425", "5xx", "slow", "cut-snapshot")


class Done(msgspec.Struct, frozen=True):
    """One thing that a fault did."""

    at_us: int
    """Market time."""
    wall_ns: int
    venue: str
    feed: str
    stream: str
    """Topic, or path of the request."""
    action: str
    first_id: int = -1
    """First and last id (trade id, update id) of the frame concerned; -1 when it has none."""
    last_id: int = -1
    connection: str = ""
    detail: str = ""


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read a script from text (lines or `;`) or a YAML list of lines; ConfigError names the line."""
    tree = yaml.safe_load(text) if text.lstrip().startswith(("-", "[")) else None
    lines = [str(line) for line in tree] if isinstance(tree, list) else re.split(r"[\n;]", text)
    stripped = (line.split("#", 1)[0].strip() for line in lines)
    return tuple(parse_fault(line) for line in stripped if line)


def parse_fault(line: str) -> Fault:
    """Read one line of a script."""
    head = _LINE.match(line)
    keys = _KEYS.match(head["rest"]) if head and head["action"] == "change-field" else None
    rest = _REST.match(head["rest"][keys.end() if keys else 0 :]) if head else None
    if head is None or rest is None:
        raise ConfigError(
            f"fault: {line!r} is not understood (actions: {', '.join(ACTIONS)}; e.g. `at 5s binance cut`)"
        )
    fault = Fault(
        action=head["action"],
        venue=head["venue"] or "",
        when=_WHEN[head["when"] or "at"],
        value=float(head["value"] or 0),
        pattern=rest["pattern"] or "*",
        count=int(rest["count"] or 1),
        seconds=float(rest["seconds"] or 0),
        retry_after_s=float(rest["retry"] or 1),
        is_of_connects=(rest["unit"] or "").startswith("connect"),
        key=keys["key"] if keys else "",
        new_key=keys["new_key"] if keys else "",
    )
    _check(line, fault)
    return fault


def _check(line: str, fault: Fault) -> None:
    """Raise ConfigError for a fault that is well spelled and would never do what it says."""
    if fault.action in ("freeze", "slow", "late", "dispute", "miss", *SPELLS) and not fault.seconds:
        raise ConfigError(f"fault: {line!r}: {fault.action} needs a duration, e.g. `{fault.action} 3s`")
    if fault.action == "close" and not 1000 <= fault.count <= 4999:
        raise ConfigError(f"fault: {line!r}: close needs a code of 1000 to 4999, e.g. `close 4003`")
    if fault.action == "change-field" and not fault.new_key:
        raise ConfigError(f"fault: {line!r}: change-field needs the old and the new key")
    if fault.is_timed and fault.when != "at":
        raise ConfigError(f"fault: {line!r}: {fault.action} is triggered by time, e.g. `at 5s {fault.action}`")
    if fault.action in ("cut", "freeze") and fault.pattern != "*":
        raise ConfigError(f"fault: {line!r}: {fault.action} holds for a whole venue, not for {fault.pattern!r}")
    least = {"at": 0, "after": 0, "every": 1}[fault.when]
    if fault.value < least or (fault.when != "at" and fault.value % 1):
        raise ConfigError(f"fault: {line!r}: `{fault.when}` counts frames or requests: a whole number from {least} up")
    if fault.is_of_connects and fault.action not in ("429", "5xx", "slow"):
        raise ConfigError(
            f"fault: {line!r}: {fault.action} is nothing that happens to connects (allowed: 429, 5xx, slow)"
        )
    if not fault.count:
        raise ConfigError(f"fault: {line!r}: of 0 frames or requests nothing becomes")


def check_venues(faults: Iterable[Fault], venues: Collection[str]) -> None:
    """Raise ConfigError when a fault is of a venue that there is not."""
    for fault in faults:
        if fault.venue and fault.venue not in venues:
            near = get_close_matches(fault.venue, venues, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"fault: no fake venue {fault.venue!r} (allowed: {', '.join(sorted(venues))}){hint}")


def load_faults(path_or_text: str) -> tuple[Fault, ...]:
    """Read a script from a file of that name, else take it as the script itself."""
    is_short = len(path_or_text) < 4096 and all(len(part) < 256 for part in path_or_text.split("/"))
    if "\n" not in path_or_text and is_short and Path(path_or_text).is_file():
        return parse_faults(Path(path_or_text).read_text(encoding="utf-8"))
    return parse_faults(path_or_text)


class Armed:
    """A fault that waits for its trigger, or for the frames it still concerns."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        """Matching frames or requests so far."""
        self.left = fault.count if fault.when == "at" else 0
        """How many more it concerns now."""
        self.is_spent = False
        self._matches: dict[str, bool] = {}

    def fits(self, venue: str, stream: str) -> bool:
        """Say whether it concerns this stream of this venue."""
        key = f"{venue} {stream}"
        found = self._matches.get(key)
        if found is None:
            if len(self._matches) > 10_000:
                self._matches.clear()
            fault = self.fault
            found = (not fault.venue or fault.venue == venue) and fnmatchcase(stream, fault.pattern)
            self._matches[key] = found
        return found

    def take(self, elapsed_s: float) -> bool:
        """Count one matching frame; True when it is one that the fault concerns."""
        fault = self.fault
        self.seen += 1
        if fault.when == "at" and elapsed_s < fault.value:
            return False
        every, after = fault.when == "every", fault.when == "after"
        if (every and self.seen % max(1, int(fault.value)) == 0) or (after and self.seen == int(fault.value) + 1):
            self.left = fault.count
        if self.left <= 0:
            return False
        self.left -= 1
        self.is_spent = self.left == 0 and fault.when != "every"
        return True


def spoil(fault: Fault, payload: bytes) -> bytes:
    """Return the payload as a `corrupt`, `change-field`, `wrong-hash` or `cut-snapshot` fault leaves it."""
    if fault.action == "wrong-hash":
        return _HASH.sub(lambda found: found[1] + (b"1" if found[2] == b"0" else b"0"), payload)
    if fault.action == "change-field":
        return payload.replace(f'"{fault.key}":'.encode(), f'"{fault.new_key}":'.encode())
    return payload[: max(1, len(payload) * 2 // 3)]
