"""Recorded frames as the benchmarks take them: one case is one kind of message of one recording."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from truetape.tape import FRAME_SCHEMA, Frame, FrameBatch, FrameKind, join_batches
from truetape.tape.foreign import Origin, read_recording
from truetape.venues import load_venue

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = ROOT.parent / "shared" / "recordings" / "crypto"
BATCH_FRAMES = 1000
"""Frames of one batch: what a busy recorder puts into one."""


@dataclass(frozen=True)
class Case:
    """What to take from a recording, and how each tool is told what it is."""

    name: str
    title: str
    venue: str
    path: str
    format: str
    kind: str
    """trade, book_change or mixed: which of the goals holds."""
    wanted: tuple[str, ...]
    """A message is taken when it has one of these strings; empty: all."""
    only_connection: str = ""
    frames_max: int = 20_000
    levels: str = ""
    cryptofeed: str = ""
    """Class of its feed; empty: it cannot read these frames."""
    tardis: tuple[tuple[str, str, tuple[object, ...]], ...] = ()
    """Mappers: (file, class or constant, arguments)."""
    ccxt: str = ""
    refusals: dict[str, str] = field(default_factory=dict)
    """Why a tool is not measured."""


_FUTURES_BOOK = ("binance", "BinanceFuturesBookChangeMapper", ("binance-futures", True))

CASES = (
    Case(
        "usdm_trade", "Binance USD-M trades", "binance", "binance/hftbacktest_usdm_btcusdt_20240808.gz",
        "hftbacktest", "trade", ('@trade"',), cryptofeed="binance_futures.BinanceFutures",
        tardis=(("binance", "BinanceTradesMapper", ("binance-futures",)),), ccxt="binanceusdm",
    ),
    Case(
        "spot_trade", "Binance spot trades", "binance", "binance/hftbacktest_spot_btcusdt_20240808.gz",
        "hftbacktest", "trade", ('@trade"',), cryptofeed="binance.Binance",
        tardis=(("binance", "BinanceTradesMapper", ("binance",)),), ccxt="binance",
    ),
    Case(
        "usdm_depth_23", "Binance USD-M depth, 23 levels", "binance", "binance/hftbacktest_usdm_btcusdt_20240718.gz",
        "hftbacktest", "book_change", ("@depth",), cryptofeed="binance_futures.BinanceFutures",
        tardis=(_FUTURES_BOOK,), ccxt="binanceusdm",
    ),
    Case(
        "usdm_depth_66", "Binance USD-M depth, 65 levels", "binance", "binance/hftbacktest_usdm_ethusdt_20240808.gz",
        "hftbacktest", "book_change", ("@depth",), cryptofeed="binance_futures.BinanceFutures",
        tardis=(_FUTURES_BOOK,), ccxt="binanceusdm",
    ),
    Case(
        "spot_depth", "Binance spot depth", "binance", "binance/hftbacktest_spot_btcusdt_20240808.gz",
        "hftbacktest", "book_change", ("@depth",), cryptofeed="binance.Binance",
        tardis=(("binance", "BinanceBookChangeMapper", ("binance", True)),), ccxt="binance",
    ),
    Case(
        "bybit_depth", "Bybit linear depth", "bybit", "bybit/cryptofeed_bybit_20260809_linear.jsonl.gz",
        "cryptofeed", "book_change", ('"orderbook.',), cryptofeed="bybit.Bybit",
        tardis=(("bybit", "BybitV5BookChangeMapper", ("bybit", 200)),),
    ),
    Case(
        "okx_depth", "OKX depth, with checksums", "okx", "okx/cryptofeed_okex_20210722.jsonl.gz",
        "cryptofeed", "book_change", ('"books-l2-tbt"',), only_connection="ws.1", cryptofeed="okx.OKX",
        tardis=(("okex", "OkexV5BookChangeMapper", ("okex", False)),),
    ),
    Case(
        "coinbase_mix", "Coinbase Advanced Trade, all channels", "coinbase",
        "coinbase/cryptofeed_coinbase_20260809.jsonl.gz", "cryptofeed", "mixed", (), only_connection="ws.",
        cryptofeed="coinbase.Coinbase", refusals={"tardis-dev": "its mappers read Coinbase Exchange only"},
    ),
    Case(
        "coinbase_exchange_depth", "Coinbase Exchange l2update", "coinbase",
        "coinbase/cryptofeed_coinbase_20210417_a.jsonl.gz", "cryptofeed", "book_change",
        ('"l2update"', '"snapshot"'), tardis=(("coinbase", "CoinbaseBookChangMapper", ()),),
        refusals={"cryptofeed": "3.x reads Advanced Trade only"},
    ),
)  # fmt: skip


def read_case(case: Case) -> list[Frame]:
    """Return the frames of a case in recorded order: messages and fetched books."""
    venue = load_venue(case.venue)
    origin = Origin(RECORDINGS / case.path, case.venue, "bench/1", feed_of=venue.find_feed)
    wanted = [text.encode() for text in case.wanted]
    frames = []
    for frame in read_recording(case.format, origin):
        if case.only_connection and case.only_connection not in frame.connection:
            continue
        if frame.kind == FrameKind.RESPONSE:
            is_taken = case.kind == "book_change" and b'"lastUpdateId"' in frame.payload[:200]
        else:
            is_taken = frame.kind == FrameKind.TEXT and (not wanted or any(text in frame.payload for text in wanted))
        if is_taken:
            frames.append(frame)
        if len(frames) == case.frames_max:
            break
    return frames


def read_mix() -> list[Frame]:
    """Return the recorded mix: every message of four venues, about as a recorder sees them."""
    mix = [
        ("binance", "binance/hftbacktest_usdm_btcusdt_20240808.gz", "hftbacktest"),
        ("binance", "binance/hftbacktest_spot_btcusdt_20240808.gz", "hftbacktest"),
        ("binance", "binance/hftbacktest_coinm_btcusd_perp_20240808.gz", "hftbacktest"),
        ("bybit", "bybit/cryptofeed_bybit_20260809_linear.jsonl.gz", "cryptofeed"),
        ("okx", "okx/cryptofeed_okex_20210722.jsonl.gz", "cryptofeed"),
        ("coinbase", "coinbase/cryptofeed_coinbase_20260809.jsonl.gz", "cryptofeed"),
    ]
    frames = []
    for name, path, format_name in mix:
        origin = Origin(RECORDINGS / path, name, f"bench/{path}", feed_of=load_venue(name).find_feed)
        frames += [frame for frame in read_recording(format_name, origin) if frame.kind <= FrameKind.RESPONSE]
    return frames


def batch_frames(frames: list[Frame]) -> list[FrameBatch]:
    """Return frames as a view of a busy tape decodes them: its batches, joined."""
    return list(join_batches(_batch(frames)))


def _batch(frames: list[Frame]) -> Iterator[FrameBatch]:
    for start in range(0, len(frames), BATCH_FRAMES):
        part = frames[start : start + BATCH_FRAMES]
        columns = dict(zip(Frame._fields, zip(*part, strict=True), strict=True))
        data = [pa.array(columns[field.name], field.type) for field in FRAME_SCHEMA]
        yield FrameBatch(start, pa.RecordBatch.from_arrays(data, schema=FRAME_SCHEMA))


def write_case(case: Case, path: Path) -> int:
    """Write a case for the workers: one line of facts, then `<ns> <kind> <frame>` a line; return the frames."""
    frames = read_case(case)
    facts = asdict(case) | {"feed": frames[0].feed, "frames": len(frames)}
    with path.open("wb") as file:
        file.write(json.dumps(facts).encode() + b"\n")
        for frame in frames:
            file.write(b"%d %s " % (frame.received_ns, b"R" if frame.kind == FrameKind.RESPONSE else b"T"))
            file.write(frame.payload.strip() + b"\n")
    return len(frames)
