"""The vendor's files from the fake one over sockets: fetched, imported once, gone on with after a kill."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from truetape.collect.http import HttpOptions
from truetape.collect.retry import Backoff, make_decide
from truetape.config import Settings, name_key, parse_settings
from truetape.errors import ConfigError, Refused, VenueUnreachable
from truetape.flow import tardis, verify
from truetape.flow.tardis import Dataset, Fetched, Filter, fetch_datasets, fetch_raw, import_fetched
from truetape.lake import Lake
from truetape.sim.server import SimServer
from truetape.sim.venues._tardis_replay import LOST_S
from truetape.sim.venues._tardis_rows import TICK_US
from truetape.sim.venues.tardis import API_KEY
from truetape.tape import open_writer
from truetape.tape.foreign import import_recording

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
tardis: {{api_url: "{url}/api.tardis.dev/v1", datasets_url: "{url}/datasets.tardis.dev/v1", folder: {folder}/files}}
"""
HASTY = HttpOptions(attempts_max=2, decide=make_decide(Backoff(base_s=0.001, cap_s=0.01)))
ROWS = 86_400_000_000 // TICK_US
BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)
LOST = 2 * (LOST_S[1] - LOST_S[0]) * 1_000_000 // TICK_US
"""Ticks of 25 minutes that the vendor did not hear."""
TRADES = [Filter("trade", ("btcusdt", "ethusdt"))]
KEY = name_key("tardis", "API")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, API_KEY)


def make(folder: Path, server: SimServer) -> Settings:
    return parse_settings(YAML.format(folder=folder, url=server.url), "test", {})


def quotes(first: int = 1, days: int = 1) -> Dataset:
    begin = date(2026, 1, first)
    return Dataset("okex-swap", "quotes", ("BTC-USDT-SWAP",), begin, begin + timedelta(days=days))


async def fetch(settings: Settings, wanted: Dataset) -> list[Fetched]:
    return await asyncio.to_thread(fetch_datasets, settings, wanted, options=HASTY)


async def fetch_minutes(
    settings: Settings, minutes: int, exchange: str = "binance", machine: str = "", begin: datetime = BEGIN,
    filters: Sequence[Filter] = TRADES,
) -> Fetched:  # fmt: skip
    end = begin + timedelta(minutes=minutes)
    return await asyncio.to_thread(fetch_raw, settings, exchange, filters, begin, end, machine=machine, options=HASTY)


def count(folder: Path, table: str) -> int:
    return int(Lake(folder / "lake").sql(f"select count(*) as n from {table}").arrow()["n"][0].as_py())


async def test_files_are_fetched_and_imported_once(tmp_path: Path) -> None:
    async with SimServer(venues=["tardis"], faults="tardis 5xx for 1 request") as server:
        settings = make(tmp_path, server)
        done = await fetch(settings, quotes(days=2))
        assert [(one.file, one.status) for one in done] == [
            (f"okex-swap_quotes_2026-01-0{day}_BTC-USDT-SWAP.csv.gz", "fetched") for day in (1, 2)
        ]
        first = import_fetched(settings, done)
        again = import_fetched(settings, await fetch(settings, quotes(days=2)))
    assert all(one.frames for one in first)
    assert [(one.status, one.frames) for one in again] == [("there", None)] * 2
    assert count(tmp_path, "quote") == 2 * ROWS
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


async def test_keys_absent_days_and_broken_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SimServer(venues=["tardis"], faults="after 1 tardis cut-snapshot 2") as server:
        settings = make(tmp_path, server)
        monkeypatch.delenv(KEY)
        assert [one.status for one in await fetch(settings, quotes())] == ["fetched"]
        with pytest.raises(Refused, match=r"401.*it wants a key"):
            await fetch(settings, quotes(2))
        with pytest.raises(ConfigError, match=f"set {KEY}"):
            await fetch_minutes(settings, 1)
        monkeypatch.setenv(KEY, API_KEY)
        with pytest.raises(VenueUnreachable, match="does not unpack"):
            await fetch(settings, quotes(3))
        (absent,) = await fetch(settings, Dataset("nowhere", "quotes", ("X",), date(2026, 1, 1), date(2026, 1, 2)))
        assert (absent.status, absent.path) == ("absent", None)
        with pytest.raises(ConfigError, match="not 1 to 4000 days"):
            await fetch(settings, quotes(days=0))
        with pytest.raises(ConfigError, match="whole minutes"):
            await fetch_minutes(settings, 0)
        with pytest.raises(tardis.TruetapeError, match="no recordings of huobi"):
            await fetch_minutes(settings, 1, "huobi")
    assert import_fetched(settings, [absent]) == [absent]


