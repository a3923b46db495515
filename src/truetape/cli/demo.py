"""The main job end to end, without internet."""

from pathlib import Path

import click

FAULTS = "at 9s coinbase cut; at 13s drop 3 frames of btcusdt@trade; at 17s binance freeze 2s"
"""So that there is something to declare and to repair."""

YAML = """\
# Written by `truetape demo`: everything is sent to fake venues on loopback.
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
record: {{segment_seconds: 10, tick_seconds: 1}}
venues:
  binance:  {{url: "{url}", markets: [spot, usdm], instruments: [BTC-USDT, ETH-USDT, BTC-USDT-PERP],
             channels: [trade, book_change, quote, derivative]}}
  coinbase: {{url: "{url}", instruments: [BTC-USD, ETH-USD]}}
  bybit:    {{url: "{url}", markets: [linear], instruments: [BTC-USDT-PERP]}}
  okx:      {{url: "{url}", instruments: [BTC-USDT-PERP]}}
  deribit:  {{url: "{url}", instruments: [BTC-USD-PERP]}}
"""


@click.command("demo")
@click.option("--to", "folder", default="demo", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(min=1), help="How long to record.")
@click.option("--rate", default=60.0, show_default=True, help="Market events per second and symbol.")
@click.option("--seed", default=1, show_default=True, help="Of the fake markets.")
def command(folder: Path, seconds: float, rate: float, seed: int) -> None:
    """Fake venues on loopback → record → lake → bars → checks → report page; prints where it lies."""
    from truetape.cli._demo import Demo

    Demo(folder.resolve(), seconds).run(rate, seed)
