"""The hash of a lake's content."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_sweep import TAPE_ID, build_tables

from truetape.events.checkpoint import Checkpoint
from truetape.lake import lake_hash
from truetape.lake.digest import ColumnHasher
from truetape.sinks import open_sink


def test_commits_and_their_sizes_do_not_matter(build) -> None:
    assert len({lake_hash(build(f"by {batch}", batch)) for batch in (20, 7, 1)}) == 1


def test_every_value_matters(build, tmp_path: Path) -> None:
    hashes = {lake_hash(build("whole", 20, ("trade",)))}
    trade = build_tables(0, 20, ("trade",))["trade"]
    changed = [trade.slice(0, 59), trade.slice(1)]
    for number, field in enumerate(trade.schema):
        values = trade[field.name].to_pylist()
        values[30] = next(value for value in values[::-1] if value != values[30]) if len(set(values)) > 1 else None
        if field.name not in ("received_at", "tape_offset", "tape_row") and (field.nullable or values[30] is not None):
            changed.append(trade.set_column(number, field, pa.array(values, field.type)))
    for number, table in enumerate(changed):
        path = tmp_path / str(number)
        open_sink(f"lake:{path}", TAPE_ID).write({"trade": table}, Checkpoint(TAPE_ID, 20, {}, b""))
        hashes.add(lake_hash(path))
    assert len(hashes) == len(changed) + 1 >= 12


def test_an_empty_lake_has_a_hash_too(tmp_path: Path) -> None:
    assert lake_hash(tmp_path) == lake_hash(tmp_path / "none")


COLUMNS = st.one_of(
    st.tuples(st.just(pa.utf8()), st.lists(st.none() | st.text(max_size=4), max_size=20)),
    st.tuples(st.just(pa.int64()), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20)),
    st.tuples(st.just(pa.float64()), st.lists(st.none() | st.floats(), max_size=20)),
    st.tuples(st.just(pa.bool_()), st.lists(st.none() | st.booleans(), max_size=20)),
    st.tuples(st.just(pa.list_(pa.float64())), st.lists(st.none() | st.lists(st.floats(), max_size=3), max_size=20)),
)


def digest(parts: list[pa.Array]) -> str:
    hasher = ColumnHasher()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


@given(column=COLUMNS, cuts=st.lists(st.integers(0, 20), max_size=4))
@settings(max_examples=150, deadline=None)
def test_batches_do_not_matter(column: tuple[pa.DataType, list[object]], cuts: list[int]) -> None:
    values = pa.array(column[1], column[0])
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    parts = [values.slice(low, high - low) for low, high in pairwise(edges)]
    assert digest(parts) == digest([values])


def test_values_that_look_alike_differ() -> None:
    arrays = [
        pa.array(["ab", "c"]), pa.array(["a", "bc"]), pa.array(["abc", ""]), pa.array(["abc", None]), pa.array([None, "abc"]),
        pa.array([0.0]), pa.array([-0.0]), pa.array([None], pa.float64()), pa.array([[0.0], []]), pa.array([[], [0.0]]),
    ]  # fmt: skip
    assert len({digest([array]) for array in arrays}) == len(arrays)
