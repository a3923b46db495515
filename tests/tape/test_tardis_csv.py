"""Tardis' CSV datasets: row counts, values, bad lines, books whose pictures are whole, blocks cut anywhere."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decoded import decode_tape
from truetape.decode.engine import Engine
from truetape.errors import TapeError
from truetape.tape import open_reader, open_writer
from truetape.tape.foreign import import_recording
from truetape.tape.foreign.origin import Origin
from truetape.tape.foreign.tardis_csv import read_dataset
from truetape.tape.frame import Frame, FrameKind

HEAD = "exchange,symbol,timestamp,local_timestamp,"
TRADES = HEAD + "id,side,price,amount\n"
BOOK = HEAD + "is_snapshot,side,price,amount\n"


def carry(folder: Path, *paths: Path, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """Import files and decode the tape; every frame must be accounted for."""
    writer = open_writer(folder / "tape")
    import_recording("tardis", paths, "tardis", writer, **options)
    writer.close()
    rows, counts = decode_tape(folder / "tape")
    assert counts["quarantined"] == 0, rows["quarantine"]
    return rows


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def frames(path: Path, *, skip_bad: bool = False, block_bytes: int = 1 << 20) -> list[Frame]:
    return list(read_dataset(Origin(path, "tardis", "c"), skip_bad=skip_bad, ratio_max=200, block_bytes=block_bytes))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("nautilus_binance-futures_book_snapshot_5_BTCUSDT.csv", {"book_snapshot": 10}),
        ("nautilus_crate_options_chain.csv", {"ticker": 7, "derivative": 7}),
        ("nautilus_huobi-dm-swap_quotes_BTC-USD.csv", {"quote": 10}),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_recorded_slices_have_as_many_rows_as_lines(
    tmp_path: Path, recordings: Path, name: str, counts: dict[str, int], is_packed: bool
) -> None:
    path = recordings / "crypto" / "tardis" / name
    if is_packed:
        packed = tmp_path / f"{name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    rows = carry(tmp_path, path)
    own = {kind: len(listed) for kind, listed in rows.items() if kind not in {"gap", "connection"}}
    assert own == counts


def test_rows_are_of_the_exchange_that_the_lines_name(tmp_path: Path, recordings: Path) -> None:
    folder = recordings / "crypto" / "tardis"
    rows = carry(tmp_path, *sorted(folder.glob("*.csv")))
    (book, *_), (option, *_), (quote, *_) = rows["book_snapshot"], rows["derivative"], rows["quote"]
    assert (book["venue"], book["symbol"]) == ("binance", "BTC-USDT-PERP")
    assert (book["ask_prices"][0], book["ask_amounts"][0], book["bid_prices"][0]) == (11657.08, 1.714, 11657.07)
    assert (option["venue"], option["symbol"]) == ("deribit", "BTC-USD-200609-9875-P")
    assert (option["mark_iv"], option["delta"], option["open_interest"]) == (62.89, -0.61752, 0.1)
    assert (quote["venue"], quote["symbol"]) == ("tardis", "BTC-USD@huobi-dm-swap")
    assert (quote["bid_price"], quote["ask_price"], quote["bid_amount"]) == (8629.2, 8629.3, None)  # contracts, unknown


def test_trades_by_number_by_text_and_by_contract(tmp_path: Path) -> None:
    text = TRADES + (
        "binance,BTCUSDT,1000000,1005000,7,buy,100.5,0.25\n"
        "bybit,BTCUSD,1000000,1005000,a-b,sell,100,50\n"
        "deribit,BTC-PERPETUAL,1000000,1005000,12,unknown,100,50\n"
        "bitmex,XBTUSD,1005000,1005000,z,sell,100,50\n"
        "binance,BTCUSDT,1000001,1005001,8,sell,100.5,0.25\n"
    )
    rows = carry(tmp_path, write(tmp_path / "trades.csv", text))["trade"]
    found = [(r["venue"], r["trade_id"], r["side"], r["amount"], r["contracts"], r["tape_row"]) for r in rows]
    assert found == [
        ("binance", "7", "buy", 0.25, None, 0),
        ("bybit", "a-b", "sell", 0.5, 50.0, 1),
        ("deribit", "12", None, 0.5, 50.0, 2),
        ("tardis", "z", "sell", None, 50.0, 3),
        ("binance", "8", "sell", 0.25, None, 4),
    ]
    assert rows[3]["exchange_at"] is None  # equal times: the exchange told none
    assert rows[0]["received_at"].microsecond == 5000


def test_trades_told_twice_are_one(tmp_path: Path) -> None:
    begin = 1_700_000_000_000_000
    text = TRADES + "".join(f"binance,BTCUSDT,{begin + i},{begin + i + 5},{i},buy,1,1\n" for i in range(1, 2000))
    path = write(tmp_path / "trades.csv", text)
    rows = carry(tmp_path, path, path)
    assert [row["trade_id"] for row in rows["trade"]] == [str(i) for i in range(1, 2000)]


def test_other_datasets(tmp_path: Path) -> None:
    ticker = (
        HEAD + "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,index_price,mark_price\n"
    )
    ticker += "binance-futures,BTCUSDT,1000000,1005000,28800000000,0.0001,,12.5,101,,100.5\n"
    forced = TRADES + "binance-futures,BTCUSDT,1000000,1005000,,sell,100,2\n"
    rows = carry(
        tmp_path, write(tmp_path / "a.csv", ticker), write(tmp_path / "x_liquidations_2020-01-01_BTCUSDT.csv", forced)
    )
    (state,), (order,) = rows["derivative"], rows["liquidation"]
    assert (state["funding_rate"], state["next_funding_rate"], state["index_price"]) == (0.0001, None, None)
    assert (state["open_interest"], state["next_funding_at"].hour, state["mark_price"]) == (12.5, 8, 100.5)
    assert (order["side"], order["price"], order["amount"]) == ("sell", 100, 2)


def test_liquidations_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TRADES + "binance-futures,BTCUSDT,1000000,1005000,,sell,100,2\n")
    assert len(carry(tmp_path, path, feed="liquidations")["liquidation"]) == 1


def test_decoding_goes_on_from_a_checkpoint_between_blocks(tmp_path: Path) -> None:
    begin = 1_700_000_000_000_000
    text = TRADES + "".join(f"binance,BTCUSDT,{begin + i},{begin + i + 5},{i},buy,{i},1\n" for i in range(1, 300))
    path = write(tmp_path / "trades.csv", text)
    writer = open_writer(tmp_path / "tape")
    for _ in range(2):
        import_recording("tardis", [path], "tardis", writer)
        writer.flush()
    writer.close()
    reader = open_reader(tmp_path / "tape")
    batches = [batch for offset in range(reader.end) for batch in reader.read(offset, 1)]
    ends = []
    for is_cut in (False, True):
        engine = Engine(reader.tape_id)
        rows = []
        for batch in batches:
            engine.feed(batch)
            rows += [row for table in engine.take().values() for row in table.to_pylist()]
            if is_cut:
                checkpoint = engine.save()
                engine = Engine(reader.tape_id)
                engine.restore(checkpoint)
        ends.append((rows, engine.counts))
    reader.close()
    assert ends[0] == ends[1]
    assert ends[0][1]["rows.trade"] - ends[0][1]["duplicates.trade"] == 299


def book_line(local: int, is_snapshot: bool, side: str, price: float, amount: float, symbol: str = "BTCUSDT") -> str:
    return f"binance,{symbol},{local - 5},{local},{str(is_snapshot).lower()},{side},{price},{amount}\n"


def test_a_picture_begins_a_frame_and_is_whole_in_it(tmp_path: Path) -> None:
    text = BOOK + "".join(
        [
            *(book_line(10, True, "bid", price, 1) for price in (99, 98)),
            book_line(11, True, "ask", 101, 1),  # the same picture goes on
            book_line(20, False, "bid", 99, 0),
            book_line(20, False, "ask", 101, 2),
            book_line(30, True, "bid", 97, 1),
            book_line(40, False, "bid", 97, 3),
        ]
    )
    rows = carry(tmp_path, write(tmp_path / "b.csv", text))["book_change"]
    assert len(rows) == 7
    assert [(r["tape_offset"], r["tape_row"], r["is_snapshot"]) for r in rows] == [
        (1, 0, True), (1, 1, True), (1, 2, True), (1, 3, False), (1, 4, False), (2, 0, True), (2, 1, False),
    ]  # fmt: skip


lines = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["AUSDT", "BUSDT"]), st.integers(0, 2), st.integers(0, 9)), max_size=40
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=lines, block_bytes=st.integers(40, 800))
def test_books_do_not_depend_on_blocks(
    tmp_path: Path, changes: list[tuple[bool, str, int, int]], block_bytes: int
) -> None:
    """Whatever is read at once: the lines are all there, no message or picture is torn, each picture begins a frame."""
    local, text, was = 1000, BOOK, {}
    starts = []
    for i, (is_snapshot, symbol, step, price) in enumerate(changes):
        local += step
        text += book_line(local, is_snapshot, "bid", price + 1, 1, symbol)
        starts += [i] if is_snapshot and not was.get(symbol) else []
        was[symbol] = is_snapshot
    path = write(tmp_path / "b.csv", text)
    pieces = [f.payload.decode().splitlines()[1:] for f in frames(path, block_bytes=block_bytes) if f.payload]
    assert [line for piece in pieces for line in piece] == text.splitlines()[1:]
    begins, at = [], 0
    for piece in pieces:
        begins.append(at)
        at += len(piece)
    assert set(starts) <= set(begins)
    for begin in begins[1:]:
        if begin not in starts:
            first, before = text.splitlines()[begin + 1].split(","), text.splitlines()[begin].split(",")
            assert (first[1], first[3]) != (before[1], before[3])
            assert first[4] == "false"


def test_blocks_of_trades_hold_every_line_once(tmp_path: Path) -> None:
    text = TRADES + "".join(f"binance,BTCUSDT,{i},{i + 5},{i},buy,1,1\r\n\n" for i in range(1, 500))
    pieces = frames(write(tmp_path / "t.csv", text), block_bytes=1000)
    assert sum(frame.payload.count(b"\n") - 1 for frame in pieces if frame.payload) == 499
    opened, first, *_ = pieces
    assert json.loads(opened.meta)["event"] == "opened"
    assert opened.received_ns == 6000 < first.received_ns  # a block is there with its last line


@pytest.mark.parametrize(
    "bad",
    [
        "binance,BTCUSDT,1,2,3,buy,1",
        "binance,BTCUSDT,1,2,3,buy,,1",
        "binance,BTCUSDT,1,2,3,buy,nan,1",
        "binance,BTCUSDT,1,2,3,buy,1,-1",
        "binance,BTCUSDT,x,2,3,buy,1,1",
        "binance,BTCUSDT,1,99999999999999999,3,buy,1,1",
        "binance,BTCUSDT,1,2,3,up,1,1",
        ",BTCUSDT,1,2,3,buy,1,1",
    ],
)
def test_a_bad_line_is_named_or_declared(tmp_path: Path, bad: str) -> None:
    good = [f"binance,BTCUSDT,{i},{i + 5},{i},buy,1,1\n" for i in range(1, 6)]
    path = write(tmp_path / "t.csv", TRADES + "".join(good[:3]) + bad + "\n" + "".join(good[3:]))
    with pytest.raises(TapeError, match=r"t\.csv line 5: "):
        frames(path)
    read = frames(path, skip_bad=True)
    assert Counter(frame.kind for frame in read) == {FrameKind.EVENT: 2, FrameKind.TEXT: 1}
    assert json.loads(read[1].meta)["line"] == 5
    assert read[2].payload.decode() == TRADES + "".join(good)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for text in ("", "a,b\n1,2\n", '{"type":"trade"}\n', HEAD[:-1] + "\n"):
        with pytest.raises(TapeError, match="line 1: not the header of a Tardis CSV dataset"):
            frames(write(tmp_path / "x.csv", text))
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(gzip.compress((TRADES + "binance,B,1,2,3,buy,1,1\n" * 9000).encode())[:-9])
    with pytest.raises(TapeError, match="cannot read"):
        frames(packed)
    packed.write_bytes(gzip.compress(TRADES.encode() + b"\n" * 80_000_000, 9))
    with pytest.raises(TapeError, match="unpacks to more than 200 times its size"):
        frames(packed)


def test_a_header_alone_is_nothing(tmp_path: Path) -> None:
    assert frames(write(tmp_path / "t.csv", TRADES)) == []