async def test_minutes_become_one_recording_with_its_disconnects(tmp_path: Path) -> None:
    async with SimServer(venues=["tardis"], faults="after 15 tardis 5xx for 3 requests") as server:
        settings = make(tmp_path, server)
        with pytest.raises(VenueUnreachable, match="503"):
            await fetch_minutes(settings, 25)
        (note,) = (tmp_path / "files" / "raw").glob("*.json")
        assert json.loads(note.read_bytes())["minutes"] == 8
        one = await fetch_minutes(settings, 25)
        assert (one.status, (await fetch_minutes(settings, 25)).status) == ("fetched", "there")
    assert [p.name for p in (tmp_path / "files" / "raw").iterdir()] == [one.file]
    (done,) = import_fetched(settings, [one], "binance", "spot")
    trades = (25 * 12 - LOST) * 2
    assert done.frames == trades + 2 and count(tmp_path, "trade") == trades
    query = "select symbol, evidence from gap where reason = 'disconnect' and evidence like '%recorder disconnect%'"
    gaps = Lake(tmp_path / "lake").sql(query).arrow().to_pylist()
    assert {gap["symbol"] for gap in gaps} == {"BTC-USDT", "ETH-USDT"}
    assert import_fetched(settings, [one], "binance", "spot") == [one]


async def test_a_machine_replays_what_the_vendor_has(tmp_path: Path) -> None:
    """Messages, times and what was lost: line by line, though the machine tells losses too early."""
    async with SimServer(venues=["tardis"], faults="after 15 tardis 5xx for 3 requests") as server:
        settings, whole = make(tmp_path, server), make(tmp_path / "vendor", server)
        with pytest.raises(VenueUnreachable, match="503"):
            await fetch_minutes(settings, 25, machine=server.url)
        (note,) = (tmp_path / "files" / "raw").glob("*.json")
        assert json.loads(note.read_bytes())["minutes"] == 8
        one = await fetch_minutes(settings, 25, machine=server.url)
        told = await fetch_minutes(whole, 25)
        again = await fetch_minutes(settings, 25, machine=server.url)
    assert one.path is not None and told.path is not None and (one.status, again.status) == ("fetched", "there")
    assert [path.name for path in one.path.parent.iterdir()] == [told.path.name]
    assert gzip.decompress(one.path.read_bytes()) == gzip.decompress(told.path.read_bytes())
    (done,) = import_fetched(settings, [one], "binance", "spot")
    trades = (25 * 12 - LOST) * 2
    assert done.frames == trades + 2 and count(tmp_path, "trade") == trades
    assert import_fetched(settings, [again], "binance", "spot") == [again]
    query = (
        "select distinct epoch(to_at - from_at) as s from gap where reason = 'disconnect' and evidence like '%next_id%'"
    )
    assert Lake(tmp_path / "lake").sql(query).arrow().to_pylist() == [{"s": LOST_S[1] - LOST_S[0] + 5.0}]
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


@pytest.mark.parametrize(
    ("exchange", "filters", "symbol"),
    [
        ("binance", [Filter("trade", ("btcusdt", "ethusdt"))], "BTC-USDT"),
        ("okex-swap", [Filter("trades", ("BTC-USDT-SWAP",))], "BTC-USDT-PERP"),
        ("deribit", [Filter("trades", ("BTC-PERPETUAL",))], "BTC-USD-PERP"),
    ],
)
async def test_a_machines_sockets_tell_messages_by_the_minute(
    tmp_path: Path, exchange: str, filters: list[Filter], symbol: str
) -> None:
    """The venue's own decoder reads them; nothing is there before it can have been received."""
    async with SimServer(venues=["tardis"]) as server:
        settings = make(tmp_path, server)
        one = await fetch_minutes(settings, 9, exchange, server.url.replace("http", "ws"), filters=filters)
        with pytest.raises(VenueUnreachable, match=r"closed: 1011 Error: Invalid \"exchange\" argument: binance-us"):
            await fetch_minutes(settings, 1, "binance-us", server.url.replace("http", "ws"))
    (done,) = import_fetched(settings, [one], exchange)
    rows = 9 * 12 * sum(len(each.symbols) for each in filters)
    assert done.frames == rows + 1 and count(tmp_path, "trade") == rows
    query = """
        select min(exchange_at) as first, min(received_at) as heard,
            epoch(min(received_at - exchange_at)) as soonest, epoch(max(received_at - exchange_at)) as latest from trade where symbol = $symbol"""
    (span,) = Lake(tmp_path / "lake").sql(query, {"symbol": symbol}).arrow().to_pylist()
    assert span["first"] == BEGIN and span["heard"] == BEGIN + timedelta(microseconds=59_999_999)
    assert 0 < span["soonest"] < span["latest"] < 60
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []
    assert "quarantine" not in Lake(tmp_path / "lake").versions()


