"""Write the reference pages from the code they describe; `--check` fails when one of them is stale."""

import argparse
import ast
import importlib
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

import click
import msgspec

from truetape import config, errors
from truetape.cli import cli
from truetape.events.schema import COMMON, KINDS, Column
from truetape.flow.proof import Verdict
from truetape.quality import list_checks
from truetape.sim.faults import ACTIONS
from truetape.sim.venues import list_fakes, load_fake
from truetape.sinks import list_sinks
from truetape.tape.foreign import FORMATS
from truetape.transform.runner import list_derived, list_models
from truetape.transform.sources import PROJECT
from truetape.venues import Venue, list_venues, load_venue
from truetape.venues._contract import Continuity, Feed
from truetape.venues._snapshot import form

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code; change the code, then `make docs`. -->"
ALWAYS = date(2017, 1, 1)
"""The contract's own default: the rule holds as far back as recordings go."""


# -- markdown -----------------------------------------------------------------------------------------------


def write_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; bars inside cells are escaped, newlines become spaces."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join("---" for _ in head) + "|"]
    lines += ["| " + " | ".join(_write_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _write_cell(cell: object) -> str:
    return " ".join(str(cell).replace("|", "\\|").split())


def write_page(title: str, *parts: str) -> str:
    """Write a whole page."""
    return "\n\n".join([NOTE, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def code(text: object) -> str:
    """Set text as code; nothing stays nothing."""
    return f"`{text}`" if str(text) else ""


def codes(names: Iterable[object]) -> str:
    """Set a list of names as code."""
    return ", ".join(code(name) for name in names)


# -- the code's own words -----------------------------------------------------------------------------------


def read_attribute_docs(struct: type) -> dict[str, str]:
    """Read the docstrings below the attributes of a class."""
    tree = ast.parse(inspect.getsource(struct))
    assert isinstance(tree.body[0], ast.ClassDef)
    body = tree.body[0].body
    docs = {}
    for here, below in itertools.pairwise(body):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name) and is_text:
            docs[here.target.id] = str(below.value.value)
    return docs


def read_first_line(thing: object) -> str:
    """Read the first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def list_modules(package: types.ModuleType) -> Iterator[types.ModuleType]:
    """Import the public members of a registry folder."""
    for folder in package.__path__:
        for path in sorted(Path(folder).iterdir()):
            is_member = path.suffix == ".py" or (path / "__init__.py").is_file()
            if is_member and not path.name.startswith("_"):
                yield importlib.import_module(f"{package.__name__}.{path.stem}")


# -- commands -----------------------------------------------------------------------------------------------


def walk_commands(
    group: click.Group, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield every command with its full name, groups' own members included."""
    # The context is the one a user's command line makes: commands remember what they were first asked in.
    context = parent or click.Context(group, info_name="truetape", **group.context_settings)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        own = click.Context(command, info_name=name, parent=context)
        yield own.command_path, command, own
        if isinstance(command, click.Group):
            yield from walk_commands(command, own)


def write_commands() -> str:
    """Write the page of the command line."""
    parts = [_write_command(*entry) for entry in walk_commands(cli)]
    return write_page(
        "Command line",
        "Every command reads `truetape.yaml` in the folder it is started in, where there is one; `--config` names "
        "another. Every command that prints a table prints JSON with `--json`. `truetape -h` lists the commands, "
        "`truetape COMMAND -h` explains one. What commands return is in [Exit codes](exit-codes.md).",
        *parts,
    )


def _write_command(name: str, command: click.Command, context: click.Context) -> str:
    level = "##" if name.count(" ") == 1 else "###"
    usage = command.get_usage(context).removeprefix("Usage: ")
    text = inspect.cleandoc(command.help or "")
    rows = [
        (" ".join(filter(None, [codes(p.opts + p.secondary_opts), _name_value(p)])), _explain_option(p))
        for p in command.params
        if isinstance(p, click.Option)
    ]
    options = write_table(("Option", "What it does"), rows) if rows else ""
    return "\n\n".join(filter(None, [f"{level} {name}", text, f"```text\n{usage}\n```", options]))


def _name_value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    choices = getattr(option.type, "choices", None)
    return code("|".join(map(str, choices)) if choices else option.type.name.upper())


def _explain_option(option: click.Option) -> str:
    words = [option.help or ""]
    if option.required:
        words.append("Required.")
    if option.multiple:
        words.append("" if "several times" in words[0] else "May be given several times.")
    if isinstance(option.default, str | int | float) and not option.is_flag and option.default != "":
        words.append(f"Default: `{option.default}`.")
    return " ".join(filter(None, words))


# -- settings -----------------------------------------------------------------------------------------------

_WORDS: dict[object, str] = {str: "text", bool: "true or false", int: "whole number", float: "number"}


def name_type(annotation: object) -> str:
    """Say in words what a setting takes."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        meta = next((a for a in arguments[1:] if isinstance(a, msgspec.Meta)), msgspec.Meta())
        bound = f" > {meta.gt:g}" if meta.gt is not None else f" ≥ {meta.ge:g}" if meta.ge is not None else ""
        return name_type(arguments[0]) + bound
    if origin is typing.Literal:
        return " or ".join(code(value) for value in arguments)
    if origin is tuple:
        return f"list of {name_type(arguments[0])}"
    return _WORDS.get(annotation, "section")


def write_settings() -> str:
    """Write the page of truetape.yaml."""
    parts = [_write_section("", config.Settings, "At the top")]
    hints = typing.get_type_hints(config.Settings)
    for name, hint in hints.items():
        if typing.get_origin(hint) is dict:
            parts.append(_write_section(f"{name}.NAME.", typing.get_args(hint)[1], f"{name}.NAME"))
            if name == "snapshots":
                rows = ((code(field), doc) for field, doc in form.FIELDS.items())
                parts.append("What `fields` can name:\n\n" + write_table(("Field", "What it is"), rows))
        elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            parts.append(_write_section(f"{name}.", hint, name))
    return write_page(
        "Settings",
        "One file, `truetape.yaml`, frozen once read. An unknown key, a wrong type or a value out of bounds stops "
        "the command with one line and exit code 2 before anything starts. `truetape init` writes a first file, "
        "`truetape config show` prints every setting in force, `truetape config schema` a JSON Schema for editors.",
        "```yaml\n" + config.DEFAULT_YAML.rstrip() + "\n```",
        *parts,
        "## Environment",
        write_table(
            ("Variable", "What it does"),
            [
                (
                    "`TRUETAPE__SECTION__KEY`",
                    "Sets any key, over the file: `TRUETAPE__RECORD__FSYNC_INTERVAL_MS=50`. The value is read as YAML.",
                ),
                (
                    "`TRUETAPE_URL_<VENUE>`",
                    "Sends everything meant for a venue that is in the settings to another server, the venue's host "
                    "becoming the first part of the path: `TRUETAPE_URL_BINANCE=http://127.0.0.1:9000`.",
                ),
            ],
        ),
    )


def _write_section(prefix: str, struct: type[msgspec.Struct], title: str) -> str:
    head = f"## {title}\n\n{read_first_line(struct)}\n\n"
    return head + write_table(("Key", "Takes", "Default", "What it does"), _list_settings(prefix, struct))


def _list_settings(prefix: str, struct: type[msgspec.Struct]) -> Iterator[tuple[str, ...]]:
    """List the keys of a section; those of sections within it, too, where they have no section of their own."""
    docs = read_attribute_docs(struct)
    hints = typing.get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        name, hint = field.encode_name, hints[field.encode_name]
        own = prefix + name, docs.get(name, "")
        if typing.get_origin(hint) is dict:
            if typing.get_args(hint)[1] is str:
                yield code(own[0]), "names to texts", "none", own[1]
        elif name_type(hint) == "section":
            yield from _list_settings(f"{own[0]}.", hint) if prefix else ()
        else:
            yield code(own[0]), name_type(hint), _show_default(field), own[1]


def _show_default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default
    if isinstance(value, tuple):
        return codes(value) or "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(value) if value != "" else "none"


# -- kinds --------------------------------------------------------------------------------------------------


def write_kinds() -> str:
    """Write the page of event kinds."""
    parts = []
    for kind in KINDS.values():
        parts.append(f"## {kind.name}\n\n{kind.doc}\n\n{_write_columns(kind.own)}")
    return write_page(
        "Kinds and tables",
        "One event kind is one table, in every sink, with the same columns. A missing number is null, never 0. Times are "
        "microseconds UTC; the tape keeps nanoseconds. Prices and amounts are float64, exact to 15 significant "
        "digits; where a value needs more, `inexact` says so and the tape has the text. A row is identified by its "
        "place on the tape, `tape_offset` and `tape_row`. Tables of a lake are partitioned by `date` (UTC day of "
        "`received_at`) and `venue`; both can be asked for in SQL.",
        "## Columns of every kind\n\n" + _write_columns(COMMON),
        *parts,
    )


def _write_columns(columns: Iterable[Column]) -> str:
    rows = [(code(c.name), c.type.value, "" if c.required else "yes", c.doc) for c in columns]
    return write_table(("Column", "Type", "May be null", "What it says"), rows)


# -- venues -------------------------------------------------------------------------------------------------


def write_venues() -> str:
    """Write the page of venues."""
    return write_page(
        "Venues",
        "What truetape knows of each venue, as declared in its file. *Feed*: one endpoint that is subscribed as one "
        "kind of connection. A feed out of service is not dialled any more, but recordings of it still decode. "
        "Channels are event kinds: see [Kinds and tables](kinds.md).",
        "How frames of a stream prove that nothing is missing between them:\n\n"
        + write_table(
            ("Rule", "What is checked"),
            [
                ("`none`", "nothing to check, or a checksum instead"),
                ("`window`", "rows are told apart by text id; recent ids are remembered to drop repeats"),
                ("`monotone`", "a number that only grows; an equal or smaller one is a repeat"),
                ("`step`", "the number is the previous plus one: repeats and missing ids are known exactly"),
                ("`range`", "the first id of a frame is the last id of the frame before, plus one"),
                ("`chain`", "a frame names the last id of the frame before"),
            ],
        ),
        *(_write_venue(load_venue(name)) for name in list_venues()),
    )


def _write_venue(venue: Venue) -> str:
    feeds = [
        (
            code(feed.name), code(feed.market), code(feed.url), codes(feed.channels), _write_dates(feed),
        )
        for feed in venue.feeds
    ]  # fmt: skip
    limits = [
        (
            code(feed.name), feed.limits.topics_per_connection_max, feed.limits.topics_per_message_max,
            f"{feed.limits.messages_per_second_max:g}", feed.limits.connects_per_minute_max,
            f"{code(feed.heartbeat.payload) or 'ping frame'} every {feed.heartbeat.interval_s:g} s",
            f"{feed.silence_s:g} s", f"{feed.lifetime_s / 3600:g} h",
        )
        for feed in venue.feeds
        if feed.dates[1] is None
    ]  # fmt: skip
    rules = [_write_rule(rule) for rule in venue.continuity]
    if not feeds:  # asked by jobs
        module = importlib.import_module(f"truetape.venues.{venue.name}")
        return "\n\n".join([f"## {venue.name}", read_first_line(module), _write_rest(venue)])
    parts = [
        f"## {venue.name}",
        read_first_line(importlib.import_module(f"truetape.venues.{venue.name}")),
        "Feeds:\n\n" + write_table(("Feed", "Market", "Address", "Channels", "In service"), feeds),
        "What the venue allows, and when a connection is taken for dead:\n\n"
        + write_table(
            (
                "Feed", "Topics a connection", "Topics a message", "Messages a second", "Connects a minute",
                "Heartbeat", "Dead after", "Lifetime",
            ),
            limits,
        ),
        "How a hole is found, and healed:\n\n"
        + write_table(("Channel", "Rule", "Feeds", "Since", "Healed by", "Numbers"), rules),
        _write_rest(venue),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _write_dates(feed: Feed) -> str:
    begin, end = feed.dates
    since = "" if begin == ALWAYS else f"from {begin}"
    return " ".join(filter(None, [since, f"until {end}" if end else ""])) or "yes"


def _write_rule(rule: Continuity) -> tuple[str, ...]:
    since = "always" if rule.since == ALWAYS else str(rule.since)
    healed = {
        "none": "—",
        "fetch": "a snapshot over REST",
        "resubscribe": "subscribing again",
        "reconnect": "connecting again",
    }
    scope = "mean something within one connection" if rule.is_connection_scoped else "hold across connections"
    return (
        code(rule.channel), code(rule.rule), codes(rule.feeds) or "all", since, healed[rule.recovery],
        scope if rule.rule != "none" else "—",
    )  # fmt: skip


def _write_rest(venue: Venue) -> str:
    lines = [f"Listings: {codes(listing.url for listing in venue.listings)}."] if venue.listings else []
    lines.append(f"At most {venue.rest.weight_per_minute_max} request weight a minute.")
    if venue.proof is not None:
        lines.append("Book checksums are verified.")
    if venue.depth_max:
        lines.append(f"Books are cut to {venue.depth_max} levels a side, as the venue does.")
    if venue.default_markets:
        lines.append(f"Markets looked in unless the settings name others: {codes(venue.default_markets)}.")
    if venue.name in list_fakes():
        hosts = load_fake(venue.name).hosts
        lines.append(f"`truetape sim` has a fake of it, which stands for {codes(hosts)}.")
    return " ".join(lines)


# -- the rest -----------------------------------------------------------------------------------------------


def write_sinks() -> str:
    """Write the page of sinks."""
    rows = []
    for name in list_sinks():
        module = importlib.import_module(f"truetape.sinks.{name}")
        rows.append((code(name), codes(module.EXAMPLES), " ".join((module.__doc__ or "").split())))
    return write_page(
        "Sinks",
        "A sink stores rows together with how far the tape has been delivered, so that nothing is stored twice and "
        "nothing is left out, whenever it is stopped. Several can be fed from one tape, each at its own pace: "
        "`sinks: [lake:data/lake, csv:data/csv]`.",
        write_table(("Sink", "Written as", "What it is"), rows),
    )


def write_models() -> str:
    """Write the page of models that are tables."""
    parts = [_write_model(name) for name in list_models()]
    derived = [_write_model(name) for name in list_derived()]
    return write_page(
        "Gold models",
        "Datasets built from the lake by `truetape build`, each one SQL file, each a Delta table beside the kinds. "
        "A model is built again for the venue-days in which anything changed, late rows included; one pass or many "
        "give equal tables.",
        *parts,
        "**Derived events.** Silver models that are tables, too: built when they are named, `truetape build trade_event "
        "book_state`. What looks back is built again when the days it looks at change.",
        *derived,
    )


def _write_model(name: str) -> str:
    import yaml

    texts = [path.read_text() for path in sorted((PROJECT / "models").rglob("*.yml")) if path.name != "sources.yml"]
    model = next(m for text in texts for m in yaml.safe_load(text)["models"] if m["name"] == name)
    rows = [(code(c["name"]), c.get("description", "")) for c in model["columns"]]
    return f"## {name}\n\n{model['description']}\n\n" + write_table(("Column", "What it says"), rows)


def write_checks() -> str:
    """Write the page of checks."""
    rows = [(code(check.name), check.doc, check.examines) for check in list_checks()]
    return write_page(
        "Checks",
        "Questions asked of a lake by `truetape check`, each one file. A finding is an *error* where the data is wrong "
        "or a hole is not declared (exit code 1), else a *warning*: a person should look. Each names the place on "
        "the tape. Every check says how much it examined: nothing found in nothing proves nothing.",
        write_table(("Check", "What holds when nothing is found", "Examines"), rows),
    )


def write_formats() -> str:
    """Write the page of recordings that can be imported."""
    rows = []
    for name, reader in FORMATS.items():
        module = importlib.import_module(reader.__module__)
        # Several formats share a module, which is named for the first of them.
        text = reader if name.startswith("tardis-") and name != "tardis-raw" else module
        rows.append((code(name), read_first_line(text)))
    return write_page(
        "Import formats",
        "`truetape import FORMAT FILES… --venue V --tape DIR` puts recordings made by other programs on a tape, from "
        "where they go the way live frames go. Files may be compressed with gzip.",
        write_table(("Format", "What it is"), rows),
    )


def write_verdict() -> str:
    """Write the page of what verify prints."""
    docs = {
        "balanced": "frames = decoded + quarantined + control, and per kind rows = stored + duplicates",
        "frames": "frames on the tape",
        "decoded": "frames that carried data",
        "quarantined": "frames that did not decode; each is a row of `quarantine`",
        "control": "acknowledgements, heartbeats, requests, events",
        "rows": "rows decoded, per kind",
        "stored": "rows now in the sink, per kind, counted there",
        "duplicates": "rows told to be repeats and dropped, per kind",
        "gaps": "rows of the gap ledger",
        "lake_sha256": "hash of the lake's rows, independent of files and commits: equal tapes give equal hashes",
        **read_attribute_docs(Verdict),
    }
    rows = [(code(name), docs[name]) for name in Verdict.__struct_fields__]
    return write_page(
        "What verify prints",
        "`truetape verify --tape DIR --lake DIR --json` decodes the whole tape again, holds it against the lake and "
        "prints one object. The exit code is 0 when balanced, 1 when not.",
        write_table(("Key", "What it says"), rows),
    )


def write_errors() -> str:
    """Write the page of exit codes."""
    tree = (errors.__doc__ or "").split("\n\n", 1)[1]
    return write_page(
        "Exit codes",
        write_table(
            ("Code", "Meaning", "Examples"),
            [
                (0, "fine", ""),
                (
                    1,
                    "findings",
                    "`verify` is not balanced, `gaps --open` has any, `tape verify` or `deliver` found damage, `doctor` found trouble",
                ),
                (
                    2,
                    "usage or configuration",
                    "an unknown key, option, venue, sink or column; a missing or foreign tape",
                ),
                (
                    3,
                    "internal, or the network",
                    "a bug (`--debug` shows where), a venue that cannot be reached; `poll` brought no snapshot",
                ),
                (130, "interrupted", "Ctrl-C outside `record`, which seals everything and returns 0"),
            ],
        ),
        "An error is one line on standard error: what, where, what is allowed. What the library raises:",
        f"```text\n{tree.strip()}\n```",
    )


def write_faults() -> str:
    """Write the page of the fake venues."""
    from truetape.sim import faults

    text = inspect.cleandoc(faults.__doc__ or "")
    script = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    hosts = [(code(name), codes(load_fake(name).hosts)) for name in list_fakes()]
    keys = [
        (code(config.name_key(venue, name)), code(value))
        for venue in list_fakes()
        for name, value in load_fake(venue).keys.items()
    ]
    return write_page(
        "Fake venues",
        "`truetape sim` runs them on loopback. A host of a venue is the first part of the path "
        "(`ws://127.0.0.1:9000/stream.binance.com/stream`); the venue's bare name works too (`/binance/stream`).",
        write_table(("Venue", "Stands for"), hosts),
        "## Keys\n\nWhere a venue wants credentials, its stand-in takes these; others are refused as the venue refuses them. "
        "Kalshi's takes the keys that were made there: `POST /kalshi/trade-api/v2/api_keys` with "
        '`{"public_key": "<PEM>"}` answers with the id.',
        write_table(("Variable", "Value"), keys),
        f"## Faults\n\nActions: {codes(ACTIONS)}. A script is lines of text, or the name of a file with them; `#` starts a comment. "
        "Without a trigger a fault is armed from the start; without a venue it holds for all. Times are market time.",
        f"```text\n{script}\n```",
        "`GET /_sim/faults` lists what was done wrong so far, `GET /_sim/truth` what really happened in a market, "
        "`GET /_sim/status` who is connected.",
    )


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": write_commands,
    "settings.md": write_settings,
    "kinds.md": write_kinds,
    "venues.md": write_venues,
    "sinks.md": write_sinks,
    "models.md": write_models,
    "checks.md": write_checks,
    "import.md": write_formats,
    "verify.md": write_verdict,
    "exit-codes.md": write_errors,
    "sim.md": write_faults,
}


def find_stale(folder: Path = REFERENCE) -> list[str]:
    """Name the pages that do not say what the code says."""
    return [
        name
        for name, write in PAGES.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != write()
    ]


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a page is stale")
    if parser.parse_args().check:
        stale = find_stale()
        for name in stale:
            print(f"docs/reference/{name} is stale: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (REFERENCE / name).write_text(write(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
