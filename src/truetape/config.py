"""Settings: frozen, unknown keys refused; the only reader of the environment.

One `truetape.yaml`, overridden by the environment: `TRUETAPE__SECTION__KEY=value` sets any key, and
`TRUETAPE_URL_<VENUE>=http://host:port` sends everything meant for that venue to another server.
Credentials (`TRUETAPE_KEY_<VENUE>_<NAME>`) come from the environment or `.env` alone: no setting holds one.
"""

import difflib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from truetape import clock
from truetape.errors import ConfigError

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(gt=0)]


class RecordSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How frames get onto the tape."""

    fsync_interval_ms: Positive = 200
    """What was received longer ago than this survives a power cut."""
    flush_interval_ms: Positive = 5
    """How long a frame may wait before readers of the tape see it, while more than 10,000 arrive a second."""
    flush_interval_idle_ms: Positive = 50
    """The same while fewer than 1,000 arrive a second: small batches cost processor time and space; between, it grows."""
    buffer_frames_max: Count = 500_000
    """Frames held in memory while the disk is slow; beyond it frames are dropped and a gap says so."""
    buffer_bytes_max: Count = 128 * 1024 * 1024
    """Bytes held in memory while the disk is slow."""
    segment_seconds: Positive = 300
    """A tape segment is sealed after this time."""
    segment_bytes_max: Count = 256 * 1024 * 1024
    """A tape segment is sealed at this size."""
    frame_bytes_max: Count = 64 * 1024 * 1024
    """Larger messages close the connection."""
    stop_seconds: Positive = 30
    """Stopping waits no longer for a disk that hangs, and says what was not written."""
    tick_seconds: Positive = 5
    """The recorder proves on the tape that it lives, this often."""


class DeliverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a view carries rows into its sink."""

    commit_rows: Count = 250_000
    """Rows held in memory before a commit; more make fewer files and need about 1 KB of memory for every row."""
    commit_seconds: Positive = 300
    """Longest time (of the tape) between commits while rows arrive."""
    archive: bool = True
    """Whether sealed segments are recompressed once every sink has them."""
    compact_hours: Annotated[float, msgspec.Meta(ge=0)] = 24
    """Join the lake's small files this often while recording; 0: only when `truetape lake compact` says so."""


class MarketFilters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which prediction markets to record beside those of `series`; what is given must all hold."""

    ids: tuple[str, ...] = ()
    """The venue's ids of markets, or their conditions."""
    slugs: tuple[str, ...] = ()
    """Readable names of markets or of the events they belong to."""
    tags: tuple[str, ...] = ()
    """Tags of which one must be there."""
    categories: tuple[str, ...] = ()
    """Categories of which the market's must be one."""
    status: Literal["open", "closed", "all"] = "open"
    """Open ones are recorded; closed ones are only followed to their resolution."""
    volume_min: Annotated[float, msgspec.Meta(ge=0)] = 0
    """Smallest volume so far, in the venue's currency."""
    markets_max: Count = 2000
    """Markets followed at once, series included; more are left out, and an event says so."""


class VenueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to record of one venue."""

    instruments: tuple[str, ...]
    """Names (BTC-USDT), patterns (*-USDT-PERP) or `all`."""
    channels: tuple[str, ...] = ("trade", "book_change", "quote")
    """Event kinds to subscribe."""
    markets: tuple[str, ...] = ()
    """Product lines of the venue to look in (spot, usdm); empty: all it has."""
    url: str = ""
    """Send everything meant for this venue to this server instead."""
    lifetime_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0
    """Replace connections after this time; 0: shortly before the venue would."""
    listing_seconds: Annotated[float, msgspec.Meta(ge=0)] = 3600
    """Look this often for instruments that are new or gone; 0: only at the start."""
    series: tuple[str, ...] = ()
    """Recurring prediction markets (15m, 1h): each window's market is found and followed to its resolution."""
    assets: tuple[str, ...] = ()
    """Assets of those series (BTC, ETH); empty: all there are."""
    filters: MarketFilters = MarketFilters()
    """Other prediction markets to record."""
    lead_seconds: Annotated[float, msgspec.Meta(ge=60)] = 120
    """Subscribe a prediction market so long before its window opens."""
    grace_seconds: Annotated[float, msgspec.Meta(ge=0)] = 120
    """Stay subscribed so long after its window has ended."""


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be thrown away, never before every sink has it; 0: never."""

    tape_days: Annotated[float, msgspec.Meta(ge=0)] = 0
    """Sealed segments of the tape that are older."""
    tape_bytes_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The oldest sealed segments, while all of them together are larger."""
    table_days: dict[str, Count] = {}
    """Table → days: rows of the lake received earlier, day by day."""
    open_gap_days: Positive = 30
    """A gap that is open holds the tape from where it began, at most this long."""


class BackupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where backups go."""

    to: str = ""
    """A folder, or s3://bucket/prefix with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; empty: nowhere."""


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a job runs, and what becomes of runs that were missed."""

    at: str = ""
    """Five fields of cron, in UTC (`30 3 * * *`); empty: as the job has it; `never`: only by hand."""
    missed: Literal["run", "skip"] = "run"
    """After a pause: run once for all that was missed, or only write down that it was."""
    attempts: Count = 3
    """Tries of one run, when a service is away."""


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people hear of, while `truetape run` runs; where it is sent is a secret: `TRUETAPE_ALERT_URLS`."""

    gap_seconds: Positive = 60
    """A stream in a gap for so long."""
    stale_seconds: Positive = 900
    """A stream without a row for so long, gap or not."""
    quarantined_max: Annotated[int, msgspec.Meta(ge=0)] = 10
    """More messages than this that do not decode, within a minute."""
    errors_max: Annotated[int, msgspec.Meta(ge=0)] = 30
    """More failed requests than this, within a minute."""
    drifts_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """More changes of a message's form than this, within a minute."""
    disk_free_bytes_min: Annotated[int, msgspec.Meta(ge=0)] = 5_000_000_000
    """Less space than this where the tape lies."""
    behind_frames_max: Count = 5_000_000
    """Decoding is further behind the tape than this."""
    group_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30
    """What goes wrong within this time is told together, and what ends within it again is not told."""
    repeat_hours: Positive = 6
    """What stays wrong is told again after this."""
    messages_per_hour_max: Count = 12
    """Messages sent at most; the rest waits."""


class OpsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a recording is kept running unattended."""

    state: str = "data/state"
    """Folder of locks and of the jobs' history."""
    health_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Answer /healthz and /metrics (Prometheus) on this port of loopback; 0: nowhere."""


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How truetape talks while it runs."""

    format: Literal["auto", "console", "json"] = "auto"
    """A live table on a terminal and log lines elsewhere; log lines everywhere; log lines as JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Log lines below this are left out."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything in `truetape.yaml`."""

    tape: str = "data/tape"
    """Folder of the tape."""
    sinks: tuple[str, ...] = ("lake:data/lake",)
    """Where rows go: lake:DIR, csv:DIR, sqlite:FILE."""
    venues: dict[str, VenueSettings] = {}
    record: RecordSettings = RecordSettings()
    deliver: DeliverSettings = DeliverSettings()
    log: LogSettings = LogSettings()
    ops: OpsSettings = OpsSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()
    alerts: AlertSettings = AlertSettings()
    jobs: dict[str, JobSettings] = {}
    """Job → when it runs; those not named run as they have it."""


DEFAULT_YAML = """\
# truetape: what to record, and where it goes. Every key: truetape config show
tape: data/tape
sinks:
  - lake:data/lake
venues:
  binance:
    instruments: [BTC-USDT, ETH-USDT]      # names, patterns (*-USDT), or all
    channels: [trade, book_change, quote]
  coinbase:
    instruments: [BTC-USD, ETH-USD]
    channels: [trade, book_change, quote]
"""

