"""Files of venues whose ids alone do not tell what is known: text ids, rows of several fills, ids of the file's own."""

import asyncio
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
import pytest

from truetape.config import Settings, parse_settings
from truetape.errors import ConfigError, TapeError
from truetape.events.backfill import Lost
from truetape.flow import deliver, import_files, verify
from truetape.flow.bulk import fetch_bulk, import_bulk
from truetape.flow.loss import Past
from truetape.flow.overlap import Overlap
from truetape.flow.repair import backfill
from truetape.flow.subject import Subject
from truetape.lake import Lake
from truetape.quality.ledger import list_gaps
from truetape.sim.server import SimServer, Synthetic
from truetape.venues import load_venue

DAY_MS = 1_767_225_600_000
"""2026-01-01 in UTC; OKX's file of that day began eight hours before."""
YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
venues:
  {venue}: {{instruments: [BTC-USDT], channels: [trade], url: "{url}"}}
"""


class Fill(NamedTuple):
    id: int
    order: int
    ms: int
    side: str
    size: int


def make_fills(count: int) -> list[Fill]:
    """Orders of one to three fills, some of which are alike but for their ids."""
    fills, order = [], 0
    while len(fills) < count:
        order += 1
        for _ in range(order % 3 + 1):
            fills.append(Fill(7000 + len(fills), order, DAY_MS + order * 100_000, "Buy" if order % 2 else "Sell", 3))
    return fills


def group(fills: Sequence[Fill]) -> list[list[Fill]]:
    orders: dict[int, list[Fill]] = {}
    for fill in fills:
        orders.setdefault(fill.order, []).append(fill)
    return list(orders.values())


def tell_bybit(order: Sequence[Fill], market: str) -> dict[str, object]:
    rows = [
        {
            "T": f.ms,
            "s": "BTCUSDT",
            "S": f.side,
            "v": f"0.00{f.size}0",
            "p": "42000.50",
            "i": name(f, market),
            "BT": False,
        }
        for f in order
    ]
    return {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": order[0].ms, "data": rows}


def name(fill: Fill, market: str) -> str:
    return str(2_290_000_000_000_000_000 + fill.id) if market == "spot" else str(UUID(int=fill.id << 60))


def tell_okx(order: Sequence[Fill], market: str) -> dict[str, object]:
    """One row an order, under the id of its last fill."""
    last, size = order[-1], sum(fill.size for fill in order)
    row = {"instId": "BTC-USDT-SWAP", "tradeId": str(last.id), "px": "42000.5", "sz": str(size),
           "side": last.side.lower(), "ts": str(last.ms), "count": str(len(order))}  # fmt: skip
    return {"arg": {"channel": "trades", "instId": "BTC-USDT-SWAP"}, "data": [row]}


def write_frames(path: Path, orders: Sequence[Sequence[Fill]], tell: Callable[..., object], market: str) -> Path:
    lines = [b"%d %s\n" % (order[0].ms * 1_000_000, msgspec.json.encode(tell(order, market))) for order in orders]
    path.write_bytes(b"".join(lines))
    return path


def write_spot(folder: Path, fills: Sequence[Fill]) -> Path:
    lines = [f"{n},{f.ms},42000.5,0.00{f.size},{f.side.lower()},0" for n, f in enumerate(fills, 1)]
    return write_gzip(folder / "BTCUSDT_2026-01-01.csv.gz", "id,timestamp,price,volume,side,rpi", lines)


def write_linear(folder: Path, fills: Sequence[Fill]) -> Path:
    lines = [
        f"{f.ms // 1000}.{f.ms % 1000:03d}4,BTCUSDT,{f.side},0.00{f.size},42000.50,PlusTick,{name(f, 'linear')},1e+08,0.1,2,0"
        for f in fills
    ]
    header = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI"
    return write_gzip(folder / "BTCUSDT2026-01-01.csv.gz", header, lines)


def write_gzip(path: Path, header: str, lines: Sequence[str]) -> Path:
    path.write_bytes(gzip.compress("\n".join([header, *lines, ""]).encode()))
    return path


def write_okx(folder: Path, fills: Sequence[Fill]) -> Path:
    path = folder / "BTC-USDT-SWAP-trades-2026-01-01.zip"
    header = "instrument_name,trade_id,side,price,size,created_time,source"
    lines = [f"BTC-USDT-SWAP,{f.id},{f.side.lower()},42000.5,{f.size},{f.ms},0" for f in fills]
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(path.stem + ".csv", "\r\n".join([header, *lines, ""]))
    return path


def make_settings(folder: Path, venue: str, url: str = "") -> Settings:
    return parse_settings(YAML.format(folder=folder, venue=venue, url=url), "test", {})


def count(folder: Path) -> tuple[int, float]:
    """Return the rows of trades, and what was traded as the venue reports it."""
    query = "select count(*) as n, sum(coalesce(contracts, amount)) as size, count(distinct trade_id) as ids from trade"
    (row,) = Lake(folder / "lake").sql(query).arrow().to_pylist()
    assert row["n"] == row["ids"]
    return row["n"], row["size"]


@pytest.mark.parametrize(
    ("venue", "feed", "tell", "write", "unit"),
    [
        ("bybit", "linear", tell_bybit, write_linear, 0.001),
        ("bybit", "spot", tell_bybit, write_spot, 0.001),
        ("okx", "public", tell_okx, write_okx, 1.0),
    ],
)
def test_what_was_heard_is_not_taken_again(
    tmp_path: Path, venue: str, feed: str, tell: Callable[..., object], write: Callable[..., Path], unit: float
) -> None:
    """Two recordings and a hole between them, then the day's file, in blocks: each fill is counted once."""
    settings, fills = make_settings(tmp_path, venue), make_fills(900)
    orders = group(fills)
    parts = [orders[100:200], orders[300:400]]
    frames = [write_frames(tmp_path / f"{n}.txt", part, tell, feed) for n, part in enumerate(parts)]
    import_files("hftbacktest", frames, venue, settings.tape, feed=feed)
    deliver(settings.tape, settings.sinks, settings.deliver)
    heard = count(tmp_path)[0]
    assert heard == sum(len(order) if venue == "bybit" else 1 for part in parts for order in part)
    gaps = [gap for gap in list_gaps(Lake(tmp_path / "lake")) if gap.channel == "trade" and gap.state == "closed"]
    path = write(tmp_path, fills)
    (taken,) = import_bulk(settings, f"{venue}-bulk", [path])
    assert (taken.status, taken.quarantined, taken.rows + heard) == ("taken", 0, count(tmp_path)[0])
    assert count(tmp_path)[1] == pytest.approx(len(fills) * 3 * unit)
    if venue == "bybit":
        assert count(tmp_path)[0] == len(fills)
    found = {gap.gap_id: gap for gap in list_gaps(Lake(tmp_path / "lake"))}
    assert {found[gap.gap_id].state for gap in gaps} == {"repaired"}
    assert all(path.name.split(".")[0] in found[gap.gap_id].evidence for gap in gaps)
    assert import_bulk(settings, f"{venue}-bulk", [path])[0].status == "known"
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


