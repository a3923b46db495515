"""Is this machine fit to record? Looks, changes nothing but a probe file."""

import asyncio
import importlib.util
import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import aiohttp
import msgspec

from truetape import clock, compiled
from truetape.config import Settings, load_settings, rewrite_url
from truetape.errors import ConfigError
from truetape.flow.fault import find_faults
from truetape.venues import list_venues, load_venue

FREE_BYTES_MIN = 5 * 10**9
FILES_MIN = 1024
SYNC_MS_MAX = 100.0
NETWORK_TIMEOUT_S = 10.0

_EXTRAS = {"transform": "dbt.adapters.duckdb", "report": "matplotlib", "frames": "polars"}


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    what: str
    ok: bool
    detail: str


def examine(
    config_path: Path, *, network: bool = False, find_faults: Callable[[Settings], Iterable[str]] = find_faults
) -> list[Finding]:
    """Look at settings, folders, disk, clock, limits and optional parts."""
    python = Finding("python", True, platform.python_version())
    findings = [python, _look_at_compiled(), *_look_at_extras(), _look_at_limits()]
    try:
        settings = load_settings(config_path)
    except ConfigError as error:
        return [*findings, Finding("settings", False, str(error))]
    faults = [Finding("settings", False, fault) for fault in find_faults(settings)]
    findings += faults or [Finding("settings", True, str(config_path))]
    findings.extend(_look_at_venues(settings))
    findings.extend(_look_at_folder(Path(settings.tape)))
    if network:
        findings.extend(asyncio.run(_ask_venues(settings)))
    return findings


def _look_at_compiled() -> Finding:
    told = "not in use: Python decodes at half the pace (built on installation where there is a C compiler)"
    return Finding("compiled part", True, "in use" if compiled.core else told)


def _look_at_extras() -> Iterator[Finding]:
    for extra, module in _EXTRAS.items():
        try:
            is_there = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            is_there = False
        hint = "installed" if is_there else f"not installed (optional): pip install 'truetape[{extra}]'"
        yield Finding(f"extra {extra}", True, hint)


def _look_at_limits() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Finding("open files", soft >= FILES_MIN, f"{soft} allowed (at least {FILES_MIN} wanted: ulimit -n)")


def _look_at_venues(settings: Settings) -> Iterator[Finding]:
    for name in settings.venues:
        if name in list_venues():  # of others the settings' faults tell
            yield Finding(f"venue {name}", True, load_venue(name).title)


def _look_at_folder(folder: Path) -> Iterator[Finding]:
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    yield Finding("disk", free >= FREE_BYTES_MIN, f"{free / 1e9:,.1f} GB free at {there}")
    try:
        sync_ms = _time_sync(there)
    except OSError as error:
        yield Finding("tape folder", False, f"{there} cannot be written: {error.strerror}")
        return
    yield Finding("tape folder", sync_ms <= SYNC_MS_MAX, f"{there}: fsync takes {sync_ms:.1f} ms")


def _time_sync(folder: Path) -> float:
    """Return the median of five fsyncs of 64 KiB, in ms."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        for _ in range(5):
            probe.write(bytes(65536))
            probe.flush()
            begin = clock.monotonic_ns()
            os.fsync(probe.fileno())
            times.append((clock.monotonic_ns() - begin) / 1e6)
    return sorted(times)[2]


async def _ask_venues(settings: Settings) -> list[Finding]:
    timeout = aiohttp.ClientTimeout(total=NETWORK_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        known = {name: venue.url for name, venue in settings.venues.items() if name in list_venues()}
        return [await _ask_venue(session, name, url) for name, url in known.items()]


async def _ask_venue(session: aiohttp.ClientSession, name: str, override: str) -> Finding:
    listings = load_venue(name).listings
    if not listings:
        return Finding(f"network {name}", True, "not asked: it has no listing")
    url = rewrite_url(listings[0].url, override)
    try:
        async with session.get(url) as response:
            return Finding(f"network {name}", response.status == 200, f"{url} answers {response.status}")
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding(f"network {name}", False, f"{url}: {type(error).__name__} {error}")
