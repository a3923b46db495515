"""Take snapshots of prediction markets on a schedule."""

from pathlib import Path

import click

from truetape.cli._options import config_option, read_file


@click.command("poll")
@config_option
@click.option(
    "--cycles", type=click.IntRange(min=1), help="Stop after so many turns of each service; default: until stopped."
)
@click.option(
    "--analyze", is_flag=True, help="Then print what the snapshots tell, and write it as a page and a picture."
)
@click.option(
    "--sim", "is_sim", is_flag=True, help="Ask a built-in fake service, its quarters of an hour without waiting."
)
@click.option("--to", "folder", default="report", show_default=True, help="Folder of the report, and of --sim's data.",
              type=click.Path(path_type=Path, file_okay=False))  # fmt: skip
def command(config_path: Path, cycles: int | None, analyze: bool, is_sim: bool, folder: Path) -> None:
    """Take snapshots of the markets of the settings' `snapshots`, every quarter of an hour or as they say.

    A JSON line for every turn; a summary at the end, which Ctrl-C or SIGTERM brings about, too. What goes wrong is told
    where `TRUETAPE_ALERT_URLS` says, by the rules of `alerts`.
    """
    from truetape import clock
    from truetape.cli._options import find_lake
    from truetape.cli._poll import check_total, poll_watched, print_analysis, simulate, summarize

    if is_sim:
        settings, total = simulate(folder / "sim", cycles or 5)
        lake = settings.sinks[0].removeprefix("lake:")
    else:
        settings = read_file(config_path)
        lake = find_lake(None, config_path) if analyze else ""  # what cannot be analyzed is told before
        total = clock.run(poll_watched(settings, cycles or 0))
    summarize(settings, total)
    if analyze:
        print_analysis(lake, folder, total)
    check_total(total)
