import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from tapes import read_all

from truetape.errors import TapeError
from truetape.tape import Frame, FrameKind, open_reader, open_writer, verify_tape
from truetape.tape.foreign import FORMATS, import_recording, read_recording
from truetape.tape.foreign.origin import Origin
from truetape.tape.foreign.tardis import read_time

RECORDED = {"tsline": "hftbacktest", "cfv3": "cryptofeed"}


def read(format_name: str, path: Path, text: str | bytes, **options: object) -> list[Frame]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    skip_bad = bool(options.pop("skip_bad", False))
    origin = Origin(path, options.pop("venue", "binance"), "import", **options)
    return list(read_recording(format_name, origin, skip_bad=skip_bad))


def test_every_real_recording_comes_onto_the_tape_whole(recordings: Path, tmp_path: Path) -> None:
    """The smaller files of every venue; counts are those of the index."""
    folder = recordings / "crypto"
    with (folder / "INDEX.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if int(row["bytes"] or 0) < 700_000]
    checked = Counter()
    for row in rows:
        is_json = row["path"].endswith("replay_raw.ndjson")
        format_name = "tardis-json" if is_json else RECORDED.get(row["format"])
        if format_name is None or not (folder / row["path"]).exists():
            continue
        writer = open_writer(tmp_path / row["path"].replace("/", "_"))
        import_recording(format_name, [folder / row["path"]], row["venue"], writer)
        writer.close()
        kinds: Counter[int] = Counter()
        reader = open_reader(writer.folder)
        for batch in reader.read(0):
            kinds.update(batch.data.column("kind").to_pylist())
            assert min(batch.data.column("received_ns").to_pylist()) > 10**18
        reader.close()
        frames = kinds[FrameKind.TEXT] + kinds[FrameKind.BINARY] + kinds[FrameKind.RESPONSE]
        assert frames == int(row["frames"]), row["path"]
        assert verify_tape(writer.folder).ok
        checked[format_name] += 1
    assert checked["hftbacktest"] >= 3
    assert checked["cryptofeed"] >= 20
    assert checked["tardis-json"] == 1


def test_hftbacktest_tells_feed_symbol_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    depth = '{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","s":"BTCUSDT","pu":1}}'
    snapshot = '{"lastUpdateId": 7, "bids": []}'
    rows = read("hftbacktest", path, f"1680652700599351 {snapshot}\n1723161256172216566 {depth}\n")
    assert [(r.received_ns, r.kind, r.feed) for r in rows] == [
        (1680652700599351000, FrameKind.RESPONSE, "usdm"),
        (1723161256172216566, FrameKind.TEXT, "usdm"),
    ]
    assert rows[0].payload == snapshot.encode()
    url = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT"
    assert json.loads(rows[0].meta) == {"method": "GET", "url": url, "status": 200}
    for extra, feed in (('"pu":1,"ps":"BTCUSD"', "coinm"), ('"u":1', "spot")):
        assert read("hftbacktest", path, f'1 {{"e":"depthUpdate",{extra}}}\n')[0].feed == feed
    assert read("hftbacktest", path, "1 x\n", feed="mine")[0].feed == "mine"
    with pytest.raises(TapeError, match="no depth update tells the feed"):
        read("hftbacktest", path, "1 x\n")
    with pytest.raises(TapeError, match="line 1: a snapshot without symbol among 0 symbols"):
        read("hftbacktest", path, f"1 {snapshot}\n", feed="spot")


CRYPTOFEED_TEXT = (
    "configuration: {'a': 1}\n"
    'https://api.x.com/book -> 1618678195.7408230: {"bids":[]}\n'
    "wss://ws.x.com/v1 <-> 1618678196.1\n"
    'wss://ws.x.com/v1 <- 1618678196.2: {"op":"subscribe"}\n'
    '1618678196.1234567: {"a": "b: c"}\n'
    "\n"
    "1618678197: b'\\x00\\n{'\n"
)
CRYPTOFEED_JSON = (
    '{"t":"header","format":2,"config":{"a":1}}\n'
    '{"t":"http","conn":"c","ts":1618678195.7408230,"url":"https://api.x.com/book","data":"{\\"bids\\":[]}"}\n'
    '{"t":"connect","conn":"c","ts":1618678196.1,"addr":"wss://ws.x.com/v1"}\n'
    '{"t":"send","conn":"c","ts":1618678196.2,"addr":"wss://ws.x.com/v1","data":"{\\"op\\":\\"subscribe\\"}"}\n'
    '{"t":"recv","conn":"c","ts":1618678196.1234567,"data":"{\\"a\\": \\"b: c\\"}"}\n'
    '{"t":"recv","conn":"c","ts":1618678197,"b64":"AAp7"}\n'
)


@pytest.mark.parametrize("text", [CRYPTOFEED_TEXT, CRYPTOFEED_JSON], ids=["text", "json"])
def test_cryptofeed_old_and_new_say_the_same(tmp_path: Path, text: str) -> None:
    hosts = {"https://api.x.com/book": "rest", "wss://ws.x.com/v1": "spot"}
    rows = read("cryptofeed", tmp_path / "a", text, feed_of=hosts.get)
    assert [(r.received_ns, r.kind, r.feed, r.payload) for r in rows] == [
        (1618678195740823000, FrameKind.RESPONSE, "rest", b'{"bids":[]}'),
        (1618678196100000000, FrameKind.EVENT, "spot", b""),
        (1618678196200000000, FrameKind.REQUEST, "spot", b'{"op":"subscribe"}'),
        (1618678196123456700, FrameKind.TEXT, "spot", b'{"a": "b: c"}'),
        (1618678197000000000, FrameKind.BINARY, "spot", b"\0\n{"),
    ]
    assert json.loads(rows[0].meta)["url"] == "https://api.x.com/book"
    assert json.loads(rows[1].meta) == {"event": "opened", "url": "wss://ws.x.com/v1"}


def test_tardis_raw_lines_and_disconnects(tmp_path: Path) -> None:
    text = '2019-06-01T00:00:10.4260001Z {"a":1}\n\n2019-06-01T00:00:11.0000000Z {}\n'
    rows = read("tardis-raw", tmp_path / "a", text)
    assert [(r.received_ns, r.kind, r.payload) for r in rows] == [
        (1559347210426000100, FrameKind.TEXT, b'{"a":1}'),
        (1559347210426000100, FrameKind.EVENT, b""),
        (1559347211000000000, FrameKind.TEXT, b"{}"),
    ]
    assert json.loads(rows[1].meta) == {"event": "closed", "reason": "recorder disconnect"}
    assert read_time("1969-12-31T23:59:59.5Z") == -500_000_000


def test_plain_frames_need_a_start_and_say_that_times_are_made_up(tmp_path: Path) -> None:
    note, *rows = read("plain", tmp_path / "a", "x\ny\n", start_ns=10**18)
    assert [(r.received_ns, r.payload) for r in rows] == [(10**18, b"x"), (10**18 + 1000, b"y")]
    assert json.loads(note.meta)["times"] == "made up"
    with pytest.raises(TapeError, match="give the first frame's"):
        read("plain", tmp_path / "a", "x\n")


BAD = {
    "hftbacktest": "1680652700599351 {}\nnonsense\n",
    "cryptofeed": '{"t":"recv","conn":"c","ts":1,"data":"x"}\n{"t":"recv"\n',
    "tardis-raw": "2019-06-01T00:00:10.4260001Z {}\nnonsense\n",
    "tardis-json": '{"localTimestamp":"2019-06-01T00:00:10.426Z","message":{}}\n{"localTimestamp":"x","message":{}}\n',
}


@pytest.mark.parametrize("format_name", BAD)
def test_a_bad_line_is_named_or_declared(tmp_path: Path, format_name: str) -> None:
    path = tmp_path / "a"
    with pytest.raises(TapeError, match=f"{path} line 2: "):
        read(format_name, path, BAD[format_name], feed="spot")
    rows = read(format_name, path, BAD[format_name], feed="spot", skip_bad=True)
    assert [row.kind for row in rows] == [FrameKind.TEXT, FrameKind.EVENT]
    assert json.loads(rows[1].meta)["line"] == 2
    assert rows[1].received_ns == rows[0].received_ns


def test_events_stand_around_what_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_text("2019-06-01T00:00:10.4260001Z a\n\n2019-06-01T00:00:11.0000000Z b\n")
    writer = open_writer(tmp_path / "tape")
    counts = import_recording("tardis-raw", [path, path], "bitmex", writer, feed="main")
    writer.close()
    assert counts == [(path, 3), (path, 3)]
    rows = read_all(tmp_path / "tape")
    once = ["opened", "a", "closed", "opened", "b", "closed"]
    assert [json.loads(meta)["event"] if meta else payload.decode() for _, payload, meta in rows] == once * 2
    reader = open_reader(tmp_path / "tape")
    names = {name for batch in reader.read(0) for name in batch.data.column("connection").to_pylist()}
    assert names == {"import/a.raw@0", "import/a.raw@6"}


def test_unknown_formats_and_unreadable_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match=f"unknown recording format 'x' \\(allowed: {', '.join(FORMATS)}\\)"):
        read("x", tmp_path / "a", "")
    for name in ("none", "none.gz"):
        with pytest.raises(TapeError, match="cannot read"):
            list(read_recording("plain", Origin(tmp_path / name, "v", "c", start_ns=1)))
    whole = gzip.compress(b"x\n" * 100_000)
    with pytest.raises(TapeError, match=r"cannot read .* after line"):
        read("plain", tmp_path / "a.gz", whole[:-20], start_ns=1)


def test_unpacking_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="unpacks to more than 200 times its size"):
        read("plain", tmp_path / "a.gz", gzip.compress((b"0" * 999_999 + b"\n") * 70), start_ns=1)
