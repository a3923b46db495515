"""Files that venues publish of their past: fetched from a fake venue, taken from disk, and once only."""

import asyncio
import hashlib
import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from truetape.collect.backfill import Quill
from truetape.config import Settings, parse_settings
from truetape.errors import ConfigError, TapeError
from truetape.events.backfill import Lost
from truetape.flow import deliver, import_files, record, verify
from truetape.flow.bulk import fetch_bulk, import_bulk
from truetape.flow.history import hold_tape, settle_lake
from truetape.flow.loss import Past
from truetape.flow.repair import repair_gaps
from truetape.flow.subject import Subject
from truetape.lake import Lake
from truetape.quality.ledger import list_gaps
from truetape.sim.server import SimServer, Synthetic
from truetape.tape.frame import FrameKind, Source
from truetape.venues import load_venue

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
record: {{tick_seconds: 0.5}}
venues:
  binance: {{instruments: [BTC-USDT], markets: [spot], channels: [trade], url: "{url}"}}
"""


def make_settings(folder: Path, url: str = "") -> Settings:
    return parse_settings(YAML.format(folder=folder, url=url), "test", {})


def day_of(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 86_400_000_000 * 86_400, UTC)


def ask(folder: Path, query: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = Lake(folder / "lake").sql(query).arrow().to_pylist()
    return rows


async def test_files_and_the_stream_are_one(tmp_path: Path) -> None:
    """A recording with holes, then the day's file: every trade once, and the gaps are found to be whole."""
    faults = "at 2.2s binance drop 3 frames of *@trade\nat 2.6s binance cut"
    async with SimServer(0, ["binance"], feed=Synthetic(seed=3), faults=faults) as server:
        settings = make_settings(tmp_path, server.url)
        await record(settings, lambda status: None, duration_s=3.5)
        market = server.market("binance", "spot", "BTCUSDT")
        first, wanted = day_of(market.trades(limit=1)[0].at_us), Subject("binance", "", "BTC-USDT", "", "trade")
        span = first, first + timedelta(days=2)
        done = await asyncio.to_thread(fetch_bulk, settings, wanted, *span)
        assert {one.status for one in done} <= {"taken", "absent"}
        assert {one.proof for one in done if one.status == "taken"} == {"published"}
        published = {path: body for path, body in server.world.files.items() if "/trades/" in path}
        made = [int(line.split(",")[0]) for path in published for line in unzip(published[path]).splitlines()]
        held = ask(tmp_path, "select trade_id, count(*) as n from trade group by 1")
        assert {int(str(row["trade_id"])) for row in held} >= set(made)
        assert {row["n"] for row in held} == {1}
        again = await asyncio.to_thread(fetch_bulk, settings, wanted, *span)
        assert {one.status for one in again} <= {"known", "absent"}
        await asyncio.to_thread(repair_gaps, settings)
    gaps = [gap for gap in list_gaps(Lake(tmp_path / "lake")) if gap.channel == "trade" and gap.symbol]
    assert {gap.state for gap in gaps} <= {"repaired", "open"}
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


