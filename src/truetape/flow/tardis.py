"""Fetches the vendor Tardis' files onto disk, and imports what is not on the tape yet.

Files keep their names, parts of files wait for the next run, and an import that was ended goes on where it ended.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from truetape import clock
from truetape.collect.connection import find_first
from truetape.collect.download import Absent, Downloader
from truetape.collect.gate import Gate
from truetape.collect.http import HttpOptions
from truetape.collect.key import Key
from truetape.collect.recording import RAW, TIMELESS, ask_machine, ask_socket, ask_vendor, fetch_recording, name_file
from truetape.collect.replay import fetch_replay
from truetape.collect.socket import SocketOptions
from truetape.config import Settings, find_url, load_keys, name_key, rewrite_url
from truetape.errors import ConfigError, TruetapeError, suggest
from truetape.events.tardis import DATASETS
from truetape.flow.foreign import NORMALIZED, TARDIS, import_files
from truetape.flow.history import deliver_tape
from truetape.lake import Lake
from truetape.tape import Frame, has_tape, open_reader
from truetape.tape.foreign import Broken, find_broken
from truetape.venues import load_venue
from truetape.venues.tardis.exchange import list_feeds, name_venue
from truetape.venues.tardis.machine import REPLAY_URL, Option, check_types, write_options
from truetape.venues.tardis.relay import make_credentials
from truetape.venues.tardis.replay import Filter as Filter
from truetape.venues.tardis.replay import Minutes

KEY = "API"
PARALLEL = 4
"""Files fetched at once."""
REQUESTS_PER_MINUTE_MAX = 1800
DAYS_MAX = 4000
MINUTES_MAX = 32 * 1440

_EXCHANGE = re.compile("[a-z0-9][a-z0-9-]{1,40}")
_SNAPSHOT = re.compile(r"book_snapshot_\d{1,4}")
Status = Literal["fetched", "there", "absent"]
Result = TypeVar("Result")


class Fetched(msgspec.Struct, frozen=True):
    """What became of one file."""

    file: str
    status: Status
    """Fetched now, there already, or the vendor has none."""
    path: Path | None
    frames: int | None = None
    """Frames that came onto the tape; null: none were to, or all are there."""


class Dataset(msgspec.Struct, frozen=True):
    """Which CSV files: days of symbols."""

    exchange: str
    data_type: str
    symbols: tuple[str, ...]
    begin: date
    end: date
    """The first day that is not wanted."""

    def list_files(self, base: str) -> list[tuple[str, str]]:
        """Return name and address of each file."""
        _check_names(self.exchange, self.symbols)
        known = [name for name in DATASETS if name != "book_snapshot"] + ["book_snapshot_5", "book_snapshot_25"]
        if self.data_type not in known and not _SNAPSHOT.fullmatch(self.data_type):
            hint = suggest(self.data_type, known)
            raise ConfigError(f"--type {self.data_type!r}: no such dataset (allowed: {', '.join(known)}){hint}")
        days = (self.end - self.begin).days
        if not 0 < days <= DAYS_MAX:
            raise ConfigError(f"--from {self.begin} --to {self.end}: not 1 to {DAYS_MAX} days (--to is not among them)")
        files = []
        for symbol in (name.replace("/", "-").replace(":", "-").upper() for name in self.symbols):
            for day in (self.begin + timedelta(days=number) for number in range(days)):
                name = f"{self.exchange}_{self.data_type}_{day}_{symbol}.csv.gz"
                files.append((name, f"{base}/{self.exchange}/{self.data_type}/{day:%Y/%m/%d}/{symbol}.csv.gz"))
        return files


def fetch_datasets(
    settings: Settings,
    wanted: Dataset,
    *,
    on_file: Callable[[Fetched], None] = lambda fetched: None,
    options: HttpOptions | None = None,
) -> list[Fetched]:
    """Fetch CSV files into the folder of the settings; without a key, those of a month's first day are to be had.

    Raises Refused when the vendor wants another key, VenueUnreachable when a file does not come.
    """
    folder, base = Path(settings.tardis.folder) / "datasets", settings.tardis.datasets_url
    files = wanted.list_files(base)

    async def fetch_all() -> list[Fetched]:
        limit = asyncio.Semaphore(PARALLEL)
        async with _open(_load_key(base), options) as downloader, asyncio.TaskGroup() as group:
            tasks = [group.create_task(_fetch_one(downloader, limit, folder, *file, on_file)) for file in files]
        return [task.result() for task in tasks]

    return _run(fetch_all)


async def _fetch_one(
    downloader: Downloader,
    limit: asyncio.Semaphore,
    folder: Path,
    name: str,
    url: str,
    on_file: Callable[[Fetched], None],
) -> Fetched:
    async with limit:
        try:
            status: Status = "fetched" if await downloader.fetch(url, folder / name) else "there"
        except Absent:
            status = "absent"
    fetched = Fetched(name, status, None if status == "absent" else folder / name)
    on_file(fetched)
    return fetched


def fetch_raw(
    settings: Settings,
    exchange: str,
    filters: Sequence[Filter],
    begin: datetime,
    end: datetime,
    *,
    machine: str = "",
    on_minutes: Callable[[int], None] = lambda minutes: None,
    options: HttpOptions | None = None,
) -> Fetched:
    """Fetch an exchange's raw recording of whole minutes into one file in the folder of the settings.

    `machine` is a tardis-machine's address to ask instead of the vendor: `http://host:port` for `/replay`, or
    `ws://host:port` for `/ws-replay`, which tells no times: what comes of a minute is taken to be received at its end.
    """
    count = _count_minutes(begin, end)
    _check_names(exchange, [symbol for one in filters for symbol in one.symbols])
    scheme = urlsplit(machine).scheme
    if machine and not _is_address(machine):
        raise ConfigError(
            f"--machine {machine!r} (allowed: http://host:port of its HTTP side, ws://host:port of its sockets)"
        )
    is_socket, base = scheme in {"ws", "wss"}, machine.rstrip("/") or settings.tardis.api_url
    wanted = Minutes(exchange, begin, count, tuple(filters))
    path = Path(settings.tardis.folder) / "raw" / name_file(wanted, TIMELESS if is_socket else RAW)
    status: Status = "there" if path.exists() else "fetched"
    key = None if machine else _load_key(base, is_needed=status == "fetched")

    async def fetch() -> None:
        async with _open(key, options, "identity" if machine else "gzip") as downloader:
            ask = ask_machine if machine else ask_vendor
            one = ask_socket(base, wanted) if is_socket else ask(downloader, base, wanted)
            await fetch_recording(one, count, path, on_minutes)

    try:
        _run(fetch)
    except Absent as error:
        raise ConfigError(str(error)) from error
    return Fetched(path.name, status, path)


def fetch_machine(
    settings: Settings,
    option: Option,
    url: str = "",
    options: SocketOptions | None = None,
) -> Fetched:
    """Fetch a replay of tardis-machine into a file in the folder of the settings.

    `url` is the machine's, `ws://host:port` (or `http://`) of its sockets; empty: that of the settings, else the usual
    one here. Raises ConfigError when it cannot be asked so, VenueUnreachable with its words when it does not tell all.
    """
    _count_minutes(*(datetime.fromisoformat(at) for at in (option.from_, option.to)))
    _check_names(option.exchange, option.symbols)
    check_types(option.data_types)
    if url and not _is_address(url):
        raise ConfigError(f"--url {url!r} (allowed: ws://host:port of the machine's sockets)")
    folder = Path(settings.tardis.folder) / "machine"
    mark = sha256(write_options([option]).encode()).hexdigest()[:12]
    path = folder / f"{option.exchange}_{option.from_}_{mark}.ndjson.gz".replace(":", "-")
    if path.exists():
        return Fetched(path.name, "there", path)
    folder.mkdir(parents=True, exist_ok=True)
    base = url or find_url(settings, TARDIS)
    address = rewrite_url(f"{REPLAY_URL}?options={write_options([option])}", base)
    _run(lambda: fetch_replay(address, path, options))
    return Fetched(path.name, "fetched", path)


def _count_minutes(begin: datetime, end: datetime) -> int:
    """Return how many minutes there are between two moments; ConfigError when these are none to ask for."""
    count = int((end - begin) / timedelta(minutes=1))
    if not 0 < count <= MINUTES_MAX or begin.second or begin.microsecond:
        raise ConfigError(f"--from {begin.isoformat()} --to {end.isoformat()}: not 1 to {MINUTES_MAX} whole minutes")
    return count


def _check_names(exchange: str, symbols: Sequence[str]) -> None:
    """Refuse what cannot be part of an address and of a file's name."""
    if not _EXCHANGE.fullmatch(exchange):
        raise ConfigError(f"exchange {exchange!r}: no such name (the vendor's are like binance-futures, okex-swap)")
    for symbol in symbols:
        if not symbol.isprintable() or symbol != symbol.strip() or not symbol:
            raise ConfigError(f"symbol {symbol!r}: no such name (the vendor's are like BTCUSDT, BTC-PERPETUAL)")


