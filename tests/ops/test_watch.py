"""Messages reach a real web hook; metrics reach a real Prometheus."""

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from truetape.cli._daemon import measure
from truetape.collect.status import ServiceStatus
from truetape.config import AlertSettings, OpsSettings, Settings
from truetape.decode.status import StreamStatus
from truetape.errors import ConfigError
from truetape.flow.live import LiveStatus
from truetape.flow.message import TapeStatus
from truetape.ops.alert import Desk, find_troubles
from truetape.ops.letter import Postman
from truetape.ops.metrics import HealthServer, find_illness
from truetape.ops.vital import JobVital, Vitals
from truetape.ops.watch import add_surroundings, keep_watch

NOW_NS = 10**18
STREAM = StreamStatus("binance", 'BTC"USDT', "trade", 12, NOW_NS - 5 * 10**8, "", 1, None, 20.0)
WELL = Vitals(NOW_NS, frames=100, counts={"decoded": 90, "rows.trade": 12}, streams=(STREAM,), connections={"open": 1})


@asynccontextmanager
async def listening(heard: asyncio.Queue[dict[str, str]]) -> AsyncIterator[int]:
    """Open a web hook; give its port."""

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_troubles_and_their_end_reach_a_web_hook() -> None:
    heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    settings = Settings(alerts=AlertSettings(group_seconds=0, disk_free_bytes_min=0))
    vitals = [Vitals(troubles=("binance: refused",))]
    async with listening(heard) as port:
        watching = asyncio.create_task(
            keep_watch(settings, lambda: vitals[0], Postman([f"json://127.0.0.1:{port}/hook"]), lambda message: None)
        )
        try:
            async with asyncio.timeout(20):
                first = await heard.get()
                vitals[0] = Vitals()
                second = await heard.get()
        finally:
            watching.cancel()
    assert first["message"] == "binance: refused"
    assert second["title"] == "truetape: 1 trouble over"


async def test_a_poll_that_fails_again_and_again_reaches_a_web_hook_once() -> None:
    """As the recorder tells it: the number of turns goes on growing, the trouble stays one."""
    heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    turns = itertools.count(5)

    def look() -> Vitals:
        failing = {"polymarket/balances": f"{next(turns)} turns in a row failed: answered 502"}
        return measure(LiveStatus(TapeStatus(1000, 990, 0, 0, [], [], failing=failing)), 0)

    settings = Settings(alerts=AlertSettings(group_seconds=0, disk_free_bytes_min=0))
    async with listening(heard) as port:
        watching = asyncio.create_task(
            keep_watch(settings, look, Postman([f"json://127.0.0.1:{port}/hook"]), lambda message: None)
        )
        try:
            async with asyncio.timeout(20):
                first = await heard.get()
        finally:
            watching.cancel()
    assert first["message"] == "polymarket/balances: 5 turns in a row failed: answered 502"
    desk = Desk(settings.alerts)
    told = [desk.judge(find_troubles(look(), None, settings.alerts), float(second)) for second in range(3)]
    assert [len(messages) for messages in told] == [1, 0, 0]
    assert find_illness(msgspec.structs.replace(WELL, failing={"a/b": "c"})) == ["a/b: c"]


def test_an_address_that_is_none_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        Postman(["nonsense-secret"])
    assert "TRUETAPE_ALERT_URLS: address 1 of 1" in str(refused.value)
    assert "nonsense-secret" not in str(refused.value)


def test_health_has_reasons() -> None:
    assert find_illness(WELL) == []
    assert find_illness(Vitals()) == ["no connection is open"]


