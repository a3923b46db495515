"""The table format every later stage reads: Delta tables, one per event kind."""

from truetape.lake.digest import lake_hash
from truetape.lake.inventory import TableFacts, list_tables
from truetape.lake.maintenance import compact, count_dropped, drop_days, vacuum
from truetape.lake.reader import Lake
from truetape.lake.rows import Rows

__all__ = ["Lake", "Rows", "TableFacts", "compact", "count_dropped", "drop_days", "lake_hash", "list_tables", "vacuum"]
