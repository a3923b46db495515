"""The memory sink beyond the contract."""

from kill_sweep import build_tables

from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.sinks.memory import MemorySink


def test_rows_read_back_as_they_came() -> None:
    sink = MemorySink("t")
    sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
    sink.write(build_tables(2, 8), Checkpoint("t", 8, {}, b""))
    assert sink.read("trade").equals(build_tables(0, 8)["trade"])
    assert sink.read("quote").equals(KINDS["quote"].arrow.empty_table())
