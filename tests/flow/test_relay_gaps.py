"""Gaps repaired from a relay: what it told all of is repaired, what it has nothing of is not, and nothing comes twice."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from truetape.cli.gaps import command
from truetape.collect.http import HttpOptions
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.config import OpsSettings, Settings, name_key, parse_settings
from truetape.errors import ConfigError
from truetape.events.backfill import Began, Range
from truetape.flow import deliver, verify
from truetape.flow.loss import Past
from truetape.flow.relay import backfill_from_relay, find_stretches, repair_from_relay
from truetape.flow.relayed import relay_beside
from truetape.flow.repair import Handed, Repair, Scope, repair_beside, repair_gaps
from truetape.flow.spool import take_orders
from truetape.flow.subject import Subject
from truetape.lake import Lake
from truetape.ops import load_job, run_job
from truetape.quality.ledger import Gap, list_gaps
from truetape.sim.market import Trade
from truetape.sim.server import SimServer, Synthetic
from truetape.sim.venues._tardis_rows import TICK_US
from truetape.sim.venues.tardis import RELAY_KEY
from truetape.tape import open_writer
from truetape.tape.frame import FrameKind, Source
from truetape.venues import load_venue

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)
SWAP = "BTC-USDT-SWAP"
YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
tardis: {{relay_url: "{url}/relay.test", relay_limit: {limit}, relay_requests_per_minute_max: 6000}}
venues:
  binance: {{instruments: [BTC-USDT], markets: [spot], channels: [trade], url: "{url}"}}
"""
HASTY = HttpOptions(attempts_max=2, decide=make_decide(Backoff(base_s=0.001, cap_s=0.01)))
VENUES = ["tardis", "binance", "bybit"]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name_key("tardis", "RELAY"), RELAY_KEY)


def make(folder: Path, server: SimServer, limit: int = 100) -> Settings:
    return parse_settings(YAML.format(folder=folder, url=server.url, limit=limit), "test", {})


def read(folder: Path, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Lake(folder / "lake").sql(f"select * from {table} order by all").arrow().to_pylist()
    return rows


def tell_quote(at_ms: str) -> dict[str, Any]:
    return {"asks": [["60001", "1", "0", "1"]], "bids": [["60000", "1", "0", "1"]], "ts": at_ms, "seqId": int(at_ms)}


def tell_liquidation(at_ms: str) -> dict[str, Any]:
    detail = {"bkLoss": "0", "bkPx": "60000", "ccy": "", "posSide": "long", "side": "sell", "sz": "1", "ts": at_ms}
    return {"details": [detail], "instFamily": "BTC-USDT", "instId": SWAP, "instType": "SWAP", "uly": "BTC-USDT"}


TELL: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "quote": ("bbo-tbt", tell_quote),
    "liquidation": ("liquidation-orders", tell_liquidation),
}


def to_ns(minute: float) -> int:
    return int((BEGIN + timedelta(minutes=minute)).timestamp() * 1e6) * 1000


class Pen:
    """Writes one connection onto a tape, which is delivered then."""

    def __init__(self, settings: Settings, source: Source) -> None:
        self._settings = settings
        self._writer = open_writer(settings.tape)
        self._source = self._writer.register(source)

    def __enter__(self) -> "Pen":
        return self

    def __exit__(self, *exc: object) -> None:
        self._writer.close()
        deliver(self._settings.tape, self._settings.sinks, self._settings.deliver)

    def put(self, at_ns: int, payload: object = None, **event: Any) -> None:
        kind, body = (FrameKind.EVENT, b"") if payload is None else (FrameKind.TEXT, msgspec.json.encode(payload))
        self._writer.append(self._source, at_ns, at_ns, int(kind), body, json.dumps(event) if event else "")


