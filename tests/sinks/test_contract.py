"""What every sink must do; runs over the registry and names nobody."""

from pathlib import Path

import pyarrow as pa
import pytest
from kill_sweep import TAPE_ID, build_tables

from truetape.errors import ConfigError, SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.sinks import Sink, list_examples, list_sinks, open_sink

EXAMPLES = list_examples()


def place(example: str, folder: Path) -> str:
    return example.replace("DIR", str(folder / "store")).replace("FILE", str(folder / "store"))


def checkpoint(offset: int) -> Checkpoint:
    return Checkpoint(TAPE_ID, offset, {"frames": offset, "rows.trade": 3}, b"\x00\xff state")


def only(counts: dict[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in counts.items() if count}


@pytest.fixture(params=EXAMPLES)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return place(request.param, tmp_path)


@pytest.fixture
def sink(spec: str) -> Sink:
    return open_sink(spec, TAPE_ID)


def test_every_sink_shows_how_to_open_it() -> None:
    assert {example.partition(":")[0] for example in EXAMPLES} == set(list_sinks())


def test_a_new_sink_has_nothing(sink: Sink) -> None:
    assert sink.resume() is None
    assert sink.stored() == dict.fromkeys(KINDS, 0)
    sink.close()


def test_every_kind_is_taken_with_nulls_lists_and_unicode(sink: Sink) -> None:
    sink.write(build_tables(0, 20, tuple(KINDS)), checkpoint(20))
    counts = {name: table.num_rows for name, table in build_tables(0, 20, tuple(KINDS)).items()}
    assert sink.stored() == counts
    sink.close()


def test_the_checkpoint_comes_back_whole(sink: Sink) -> None:
    sink.write(build_tables(0, 3), checkpoint(3))
    assert sink.resume() == checkpoint(3)
    sink.write({}, checkpoint(8))
    assert sink.resume() == checkpoint(8), "a step without rows moves the offset"
    sink.write({"trade": KINDS["trade"].arrow.empty_table()}, checkpoint(9))
    assert sink.resume() == checkpoint(9), "so does one with empty tables"
    assert only(sink.stored()) == {"trade": 9, "book_snapshot": 6}
    sink.close()


def test_the_same_rows_again_change_nothing(sink: Sink) -> None:
    for start, end in ((0, 6), (0, 6), (2, 4), (3, 9), (0, 9)):
        sink.write(build_tables(start, end), checkpoint(max(end, 6)))
    assert only(sink.stored()) == {"trade": 27, "book_snapshot": 15}
    sink.close()


@pytest.mark.parametrize("example", EXAMPLES)
def test_killed_between_any_two_steps_every_row_is_there_once(example: str, sweep) -> None:
    steps = sweep(example).steps
    assert len(steps) >= 5
    assert [step["killed"] for step in steps] == [True] * (len(steps) - 1) + [False]
    for step in steps:
        assert step["offset"] == 12, step
        assert only(step["stored"]) == {"trade": 36, "book_snapshot": 18}, step


def test_what_cannot_be_stored_is_refused_and_leaves_nothing(sink: Sink) -> None:
    trade = build_tables(0, 2)["trade"]
    renamed = trade.rename_columns(["VENUE", *trade.column_names[1:]])
    nameless = trade.set_column(0, trade.schema.field(0), pa.array([""] * trade.num_rows))
    nullable = pa.field("symbol", pa.utf8(), nullable=False)
    hollow = trade.set_column(1, nullable, pa.nulls(trade.num_rows, pa.utf8()))
    good = build_tables(0, 2)["book_snapshot"]
    for tables, offset, words in (
        ({"trades": trade}, 2, "unknown event kind 'trades'"),
        ({"book_snapshot": good, "trade": renamed}, 2, "trade rows have columns"),
        ({"book_snapshot": good, "trade": nameless}, 2, "trade.venue may not be empty"),
        ({"book_snapshot": good, "trade": hollow}, 2, "trade.symbol may not be null"),
        ({"book_snapshot": good, "trade": trade}, 1, "not below the checkpoint's offset 1"),
    ):
        with pytest.raises(SinkError, match=words):
            sink.write(tables, checkpoint(offset))
    assert sink.resume() is None
    assert only(sink.stored()) == {}
    sink.close()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lak:x", "unknown sink 'lak' in 'lak:x'; nearest is 'lake'; there are csv, lake, memory, sqlite"),
        ("", "unknown sink ''"),
        ("lake", "sink 'lake': write it as one of lake:DIR"),
        ("lake:", "sink lake: the place is missing"),
        ("lake:x?gzip=true", "unknown option 'gzip'; allowed: none"),
        ("csv:x?gzip=yes", "gzip='yes'; allowed: true, false"),
        ("csv:x?zip=true", "unknown option 'zip'; allowed: gzip"),
        ("memory:x", "takes no place"),
    ],
)
def test_a_wrong_spec_is_one_clear_line(spec: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_sink(spec, TAPE_ID)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
