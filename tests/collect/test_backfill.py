"""Backfills ask range by range, put everything onto the tape, and say how it ended."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from truetape.collect.backfill import FAILURES_MAX, Backfiller, Order, Result, break_off, list_stretches
from truetape.collect.http import HttpOptions
from truetape.collect.retry import Backoff, make_decide
from truetape.errors import ConfigError, Refused, VenueUnreachable
from truetape.events.backfill import Began, Lost, Range
from truetape.sim.server import SimServer
from truetape.tape import open_reader, open_writer
from truetape.tape.frame import FrameKind
from truetape.venues import load_venue
from truetape.venues._contract import Backfill

VENUE = load_venue("binance")
TRADES = next(one for one in VENUE.backfills if (one.channel, one.market) == ("trade", "spot"))
HASTY = HttpOptions(attempts_max=1, decide=make_decide(Backoff(base_s=0.001)))


def began(*missing: Range, symbol: str = "BTCUSDT", from_us: int = 0, to_us: int = 1 << 60) -> Began:
    return Began(
        market="spot", channel="trade", venue_symbol=symbol, identity="step", from_us=from_us, to_us=to_us,
        missing=missing, gaps=(Lost("g", 1, 2, "sequence", tuple(range(len(missing)))),),
    )  # fmt: skip


async def ask(folder: Path, orders: list[Order], faults: str = "") -> list[Result]:
    results: list[Result] = []
    writer = open_writer(str(folder))
    async with SimServer(venues=["binance"], faults=faults) as server:
        await Backfiller(VENUE, server.url, writer, None, HASTY).run(orders, results.append)
    break_off(writer, [("binance", "spot")])
    writer.close()
    return results


def read_rows(folder: Path) -> list[dict[str, Any]]:
    reader = open_reader(str(folder))
    rows = [row for batch in reader.read(reader.first) for row in batch.data.to_pylist()]
    reader.close()
    return rows


def read_tape(folder: Path) -> list[tuple[int, str, dict[str, object]]]:
    return [(row["kind"], row["connection"], json.loads(row["meta"])) for row in read_rows(folder)]


async def test_answers_stand_between_beginning_and_end(tmp_path: Path) -> None:
    async with SimServer(venues=["binance"]) as server:
        first = server.market("binance", "spot", "BTCUSDT").first_trade_id
    span = Range(first + 10, first + 700)
    impossible = Order(began(), None, "spot", "told once")
    results = await ask(tmp_path / "tape", [Order(began(span), TRADES), impossible])
    assert [(r.ended.status, r.ended.pages) for r in results] == [("answered", 1), ("impossible", 0)]
    frames = read_tape(tmp_path / "tape")
    assert {connection for _, connection, _ in frames} == {"binance/backfill"}
    kinds = [meta.get("event", FrameKind(kind).name) for kind, _, meta in frames]
    assert kinds == [
        "backfill_began", "REQUEST", "RESPONSE", "backfill_ended", "backfill_began", "backfill_ended", "backfill_ended",
    ]  # fmt: skip
    assert (frames[-2][2]["reason"], frames[-1][2]["reason"]) == ("told once", "broken off")


async def test_an_unknown_symbol_is_told_in_the_venues_words(tmp_path: Path) -> None:
    (result,) = await ask(tmp_path / "tape", [Order(began(Range(5, 9), symbol="NOSUCH"), TRADES)])
    assert result.ended.status == "answered"
    assert "Invalid symbol" in result.ended.reason


async def test_a_venue_that_is_away_is_left_alone(tmp_path: Path) -> None:
    orders = [*[Order(began(Range(5, 9)), TRADES)] * (FAILURES_MAX + 2), Order(began(), None, "spot", "told once")]
    results = await ask(tmp_path / "tape", orders, faults="5xx for 99 requests")
    assert [r.ended.status for r in results] == [*["failed"] * (FAILURES_MAX + 2), "impossible"]
    assert sum(kind == FrameKind.REQUEST for kind, _, _ in read_tape(tmp_path / "tape")) == FAILURES_MAX
    assert "503" in results[0].ended.reason


async def test_an_order_that_cannot_be_completed_keeps_no_other(tmp_path: Path) -> None:
    def refuse(began: Began) -> Began:
        raise ConfigError("too many")

    wrong = Order(began(Range(5, 9)), TRADES, complete=refuse)
    results = await ask(tmp_path / "tape", [*[wrong] * FAILURES_MAX, Order(began(Range(5, 9)), TRADES)])
    assert [(r.ended.status, r.ended.reason) for r in results] == [
        *[("failed", "too many")] * FAILURES_MAX,
        ("answered", ""),
    ]
    assert [meta.get("event") for _, _, meta in read_tape(tmp_path / "tape")].count("backfill_began") == 1


async def test_a_page_cut_short_has_failed(tmp_path: Path) -> None:
    def follow(*_: object) -> str:
        raise Refused("no")

    order = Order(began(Range(5, 9)), Backfill("trade", "spot", "spot", TRADES.begin, follow))
    (result,) = await ask(tmp_path / "tape", [order])
    assert (result.ended.status, result.ended.reason) == ("failed", "no")


def test_stretches_are_cut_to_the_time_that_is_wanted() -> None:
    one, two = list_stretches(began(Range(1, 5, from_us=3, to_us=8), Range(7, 9, since_us=4, before_us=6), from_us=2))
    assert (one.low, one.high, one.from_us, one.to_us) == (1, 5, 3, 8)
    assert (two.low, two.high, two.from_us) == (None, None, 2)
    (text,) = list_stretches(msgspec.structs.replace(began(), identity="text"))
    assert (text.low, text.high, text.to_us) == (None, None, 1 << 60)


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTCUSDT"])
async def test_instruments_are_found_in_listings(tmp_path: Path, symbol: str) -> None:
    writer = open_writer(str(tmp_path / "tape"))
    async with SimServer(venues=["binance"]) as server:
        found = await Backfiller(VENUE, server.url, writer).find_instruments(symbol, {"spot"})
    writer.close()
    assert [(one.market, one.venue_symbol) for one in found] == [("spot", "BTCUSDT")]


@pytest.mark.parametrize("body", ["<html>not today</html>", '{"symbols": 7}', "[1]"])
async def test_a_listing_that_is_none_is_told_in_one_line(
    tmp_path: Path, new_venue: Any, server: Any, body: str
) -> None:
    server.replies += [web.Response(text=body)]
    writer = open_writer(str(tmp_path / "tape"))
    wrong = r"^https://fake.test/instruments answered what is no listing of Fake: .+$"
    with pytest.raises(VenueUnreachable, match=wrong):
        await Backfiller(new_venue(), server.url, writer, None, HASTY).find_instruments("BTC-USD", {"spot"})
    writer.close()
    assert body.encode() in [row["payload"] for row in read_rows(tmp_path / "tape")]  # it is on the tape all the same
