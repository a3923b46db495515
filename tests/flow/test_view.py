"""Views: the same tape gives the same rows, however often delivery stops and goes on."""

from pathlib import Path

import msgspec
import pytest

from truetape.config import DeliverSettings
from truetape.flow import View, deliver, import_files, replay, verify
from truetape.lake import lake_hash
from truetape.sinks import open_sink
from truetape.tape import archive_segment, list_segments, open_reader

FILES = {
    "binance": ["cryptofeed_binance_20210404.jsonl.gz", "cryptofeed_binance_futures_20210417.jsonl.gz"],
    "kraken": ["cryptofeed_kraken_20210417.jsonl.gz"],
    "okx": ["cryptofeed_okx_20220513.jsonl.gz"],
    "bybit": ["cryptofeed_bybit_20260809_linear.jsonl.gz"],
    "coinbase": ["cryptofeed_coinbase_20260809.jsonl.gz"],
}


@pytest.fixture(scope="module")
def tape(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("flow") / "tape"
    for venue, names in FILES.items():
        files = [recordings / "crypto" / venue / name for name in names]
        import_files("cryptofeed", files, venue, str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def whole(tape: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("whole") / "lake"
    deliver(tape, (f"lake:{lake}",))
    return lake


def test_delivered_in_one_go_it_balances(tape: str, whole: Path) -> None:
    verdict = verify(tape, f"lake:{whole}")
    assert verdict.problems == []
    assert verdict.frames == verdict.decoded + verdict.quarantined + verdict.control
    assert verdict.quarantined == 0
    assert verdict.stored["trade"] > 2000


@pytest.mark.parametrize("stretch", [700, 2999])
def test_stopping_and_going_on_changes_no_row(tape: str, whole: Path, tmp_path: Path, stretch: int) -> None:
    spec = f"lake:{tmp_path / 'lake'}"
    settings = DeliverSettings(commit_rows=20_000, commit_seconds=5)
    reader = open_reader(tape)
    for go in range(10_000):
        sink = open_sink(spec, reader.tape_id)
        view = View(reader, sink, settings)
        advanced = view.advance(stretch)
        if go % 3:  # every third time what was not yet committed is lost, as in a crash
            view.commit()
        elif advanced and go % 2:
            view.advance(stretch)
            view.commit()
        sink.close()
        if not advanced:
            break
    assert lake_hash(tmp_path / "lake") == lake_hash(whole)


def test_an_archived_tape_gives_the_same_rows(recordings: Path, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    import_files(
        "cryptofeed", [recordings / "crypto/binance/cryptofeed_binance_20210417.jsonl.gz"], "binance", str(tape)
    )
    deliver(str(tape), (f"lake:{tmp_path / 'before'}",))
    for segment in list_segments(tape):
        archive_segment(tape, segment.first)
    deliver(str(tape), (f"lake:{tmp_path / 'after'}",))
    assert lake_hash(tmp_path / "before") == lake_hash(tmp_path / "after")


def test_delivering_again_stores_nothing_twice(tape: str, whole: Path) -> None:
    before = lake_hash(whole)
    deliver(tape, (f"lake:{whole}",))
    assert lake_hash(whole) == before


def test_every_sink_holds_the_same_rows(tape: str, whole: Path, tmp_path: Path) -> None:
    specs = (f"csv:{tmp_path / 'csv'}", f"sqlite:{tmp_path / 'rows.sqlite'}")
    deliver(tape, specs)
    reader = open_reader(tape)
    counts = []
    for spec in (f"lake:{whole}", *specs):
        sink = open_sink(spec, reader.tape_id)
        counts.append({kind: n for kind, n in sink.stored().items() if n})
        sink.close()
    assert counts[0] == counts[1] == counts[2]


def test_replay_yields_the_rows_that_were_stored(tape: str, whole: Path) -> None:
    rows: dict[str, int] = {}
    for tables in replay(tape):
        for kind, table in tables.items():
            rows[kind] = rows.get(kind, 0) + table.num_rows
    reader = open_reader(tape)
    sink = open_sink(f"lake:{whole}", reader.tape_id)
    assert rows == {kind: n for kind, n in sink.stored().items() if n}
    sink.close()


def test_replay_of_a_stretch_is_cut_to_it(tape: str) -> None:
    offsets = [o for tables in replay(tape, 1000, 2000) for t in tables.values() for o in t["tape_offset"].to_pylist()]
    assert offsets
    assert min(offsets) >= 1000
    assert max(offsets) < 2000


def test_a_memory_of_another_version_is_made_again_from_the_tape(tape: str, whole: Path, tmp_path: Path) -> None:
    spec = f"lake:{tmp_path / 'lake'}"
    reader = open_reader(tape)
    sink = open_sink(spec, reader.tape_id)
    view = View(reader, sink, DeliverSettings())
    view.advance(2999)
    view.commit()
    checkpoint = sink.resume()
    assert checkpoint is not None
    sink.write({}, msgspec.structs.replace(checkpoint, state=msgspec.msgpack.encode({"of": "another version"})))
    sink.close()
    deliver(tape, (spec,))
    assert lake_hash(tmp_path / "lake") == lake_hash(whole)


def test_wide_rows_are_committed_by_their_bytes(tmp_path: Path) -> None:
    """Pictures of a book are a kilobyte each: held by number alone they would fill the memory."""
    levels = ",".join(
        f"{side}[{i}].{part}" for i in range(25) for side in ("asks", "bids") for part in ("price", "amount")
    )
    head = f"exchange,symbol,timestamp,local_timestamp,{levels}\n"
    for part in range(2):
        begin = 1_704_067_200_000_000 + part * 1_000_000
        rows = "".join(
            f"binance,BTCUSDT,{at},{at}," + ",".join(f"{at // 1000 % 7 + i}.5,0.25" for i in range(50)) + "\n"
            for at in range(begin, begin + 840_000, 200)
        )
        path = tmp_path / f"binance_book_snapshot_25_{part}.csv"
        path.write_text(head + rows)
        import_files("tardis", [path], "", str(tmp_path / "tape"))
    commits = {}
    for name, commit_bytes in (("whole", 1 << 30), ("parts", 1 << 16)):
        deliver(str(tmp_path / "tape"), (f"lake:{tmp_path / name}",), DeliverSettings(commit_bytes=commit_bytes))
        commits[name] = len([*(tmp_path / name / "book_snapshot/_delta_log").glob("*.json")])
    assert lake_hash(tmp_path / "whole") == lake_hash(tmp_path / "parts")
    assert commits["parts"] == commits["whole"] + 1