CLOCK_KEY = "TRUETAPE_CLOCK"
"""Names the variable that compresses time, for runs against fake venues."""

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `(?P<path>[^`]*)`)?")


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings from a YAML file and the environment; ConfigError in one line when anything is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); `truetape init` writes one") from error
    return parse_settings(text, str(path), os.environ if environ is None else environ)


def load_defaults(text: str = "", origin: str = "environment") -> Settings:
    """Return the built-in settings, or those of a text, with what the environment overrides."""
    return parse_settings(text, origin, os.environ)


def load_clock() -> None:
    """Let time run as `TRUETAPE_CLOCK=<unix second>@<speed>` says, in this process and in those that it starts."""
    text = os.environ.get(CLOCK_KEY, "")
    if not text:
        return
    try:
        start, speed, *since = (float(part) for part in text.split("@"))
    except ValueError:
        start = speed = math.nan
        since = []
    if not (speed > 0 and math.isfinite(start) and len(since) < 2):
        raise ConfigError(
            f"{CLOCK_KEY}: {text!r} is not a time like 1767557700@60: a unix second, @, and how fast it runs"
        )
    since_s = since[0] if since else clock.wall_ns() / 1e9
    os.environ[CLOCK_KEY] = f"{start:.6f}@{speed:g}@{since_s:.6f}"  # the processes we start have the same time
    clock.start_compressed(start, speed, since_s)


def parse_settings(text: str, origin: str, environ: Mapping[str, str]) -> Settings:
    """Read settings from YAML text; `origin` names it in errors."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{origin}{line}: {problem}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{origin}: expected keys and values, got {type(tree).__name__}")
    for name, value in environ.items():
        if name.startswith("TRUETAPE__"):
            _override(tree, name.removeprefix("TRUETAPE__").lower().split("__"), value)
    return _apply_urls(_convert(tree, origin), environ)


def name_key(venue: str, name: str) -> str:
    """Name the variable that holds one of a venue's credentials."""
    return f"TRUETAPE_KEY_{venue.upper()}_{name}"


def load_keys(
    venue: str, names: Sequence[str], environ: Mapping[str, str] | None = None, file: Path = Path(".env")
) -> dict[str, str]:
    """Return those of a venue's credentials that are set, by name; the environment wins over `.env`.

    `TRUETAPE_KEY_<VENUE>_<NAME>_FILE` names a file that holds the value instead.
    """
    from dotenv import dotenv_values

    written = dotenv_values(file, interpolate=False) if file.is_file() else {}
    known = {**written, **(os.environ if environ is None else environ)}
    found: dict[str, str] = {}
    for name in names:
        variable = name_key(venue, name)
        value = known.get(variable) or _read_key_file(f"{variable}_FILE", known.get(f"{variable}_FILE"))
        if value and value.strip():
            found[name] = value.strip()
    return found


def load_alert_urls(environ: Mapping[str, str] | None = None, file: Path = Path(".env")) -> list[str]:
    """Return the addresses alerts go to, from `TRUETAPE_ALERT_URLS` of the environment or `.env`, parted by spaces."""
    from dotenv import dotenv_values

    written = dotenv_values(file, interpolate=False) if file.is_file() else {}
    known = {**written, **(os.environ if environ is None else environ)}
    return (known.get("TRUETAPE_ALERT_URLS") or "").split()


def _read_key_file(variable: str, path: str | None) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{variable}: {path} cannot be read ({reason})") from None


def _override(tree: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        branch = tree.setdefault(key, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"TRUETAPE__{'__'.join(keys).upper()}: {key} is not a section")
        tree = branch
    tree[keys[-1]] = yaml.safe_load(value)


def _convert(tree: dict[str, Any], origin: str) -> Settings:
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        message = str(error)
        for name, venue in _venues_of(tree):  # msgspec says `venues[...]`: find out which
            try:
                msgspec.convert(venue, VenueSettings)
            except msgspec.ValidationError:
                message = message.replace("venues[...]", f"venues.{name}", 1)
                break
        raise ConfigError(f"{origin}: {_explain(message, tree)}") from error


def _venues_of(tree: dict[str, Any]) -> list[tuple[str, Any]]:
    venues = tree.get("venues")
    return list(venues.items()) if isinstance(venues, dict) else []


def _explain(message: str, tree: dict[str, Any]) -> str:
    unknown = _UNKNOWN.match(message)
    if not unknown:
        text, _, path = message.partition(" - at `$.")
        path = path.rstrip("`")
        given = _look_up(tree, path)
        return f"{path}: {text}" + (f" (got {given!r})" if given is not None else "")
    path = (unknown["path"] or "$").removeprefix("$").lstrip(".")
    allowed = _keys_at(path)
    near = difflib.get_close_matches(unknown["key"], allowed, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    where = f"{path}.{unknown['key']}" if path else unknown["key"]
    return f"{where}: unknown key (allowed: {', '.join(allowed)}){hint}"


def _look_up(tree: Any, path: str) -> Any:
    for key in filter(None, re.split(r"[.\[\]]+", path)):
        if isinstance(tree, dict):
            tree = tree.get(key)
        elif isinstance(tree, list) and key.isdigit():
            tree = tree[int(key)]
        else:
            return None
    return tree


def _keys_at(path: str) -> list[str]:
    struct: Any = Settings
    for key in filter(None, path.split(".")):
        struct = get_args(struct)[1] if get_origin(struct) is dict else get_type_hints(struct)[key]
    return list(struct.__struct_fields__)


def _apply_urls(settings: Settings, environ: Mapping[str, str]) -> Settings:
    venues = dict(settings.venues)
    for name, venue in venues.items():
        url = environ.get(f"TRUETAPE_URL_{name.upper()}", venue.url)
        if url:
            if urlsplit(url).scheme not in {"http", "https"}:
                raise ConfigError(f"venues.{name}.url: {url!r} is not an http:// or https:// address")
            venues[name] = msgspec.structs.replace(venue, url=url.rstrip("/"))
    return msgspec.structs.replace(settings, venues=venues)


def rewrite_url(url: str, override: str) -> str:
    """Send a venue's URL to another server, the venue's host becoming the first part of the path.

    `wss://stream.binance.com:9443/stream` with override `http://127.0.0.1:9000` becomes
    `ws://127.0.0.1:9000/stream.binance.com/stream`, so that one server can stand for all hosts of a venue.
    """
    if not override:
        return url
    parts, target = urlsplit(url), urlsplit(override)
    is_socket = parts.scheme in {"ws", "wss"}
    secure = target.scheme == "https"
    scheme = ("wss" if secure else "ws") if is_socket else target.scheme
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{target.netloc}{target.path}/{parts.hostname}{parts.path}{query}"


def walk_settings(settings: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, nested keys joined by dots."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, msgspec.Struct):
            yield from walk_settings(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from walk_settings(item, f"{prefix}{name}.{key}.")
        else:
            yield prefix + name, value
