"""Run fake venues."""

import click

from truetape.cli._options import POSITIVE


@click.command("sim")
@click.option("--port", default=9000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--venue", "venues", multiple=True, help="Only these; default: all there are.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market.")
@click.option("--rate", default=50.0, show_default=True, type=POSITIVE, help="Market events per second and symbol.")
@click.option("--speed", default=1.0, show_default=True, type=POSITIVE, help="How fast time runs.")
@click.option("--faults", default="", help="A script: `at 5s binance cut; at 8s binance freeze 3s`, or its file.")
@click.option("--recording", multiple=True, type=click.Path(exists=True), help="Play recordings instead.")
def command(
    port: int, venues: tuple[str, ...], seed: int, rate: float, speed: float, faults: str, recording: tuple[str, ...]
) -> None:
    """Run fake venues on loopback that speak the real protocols, until Ctrl-C."""
    import contextlib

    from truetape import clock
    from truetape.sim.server import serve

    def say(url: str) -> None:
        click.echo(f"fake venues at {url}; send a venue there with TRUETAPE_URL_<VENUE>={url}")

    with contextlib.suppress(KeyboardInterrupt):
        clock.run(serve(port, venues, seed, rate, faults, recording, speed, on_ready=say))
