"""Backfills against fake venues: every hole in trades closes where the venue still tells it, and says why where not."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from truetape import clock
from truetape.collect.http import HttpOptions
from truetape.collect.retry import Backoff, GiveUp, make_decide
from truetape.config import Settings, parse_settings
from truetape.errors import ConfigError, TapeLocked, TruetapeError
from truetape.flow import deliver, verify
from truetape.flow.live import LiveStatus, Recording
from truetape.flow.repair import Scope, backfill, repair_gaps
from truetape.flow.subject import Subject
from truetape.lake import Lake, lake_hash
from truetape.quality.ledger import Gap, list_gaps
from truetape.sim.market import Market
from truetape.sim.server import SimServer, Synthetic
from truetape.tape import open_writer

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
deliver: {{commit_seconds: 5}}
record: {{tick_seconds: 0.5}}
venues:
  binance: {{instruments: [BTC-USDT, ETH-USDT-PERP], markets: [spot, usdm], channels: [trade, quote], url: "{url}"}}
  bybit: {{instruments: [BTC-USDT-PERP, BTC-USD-PERP], markets: [linear, inverse], channels: [trade], url: "{url}"}}
  okx: {{instruments: [BTC-USDT, ETH-USDT-PERP], channels: [trade], url: "{url}"}}
  deribit: {{instruments: [BTC-USD-PERP, ETH-USD-PERP], channels: [trade], url: "{url}"}}
  coinbase: {{instruments: [BTC-USD, ETH-USD], channels: [trade], url: "{url}"}}
"""
ONE = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
record: {{tick_seconds: 0.5}}
venues:
  binance: {{instruments: [BTC-USDT], markets: [spot], channels: [trade, quote, candle], url: "{url}"}}