def unzip(body: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        return packed.read(packed.namelist()[0]).decode()


DAY_US = 1_704_067_200_000_000


def write_zip(path: Path, text: str, *, checksum: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(path.stem + ".csv", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if checksum is None else checksum
    path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path


def list_quotes(numbers: range) -> str:
    return "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n" + "".join(
        f"{n},1,2,3,4,{DAY_US // 1000 + n},{DAY_US // 1000 + n}\n" for n in numbers
    )


def list_trades(numbers: range) -> str:
    return "".join(f"{n},1.5,2,3,{DAY_US // 1000 + n * 100_000},True,True\n" for n in numbers)


def test_files_on_disk_overlap_and_come_once(tmp_path: Path) -> None:
    settings, folder = make_settings(tmp_path), tmp_path / "data/spot/daily/trades/BTCUSDT"
    day = write_zip(folder / "BTCUSDT-trades-2024-01-01.zip", list_trades(range(100, 500)))
    month = write_zip(
        tmp_path / "data/spot/monthly/trades/BTCUSDT/BTCUSDT-trades-2024-01.zip", list_trades(range(100, 5000))
    )
    one, two = import_bulk(settings, "binance-bulk", [month, day])
    assert [(taken.status, taken.rows, taken.proof) for taken in (one, two)] == [
        ("taken", 400, "beside"), ("taken", 4500, "beside")
    ]  # fmt: skip
    assert [taken.status for taken in import_bulk(settings, "binance-bulk", [month, day])] == ["known", "known"]
    counted = ask(tmp_path, "select count(*) as n, count(distinct trade_id) as ids from trade")
    assert counted == [{"n": 4900, "ids": 4900}]
    quotes = tmp_path / "data/futures/um/daily/bookTicker/BTCUSDT"
    early = write_zip(quotes / "BTCUSDT-bookTicker-2024-01-01.zip", list_quotes(range(10, 60)))
    assert import_bulk(settings, "binance-bulk", [early])[0].rows == 50
    later = write_zip(early, list_quotes(range(5, 90)))  # published anew, with more in it
    assert import_bulk(settings, "binance-bulk", [later])[0].rows == 35
    counted = ask(tmp_path, "select count(*) as n, count(distinct sequence) as ids from quote")
    assert counted == [{"n": 85, "ids": 85}]
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


def test_open_interest_of_midnight_is_in_both_files(tmp_path: Path) -> None:
    settings, folder = make_settings(tmp_path), tmp_path / "data/futures/um/daily/metrics/BTCUSDT"
    paths = []
    for day in (1, 2):
        begin = datetime(2024, 1, day, tzinfo=UTC)
        times = [begin + timedelta(minutes=5 * n) for n in range(day - 1, 289)]
        lines = [f"{at:%Y-%m-%d %H:%M:%S},BTCUSDT,{80_000 + at.minute}.5,1,1,1,1,1\n" for at in times]
        header = "create_time,symbol,sum_open_interest,sum_open_interest_value,a,b,c,d\n"
        paths.append(write_zip(folder / f"BTCUSDT-metrics-2024-01-0{day}.zip", header + "".join(lines)))
    assert [taken.rows for taken in import_bulk(settings, "binance-bulk", paths)] == [289, 288]
    counted = ask(tmp_path, "select count(*) as n, count(distinct exchange_at) as times from derivative")
    assert counted == [{"n": 577, "times": 577}]


def write_quotes(path: Path, numbers: range) -> Path:
    """Quotes of a tenth of a second each, as hftbacktest's collector writes them."""
    lines = []
    for n in numbers:
        at = DAY_US * 1000 + n * 100_000_000
        quote = {"e": "bookTicker", "u": n, "s": "BTCUSDT", "b": "1", "B": "2", "a": "3", "A": "4",
                 "T": at // 1_000_000, "E": at // 1_000_000}  # fmt: skip
        lines.append(f"{at} " + msgspec.json.encode({"stream": "btcusdt@bookTicker", "data": quote}).decode() + "\n")
    path.write_text("".join(lines))
    return path


def test_a_gap_in_quotes_is_repaired_by_the_file_it_lies_in(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    parts = [write_quotes(tmp_path / f"{n}.txt", range(n, n + 100)) for n in (1000, 1300)]
    import_files("hftbacktest", parts, "binance", settings.tape, feed="usdm-public")
    deliver(settings.tape, settings.sinks, settings.deliver)
    lake = Lake(tmp_path / "lake")
    (gap,) = [gap for gap in list_gaps(lake) if gap.channel == "quote" and gap.state == "closed"]
    lines = [f"{n},1,2,3,4,{DAY_US // 1000 + n * 100},{DAY_US // 1000 + n * 100}\n" for n in range(900, 1500)]
    day = write_zip(tmp_path / "futures/um/BTCUSDT-bookTicker-2024-01-01.zip", "".join(lines))
    assert import_bulk(settings, "binance-bulk", [day])[0].rows == 400
    assert ask(tmp_path, "select count(*) as n, count(distinct sequence) as ids from quote") == [{"n": 600, "ids": 600}]
    (found,) = [one for one in list_gaps(lake) if one.gap_id == gap.gap_id]
    assert (found.state, found.missing) == ("repaired", 0)
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


def test_what_is_not_what_it_says_leaves_nothing(tmp_path: Path) -> None:
    settings, folder = make_settings(tmp_path), tmp_path / "data/spot/daily/trades/BTCUSDT"
    good, path = list_trades(range(3)), folder / "BTCUSDT-trades-2024-01-01.zip"
    with pytest.raises(TapeError, match="not taken"):
        import_bulk(settings, "binance-bulk", [write_zip(path, good, checksum="0" * 64)])
    with pytest.raises(TapeError, match="is not its SHA-256"):
        import_bulk(settings, "binance-bulk", [write_zip(path, good, checksum="zero")])
    with pytest.raises(TapeError, match="is not what"):
        import_bulk(settings, "binance-bulk", [write_zip(path, "open_time,open\n1,2\n")])
    write_zip(path, "0" * 80_000_000)
    with pytest.raises(TapeError, match="unpacks to more than"):
        import_bulk(settings, "binance-bulk", [path])
    path.write_bytes(b"PK no zip")
    path.with_name(path.name + ".CHECKSUM").unlink()
    with pytest.raises(TapeError, match="cannot read"):
        import_bulk(settings, "binance-bulk", [path])
    with pytest.raises(ConfigError, match="not a name"):
        import_bulk(settings, "binance-bulk", [tmp_path / "holiday.zip"])
    with pytest.raises(ConfigError, match="no files of 'quotes'"):
        fetch_bulk(settings, Subject("binance", "", "BTC-USDT", "", "quotes"), *SPAN)
    with pytest.raises(ConfigError, match="publishes no files"):
        fetch_bulk(settings, Subject("deribit", "", "BTC-USD-PERP", "", "trade"), *SPAN)
    assert "trade" not in Lake(tmp_path / "lake").versions()


def test_what_broke_off_is_taken_on(tmp_path: Path) -> None:
    """A run that is killed within a file leaves its rows; the next one takes the rest of it."""
    settings, folder = make_settings(tmp_path), tmp_path / "data/spot/daily/trades/BTCUSDT"
    text = list_trades(range(800))
    path = write_zip(folder / "BTCUSDT-trades-2024-01-01.zip", text)
    venue = load_venue("binance")
    assert venue.bulk is not None
    file = venue.bulk.read_path(path.as_posix(), "")
    subject = Subject("binance", "spot", "BTC-USDT", "BTCUSDT", "trade")
    with hold_tape(settings, is_new=True) as writer:
        lake = settle_lake(settings, writer)
        began = Past(lake, subject, file.backfill).plan_file(Lost("", file.from_us, file.to_us, ""))
        quill = Quill(writer)
        source = quill.register(Source("binance", "spot", "binance/backfill"))
        quill.note(source, "backfill_began", **msgspec.to_builtins(began))
        block = text[: len(text) // 2].rpartition("\n")[0] + "\n"
        meta = msgspec.json.encode({"method": "GET", "url": file.url, "status": 200, "line": 1}).decode()
        quill.put(source, FrameKind.RESPONSE, block.encode(), meta)
        writer.flush()  # and nobody says that it ended
    assert import_bulk(settings, "binance-bulk", [path])[0].rows == 800 - block.count("\n") > 0
    counted = ask(tmp_path, "select count(*) as n, count(distinct trade_id) as ids from trade")
    assert counted == [{"n": 800, "ids": 800}]
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


SPAN = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
