"""Tables on the terminal, or the same as JSON."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from rich.table import Table


def print_json(value: Any) -> None:
    """Print one JSON document; times as ISO 8601 with Z."""
    click.echo(msgspec.json.encode(value).decode())


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, title: str = "", spare: Sequence[str] = ()) -> None:
    """Print rows as a table, or as one JSON array; a narrow terminal goes without the `spare` columns, the first first."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        click.echo(f"{title}: nothing" if title else "nothing")
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe has no width: never fold or cut there
        console = Console(width=max(console.width, 240))
    table, left_out = _make_table(rows, title), list[str]()
    unbound = console.options.update(max_width=1 << 16)
    while console.measure(table, options=unbound).maximum > console.width and len(left_out) < len(spare):
        left_out.append(spare[len(left_out)])
        table = _make_table([{k: v for k, v in row.items() if k not in left_out} for row in rows], title)
    console.print(table)
    if left_out:
        console.print(f"left out here: {', '.join(left_out)} (a wider terminal and --json show them)", style="dim")


def _make_table(rows: Sequence[Mapping[str, Any]], title: str) -> "Table":
    from rich.table import Table

    table = Table(title=title or None, header_style="bold", title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_show(value) for value in row.values()))
    return table


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    if isinstance(value, float):
        return f"{value:,.8g}" if abs(value) < 1e5 else f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, tuple | list):
        return ", ".join(map(_show, value))
    return str(value)
