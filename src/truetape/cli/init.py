"""Write the first settings file."""

from pathlib import Path

import click

from truetape.cli._preset import PRESETS, assets_option, read_preset, refuse_assets, write_preset
from truetape.cli._starter import list_starters, read_starter, write_starter


@click.command("init")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Replace a settings file that is there.")
@click.option(
    "--preset",
    type=click.Choice((*PRESETS, *list_starters())),
    help="Settings for one purpose, with their .env.example.",
)
@assets_option
def command(folder: Path, force: bool, preset: str | None, assets: str | None) -> None:
    """Write a commented truetape.yaml: Binance and Coinbase, BTC and ETH, trades, books, quotes; or a preset's."""
    from truetape.config import DEFAULT_YAML, parse_settings
    from truetape.errors import ConfigError

    if preset in list_starters():
        refuse_assets(None, assets)
        parse_settings(read_starter(preset)["truetape.yaml"], preset, {})
        for path in write_starter(preset, folder, force=force):
            click.echo(f"wrote {path}")
        return
    path = folder / "truetape.yaml"
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; --force replaces it")
    refuse_assets(preset, assets)
    text = write_preset(preset, assets) if preset else DEFAULT_YAML
    parse_settings(text, str(path), {})
    if preset:
        read_preset(preset, assets)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"wrote {path}; now: truetape record")