def _is_address(url: str) -> bool:
    """Tell whether an address names a scheme of HTTP or its sockets, and a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https", "ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    async def run() -> Result:
        try:
            return await work()
        except* TruetapeError as errors:
            raise find_first(errors) from None

    return clock.run(run())


def _load_key(base: str, *, is_needed: bool = False) -> Key | None:
    values = load_keys(TARDIS, (KEY,))
    if not values and is_needed:
        raise ConfigError(
            f"tardis: no key: set {name_key(TARDIS, KEY)} in the environment or .env (get it at tardis.dev)"
        )
    return Key(TARDIS, make_credentials(KEY, urlsplit(base).hostname or ""), values) if values else None


def _open(key: Key | None, options: HttpOptions | None, encoding: str = "gzip") -> Downloader:
    gate = Gate(load_venue(TARDIS), key, (REQUESTS_PER_MINUTE_MAX, 60.0))
    return Downloader(load_venue(TARDIS), gate, options, encoding)


# -- onto the tape ----------------------------------------------------------------------------------------------


_FORMS = {".ndjson": NORMALIZED, f".{RAW}.": "tardis-raw", f".{TIMELESS}.": "tardis-minutes"}
"""What files' names have in them → what they are; others are CSV."""


def import_fetched(
    settings: Settings, fetched: Sequence[Fetched], exchange: str = "", feed: str | None = None
) -> list[Fetched]:
    """Import what was fetched and is not on the tape; what was imported in part is imported to its end.

    `exchange` is that of raw recordings, `feed` the venue's that they are of (default: the market's first); no exchange:
    the files are CSV, or a machine's lines. Raises TapeLocked when a recorder holds the tape.
    """
    lake = deliver_tape(settings) if has_tape(settings.tape) else None
    venue = name_venue(exchange) if exchange else TARDIS
    feed = feed or next(iter(list_feeds(exchange)), None) if exchange else None
    done = []
    for one in fetched:
        form = next((form for mark, form in _FORMS.items() if mark in one.file), TARDIS)
        left = _look_up(settings, lake, form, one.file) if lake is not None and one.path is not None else None
        if one.path is None or left == "whole":
            done.append(one)
            continue
        broken = {one.path.name: left} if isinstance(left, Broken) else {}
        counts = import_files(form, [one.path], venue, settings.tape, feed=feed, broken=broken)
        done.append(msgspec.structs.replace(one, frames=counts[0][1]))
    if any(one.frames is not None for one in done):
        deliver_tape(settings)
    return done


def _look_up(settings: Settings, lake: Lake, form: str, name: str) -> Broken | Literal["whole"] | None:
    """Return what is on the tape of a file: nothing, all, or how much."""
    if "connection" not in lake.versions():
        return None
    query = """
        select connection, min(tape_offset) as begin, bool_or(event = 'closed' and detail like $end) as is_whole
        from connection where starts_with(connection, $prefix) group by all order by begin desc limit 1"""
    values = {"prefix": f"import/{name}@", "end": '%"end of recording"%'}
    rows = lake.sql(query, values).arrow().to_pylist()
    if not rows:
        return None
    if rows[0]["is_whole"]:
        return "whole"
    reader = open_reader(settings.tape)
    try:
        frames = (
            Frame(**row | {"payload": b""})
            for batch in reader.read(rows[0]["begin"])
            for row in batch.data.drop_columns(["payload"]).to_pylist()
        )
        return find_broken(form, frames, rows[0]["connection"])
    finally:
        reader.close()
