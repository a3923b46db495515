"""Settings that come with the program: what to record for one purpose, without a file."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from truetape.config import Settings

SERIES = ("5m", "15m", "1h", "4h", "daily")
PRESETS = tuple(f"updown-{series}" for series in SERIES)
"""Up-or-down markets of one series, the prices they settle on, and their underlyings."""
ASSETS = "BTC,ETH,SOL,XRP"

_YAML = """\
# truetape: up-or-down markets of {series} on Polymarket. Every key: truetape config show
tape: data/tape
sinks:
  - lake:data/lake
venues:
  polymarket:
    markets: [clob, rtds]                # order books; oracle prices
    series: [{series}]                   # each window's market is found and followed to its resolution
    assets: [{assets}]
    instruments: [{oracles}]
    channels: [trade, book_change, quote, oracle_price]
    lead_seconds: 120                    # subscribe so long before a window opens
    grace_seconds: 120                   # and stay so long after it has ended
  coinbase:
    instruments: [{underlyings}]
    channels: [trade, quote]
"""

preset_option = click.option(
    "--preset", type=click.Choice(PRESETS), help="Settings that come with truetape; no file is needed."
)
assets_option = click.option("--assets", help=f"Assets of the preset, with commas between; default: {ASSETS}.")


def write_preset(name: str, assets: str | None) -> str:
    """Return a preset as commented YAML."""
    series = name.removeprefix("updown-")
    # Hourly and daily markets settle on Binance's candles, the others on Chainlink's price or its average.
    heads = ["USD:rtds_chainlink", "USD:rtds_chainlink_twap60"] + (
        ["USDT:rtds_binance"] if series in ("1h", "daily") else []
    )
    chosen = [asset.strip().upper() for asset in (assets or ASSETS).split(",") if asset.strip()]
    return _YAML.format(
        series=series,
        assets=", ".join(chosen),
        oracles=", ".join(f'"{asset}-{head}"' for head in heads for asset in chosen),
        underlyings=", ".join(f"{asset}-USD" for asset in chosen),
    )


def read_preset(name: str, assets: str | None) -> "Settings":
    """Return a preset's settings with what the environment overrides; ConfigError for assets that nobody has."""
    from truetape.collect.plan import check_venue
    from truetape.config import load_defaults
    from truetape.venues import load_venue

    settings = load_defaults(write_preset(name, assets), f"--preset {name}")
    for venue, chosen in settings.venues.items():
        check_venue(load_venue(venue), chosen)
    return settings


def refuse_assets(preset: str | None, assets: str | None) -> None:
    """Refuse assets where there is no preset to put them in."""
    from truetape.errors import ConfigError

    if assets and preset is None:
        raise ConfigError(f"--assets: goes with --preset only (allowed: {', '.join(PRESETS)})")
