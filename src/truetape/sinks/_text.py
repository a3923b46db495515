"""Rows for stores without our types: times as ISO text, lists as JSON text."""

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from truetape.events.schema import ColumnType, Kind


def render_columns(kind: Kind, rows: pa.Table) -> pa.Table:
    """Give rows whose times read 2026-01-31T12:00:00.000001Z and whose lists read [1.5,2.0]; null stays null."""
    columns = []
    for column in kind.columns:
        values = rows[column.name]
        if column.type is ColumnType.TIME:
            values = _render_times(values)
        elif column.type is ColumnType.FLOATS:
            values = pa.array([_render_list(item) for item in values.to_pylist()], pa.utf8())
        columns.append(values)
    return pa.table(columns, names=kind.arrow.names)


def _render_times(values: pa.ChunkedArray) -> pa.Array:
    # Writing a time costs a microsecond, and the rows of one frame share theirs.
    times = values.combine_chunks().dictionary_encode()
    return pc.strftime(times.dictionary, format="%Y-%m-%dT%H:%M:%SZ").take(times.indices)


def _render_list(values: list[float | None] | None) -> str | None:
    return None if values is None else msgspec.json.encode(values).decode()
