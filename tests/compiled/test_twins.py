"""What is recorded decodes to the same tables with the compiled part and without it."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import pytest

from truetape import compiled
from truetape.decode.engine import Engine
from truetape.tape import FRAME_SCHEMA, Frame, FrameBatch
from truetape.tape.foreign import Origin, read_recording
from truetape.venues import load_venue
from twins import NEEDS_COMPILED

CASES = {
    "usdm": ("binance", "binance/hftbacktest_usdm_btcusdt_20240808.gz", "hftbacktest"),
    "spot": ("binance", "binance/hftbacktest_spot_btcusdt_20240808.gz", "hftbacktest"),
    "coinm": ("binance", "binance/hftbacktest_coinm_btcusd_perp_20240808.gz", "hftbacktest"),
    "bybit": ("bybit", "bybit/cryptofeed_bybit_20260809_linear.jsonl.gz", "cryptofeed"),
    "okx": ("okx", "okx/cryptofeed_okex_20210722.jsonl.gz", "cryptofeed"),
    "coinbase": ("coinbase", "coinbase/cryptofeed_coinbase_20210417_a.jsonl.gz", "cryptofeed"),
}
FRAMES_MAX = 6000
BATCH_FRAMES = 1000, 30, 400
"""In turns: few frames go one by one into books that are kept by the run."""


def read_batches(path: Path, venue: str, form: str) -> Iterator[FrameBatch]:
    origin = Origin(path, venue, "twins/1", feed_of=load_venue(venue).find_feed)
    frames = list(islice(read_recording(form, origin), FRAMES_MAX))
    begin = 0
    for size in cycle(BATCH_FRAMES):
        part = frames[begin : begin + size]
        if not part:
            return
        columns = dict(zip(Frame._fields, zip(*part, strict=True), strict=True))
        data = [pa.array(columns[field.name], field.type) for field in FRAME_SCHEMA]
        yield FrameBatch(begin, pa.RecordBatch.from_arrays(data, schema=FRAME_SCHEMA))
        begin += size


def decode(batches: list[FrameBatch], *, keep_books: bool) -> tuple[dict[str, pa.Table], dict[str, int], bytes]:
    engine = Engine("twins", keep_books=keep_books)
    for batch in batches:
        engine.feed(batch)
    tables = engine.take()
    return tables, engine.counts, engine.save().state


@NEEDS_COMPILED
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("keep_books", [False, True], ids=["changes", "books"])
def test_both_say_the_same(recordings: Path, monkeypatch: pytest.MonkeyPatch, name: str, keep_books: bool) -> None:
    venue, path, form = CASES[name]
    batches = list(read_batches(recordings / "crypto" / path, venue, form))
    fast = decode(batches, keep_books=keep_books)
    monkeypatch.setattr(compiled, "core", None)
    slow = decode(batches, keep_books=keep_books)
    assert fast[1:] == slow[1:]
    assert fast[0].keys() == slow[0].keys() >= {"book_change"}
    for kind, table in fast[0].items():
        assert table.equals(slow[0][kind]), kind
