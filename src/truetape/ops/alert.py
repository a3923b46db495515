"""What a person must hear of: rules over vitals, and a desk that groups, limits and takes back."""

from collections.abc import Iterator, Mapping

import msgspec

from truetape.config import AlertSettings
from truetape.ops.vital import POLLED, Vitals

STEADY = ("book_change", "quote", "ticker", "derivative", "oracle_price")
"""Channels that never rest for long; trades of a quiet market may."""
LINES_MAX = 20
"""Troubles listed in one message."""


class Message(msgspec.Struct, frozen=True):
    """One message to people."""

    title: str
    body: str
    is_recovery: bool


def find_troubles(now: Vitals, before: Vitals | None, rules: AlertSettings) -> dict[str, str]:
    """Return what is wrong now: a key that stays the same while it is, and one line.

    `before` are the vitals of about a minute earlier, for what is counted.
    """
    return dict(_iterate_troubles(now, before or now, rules))


def _iterate_troubles(now: Vitals, before: Vitals, rules: AlertSettings) -> Iterator[tuple[str, str]]:
    yield from _iterate_blind(now, rules)
    for name, limit in (("quarantined", rules.quarantined_max), ("rows.error", rules.errors_max),
                        ("rows.drift", rules.drifts_max)):  # fmt: skip
        fresh = now.counts.get(name, 0) - before.counts.get(name, 0)
        if fresh > limit:
            yield name, f"{fresh:,} new {_COUNTED[name]} within a minute (allowed: {limit})"
    if now.dropped > before.dropped:
        yield "dropped", f"{now.dropped - before.dropped:,} frames dropped: the disk is too slow (gaps are declared)"
    if now.disk_free_bytes < rules.disk_free_bytes_min:
        free, wanted = (f"{size / 1e9:,.1f} GB" for size in (now.disk_free_bytes, rules.disk_free_bytes_min))
        yield "disk", f"{free} free{now.disk_place and f' at {now.disk_place}'} (wanted: {wanted})"
    if now.behind > rules.behind_frames_max:
        yield "behind", f"decoding is {now.behind:,} frames behind (allowed: {rules.behind_frames_max:,})"
    for job, why in now.failed_jobs.items():
        yield f"job {job}", f"job {job} failed: {why}"
    for trouble in now.troubles:
        yield f"trouble {trouble}", trouble


def _iterate_blind(now: Vitals, rules: AlertSettings) -> Iterator[tuple[str, str]]:
    """Tell of streams and services that bring nothing."""
    for stream in now.streams:
        if stream.channel in POLLED:
            continue
        name = f"{stream.venue} {stream.symbol} {stream.channel}"
        age_s = now.measure_age(stream)
        if stream.gap and (age_s is None or age_s >= rules.gap_seconds):
            aged = "" if age_s is None else f" for {age_s:,.0f} s"
            yield f"gap {name}", f"{name}: in a gap{aged} ({stream.gap})"
        elif stream.channel in STEADY and age_s is not None and age_s >= rules.stale_seconds:
            yield f"stale {name}", f"{name}: nothing new for {age_s:,.0f} s"
    for poll, why in now.failing.items():
        yield f"poll {poll}", f"{poll}: {why}"
    for service in now.services:
        if service.faults and not service.refusal:  # a refusal is a trouble of its own
            why = ", ".join(service.faults)
            yield f"snapshots {service.service}", f"snapshots.{service.service}: snapshots are missed ({why})"


_COUNTED = {
    "quarantined": "messages that do not decode",
    "rows.error": "failed requests",
    "rows.drift": "changes of a message's form",
}


class _Open(msgspec.Struct):
    text: str
    since_s: float
    told_s: float | None = None
    gone_s: float | None = None


class Desk:
    """Decides what is said when: new troubles together, repeated ones rarely, ended ones once."""

    def __init__(self, rules: AlertSettings) -> None:
        self._rules = rules
        self._open: dict[str, _Open] = {}
        self._sent_s: list[float] = []
        self.held = 0
        """Messages that were not sent because there were too many; what they said comes with the next."""

    def judge(self, troubles: Mapping[str, str], now_s: float) -> list[Message]:
        """Take what is wrong now; return the messages to send."""
        for key, text in troubles.items():
            known = self._open.setdefault(key, _Open(text, now_s))
            known.text, known.gone_s = text, None
        for key in self._open.keys() - troubles.keys():
            self._open[key].gone_s = self._open[key].gone_s or now_s
        messages = [*self._tell_new(now_s), *self._tell_ended(now_s)]
        return messages

    def _tell_new(self, now_s: float) -> Iterator[Message]:
        due = [trouble for trouble in self._open.values() if trouble.gone_s is None and self._is_due(trouble, now_s)]
        fresh = [trouble for trouble in due if trouble.told_s is None]
        waited = max((now_s - trouble.since_s for trouble in fresh), default=0.0)
        if not due or (fresh and len(fresh) == len(due) and waited < self._rules.group_seconds):
            return
        if not self._may_send(now_s):
            return
        for trouble in due:
            trouble.told_s = now_s
        yield Message(f"truetape: {_count(len(due), 'trouble')}", _list([t.text for t in due]), is_recovery=False)

    def _tell_ended(self, now_s: float) -> Iterator[Message]:
        ended = {key: trouble for key, trouble in self._open.items()
                 if trouble.gone_s is not None and now_s - trouble.gone_s >= self._rules.group_seconds}  # fmt: skip
        told = [trouble for trouble in ended.values() if trouble.told_s is not None]
        if told and not self._may_send(now_s):
            return
        for key in ended:
            del self._open[key]  # what came and went before it was told needs no word
        if told:
            lines = [f"over after {(t.gone_s or now_s) - t.since_s:,.0f} s: {t.text}" for t in told]
            yield Message(f"truetape: {_count(len(told), 'trouble')} over", _list(lines), is_recovery=True)

    def _is_due(self, trouble: _Open, now_s: float) -> bool:
        return trouble.told_s is None or now_s - trouble.told_s >= self._rules.repeat_hours * 3600

    def _may_send(self, now_s: float) -> bool:
        self._sent_s = [at for at in self._sent_s if now_s - at < 3600]
        if len(self._sent_s) >= self._rules.messages_per_hour_max:
            self.held += 1
            return False
        self._sent_s.append(now_s)
        return True


def _list(lines: list[str]) -> str:
    more = len(lines) - LINES_MAX
    return "\n".join([*lines[:LINES_MAX], *([f"… and {more} more"] if more > 0 else [])])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