@pytest.mark.parametrize(
    ("venue", "feed", "write"), [("bybit", "linear", write_linear), ("bybit", "spot", write_spot), ("okx", "public", write_okx)]
)  # fmt: skip
def test_a_file_that_is_published_anew_brings_what_is_new(
    tmp_path: Path, venue: str, feed: str, write: Callable[..., Path]
) -> None:
    settings, fills = make_settings(tmp_path, venue), make_fills(600)
    assert import_bulk(settings, f"{venue}-bulk", [write(tmp_path, fills[:400])])[0].rows == 400
    assert import_bulk(settings, f"{venue}-bulk", [write(tmp_path, fills)])[0].rows == 200
    assert count(tmp_path)[0] == 600


@pytest.mark.parametrize(
    ("venue", "feed", "tell", "write"),
    [("bybit", "spot", tell_bybit, write_spot), ("okx", "public", tell_okx, write_okx)],
)
def test_blocks_tell_together_what_one_tells(
    tmp_path: Path, venue: str, feed: str, tell: Callable[..., object], write: Callable[..., Path]
) -> None:
    """Orders lie across the ends of blocks: whatever these are, the same lines are known."""
    settings, fills = make_settings(tmp_path, venue), make_fills(120)
    frames = write_frames(tmp_path / "heard.txt", group(fills)[10:40], tell, feed)
    import_files("hftbacktest", [frames], venue, settings.tape, feed=feed)
    deliver(settings.tape, settings.sinks, settings.deliver)
    lines = unpack(write(tmp_path, fills).read_bytes()).splitlines(keepends=True)[1:]
    wholly = find_known(tmp_path, venue, tmp_path / write(tmp_path, fills).name, ["".join(lines)])
    assert len(wholly) == sum(map(len, group(fills)[10:40]))
    for size in (1, 2, 7):
        blocks = ["".join(lines[at : at + size]) for at in range(0, len(lines), size)]
        if size == 1 and venue == "okx":
            continue  # an order of three fills reaches beyond the block that follows
        assert find_known(tmp_path, venue, tmp_path / write(tmp_path, fills).name, blocks) == wholly


def find_known(folder: Path, venue_name: str, path: Path, blocks: Sequence[str]) -> set[int]:
    venue, lake = load_venue(venue_name), Lake(folder / "lake")
    assert venue.bulk is not None
    file = venue.bulk.read_path(path.as_posix(), "")
    named = venue.name_instrument(file.backfill.market, file.venue_symbol)
    subject = Subject(venue_name, file.backfill.market, named.symbol, file.venue_symbol, "trade")
    began = Past(lake, subject, file.backfill).plan_file(Lost("", file.from_us, file.to_us, ""))
    overlap, known, at = Overlap(lake, venue, subject, file, began), set[int](), 0
    ranges: tuple[tuple[int, int], ...] = ()
    for block, following in pairwise([*blocks, ""]):
        told = overlap.find_known(block.encode(), following.encode())
        ranges = told.known_rows if told else ranges
        count = block.count("\n")
        known |= {at + i for first, last in ranges for i in range(first, min(last + 1, count))}
        at += count
    return known


