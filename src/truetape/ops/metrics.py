"""/healthz and /metrics: how a recording is doing, for load balancers, Prometheus and people with curl."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from truetape.errors import ConfigError, MissingExtra
from truetape.ops.vital import POLLED, Vitals

LATE_TURNS = 2.5
"""A service that has taken no turn for so many intervals is not well."""


class HealthServer:
    """Answers on one port of loopback; use within `async with`."""

    def __init__(self, look: Callable[[], Vitals], port: int, host: str = "127.0.0.1") -> None:
        self._look = look
        self._host, self.port = host, port
        self._runner: web.AppRunner | None = None
        self._write = _make_writer(look)

    async def __aenter__(self) -> "HealthServer":
        app = web.Application()
        app.router.add_get("/healthz", self._show_health)
        app.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"ops.health_port: cannot listen on {self._host}:{self.port} ({error.strerror})"
            ) from error
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _show_health(self, request: web.Request) -> web.Response:
        """200 while everything that is recorded is being recorded; 503 with the reasons else."""
        vitals = self._look()
        reasons = find_illness(vitals)
        answer = {
            "is_healthy": not reasons,
            "reasons": reasons,
            "frames": vitals.frames,
            "snapshots": [{**msgspec.to_builtins(one), "age_s": vitals.measure_turn(one)} for one in vitals.services],
            "jobs": [msgspec.to_builtins(job) for job in vitals.jobs],
        }
        return web.json_response(answer, status=503 if reasons else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._write(), content_type="text/plain", charset="utf-8")


def find_illness(vitals: Vitals) -> list[str]:
    """Return why the recording is not healthy; empty when it is."""
    reasons = list(vitals.troubles)
    if vitals.is_streaming and not vitals.connections.get("open"):
        reasons.append("no connection is open")
    streams = [stream for stream in vitals.streams if stream.channel not in POLLED]
    if streams and all(stream.gap for stream in streams):
        reasons.append("every stream is in a gap")
    reasons += [f"{poll}: {why}" for poll, why in vitals.failing.items()]
    for service in vitals.services:
        if service.refusal:
            continue  # a trouble that is listed already
        if service.faults:
            reasons.append(f"snapshots.{service.service}: snapshots are missed ({', '.join(service.faults)})")
        age_s = vitals.measure_turn(service)
        if age_s is not None and age_s > LATE_TURNS * service.interval_s:
            reasons.append(f"snapshots.{service.service}: no turn for {age_s:,.0f} s")
    return reasons


def _make_writer(look: Callable[[], Vitals]) -> Callable[[], bytes]:
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError as error:
        raise MissingExtra("ops.health_port", "ops") from error
    registry = CollectorRegistry()
    registry.register(_Collector(look))
    return lambda: generate_latest(registry)


class _Collector:
    """Turns vitals into Prometheus's families when it is asked."""

    def __init__(self, look: Callable[[], Vitals]) -> None:
        self._look = look

    def describe(self) -> list[Any]:
        """Describe nothing beforehand: the registry would ask for values now."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield all families."""
        vitals = self._look()
        yield from _write_totals(vitals)
        yield from _write_streams(vitals)
        yield from _write_services(vitals)
        yield from _write_jobs(vitals)


def _write_totals(vitals: Vitals) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield CounterMetricFamily("truetape_frames", "Frames on the tape.", value=vitals.frames)
    yield CounterMetricFamily(
        "truetape_frames_dropped", "Frames dropped because the disk was too slow.", value=vitals.dropped
    )
    outcomes = CounterMetricFamily("truetape_frames_by_outcome", "What became of frames.", labels=["outcome"])
    rows = CounterMetricFamily("truetape_rows", "Rows decoded.", labels=["kind"])
    for name, count in vitals.counts.items():
        if name in ("decoded", "quarantined", "control"):
            outcomes.add_metric([name], count)
        elif name.startswith("rows."):
            rows.add_metric([name.removeprefix("rows.")], count)
    yield outcomes
    yield rows
    yield GaugeMetricFamily(
        "truetape_frames_behind", "Frames on the tape that are not decoded yet.", value=vitals.behind
    )
    yield GaugeMetricFamily(
        "truetape_disk_free_bytes",
        "Space left on the fullest disk of tape, sinks and state.",
        value=vitals.disk_free_bytes,
    )
    connections = GaugeMetricFamily("truetape_connections", "Connections by state.", labels=["state"])
    for state, count in vitals.connections.items():
        connections.add_metric([state], count)
    yield connections