async def test_a_machine_that_fails_half_way_is_told_and_asked_again(tmp_path: Path) -> None:
    lossy = BEGIN + timedelta(minutes=9)
    async with SimServer(venues=["tardis"], faults="cut-snapshot 2") as server:
        settings = make(tmp_path, server)
        with pytest.raises(VenueUnreachable, match=r"replay.*: the machine said \{\"localTimestamp"):
            await fetch_minutes(settings, 1, machine=server.url, begin=lossy)
        one = await fetch_minutes(settings, 1, machine=server.url, begin=lossy)
        with pytest.raises(VenueUnreachable, match=r"answered 500: .*Invalid"):
            await fetch_minutes(settings, 1, "okex", server.url)
    assert one.path is not None
    assert gzip.decompress(one.path.read_bytes()).count(b"\n") == (12 - LOST // 2) * 2 + 1


@pytest.mark.parametrize("machine", ["machine:8000", "ftp://127.0.0.1", "http://"])
def test_an_address_of_no_machine_is_refused(tmp_path: Path, machine: str) -> None:
    settings = parse_settings(f"tape: {tmp_path}/tape", "test", {})
    with pytest.raises(ConfigError, match=r"--machine '.*' \(allowed: http://host:port"):
        fetch_raw(settings, "binance", TRADES, BEGIN, BEGIN + timedelta(minutes=1), machine=machine)


@pytest.mark.parametrize("form", ["csv", "raw"])
async def test_an_import_that_was_ended_goes_on(tmp_path: Path, form: str) -> None:
    """As after a kill: what was durable then is the beginning of the file."""
    async with SimServer(venues=["tardis"]) as server:
        settings, whole = make(tmp_path, server), make(tmp_path / "whole", server)
        if form == "csv":
            (one,), how = await fetch(settings, quotes()), ("tardis", "tardis", None)
        else:
            one, how = await fetch_minutes(settings, 15), ("tardis-raw", "binance", "spot")
    words: dict[str, Any] = {"exchange": "binance", "feed": "spot"} if form == "raw" else {}
    assert one.path is not None
    writer = open_writer(settings.tape)

    class Ended(Exception):
        pass

    class Pen:
        """A writer that ends after some frames."""

        def __init__(self) -> None:
            self.left = 1 if form == "csv" else 100

        def __getattr__(self, name: str) -> Any:
            return getattr(writer, name)

        def append(self, *row: Any) -> None:
            if not self.left:
                raise Ended
            self.left -= 1
            writer.append(*row)

    with pytest.raises(Ended):
        import_recording(how[0], [one.path], how[1], Pen(), feed=how[2])  # type: ignore[arg-type]
    writer.flush()
    writer.close()
    (done,) = import_fetched(settings, [one], **words)
    assert done.frames
    import_fetched(whole, [one], **words)
    for table in ("quote",) if form == "csv" else ("trade", "gap"):
        query = f"select * exclude (tape_offset, tape_row) from {table} order by all"
        if table == "gap":
            query = "select symbol, reason, state, from_at, to_at from gap order by all"
        found, expected = (Lake(p / "lake").sql(query).arrow() for p in (tmp_path, tmp_path / "whole"))
        assert found.equals(expected)
    assert import_fetched(settings, [one], **words) == [one]


async def test_the_commands_do_it(tmp_path: Path) -> None:
    async with SimServer(venues=["tardis"]) as server:
        (tmp_path / "truetape.yaml").write_text(YAML.format(folder=tmp_path, url=server.url))
        for words, frames in (
            ("datasets deribit BTC-PERPETUAL --type liquidations --from 2026-02-01 --to 2026-02-02", 2),
            ("replay binance --channel trade --symbol btcusdt --from 2026-01-05T10:00 --to 2026-01-05T10:02", 24),
        ):
            command = [sys.executable, "-m", "truetape.cli", "tardis", *words.split(), "--json"]
            command += ["--config", str(tmp_path / "truetape.yaml")]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)[0]["frames"] == frames
    assert count(tmp_path, "liquidation") == 1440 and count(tmp_path, "trade") == 24
