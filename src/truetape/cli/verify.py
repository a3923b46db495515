"""Prove that a sink holds what the tape says."""

import sys
from pathlib import Path

import click
import msgspec

from truetape.cli._options import config_option, find_lake, find_tape, json_option, lake_option, tape_option
from truetape.cli._output import print_json


@click.command("verify")
@click.option("--dataset", help="Prove an exported dataset instead: build it again from the lake and compare.",
              type=click.Path(path_type=Path, dir_okay=False))  # fmt: skip
@tape_option
@lake_option
@config_option
@json_option
def command(dataset: Path | None, tape: str | None, lake: str | None, config_path: Path, as_json: bool) -> None:
    """Decode the whole tape again and hold it against the lake.

    With --dataset, an exported file instead of the tape is proven, by the manifest beside it.

    The tape of jobs, where there is one beside it, counts with it. Balanced means:
    frames = decoded + quarantined + control, and for every kind
    rows decoded = rows stored + repeats dropped. Exits with 1 when it is not.
    """
    from truetape.flow import list_tapes, verify
    from truetape.lake import lake_hash

    lake_path = find_lake(lake, config_path)
    if dataset is not None:
        sys.exit(_prove_dataset(dataset, lake_path, as_json=as_json))
    own, *beside = list_tapes(find_tape(tape, config_path))
    verdict = verify(own, f"lake:{lake_path}", lambda: lake_hash(lake_path), beside=beside)
    if as_json:
        print_json(verdict)
    else:
        _print(msgspec.to_builtins(verdict))
    sys.exit(0 if verdict.balanced else 1)


def _prove_dataset(dataset: Path, lake_path: str, *, as_json: bool) -> int:
    from truetape.flow.dataset import verify_dataset
    from truetape.lake import Lake

    proof = verify_dataset(Lake(lake_path), dataset)
    if as_json:
        print_json(proof)
    else:
        told = f"{proof.rows:,} rows rebuilt equal, {proof.rows_sha256}" if proof.is_equal else "NOT proven"
        click.echo(f"{dataset}: {told}")
        for problem in proof.problems:
            click.echo(f"  problem: {problem}")
        for note in proof.notes:
            click.echo(f"  note: {note}")
    return 0 if proof.is_equal else 1


def _print(verdict: dict[str, object]) -> None:
    click.echo("balanced" if verdict["balanced"] else "NOT balanced")
    for name, value in verdict.items():
        if isinstance(value, dict):
            value = ", ".join(f"{kind} {count:,}" for kind, count in value.items()) or "none"
        if name == "problems" and isinstance(value, list):
            for problem in value:
                click.echo(f"  problem: {problem}")
        elif name != "balanced":
            click.echo(f"  {name:12} {value:,}" if isinstance(value, int) else f"  {name:12} {value}")
