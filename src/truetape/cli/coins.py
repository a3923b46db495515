"""Coins: the largest, and how ranks changed."""

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from truetape.cli._options import FiniteRange, config_option, find_lake, json_option, lake_option
from truetape.cli._output import print_rows

_limit_option = click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Rows shown.")
_currency_option = click.option("--currency", default="usd", show_default=True, help="What prices are in.")
_NOTHING = "nothing was fetched? `truetape jobs run market_data` fetches, `truetape jobs history` tells"
_APART = "it takes two snapshots so far apart: `truetape jobs run market_data` takes one, `truetape run` one an hour"
HOURS_MAX = 24 * 3660
"""Ten years."""


@click.group("coins")
def command() -> None:
    """Show coins by market cap and how their ranks changed, as the jobs for coins fetched them."""


@command.command("top")
@click.option("--by", default="market_cap", show_default=True,
              help="market_cap, volume_24h, price, change_24h or rank.")  # fmt: skip
@_limit_option
@_currency_option
@lake_option
@config_option
@json_option
def top(by: str, limit: int, currency: str, lake: str | None, config_path: Path, as_json: bool) -> None:
    """List the coins that come first, as of the last snapshot."""
    from truetape.datasets.coin import list_top
    from truetape.lake import Lake

    coins = list_top(Lake(find_lake(lake, config_path)), by, limit, currency)
    _print(coins, as_json=as_json, title="coins")


@command.command("ranks")
@click.argument("coin", required=False)
@click.option("--hours", default=24.0, show_default=True, type=FiniteRange(0, HOURS_MAX, min_open=True),
              help="Compare the last snapshot with the one so long before it.")  # fmt: skip
@_limit_option
@_currency_option
@lake_option
@config_option
@json_option
def ranks(
    coin: str | None, hours: float, limit: int, currency: str, lake: str | None, config_path: Path, as_json: bool
) -> None:
    """List the coins whose rank changed most; with COIN every step of that coin's rank."""
    from truetape.datasets.coin import list_rank_changes, list_rank_steps
    from truetape.lake import Lake

    opened = Lake(find_lake(lake, config_path))
    if coin is not None:
        _print(list_rank_steps(opened, coin, currency), as_json=as_json, title=f"ranks of {coin}")
    else:
        _print(list_rank_changes(opened, hours, limit, currency), as_json=as_json, title="rank changes", hint=_APART)


def _print(found: Sequence[msgspec.Struct], *, as_json: bool, title: str, hint: str = _NOTHING) -> None:
    print_rows([msgspec.structs.asdict(one) for one in found], as_json=as_json, title=title)
    if not found and not as_json:
        click.echo(hint, err=True)