def write_tape(
    settings: Settings, spans: Sequence[tuple[float, float]], channel: str = "quote", step_s: int = 5
) -> None:
    """Write rows of some spans of minutes, heard 40 ms late; between them the connection is gone."""
    name, tell = TELL[channel]
    kind, of = ("instId", SWAP) if channel == "quote" else ("instType", "SWAP")
    stream = {"channel": channel, "market": "all", "venue_symbol": SWAP, "topic": f"{name}:{of}"}
    with Pen(settings, Source("okx", "public", "okx/public#1")) as pen:
        for begin, end in spans:
            pen.put(to_ns(begin), event="opened")
            pen.put(to_ns(begin), event="subscribed", streams=[stream])
            for at_ns in range(to_ns(begin), to_ns(end) + 1, step_s * 10**9):
                told = {"arg": {"channel": name, kind: of}, "data": [tell(str(at_ns // 10**6))]}
                pen.put(at_ns + 40_000_000, told)
            pen.put(to_ns(end) + 10**9, event="closed", cause="network")


def find_gaps(folder: Path, channel: str = "quote") -> list[Gap]:
    return [
        gap
        for gap in list_gaps(Lake(folder / "lake"))
        if (gap.channel, gap.reason) == (channel, "disconnect") and gap.to_at
    ]


async def mend(settings: Settings, **more: Any) -> Repair:
    """Repair; before the first row of each tape is a gap of 40 ms, too."""
    return await asyncio.to_thread(repair_from_relay, settings, options=HASTY, **more)


def check(folder: Path) -> None:
    assert verify(str(folder / "tape"), f"lake:{folder / 'lake'}").problems == []
    assert "quarantine" not in Lake(folder / "lake").versions()


async def test_a_gap_in_quotes_is_repaired_with_evidence(tmp_path: Path) -> None:
    """And only what is missing is taken: by the exchange's times, whatever the lines."""
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server, 50)
        write_tape(settings, [(0, 5), (25, 30)])
        before = len(read(tmp_path, "quote"))
        (gap,) = find_gaps(tmp_path)
        assert gap.state == "closed"
        done = await mend(settings)
        again = await mend(settings)
    assert (done.repaired, done.unrecoverable, done.failed, again.repaired) == (2, 0, 0, 0)
    (gap,) = find_gaps(tmp_path)
    evidence = json.loads(gap.evidence)
    assert (gap.state, evidence["by"], evidence["proof"]) == ("repaired", "relay", "the relay told all of it")
    assert TICK_US < evidence["longest_silence_us"] < evidence["quiet_us"] == 2 * TICK_US
    rows = read(tmp_path, "quote")
    assert len(rows) - before == evidence["rows"] == 20 * 60_000_000 // TICK_US
    assert len({row["exchange_at"] for row in rows}) == len(rows)
    taken = [row["exchange_at"] for row in rows if row["exchange_at"].microsecond % 1000]
    assert BEGIN + timedelta(minutes=5) < min(taken) < max(taken) < BEGIN + timedelta(minutes=25)
    check(tmp_path)


async def test_what_is_there_already_is_not_taken_again(tmp_path: Path) -> None:
    """Two gaps nearer to each other than the relay is asked around them, one of them filled in part before."""
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server, 30)
        write_tape(settings, [(0, 5), (10, 10.5), (14, 15)])
        wanted = Subject("okx", "all", "BTC-USDT-PERP", "", "quote")
        span = BEGIN + timedelta(minutes=7), BEGIN + timedelta(minutes=8)
        assert await asyncio.to_thread(backfill_from_relay, settings, wanted, *span, options=HASTY)
        before = len(read(tmp_path, "quote"))
        done = await mend(settings)
    assert done.repaired == 3 and {gap.state for gap in find_gaps(tmp_path)} == {"repaired"}
    rows = read(tmp_path, "quote")
    assert len({row["exchange_at"] for row in rows}) == len(rows) > before
    check(tmp_path)


async def test_a_relay_that_fails_leaves_gaps_as_they_are(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES, faults="after 3 tardis 5xx for 2 requests") as server:
        settings = make(tmp_path, server, 50)
        write_tape(settings, [(0, 5), (25, 30)])
        before = len(read(tmp_path, "quote"))
        done = await mend(settings)
        assert (done.failed, done.repaired, done.unrecoverable) == (1, 1, 0) and "503" in done.troubles[0]
        part = len(read(tmp_path, "quote"))
        assert part > before and find_gaps(tmp_path)[0].state == "closed"
        assert (await mend(settings)).repaired == 1
    assert len(read(tmp_path, "quote")) == before + 20 * 60_000_000 // TICK_US
    check(tmp_path)


async def test_what_a_relay_has_not_is_unrecoverable_with_the_reason(tmp_path: Path) -> None:
    async with SimServer(venues=["binance"]) as server:  # answers 404 to all that a relay is asked for
        settings = make(tmp_path, server)
        write_tape(settings, [(0, 5), (25, 30)])
        done = await mend(settings)
    assert (done.repaired, done.unrecoverable) == (0, 2)
    (gap,) = find_gaps(tmp_path)
    assert gap.state == "unrecoverable" and "the relay has nothing of it: " in json.loads(gap.evidence)["why"]
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server)
        assert await mend(settings) == Repair(0, 0, 0, 1, 0, ())  # it was asked
        assert (await mend(settings, again=True)).repaired == 2
    check(tmp_path)


@pytest.mark.parametrize(("channel", "step_s"), [("liquidation", 5), ("quote", 1)])
async def test_silence_of_a_relay_is_no_proof(tmp_path: Path, channel: str, step_s: int) -> None:
    """It tells liquidations once a minute and quotes once in five seconds, where they come far more often."""
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server)
        write_tape(settings, [(0, 5), (25, 30)], channel, step_s)
        done = await mend(settings)
    assert (done.repaired, done.unrecoverable) == (0, 2)
    (gap,) = find_gaps(tmp_path, channel)
    evidence = json.loads(gap.evidence)
    assert evidence["why"].startswith("the relay has nothing between ") and evidence["rows"] > 10
    check(tmp_path)