def _write_streams(vitals: Vitals) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    labels = ["venue", "symbol", "channel"]
    rows = CounterMetricFamily("truetape_stream_rows", "Rows of a stream.", labels=labels)
    gaps = CounterMetricFamily("truetape_stream_gaps", "Gaps declared on a stream.", labels=labels)
    in_gap = GaugeMetricFamily("truetape_stream_in_gap", "1 while a stream is in a gap.", labels=labels)
    age = GaugeMetricFamily("truetape_stream_age_seconds", "Since a stream's last row.", labels=labels)
    lag = GaugeMetricFamily("truetape_stream_lag_seconds", "Receive time minus the venue's.", labels=labels)
    for stream in vitals.streams:
        names = [stream.venue, stream.symbol, stream.channel]
        if stream.channel not in POLLED:
            rows.add_metric(names, stream.rows)
        gaps.add_metric(names, stream.gaps)
        in_gap.add_metric(names, float(bool(stream.gap)))
        age_s = vitals.measure_age(stream)
        if age_s is not None:
            age.add_metric(names, age_s)
        if stream.lag_ms is not None:
            lag.add_metric(names, stream.lag_ms / 1000)
    yield from (rows, gaps, in_gap, age, lag)


def _write_services(vitals: Vitals) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    label = ["service"]
    turns = CounterMetricFamily("truetape_snapshot_turns", "Turns taken of a snapshot service.", labels=label)
    taken = CounterMetricFamily("truetape_snapshots", "Snapshots taken.", labels=label)
    missed = CounterMetricFamily("truetape_snapshots_missed", "Snapshots that were due and missed.", labels=label)
    requests = CounterMetricFamily("truetape_snapshot_requests", "Tries of requests.", labels=[*label, "outcome"])
    tracked = GaugeMetricFamily("truetape_snapshot_markets", "Markets asked for in every turn.", labels=label)
    age = GaugeMetricFamily("truetape_snapshot_turn_age_seconds", "Since the last turn was due.", labels=label)
    refused = GaugeMetricFamily("truetape_snapshot_refused", "1 for a service that refused us.", labels=label)
    for one in vitals.services:
        for family, value in ((turns, one.cycles), (taken, one.snapshots), (missed, one.missed),
                              (tracked, one.tracked), (refused, int(bool(one.refusal)))):  # fmt: skip
            family.add_metric([one.service], value)
        outcomes = {
            "success": one.requests - one.failures,
            "rate_limited": one.rate_limited,
            "failed": one.failures - one.rate_limited,
        }
        for outcome, count in outcomes.items():
            requests.add_metric([one.service, outcome], count)
        age_s = vitals.measure_turn(one)
        if age_s is not None:
            age.add_metric([one.service], age_s)
    yield from (turns, taken, missed, requests, tracked, age, refused)


def _write_jobs(vitals: Vitals) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    failed = GaugeMetricFamily("truetape_job_failed", "1 for a job whose last run failed.", labels=["job"])
    for job in vitals.failed_jobs:
        failed.add_metric([job], 1)
    age = GaugeMetricFamily(
        "truetape_job_age_seconds", "Since a job's last run, by how it went.", labels=["job", "state"]
    )
    for one in vitals.jobs:
        age.add_metric([one.job, one.state], one.age_s)
    yield from (failed, age)
