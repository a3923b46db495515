"""The table format every later stage reads: Delta tables, one per event kind."""

from truetape.lake.digest import lake_hash
from truetape.lake.inventory import TableFacts, list_tables
from truetape.lake.maintenance import compact, count_dropped, drop_days, vacuum
from truetape.lake.pin import (
    Difference,
    Pin,
    compare_pins,
    describe_lake,
    drop_pin,
    find_holder,
    list_pins,
    pin_lake,
    read_pin,
)
from truetape.lake.reader import Lake
from truetape.lake.rows import Rows

__all__ = [
    "Difference",
    "Lake",
    "Pin",
    "Rows",
    "TableFacts",
    "compact",
    "compare_pins",
    "count_dropped",
    "describe_lake",
    "drop_days",
    "drop_pin",
    "find_holder",
    "lake_hash",
    "list_pins",
    "list_tables",
    "pin_lake",
    "read_pin",
    "vacuum",
]
