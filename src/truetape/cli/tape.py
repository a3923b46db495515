"""Look at a tape."""

import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from truetape.cli._options import config_option, find_tape, json_option, tape_option
from truetape.cli._output import print_json, print_rows


@click.group("tape")
def command() -> None:
    """List, print and check the segments of a tape."""


@command.command("ls")
@tape_option
@config_option
@json_option
def list_(tape: str | None, config_path: Path, as_json: bool) -> None:
    """List segments."""
    from truetape.tape import find_folder, list_segments

    segments = list_segments(find_folder(find_tape(tape, config_path)))
    rows = [msgspec.structs.asdict(segment) for segment in segments]
    print_rows(rows, as_json=as_json, title="segments", spare=("sha256", "venues", "last_received_ns", "end", "reason"))


@command.command("cat")
@tape_option
@click.option("--offset", default=0, show_default=True, type=click.IntRange(0), help="First offset.")
@click.option("--count", default=20, show_default=True, type=click.IntRange(0), help="Number of frames.")
@click.option("--venue", help="Only frames of this venue.")
@config_option
def cat(tape: str | None, offset: int, count: int, venue: str | None, config_path: Path) -> None:
    """Print frames as JSON lines; payloads that are not text come as base64."""
    from truetape.tape import open_reader
    from truetape.tape.frame import FrameKind

    reader = open_reader(find_tape(tape, config_path))
    shown = 0
    for batch in reader.read(max(offset, reader.first)):
        for position, frame in enumerate(batch.data.to_pylist()):
            if shown == count:
                return
            if venue and frame["venue"] != venue:
                continue
            frame["kind"] = FrameKind(frame["kind"]).name.lower()
            with contextlib.suppress(UnicodeDecodeError):  # bytes stay bytes: JSON shows them as base64
                frame["payload"] = frame["payload"].decode()
            print_json({"offset": batch.offset + position, **frame})
            shown += 1


@command.command("verify")
@tape_option
@config_option
@json_option
def verify(tape: str | None, config_path: Path, as_json: bool) -> None:
    """Check every checksum; exits with 1 when anything is wrong."""
    from truetape.tape import find_folder, verify_tape

    check = verify_tape(find_folder(find_tape(tape, config_path)))
    if as_json:
        print_json(check)
    else:
        click.echo(f"{'whole' if check.ok else 'DAMAGED'}: {check.frames:,} frames in {check.segments:,} segments")
        for problem in check.problems:
            click.echo(f"  {problem.segment}, byte {problem.byte}, offset {problem.offset}: {problem.reason}")
    sys.exit(0 if check.ok else 1)


@command.command("repair")
@tape_option
@config_option
@json_option
def repair(tape: str | None, config_path: Path, as_json: bool) -> None:
    """Cut damage out of sealed segments, keep it beside them, and declare what is lost, missing segments included.

    Views go on over it then. Exits with 1 when something is lost.
    """
    from truetape.tape import find_folder, repair_tape

    rows = [
        {"segment": hole.segment, "offset": hole.begin, "frames": hole.end - hole.begin,
         "from_at": _show_time(hole.from_ns), "to_at": _show_time(hole.to_ns)}
        for hole in repair_tape(find_folder(find_tape(tape, config_path)))
    ]  # fmt: skip
    print_rows(rows, as_json=as_json, title="frames lost", spare=("from_at", "to_at"))
    sys.exit(1 if rows else 0)


def _show_time(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)
