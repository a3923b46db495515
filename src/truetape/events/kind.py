"""What an event kind is made of: columns, their types, and the columns that all kinds share."""

from enum import Enum

import msgspec
import pyarrow as pa


class ColumnType(Enum):
    """The few column types every store of ours shares."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TIME = "time"
    """Microseconds UTC: what Delta, Spark and PostgreSQL share."""
    FLOATS = "floats"
    """A list of floats, best level first."""


_ARROW: dict[ColumnType, pa.DataType] = {
    ColumnType.TEXT: pa.utf8(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIME: pa.timestamp("us", tz="UTC"),
    ColumnType.FLOATS: pa.list_(pa.float64()),
}


class Column(msgspec.Struct, frozen=True):
    """One column of a kind."""

    name: str
    type: ColumnType
    doc: str
    required: bool = False
    """Whether null is never legal."""


class Kind(msgspec.Struct, frozen=True):
    """One event kind: its columns, what identifies a row, and how rows are laid out on disk."""

    name: str
    doc: str
    own: tuple[Column, ...]
    key: tuple[str, ...] = ("tape_offset", "tape_row")
    sort: tuple[str, ...] = ("venue", "symbol", "received_at", "tape_offset", "tape_row")

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns in table order: the common ones, then the kind's own."""
        return COMMON + self.own

    @property
    def arrow(self) -> pa.Schema:
        """The kind's table as an Arrow schema."""
        return pa.schema([pa.field(c.name, _ARROW[c.type], nullable=not c.required) for c in self.columns])


def text_column(name: str, doc: str, *, required: bool = False) -> Column:
    """Declare a column of text."""
    return Column(name, ColumnType.TEXT, doc, required)


def float_column(name: str, doc: str, *, required: bool = False) -> Column:
    """Declare a column of a float."""
    return Column(name, ColumnType.FLOAT, doc, required)


def integer_column(name: str, doc: str, *, required: bool = False) -> Column:
    """Declare a column of a 64-bit integer."""
    return Column(name, ColumnType.INTEGER, doc, required)


def time_column(name: str, doc: str, *, required: bool = False) -> Column:
    """Declare a column of a time."""
    return Column(name, ColumnType.TIME, doc, required)


def flag_column(name: str, doc: str, *, required: bool = True) -> Column:
    """Declare a column of a boolean."""
    return Column(name, ColumnType.BOOLEAN, doc, required)


def floats_column(name: str, doc: str) -> Column:
    """Declare a column of a list of floats."""
    return Column(name, ColumnType.FLOATS, doc, True)


COMMON: tuple[Column, ...] = (
    text_column("venue", "venue's name as in the configuration", required=True),
    text_column(
        "symbol",
        "instrument's name across venues: BTC-USDT, BTC-USDT-PERP, BTC-USD-260327-80000-C",
        required=True,
    ),
    text_column("venue_symbol", "the venue's own name of the instrument", required=True),
    time_column("exchange_at", "when it happened, by the venue's clock; null when the venue does not say"),
    time_column("received_at", "when the frame reached our socket, by our clock", required=True),
    time_column("available_at", "the first moment this row could have been used", required=True),
    integer_column("tape_offset", "offset of the frame on the tape", required=True),
    integer_column("tape_row", "position of the row within its frame, from 0", required=True),
)
