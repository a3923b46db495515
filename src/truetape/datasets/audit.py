"""The look-ahead audit: forget what came after a second, build again, and the rows up to it must be the same.

Labels are left out, for they are of the future by nature: `k`, `settlement`, `y`. So are marks of the ledger of gaps and of
a market's early end, which are made with hindsight on purpose: they take values away and never add one.
"""

import datetime
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from deltalake import write_deltalake

from truetape.errors import BuildError, ConfigError
from truetape.events.schema import KINDS
from truetape.lake import Lake
from truetape.transform import build, read_variables

LABELS = frozenset({"k", "k_available_at", "settlement", "y"})
"""Columns that say what became known later."""
DIFFERENCES_MAX = 100
"""Differences that are told one by one; all are counted."""
_BACK = datetime.timedelta(days=1, hours=1)
_RIGHT_TIMES = datetime.timedelta(minutes=15)


class Difference(msgspec.Struct, frozen=True):
    """One cell that changed when the future was forgotten."""

    venue: str
    market_id: str
    t: datetime.datetime
    column: str
    value: str
    """In the dataset."""
    known: str
    """Built from what had been received by the cut."""


class Audit(msgspec.Struct, frozen=True):
    """What an audit compared and found."""

    markets: int
    cuts: int
    """Rebuilds from truncated history."""
    cells: int
    differing: int
    differences: tuple[Difference, ...]

    @property
    def is_fine(self) -> bool:
        """Whether something was compared and nothing differed."""
        return self.cells > 0 and self.differing == 0


class Window(msgspec.Struct, frozen=True):
    """A market that is audited."""

    venue: str
    market_id: str
    asset: str
    opens_at: datetime.datetime
    ends_at: datetime.datetime


def audit_canonical(
    path: Path | str,
    markets: Sequence[str] | None = None,
    *,
    markets_max: int = 2,
    cuts: int = 2,
    variables: Mapping[str, Any] | None = None,
) -> Audit:
    """Audit the named markets, or `markets_max` of them spread over the table, each at so many seconds spread over it.

    `variables` must be those that the table was built with; null: those of the last build. ConfigError when the table or a market is not there.
    """
    lake = Lake(path)
    variables = read_variables(path, "canonical") if variables is None else variables
    windows = _choose_windows(lake, markets, markets_max)
    cells, found = 0, list[Difference]()
    for window in windows:
        rows = _read_rows(lake, window, window.ends_at)
        for cut in _choose_cuts(window, cuts):
            with tempfile.TemporaryDirectory(prefix="audit-") as folder:
                past = Path(folder) / "lake"
                copy_past(lake, window, cut, past)
                build(past, ["canonical"], variables=variables, heard_at=window.ends_at + _RIGHT_TIMES)
                known = _read_rows(Lake(past), window, cut)
            compared, differences = compare_rows([row for row in rows if row["t"] <= cut], known)
            cells += compared
            found += differences
    return Audit(len(windows), len(windows) * cuts, cells, len(found), tuple(found[:DIFFERENCES_MAX]))


def copy_past(lake: Lake, window: Window, cut: datetime.datetime, target: Path) -> None:
    """Write a lake with what a market needs and what had been received by the cut; the ledger of gaps stays whole."""
    target.mkdir(parents=True)
    for kind, condition in _CONDITIONS.items():
        query = f"select * exclude (date) from {kind} where {condition}"  # noqa: S608  # constants of ours
        given = {
            "venue": window.venue, "slug": window.market_id, "asset": window.asset, "cut": cut,
            "since": window.opens_at - _BACK,
        }  # fmt: skip
        rows = lake.sql(query, {name: value for name, value in given.items() if f"${name}" in query}).arrow()
        if rows.num_rows:
            dated = rows.append_column("date", rows["received_at"].cast(pa.date32()))
            fields = [*KINDS[kind].arrow.names, "date"]
            write_deltalake(target / kind, dated.select(fields), partition_by=["date", "venue"])


_CONDITIONS = {
    "prediction_market": "venue = $venue and slug = $slug and available_at <= $cut",
    "resolution": "venue = $venue and available_at <= $cut",
    "market_state": "venue = $venue and slug = $slug and available_at <= $cut",
    "gap": "true",
    "oracle_price": "split_part(symbol, '-', 1) = $asset and received_at >= $since and available_at <= $cut",
    **dict.fromkeys(
        ("book_change", "quote", "trade"),
        "(split_part(symbol, ':', 1) = $slug or symbol = $asset || '-USD') and received_at >= $since and available_at <= $cut",
    ),
}
"""Kind → which of its rows had been known."""


def compare_rows(rows: list[dict[str, Any]], known: list[dict[str, Any]]) -> tuple[int, list[Difference]]:
    """Compare a market's rows with those built from truncated history; give the cells compared and the differences."""
    if [row["t"] for row in rows] != [row["t"] for row in known]:
        raise BuildError(f"audit: {len(rows)} rows of a market, but {len(known)} when built from truncated history")
    cells, found = 0, list[Difference]()
    for row, then in zip(rows, known, strict=True):
        for column, value in row.items():
            if column in LABELS or _is_hindsight(row, column):
                continue
            cells += 1
            if value != then[column] and not (column.startswith("delta") and value is None):
                key = (row["venue"], row["market_id"], row["t"], column)
                found.append(Difference(*key, repr(value), repr(then[column])))
    return cells, found


def _is_hindsight(row: dict[str, Any], column: str) -> bool:
    """Say whether a cell was taken away because the venue closed the market early, which was told later."""
    if row["up_state"] != "after_end" and row["down_state"] != "after_end":
        return False
    return column.startswith(("up_", "down_", "sum_", "book_"))


def _choose_windows(lake: Lake, markets: Sequence[str] | None, markets_max: int) -> list[Window]:
    if not (lake.path / "canonical" / "_delta_log").is_dir():
        raise ConfigError(f"lake {lake.path}: no table canonical yet; truetape build makes it")
    rows = (
        lake.sql("""
        select venue, market_id, any_value(asset) as asset, min(opens_at) as opens_at,
            max(t) + interval 1 second as ends_at
        from canonical group by all order by opens_at, venue, market_id""")
        .arrow()
        .to_pylist()
    )
    windows = [Window(**row) for row in rows]
    if markets is None:
        count = min(markets_max, len(windows))
        return [windows[(2 * i + 1) * len(windows) // (2 * count)] for i in range(count)]
    known = {window.market_id: window for window in windows}
    for name in markets:
        if name not in known:
            raise ConfigError(f"market {name!r}: not in the table canonical of {lake.path}")
    return [known[name] for name in markets]


def _choose_cuts(window: Window, cuts: int) -> Iterator[datetime.datetime]:
    seconds = int((window.ends_at - window.opens_at).total_seconds())
    for i in range(cuts):
        yield window.opens_at + datetime.timedelta(seconds=(2 * i + 1) * seconds // (2 * cuts))


def _read_rows(lake: Lake, window: Window, until: datetime.datetime) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake.sql(
        "select * from canonical where venue = $venue and market_id = $market and t <= $until order by t",
        {"venue": window.venue, "market": window.market_id, "until": until},
    ).arrow().to_pylist()  # fmt: skip
    return rows