async def test_holes_in_trades_close_by_their_ids(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES, feed=Synthetic(seed=3)) as server:
        settings = make(tmp_path, server, 1000)
        market = server.market("binance", "spot", "BTCUSDT")
        trades = market.trades()[-200:]
        trades = [trade for trade in trades if trade.order > trades[0].order]  # all fills of each order, or none
        stream = {"channel": "trade", "market": "spot", "venue_symbol": "BTCUSDT", "topic": "btcusdt@trade"}
        with Pen(settings, Source("binance", "spot", "binance/spot#1")) as pen:
            pen.put(trades[0].at_us * 1000 - 1, event="opened")
            pen.put(trades[0].at_us * 1000 - 1, event="subscribed", streams=[stream])
            for trade in (*trades[:80], *trades[90:150], *trades[153:]):
                pen.put(trade.at_us * 1000 + 40_000_000, {"stream": "btcusdt@trade", "data": tell_trade(trade)})
        done = await mend(settings)
    assert (done.repaired, done.unrecoverable, done.failed) == (3, 0, 0)
    numbers = sorted(int(row["trade_id"]) for row in read(tmp_path, "trade"))
    assert numbers == [trade.id for trade in trades]
    gaps = [gap for gap in list_gaps(Lake(tmp_path / "lake")) if gap.reason == "sequence"]
    assert [gap.state for gap in gaps] == ["repaired", "repaired"]
    assert {json.loads(gap.evidence)["by"] for gap in gaps} == {"relay"}
    check(tmp_path)


async def test_other_gaps_near_by_make_no_proof_weaker(tmp_path: Path) -> None:
    """A stream that comes each second is not quiet because it has another gap: five seconds of silence are no proof."""
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server)
        write_tape(settings, [(0, 2), (2.5, 4), (4.5, 6)], step_s=1)
        done = await mend(settings)
    assert done.repaired == 0
    assert [gap.state for gap in find_gaps(tmp_path)] == ["unrecoverable"] * 2