def test_snapshot_services_are_judged_by_their_turns() -> None:
    """What is only asked for needs no connection; a gap before its first turn is no illness."""
    snapshot = StreamStatus("snapshot", "fake/m1", "market_snapshot", 0, 0, "disconnect", 1, None, None)
    alone = Vitals(NOW_NS, is_streaming=False, streams=(snapshot,))
    well = ServiceStatus("fake", 3, 58, 2, 20, 70, 4, 1, 900.0, NOW_NS // 1000 - 30_000_000)
    assert find_illness(msgspec.structs.replace(alone, services=(well,))) == []
    ill = msgspec.structs.replace(well, faults=("decode", "rate_limit"), due_us=NOW_NS // 1000 - 3_000_000_000)
    assert find_illness(msgspec.structs.replace(alone, services=(ill,))) == [
        "snapshots.fake: snapshots are missed (decode, rate_limit)",
        "snapshots.fake: no turn for 3,000 s",
    ]


async def test_services_and_jobs_have_metrics() -> None:
    service = ServiceStatus("fake", 3, 58, 2, 20, 70, 4, 1, 900.0, NOW_NS // 1000 - 30_000_000)
    vitals = Vitals(NOW_NS, services=(service,), jobs=(JobVital("market_data", "done", 12.0),), is_streaming=False)
    async with HealthServer(lambda: vitals, 0) as server, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{server.port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        async with session.get(f"http://127.0.0.1:{server.port}/healthz") as answer:
            said = await answer.json()
    for line in (
        'truetape_snapshots_total{service="fake"} 58.0',
        'truetape_snapshots_missed_total{service="fake"} 2.0',
        'truetape_snapshot_requests_total{outcome="failed",service="fake"} 3.0',
        'truetape_snapshot_turn_age_seconds{service="fake"} 30.0',
        'truetape_job_age_seconds{job="market_data",state="done"} 12.0',
    ):
        assert line in lines
    assert (said["snapshots"][0]["service"], said["jobs"][0]["state"]) == ("fake", "done")


async def test_health_and_metrics_are_served_on_loopback() -> None:
    vitals = [WELL]
    async with HealthServer(lambda: vitals[0], 0) as server, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}"
        async with session.get(f"{url}/healthz") as answer:
            assert answer.status == 200
        async with session.get(f"{url}/metrics") as answer:
            text = await answer.text()
        vitals[0] = Vitals()
        async with session.get(f"{url}/healthz") as answer:
            assert (answer.status, (await answer.json())["reasons"]) == (503, ["no connection is open"])
        with pytest.raises(ConfigError, match=r"ops\.health_port: cannot listen"):
            async with HealthServer(lambda: vitals[0], server.port):
                pass
    assert 'truetape_stream_rows_total{channel="trade",symbol="BTC\\"USDT",venue="binance"} 12.0' in text
    assert "truetape_frames_total 100.0" in text


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus here: apt-get install prometheus")
async def test_a_real_prometheus_scrapes_us(tmp_path: Path) -> None:
    async with HealthServer(lambda: WELL, 0) as server, aiohttp.ClientSession() as session:
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: truetape\n    static_configs:\n"
            f"      - targets: ['127.0.0.1:{server.port}']\n"
        )
        port = 40_000 + os.getpid() % 20_000
        process = subprocess.Popen(  # noqa: ASYNC220 - it only starts
            ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'db'}",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            async with asyncio.timeout(60):
                found = await ask(session, port, "truetape_stream_rows_total")
        finally:
            process.terminate()
            process.wait()
    assert found["metric"]["symbol"] == 'BTC"USDT'
    assert found["value"][1] == "12"


async def ask(session: aiohttp.ClientSession, port: int, query: str) -> dict[str, object]:
    while True:
        try:
            async with session.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}) as answer:
                result = (await answer.json())["data"]["result"]
                if result:
                    return result[0]
        except (aiohttp.ClientError, KeyError):
            pass
        await asyncio.sleep(0.2)


def test_surroundings_are_the_disk_and_failed_jobs(tmp_path: Path) -> None:
    from truetape.ops import open_history

    settings = Settings(tape=str(tmp_path / "tape"), ops=OpsSettings(state=str(tmp_path / "state")))
    with open_history(tmp_path / "state") as history:
        history.end(history.begin("backup"), "failed", 1, "{}", "no space")
        history.end(history.begin("check"), "failed", 1, "{}", "once")
        history.end(history.begin("check"), "done", 1, "{}")
    found = add_surroundings(Vitals(), settings)
    assert found.failed_jobs == {"backup": "no space"}
    assert found.disk_free_bytes > 0


def test_a_failure_is_known_however_many_runs_of_others_came_after_it(tmp_path: Path) -> None:
    from truetape.ops import open_history

    settings = Settings(tape=str(tmp_path / "tape"), ops=OpsSettings(state=str(tmp_path / "state")))
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    with open_history(tmp_path / "state") as history:
        history.end(history.begin("backup"), "failed", 1, "{}", "no space")
        history.miss("check", [begin + timedelta(minutes=minute) for minute in range(1000)])
    found = add_surroundings(Vitals(), settings)
    assert found.failed_jobs == {"backup": "no space"}
    assert [job.job for job in found.jobs] == ["backup"]


def test_a_state_that_cannot_be_read_is_a_trouble_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "state/jobs.sqlite").mkdir(parents=True)
    settings = Settings(tape=str(tmp_path / "tape"), ops=OpsSettings(state=str(tmp_path / "state")))
    found = add_surroundings(Vitals(troubles=("binance: refused",)), settings)
    assert found.troubles[0] == "binance: refused"
    assert "the jobs' history cannot be read or written" in found.troubles[1]
    (tmp_path / "file").write_text("")
    found = add_surroundings(
        Vitals(), msgspec.structs.replace(settings, ops=OpsSettings(state=str(tmp_path / "file/x")))
    )
    assert "there is a file where a folder is wanted" in found.troubles[0]


def test_the_fullest_disk_counts_and_is_named(tmp_path: Path, small_disk: Callable[..., Path]) -> None:
    small = small_disk("-t", "tmpfs", "-o", "size=512k", "tmpfs")
    settings = Settings(
        tape=str(tmp_path / "tape"), sinks=(f"lake:{small}/lake",), ops=OpsSettings(state=str(tmp_path / "state"))
    )
    vitals = add_surroundings(Vitals(), settings)
    assert vitals.disk_free_bytes <= 512 * 1024
    assert vitals.disk_place == f"{small}/lake"
    told = find_troubles(vitals, None, AlertSettings())
    assert told["disk"] == f"0.0 GB free at {small}/lake (wanted: 5.0 GB)"
