"""Check what the lake holds."""

import sys
from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option
from truetape.cli._output import print_json, print_rows


@click.command("check")
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Leave out what builds models to find out.")
@lake_option
@config_option
@json_option
def command(names: tuple[str, ...], quick: bool, lake: str | None, config_path: Path, as_json: bool) -> None:
    """Run all checks on the lake, or the named ones; exits with 1 when a finding is an error."""
    import msgspec

    from truetape.lake import Lake
    from truetape.quality import run_checks

    report = run_checks(Lake(find_lake(lake, config_path)), names or None, deep=not quick)
    if as_json:
        results = [msgspec.to_builtins(result) | {"verdict": result.verdict} for result in report.results]
        print_json({"results": results, "is_fine": report.is_fine, "summary": report.summary})
        sys.exit(report.exit_code)
    table = [
        {
            "check": r.name,
            "verdict": r.verdict,
            "examined": f"{r.examined:,}" if r.total is None else f"{r.examined:,} of {r.total:,}",
            "findings": len(r.findings),
            "what holds": r.doc,
        }
        for r in report.results
    ]
    print_rows(table, as_json=False, title="checks")
    for result in report.results:
        for finding in result.findings:
            where = f" at {finding.at:%Y-%m-%d %H:%M:%S.%f}" if finding.at else ""
            place = f", tape offset {finding.tape_offset}" if finding.tape_offset is not None else ""
            click.echo(
                f"{finding.severity}: {result.name}: {finding.venue} {finding.symbol}: {finding.what}{where}{place}"
            )
    sys.exit(report.exit_code)
