"""/healthz and /metrics: how a recording is doing, for load balancers, Prometheus and people with curl."""

from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from truetape.errors import ConfigError, MissingExtra
from truetape.ops.vital import Vitals


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
        """200 while a connection is open and nothing is dropped; 503 with the reasons else."""
        reasons = find_illness(self._look())
        return web.json_response({"is_healthy": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._write(), content_type="text/plain", charset="utf-8")


def find_illness(vitals: Vitals) -> list[str]:
    """Return why the recording is not healthy; empty when it is."""
    reasons = list(vitals.troubles)
    if not vitals.connections.get("open"):
        reasons.append("no connection is open")
    if vitals.streams and all(stream.gap for stream in vitals.streams):
        reasons.append("every stream is in a gap")
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
    yield GaugeMetricFamily("truetape_disk_free_bytes", "Space left where the tape lies.", value=vitals.disk_free_bytes)
    connections = GaugeMetricFamily("truetape_connections", "Connections by state.", labels=["state"])
    for state, count in vitals.connections.items():
        connections.add_metric([state], count)
    yield connections
    jobs = GaugeMetricFamily("truetape_job_failed", "1 for a job whose last run failed.", labels=["job"])
    for job in vitals.failed_jobs:
        jobs.add_metric([job], 1)
    yield jobs


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
        rows.add_metric(names, stream.rows)
        gaps.add_metric(names, stream.gaps)
        in_gap.add_metric(names, float(bool(stream.gap)))
        if stream.age_s is not None:
            age.add_metric(names, stream.age_s)
        if stream.lag_ms is not None:
            lag.add_metric(names, stream.lag_ms / 1000)
    yield from (rows, gaps, in_gap, age, lag)