async def test_trades_without_numbers_come_once_by_their_ids(tmp_path: Path) -> None:
    """Several are of one millisecond, at the edges of the gap, too; the relay heard them earlier than we did."""
    async with SimServer(venues=VENUES, feed=Synthetic(seed=3)) as server:
        settings = make(tmp_path, server, 1000)
        trades = server.market("bybit", "linear", "BTCUSDT").trades()
        cut = trades[len(trades) // 2].at_us
        lost = [trade for trade in trades if cut <= trade.at_us < cut + 5_000_000]
        stream = {"channel": "trade", "market": "linear", "venue_symbol": "BTCUSDT", "topic": "publicTrade.BTCUSDT"}
        with Pen(settings, Source("bybit", "linear", "bybit/linear#1")) as pen:
            for begin_us, end_us in ((trades[0].at_us, cut), (cut + 5_000_000, trades[-1].at_us + 1)):
                pen.put(begin_us * 1000, event="opened")
                pen.put(begin_us * 1000, event="subscribed", streams=[stream])
                for trade in (trade for trade in trades if begin_us <= trade.at_us < end_us):
                    pen.put(trade.at_us * 1000 + 40_000_000, tell_bybit(trade))
                pen.put(end_us * 1000 + 41_000_000, event="closed", cause="network")
        done = await mend(settings)
    assert done.failed == 0 and len(lost) > 10
    (gap,) = find_gaps(tmp_path, "trade")
    assert (gap.state, json.loads(gap.evidence)["rows"]) == ("repaired", len(lost))
    assert sorted(int(row["trade_id"]) for row in read(tmp_path, "trade")) == [trade.id for trade in trades]
    check(tmp_path)


async def test_trades_known_elsewhere_in_a_long_gap_are_no_burden(tmp_path: Path) -> None:
    """Only those around what is missing are told to decoding: a gap of a day may hold millions that are there."""
    async with SimServer(venues=VENUES, feed=Synthetic(seed=3)) as server:
        settings = make(tmp_path, server)
        trades = server.market("bybit", "linear", "BTCUSDT").trades()
        step = 90_000_000
        stream = {"channel": "trade", "market": "linear", "venue_symbol": "BTCUSDT", "topic": "publicTrade.BTCUSDT"}
        with Pen(settings, Source("bybit", "linear", "bybit/linear#1")) as pen:
            pen.put(to_ns(0), event="opened")
            pen.put(to_ns(0), event="subscribed", streams=[stream])
            for place, trade in enumerate(trades[:40]):
                at_us = to_ns(1) // 1000 + place * 1_000_000 + (step if place >= 20 else 0)
                told = trade._replace(at_us=at_us)
                pen.put(at_us * 1000 + 40_000_000, tell_bybit(told))
    subject = Subject("bybit", "linear", "BTC-USDT-PERP", "BTCUSDT", "trade")
    lake = Lake(tmp_path / "lake")
    begin_us, end_us = to_ns(1) // 1000, to_ns(5) // 1000
    stretches = find_stretches(lake, subject, begin_us, end_us)
    assert [(high - low) // 1_000_000 for low, high in stretches if high - low > 1_000_000] == [90, 110]
    missing = tuple(Range(low, high) for low, high in stretches)
    began = Began(
        market="linear", channel="trade", venue_symbol="BTCUSDT", identity="time", from_us=begin_us, to_us=end_us,
        missing=missing,
    )  # fmt: skip
    backfill = next(one for one in load_venue("bybit").backfills if one.channel == "trade")
    known = Past(lake, subject, backfill, 30).complete(began).known_ids
    near = {str(trade.id) for trade in (*trades[:6], *trades[14:26], *trades[34:40])}
    assert set(known) <= near and len(known) >= 15
    with pytest.raises(ConfigError, match="more than 30 trades"):
        Past(lake, subject, backfill, 30).complete(msgspec.structs.replace(began, missing=()))


def tell_bybit(trade: Trade) -> dict[str, Any]:
    row = {
        "T": trade.at_us // 1000, "s": "BTCUSDT", "S": "Sell" if trade.is_sell else "Buy", "v": "0.1",
        "p": f"{trade.price / 10:.1f}", "L": "PlusTick", "i": str(trade.id), "BT": False,
    }  # fmt: skip
    return {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": trade.at_us // 1000, "data": [row]}


def tell_trade(trade: Trade) -> dict[str, Any]:
    at_ms = trade.at_us // 1000
    return {
        "e": "trade", "E": at_ms, "s": "BTCUSDT", "t": trade.id, "p": f"{trade.price / 100:.2f}", "q": "0.1", "T": at_ms,
        "m": trade.is_sell, "M": True,
    }  # fmt: skip


async def test_the_command_repairs(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server)
        write_tape(settings, [(0, 1), (3, 4)])
        (tmp_path / "truetape.yaml").write_text(YAML.format(folder=tmp_path, url=server.url, limit=100))
        words = ["repair", "--from-relay", "--json", "--config", str(tmp_path / "truetape.yaml")]
        done = await asyncio.to_thread(CliRunner().invoke, command, words)
    assert done.exit_code == 0 and json.loads(done.stdout)["repaired"] == 2
    assert (await asyncio.to_thread(repair_gaps, settings)).repaired == 0


@pytest.mark.parametrize(
    ("scope", "says"), [(Scope(channel="trads"), "'trads'"), (Scope(venue="binanse"), "'binanse'")]
)
def test_what_is_not_known_is_refused_before_anybody_is_asked(scope: Scope, says: str) -> None:
    for repair in (repair_gaps, repair_from_relay):
        with pytest.raises(ConfigError, match=says):
            repair(Settings(), scope)


LATER = BEGIN + timedelta(days=1)


def let_relay_repair(settings: Settings, folder: Path) -> Settings:
    tardis = msgspec.structs.replace(settings.tardis, relay_repairs=True)
    return msgspec.structs.replace(settings, tardis=tardis, ops=OpsSettings(state=str(folder / "state")))


async def test_the_job_asks_the_relay_only_where_the_settings_say_so(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server)
        settings = msgspec.structs.replace(settings, ops=OpsSettings(state=str(tmp_path / "state")))
        write_tape(settings, [(0, 1), (3, 4)])
        job = load_job("gaps_repair")
        without = json.loads((await asyncio.to_thread(run_job, job, settings)).report)
        assert {gap.state for gap in find_gaps(tmp_path)} == {"unrecoverable"}  # okx tells no quotes of the past
        with_it = json.loads((await asyncio.to_thread(run_job, job, let_relay_repair(settings, tmp_path))).report)
    assert without == {"repaired": 0, "unrecoverable": 2, "waiting": 1, "left": 0}
    assert with_it["repaired"] == 0 and with_it["relay_repaired"] == 2
    assert {gap.state for gap in find_gaps(tmp_path)} == {"repaired"}
    check(tmp_path)


async def test_a_recorder_asks_the_relay_for_what_it_is_handed(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES) as server:
        settings = let_relay_repair(make(tmp_path, server), tmp_path)
        write_tape(settings, [(0, 1), (3, 4)])
        await asyncio.to_thread(repair_beside, settings, now=LATER)  # the venue was asked before
        writer = open_writer(settings.tape)
        recorder = Recorder(writer, settings.record)
        running = [asyncio.create_task(recorder.run()), asyncio.create_task(take_orders(settings, recorder))]
        told: list[tuple[str, ...]] = []
        done = await asyncio.to_thread(relay_beside, settings, now=LATER, on_hand=told.append)
        assert isinstance(done, Handed)
        ahead = await asyncio.to_thread(relay_beside, settings, pending=done.asked, now=LATER)
        running[1].cancel()
        recorder.close("test")
        await asyncio.gather(*running, return_exceptions=True)
        writer.close()
    assert (len(done.asked), done.failed, told) == (2, (), [done.asked])
    assert ahead == Handed((), (), 2, ())  # what is on its way is not asked for again
    deliver(settings.tape, settings.sinks, settings.deliver)
    (gap,) = find_gaps(tmp_path)
    assert (gap.state, json.loads(gap.evidence)["by"]) == ("repaired", "relay")
    check(tmp_path)


def test_without_a_relay_or_its_key_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="relay_url: not set"):
        relay_beside(Settings(tape=str(tmp_path / "tape")), now=LATER)
    monkeypatch.delenv(name_key("tardis", "RELAY"))
    settings = Settings(tape=str(tmp_path / "tape"))
    tardis = msgspec.structs.replace(settings.tardis, relay_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="TRUETAPE_KEY_TARDIS_RELAY"):
        relay_beside(msgspec.structs.replace(settings, tardis=tardis), now=LATER)
