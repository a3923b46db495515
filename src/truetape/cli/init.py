"""Write the first settings file."""

from pathlib import Path

import click


@click.command("init")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Replace a settings file that is there.")
def command(folder: Path, force: bool) -> None:
    """Write a commented truetape.yaml: Binance and Coinbase, BTC and ETH, trades, books, quotes."""
    from truetape.config import DEFAULT_YAML, parse_settings
    from truetape.errors import ConfigError

    path = folder / "truetape.yaml"
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; --force replaces it")
    parse_settings(DEFAULT_YAML, str(path), {})
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(DEFAULT_YAML, encoding="utf-8")
    click.echo(f"wrote {path}; now: truetape record")