@pytest.mark.parametrize(
    ("venue", "market", "symbol", "venue_symbol", "feed"),
    [
        ("bybit", "inverse", "BTC-USD-PERP", "BTCUSD", "inverse"),
        ("bybit", "spot", "BTC-USDT", "BTCUSDT", "spot"),
        ("okx", "", "BTC-USDT-PERP", "BTC-USDT-SWAP", "public"),
    ],
)
async def test_files_are_fetched_and_known_afterwards(
    tmp_path: Path, venue: str, market: str, symbol: str, venue_symbol: str, feed: str
) -> None:
    async with SimServer(0, [venue], feed=Synthetic(seed=5)) as server:
        settings, world = make_settings(tmp_path, venue, server.url), server.market(venue, feed, venue_symbol)
        first = datetime.fromtimestamp(world.trades(limit=1)[0].at_us / 1e6, UTC)
        span, wanted = (first, first + timedelta(days=1)), Subject(venue, market, symbol, "", "trade")
        done = await asyncio.to_thread(fetch_bulk, settings, wanted, *span)
        published = list(server.world.files.values())
        again = await asyncio.to_thread(fetch_bulk, settings, wanted, *span)
    told = [(one.status, one.proof) for one in done if one.status != "absent"]
    assert told == [("taken", "none")] * len(published)
    assert {one.status for one in again} <= {"known", "absent"}
    lines = [line for body in published for line in unpack(body).splitlines()[1:]]
    assert count(tmp_path)[0] == len(lines) > 0
    named = Lake(tmp_path / "lake").sql("select distinct symbol from trade").arrow().to_pylist()
    assert named == [{"symbol": symbol}]


async def test_bars_of_a_file_and_of_the_api_are_one(tmp_path: Path) -> None:
    """Some of a day's bars are known from the API: the file brings the others, and nothing twice."""
    async with SimServer(0, ["okx"], feed=Synthetic(seed=5, rate=2.0)) as server:
        settings, world = make_settings(tmp_path, "okx", server.url), server.market("okx", "public", "BTC-USDT-SWAP")
        bars = [bar.start_us for bar in world.bars(60_000_000)]
        begin, end = (datetime.fromtimestamp(at / 1e6, UTC) for at in (bars[0], bars[-1]))
        wanted = Subject("okx", "", "BTC-USDT-PERP", "", "candle", "1m")
        told = await asyncio.to_thread(backfill, settings, wanted, begin + (end - begin) / 3, begin + (end - begin) / 2)
        done = await asyncio.to_thread(fetch_bulk, settings, wanted, begin, end)
        again = await asyncio.to_thread(fetch_bulk, settings, wanted, begin, end)
        published = list(server.world.files.values())
    assert told and {one.status for one in done} <= {"taken", "absent"} and not any(one.quarantined for one in done)
    assert {one.status for one in again} <= {"known", "absent"}
    opened = [int(line.split(",")[-2]) * 1000 for body in published for line in unpack(body).splitlines()[1:]]
    rows = Lake(tmp_path / "lake").sql(
        "select epoch_us(open_at) as us, count(*) as n from candle where is_closed group by 1"
    )
    held = {row["us"]: row["n"] for row in rows.arrow().to_pylist()}
    assert set(opened) <= set(held) and set(held.values()) == {1} and len(opened) > told
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


def unpack(body: bytes) -> str:
    if not body.startswith(b"PK"):
        return gzip.decompress(body).decode()
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        return packed.read(packed.namelist()[0]).decode()


def test_what_is_not_what_it_says_leaves_nothing(tmp_path: Path) -> None:
    settings, fills = make_settings(tmp_path, "bybit"), make_fills(10)
    good = write_linear(tmp_path, fills)
    wrong = good.rename(tmp_path / "BTCUSDT_2026-01-01.csv.gz")
    with pytest.raises(TapeError, match=r"its columns are .*allowed: id,timestamp"):
        import_bulk(settings, "bybit-bulk", [wrong])
    with pytest.raises(ConfigError, match="not a name of Bybit's files"):
        import_bulk(settings, "bybit-bulk", [tmp_path / "BTCUSDT.csv.gz"])
    cut = write_okx(tmp_path, fills)
    cut.write_bytes(cut.read_bytes()[:300])
    with pytest.raises(TapeError, match="cannot read"):
        import_bulk(settings, "okx-bulk", [cut])
    with pytest.raises(ConfigError, match="no files of 'funding'"):
        fetch_bulk(settings, Subject("okx", "", "BTC-USDT-PERP", "", "funding"), *SPAN)
    assert "trade" not in Lake(tmp_path / "lake").versions()


SPAN = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
