"""Is this machine fit to record?"""

import sys
from pathlib import Path

import click

from truetape.cli._options import config_option, find_faults, json_option
from truetape.cli._output import print_rows


@click.command("doctor")
@click.option("--network", is_flag=True, help="Also ask each venue in the settings for its listing.")
@config_option
@json_option
def command(network: bool, config_path: Path, as_json: bool) -> None:
    """Check settings, folders, disk, clock and limits; exits with 1 when something is wrong."""
    import msgspec

    from truetape.flow import examine

    findings = examine(config_path, network=network, find_faults=find_faults)
    print_rows([msgspec.structs.asdict(finding) for finding in findings], as_json=as_json)
    sys.exit(0 if all(finding.ok for finding in findings) else 1)