"""
FAULTS = ("cut", "freeze 1s", "drop 3 frames of *rade*; binance drop 2 frames of *@trade", "corrupt 2 frames of *rade*")
"""Each strikes when all streams are whole again after the one before."""
PATIENCE_S = 300.0
SPAN = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
HASTY = HttpOptions(attempts_max=1, decide=make_decide(Backoff(base_s=0.001)))


class Gone(BaseException):
    """Something that ends us between two pages."""


def break_down(error: Exception, attempt: int) -> GiveUp:
    raise Gone from error


def command(*words: str) -> Any:
    """Run a command as a user does."""
    done = subprocess.run([sys.executable, "-m", "truetape.cli", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Show:
    """Fake venues, recorded with all their faults."""

    def __init__(self, folder: Path, server: SimServer, settings: Settings) -> None:
        self.folder, self.server, self.settings = folder, server, settings

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "lake")

    def list_gaps(self, channel: str = "trade") -> list[Gap]:
        return [gap for gap in list_gaps(self.lake) if gap.channel == channel and gap.symbol]

    def list_trades(self, venue: str, symbol: str) -> list[dict[str, Any]]:
        query = "select trade_id, amount from trade where venue = ? and symbol = ?"
        rows: list[dict[str, Any]] = self.lake.sql(query, [venue, symbol]).arrow().to_pylist()
        return rows

    def check_balance(self) -> None:
        verdict = verify(self.settings.tape, f"lake:{self.folder / 'lake'}")
        assert verdict.problems == []
        query = "select venue, symbol, trade_id from trade group by all having count(*) > 1"
        assert self.lake.sql(query).arrow().to_pylist() == []


class Script:
    """Faults that strike one after the other, each when all streams are whole; ends the recording when all is over."""

    def __init__(
        self, server: SimServer, settings: Settings, faults: Sequence[str], is_over: Callable[[], bool]
    ) -> None:
        self._server, self._faults, self._is_over = server, [*faults], is_over
        self._streams = sum(len(one.instruments) * len(one.channels or ()) for one in settings.venues.values())
        self._channels = {channel for one in settings.venues.values() for channel in one.channels or ()}
        self._calm_ns = 0
        """Since when nothing strikes any more."""
        self.stop = asyncio.Event()
        self.waits_for = "all"

    def look(self, status: LiveStatus) -> None:
        """Let the next strike when its time has come."""
        if not self._server.judge.is_calm:
            self._calm_ns, self.waits_for = 0, "faults that are to strike"
            return
        self._calm_ns = self._calm_ns or clock.wall_ns()
        # Some that were not asked for come with them, and rarely: liquidations.
        streams = [one for one in (status.view.streams if status.view else ()) if one.channel in self._channels]
        whole = [one for one in streams if one.rows and not one.gap and one.seen_ns > self._calm_ns]
        if len(whole) < self._streams or len(whole) < len(streams):
            self.waits_for = f"{self._faults} after {[one for one in streams if one not in whole]}"
            return
        self._calm_ns = 0
        if self._faults:
            self._server.strike(self._faults.pop(0))
        elif self._is_over():
            self.stop.set()


async def run(
    folder: Path, yaml: str, faults: Sequence[str], then: Callable[[Show], None],
    is_over: Callable[[SimServer], bool] = lambda server: True, **feed: Any,
) -> None:  # fmt: skip
    """Record until all faults have struck; the fake venues go on while whatever follows runs in a thread."""
    async with SimServer(feed=Synthetic(seed=3, **({"rate": 50.0} | feed))) as server:
        settings = parse_settings(yaml.format(folder=folder, url=server.url), "test", {})
        script = Script(server, settings, faults, lambda: is_over(server))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await Recording(settings, script.look, lambda cycle: None).run(script.stop)
        except TimeoutError:
            raise AssertionError(f"recording did not end: it waits for {script.waits_for}") from None
        await asyncio.to_thread(then, Show(folder, server, settings))


def name_trade(venue: str, market: Market, number: int) -> str:
    """Name a trade as its venue does."""
    if venue == "bybit":
        return str(UUID(int=number << 60))
    return f"ETH-{number}" if venue == "deribit" and market.spec.base == "ETH" else str(number)


SYMBOLS = {"BTCUSDT": "BTC-USDT", "ETHUSDT": "ETH-USDT-PERP", "BTC-PERPETUAL": "BTC-USD-PERP", "BTC-USD": "BTC-USD",
           "ETH-PERPETUAL": "ETH-USD-PERP", "ETH-USD": "ETH-USD", "BTCUSD": "BTC-USD-PERP"}  # fmt: skip


def list_lost(show: Show, market: Market, gaps: list[Gap]) -> list[str]:
    """Name the trades that happened within gaps of a market and are not in the lake."""
    spec = market.spec
    symbol = "BTC-USDT-PERP" if (spec.venue, spec.feed) == ("bybit", "linear") else SYMBOLS[spec.symbol]
    held = {row["trade_id"] for row in show.list_trades(spec.venue, symbol)}
    spans = [(gap.from_at, gap.to_at) for gap in gaps if (gap.venue, gap.symbol) == (spec.venue, symbol)]
    assert spans
    made = {name_trade(spec.venue, market, t.id): datetime.fromtimestamp(t.at_us / 1e6, UTC) for t in market.trades()}
    return [
        name
        for name, at in made.items()
        if name not in held and any(begin <= at <= end for begin, end in spans if end is not None)
    ]


def check_merged(show: Show, gaps: list[Gap]) -> None:
    """Rows of OKX may be several fills: the sums tell whether any is missing, or counted twice."""
    for gap in gaps:
        told = json.loads(gap.evidence).get("missing")
        if gap.venue != "okx" or gap.symbol != "BTC-USDT" or not told or told[0][0] is None:
            continue
        (low, high), market = told[0], show.server.market("okx", "public", "BTC-USDT")
        made = sum(t.size for t in market.trades() if low <= t.id <= high + 1) / 10**market.spec.size_digits
        held = sum(r["amount"] for r in show.list_trades("okx", "BTC-USDT") if low <= int(r["trade_id"]) <= high + 1)
        assert held == pytest.approx(made)


async def test_every_hole_in_trades_closes(tmp_path: Path) -> None:
    def repair(show: Show) -> None:
        done = repair_gaps(show.settings)
        gaps = show.list_gaps()
        assert Counter(gap.state for gap in gaps) == {"repaired": len(gaps)}, gaps
        assert {gap.reason for gap in gaps} >= {"not_started", "disconnect", "sequence"}
        assert {gap.venue for gap in gaps} == {"binance", "bybit", "okx", "deribit", "coinbase"}
        assert (done.failed, done.waiting, done.troubles) == (0, 0, ())
        quotes = show.list_gaps("quote")
        assert {gap.state for gap in quotes if gap.reason != "decode"} == {"unrecoverable"}
        assert json.loads(quotes[0].evidence)["why"] == "Binance tells no quote of the past"
        show.check_balance()
        markets = list(show.server.world.markets.values())
        assert {m.spec.key: lost for m in markets if m.spec.venue != "okx" and (lost := list_lost(show, m, gaps))} == {}
        check_merged(show, gaps)
        before = len(list_gaps(show.lake))
        assert repair_gaps(show.settings).repaired == 0  # nothing is asked twice
        assert len(list_gaps(show.lake)) == before
        deliver(show.settings.tape, (f"lake:{show.folder / 'again'}",))  # the tape alone tells all of it
        assert lake_hash(show.folder / "again") == lake_hash(show.folder / "lake")

    await run(tmp_path, YAML, FAULTS, repair)


async def test_what_the_venue_has_forgotten_is_unrecoverable(tmp_path: Path) -> None:
    def repair(show: Show) -> None:
        repair_gaps(show.settings)
        gaps = [gap for gap in show.list_gaps() if gap.reason in {"not_started", "sequence"}]
        assert Counter(gap.state for gap in gaps) == {"unrecoverable": len(gaps)}
        assert len(gaps) > 1
        assert all("begins at" in json.loads(gap.evidence)["why"] for gap in gaps)
        assert all(gap.missing for gap in gaps if gap.reason == "sequence")
        show.check_balance()

    def has_forgotten(server: SimServer) -> bool:
        lost = [int(str(done["last_id"])) for done in server.faults_done if done["action"] == "drop"]
        return server.market("binance", "spot", "BTCUSDT").trades(limit=1)[0].id > max(lost)

    await run(tmp_path, ONE, ("cut", "drop 3 frames of *@trade"), repair, has_forgotten, trades_max=60)


async def test_what_failed_is_asked_again_and_a_recorder_is_never_disturbed(tmp_path: Path) -> None:
    def repair(show: Show) -> None:
        first = repair_gaps(show.settings, Scope(channel="trade"), options=HASTY)
        assert first.failed > 0
        assert first.troubles[0].endswith("answered 503")
        assert "closed" in {gap.state for gap in show.list_gaps()}
        held = open_writer(show.settings.tape)
        with pytest.raises(TapeLocked):
            repair_gaps(show.settings)
        held.close()
        with pytest.raises(Gone):
            repair_gaps(show.settings, options=HttpOptions(decide=break_down))
        path = show.folder / "truetape.yaml"
        path.write_text(ONE.format(folder=show.folder, url=show.server.url))
        told = command("gaps", "repair", "--config", str(path), "--json")
        assert (told["failed"], told["waiting"], told["troubles"]) == (0, 0, [])
        assert {gap.state for gap in show.list_gaps()} == {"repaired"}
        check_bars(show)
        check_time_before(show)
        show.check_balance()

    await run(tmp_path, ONE, ("cut", "drop 3 frames of *@trade; 5xx for 2 requests of */historicalTrades*"), repair)


def check_bars(show: Show) -> None:
    """Candles are told apart by when they open."""
    assert {gap.state for gap in show.list_gaps("candle")} == {"repaired"}, show.list_gaps("candle")
    query = """select open_at from candle where is_closed group by "interval", open_at having count(*) > 1"""
    assert show.lake.sql(query).arrow().to_pylist() == []


def check_time_before(show: Show) -> None:
    """A backfill brings what was before the recording, once; also of what was never recorded."""
    where = ("--config", str(show.folder / "truetape.yaml"), "--json")
    for symbol, venue_symbol in (("BTC-USDT", "BTCUSDT"), ("ETH-USDT", "ETHUSDT")):
        market = show.server.market("binance", "spot", venue_symbol)
        oldest = market.trades(limit=1)[0]
        begin, end = (datetime.fromtimestamp(oldest.at_us // 10**6 + s, UTC) for s in (2, 20))
        times = [f"--{name}={moment:%Y-%m-%dT%H:%M:%S}" for name, moment in (("from", begin), ("to", end))]
        new = command("backfill", "binance", symbol, "trade", *times, *where)["rows"]
        made = {t.id for t in market.trades() if begin.timestamp() < t.at_us / 1e6 < end.timestamp()}
        assert made <= {int(row["trade_id"]) for row in show.list_trades("binance", symbol)}
        assert len(made) + 5 >= new >= len(made) > 100
        assert command("backfill", "binance", symbol, "trade", *times, *where)["rows"] == 0
    for symbol, channel, why in (("XYZ-USDT", "trade", "does not list"), ("BTC-USDT", "quote", "no past of 'quote'")):
        with pytest.raises(ConfigError, match=why):
            backfill(show.settings, Subject("binance", "", symbol, "", channel), begin, end)
    with pytest.raises(ConfigError, match="not before"):
        backfill(show.settings, Subject("binance", "", "BTC-USDT", "", "trade"), end, begin)


def test_what_a_venue_does_not_tell_is_said_with_the_venues_that_do(tmp_path: Path) -> None:
    settings = parse_settings(f'tape: {tmp_path}/tape\nsinks: ["lake:{tmp_path}/lake"]', "test", {})
    why = r"deribit: no past of 'open_interest' \(allowed: trade, candle; open_interest of binance, bybit, okx\)"
    with pytest.raises(ConfigError, match=why):
        backfill(settings, Subject("deribit", "", "BTC-USD-PERP", "", "open_interest"), *SPAN)


async def test_a_backfill_needs_no_recording_before_it(tmp_path: Path) -> None:
    async with SimServer(venues=["okx"], feed=Synthetic(seed=3)) as server:
        text = f'venues: {{okx: {{instruments: [BTC-USDT], url: "{server.url}"}}}}\ntape: {tmp_path}/tape\n'
        settings = parse_settings(text + f'sinks: ["lake:{tmp_path}/lake"]', "test", {})
        market = server.market("okx", "public", "BTC-USDT")
        first = market.trades(limit=1)[0].at_us // 10**6
        begin, end = (datetime.fromtimestamp(first + s, UTC) for s in (5, 25))
        made = {t.id for t in market.trades() if begin.timestamp() <= t.at_us / 1e6 <= end.timestamp()}
        wanted = Subject("okx", "", "BTC-USDT", "", "trade")
        assert await asyncio.to_thread(backfill, settings, wanted, begin, end) == len(made)
        assert await asyncio.to_thread(backfill, settings, wanted, begin, end) == 0
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


def test_without_a_tape_there_is_nothing_to_repair(tmp_path: Path) -> None:
    with pytest.raises(TruetapeError, match="there is no tape"):
        repair_gaps(Settings(tape=str(tmp_path / "tape"), sinks=(f"lake:{tmp_path / 'lake'}",)))
