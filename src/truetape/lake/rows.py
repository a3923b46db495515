"""Rows not read yet: a query over lake files that becomes Arrow, polars, pandas or DuckDB when asked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
from duckdb import DuckDBPyConnection, DuckDBPyRelation, connect
from duckdb import Error as DuckDBError
from duckdb import IOException as DuckDBIOError

from truetape.errors import ConfigError, Fatal, MissingExtra

if TYPE_CHECKING:
    import pandas
    import polars

Params = Sequence[object] | Mapping[str, object] | None
"""Values for `?` or `$name` in a query."""

Connect = Callable[[], DuckDBPyConnection]
"""Make a connection in which the tables of a query exist."""

_BATCH_ROWS = 1 << 17


class Rows:
    """The result of a query, read anew each time it is asked for; times are UTC."""

    def __init__(
        self,
        connect: Connect,
        query: str,
        params: Params = None,
        *,
        schema: pa.Schema | None = None,
        asked: bool = False,
    ) -> None:
        self._connect = connect
        self._query = query
        self._params = params
        self._schema = schema
        self._is_asked = asked

    def arrow(self) -> pa.Table:
        """Read all rows into an Arrow table."""
        with translate_errors():
            table = _run(self._connect(), self._query, self._params).to_arrow_table()
        return table if self._schema is None else _shape_table(table, self._schema)

    def batches(self, rows_max: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Read rows batch by batch, so that memory stays small."""
        with translate_errors():
            reader = _run(self._connect(), self._query, self._params).to_arrow_reader(rows_max)
            for batch in reader:
                if self._schema is None:
                    yield batch
                else:
                    yield from _shape_table(pa.Table.from_batches([batch]), self._schema).to_batches()

    def pl(self) -> "polars.DataFrame":
        """Read all rows into a polars frame."""
        try:
            import polars
        except ImportError as error:
            raise MissingExtra("a polars frame", "frames") from error
        frame = polars.from_arrow(self.arrow())
        assert isinstance(frame, polars.DataFrame)  # a table never becomes a series
        return frame

    def df(self) -> "pandas.DataFrame":
        """Read all rows into a pandas frame."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("a pandas frame", "frames") from error
        frame: pandas.DataFrame = self.arrow().to_pandas()
        return frame

    def duckdb(self) -> DuckDBPyRelation:
        """Give a DuckDB relation over the rows, on a connection of its own."""
        with translate_errors():
            return _run(self._connect(), self._query, self._params)

    def sql(self, query: str, params: Params = None) -> "Rows":
        """Ask a query of these rows; they are the table `rows`."""
        return Rows(self._offer_read if self._params or self._is_asked else self._offer_view, query, params, asked=True)

    def _offer_view(self) -> DuckDBPyConnection:
        connection = self._connect()
        connection.execute(f"CREATE TEMP VIEW rows AS {self._query.rstrip('; ')}")
        return connection

    def _offer_read(self) -> DuckDBPyConnection:
        # A view can neither hold values nor be called `rows` over another `rows`: read first.
        connection = connect_duckdb()
        connection.register("rows", self.arrow())
        return connection


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn DuckDB's errors into ours: a wrong query is the asker's, files that do not read are the lake's."""
    try:
        yield
    except DuckDBIOError as error:
        raise Fatal(f"lake does not read: {_first_line(error)}") from error
    except DuckDBError as error:
        raise ConfigError(f"sql: {_explain(error)}") from error


def connect_duckdb() -> DuckDBPyConnection:
    """Open a DuckDB in memory that downloads nothing and shows times in UTC."""
    connection = connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _run(connection: DuckDBPyConnection, query: str, params: Params) -> DuckDBPyRelation:
    relation = connection.sql(query, params=params) if params else connection.sql(query)
    if relation is None:
        raise ConfigError("sql: the statement gives no rows")
    return relation


def _shape_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give the table the schema's types; a column younger than some rows stays nullable."""
    fields = [field.with_nullable(field.nullable or table[field.name].null_count > 0) for field in schema]
    return table.cast(pa.schema(fields))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _explain(error: BaseException) -> str:
    """Return in one line what is wrong with a query, and what DuckDB thinks was meant."""
    said, _, more = str(error).strip().partition("\n")
    hint = more.split("\n")[0].strip()
    return f"{said} {hint}" if hint.startswith(("Did you mean", "Candidate")) else said
