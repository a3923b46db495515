"""Keeps the past of venues that nobody records: stream by stream, from where the last run got to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from truetape.config import ArchiveSettings, Settings
from truetape.errors import ConfigError, TapeLocked, Transient
from truetape.flow.bulk import fetch_bulk
from truetape.flow.repair import backfill
from truetape.flow.subject import Subject
from truetape.venues import load_venue

OF_DERIVATIVES = frozenset({"funding", "open_interest"})
"""Channels that spot instruments have not."""
PERIOD = "5m"
"""Of open interest."""
SETTLED = timedelta(minutes=10)
"""What happened so long ago is told by APIs."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kept(msgspec.Struct, frozen=True):
    """What became of one stream in one run."""

    key: str
    """What it is remembered by: venue/market/symbol/channel/interval."""
    status: Literal["kept", "absent", "failed"]
    """Fetched; the venue has none of it; it did not answer, or somebody else has the tape."""
    rows: int = 0
    until: datetime | None = None
    """So far it has been fetched."""
    reason: str = ""


def list_kept(settings: Settings) -> list[tuple[str, ArchiveSettings, Subject]]:
    """List the streams that the settings want kept: (what it is remembered by, its settings, the stream).

    Raises ConfigError for venues and channels that cannot be.
    """
    found = []
    for name, chosen in settings.archive.items():
        _check(name, chosen)
        for symbol in chosen.instruments:
            for channel in chosen.channels:
                if channel in OF_DERIVATIVES and symbol.count("-") == 1:
                    continue
                intervals = chosen.intervals if channel == "candle" else (PERIOD if channel == "open_interest" else "",)
                for interval in intervals:
                    subject = Subject(name, chosen.market, symbol, "", channel, interval)
                    key = "/".join((name, chosen.market, symbol, channel, interval))
                    found.append((key, chosen, subject))
    return found


def keep_past(
    settings: Settings,
    now: datetime,
    find_mark: Callable[[str], str | None],
    on_kept: Callable[[Kept], None],
) -> list[Kept]:
    """Fetch of each stream what came since its mark, an ISO time; `on_kept` is to remember the new one.

    A stream that fails, or that the venue has none of, does not keep the others.
    """
    done = []
    for key, chosen, subject in list_kept(settings):
        told = find_mark(key)
        begin = datetime.fromisoformat(told) if told else _floor(now - timedelta(days=chosen.days), "d")
        end = _floor(now, "d") if chosen.source == "files" else _floor(now - SETTLED, "m")
        if begin >= end:
            continue
        done.append(_keep(settings, key, subject, (begin, end), chosen.source))
        on_kept(done[-1])
    return done


def _keep(settings: Settings, key: str, subject: Subject, span: tuple[datetime, datetime], source: str) -> Kept:
    begin, end = span
    try:
        if source == "api":
            return Kept(key, "kept", backfill(settings, subject, begin, end), end)
        files = fetch_bulk(settings, subject, begin, end)
    except TapeLocked:
        raise
    except Transient as error:
        return Kept(key, "failed", reason=str(error))
    except ConfigError as error:
        return Kept(key, "absent", reason=str(error))
    # A file that is not published yet is asked for again, and all that come after it.
    ends = [_EPOCH + timedelta(microseconds=one.from_us) for one in files if one.status == "absent"]
    until = max(min([end, *ends]), begin)
    reason = f"{len(ends)} files are not there yet" if ends else ""
    return Kept(key, "kept", sum(one.rows for one in files), until, reason)


def _check(name: str, chosen: ArchiveSettings) -> None:
    venue = load_venue(name)
    bulk = venue.bulk.channels if venue.bulk else ()
    allowed = bulk if chosen.source == "files" else tuple(dict.fromkeys(one.channel for one in venue.backfills))
    if not allowed:
        raise ConfigError(f"archive.{name}: {venue.title} tells nothing of its past by {chosen.source}")
    wrong = [channel for channel in chosen.channels if channel not in allowed]
    if wrong:
        raise ConfigError(f"archive.{name}.channels: {wrong[0]!r} (allowed: {', '.join(allowed)})")
    markets = dict.fromkeys(feed.market for feed in venue.feeds)
    if chosen.market and chosen.market not in markets:
        raise ConfigError(f"archive.{name}.market: {chosen.market!r} (allowed: {', '.join(markets)})")


def _floor(at: datetime, unit: Literal["d", "m"]) -> datetime:
    whole = at.replace(second=0, microsecond=0)
    return whole.replace(hour=0, minute=0) if unit == "d" else whole
