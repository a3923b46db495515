"""The main job end to end, without internet."""

from pathlib import Path

import click

from truetape.cli._options import POSITIVE, FiniteRange


@click.command("demo")
@click.option("--to", "folder", default="demo", show_default=True, help="Folder to put everything into.",
              type=click.Path(path_type=Path, file_okay=False))  # fmt: skip
@click.option("--seconds", default=30.0, show_default=True, type=FiniteRange(min=1), help="How long to record.")
@click.option("--rate", default=60.0, show_default=True, type=POSITIVE, help="Market events per second and symbol.")
@click.option(
    "--markets/--no-markets", default=True, show_default=True, help="Prediction markets in compressed time, too."
)
@click.option("--seed", default=1, show_default=True, help="Of the fake markets.")
def command(folder: Path, seconds: float, rate: float, markets: bool, seed: int) -> None:
    """Fake venues on loopback → record → lake → bars → checks → report page; prints where it lies."""
    from truetape.cli._demo import Demo

    Demo(folder.resolve(), seconds, has_markets=markets).run(rate, seed)
