"""Docs say what the code says: generated pages are fresh, everything is mentioned, commands parse, links resolve."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from truetape.cli import cli
from truetape.config import Settings, name_key, walk_settings
from truetape.errors import ConfigError
from truetape.events.schema import KINDS
from truetape.quality import list_checks
from truetape.sim.faults import ACTIONS
from truetape.sinks import list_examples
from truetape.tape.foreign import FORMATS
from truetape.transform.runner import list_models
from truetape.venues import coingecko, list_venues, load_venue

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))],
    key=lambda page: page.as_posix(),
)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(page: str) -> str:
    return (DOCS / "reference" / page).read_text()


def test_generated_pages_are_fresh(generate: ModuleType) -> None:
    assert generate.find_stale() == [], "run `make docs`"


def test_a_stale_page_is_found(generate: ModuleType, tmp_path: Path) -> None:
    for name, write in generate.PAGES.items():
        (tmp_path / name).write_text(write())
    assert generate.find_stale(tmp_path) == []
    (tmp_path / "cli.md").write_text("old")
    (tmp_path / "kinds.md").unlink()
    assert generate.find_stale(tmp_path) == ["cli.md", "kinds.md"]


def test_every_command_is_documented(generate: ModuleType) -> None:
    page = read("cli.md")
    for name, command, _ in generate.walk_commands(cli):
        assert re.search(rf"^##+ {name}$", page, re.MULTILINE), name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in page


def test_every_setting_is_documented() -> None:
    page = read("settings.md")
    for name, _ in walk_settings(Settings()):
        assert f"`{name}`" in page


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("kinds.md", list(KINDS)),
        ("kinds.md", sorted({c.name for kind in KINDS.values() for c in kind.columns})),
        ("venues.md", list_venues()),
        ("sinks.md", list_examples()),
        ("models.md", list_models()),
        ("checks.md", [check.name for check in list_checks()]),
        ("import.md", list(FORMATS)),
        ("sim.md", ACTIONS),
    ],
)
def test_everything_is_documented(page: str, names: list[str]) -> None:
    text = read(page)
    missing = [name for name in names if f"`{name}`" not in text and f"## {name}\n" not in text]
    assert not missing


def test_every_key_has_its_line_on_the_page_of_keys() -> None:
    page = (DOCS / "how-to" / "keys.md").read_text()
    asked = [(venue.name, venue.credentials) for venue in map(load_venue, list_venues()) if venue.credentials]
    names = [name_key(venue, name) for venue, credentials in asked for name in credentials.names]
    names += [name_key(coingecko.NAME, name) for name in coingecko.PLANS]
    assert len(names) >= 9
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_reason_of_a_gap_is_explained() -> None:
    doc = next(column.doc for column in KINDS["gap"].own if column.name == "reason")
    text = (DOCS / "explain" / "gaps.md").read_text()
    for reason in doc.split(", "):
        assert f"`{reason}`" in text


def list_commands() -> Iterator[tuple[str, str]]:
    """Find every `truetape …` line of a console or shell block."""
    for page in PAGES:
        for block in re.findall(r"^```(?:console|sh)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                for text in re.split(r" (?:&&|;) ", line.removeprefix("$ ")):
                    if text.startswith("truetape "):
                        yield page.relative_to(ROOT).as_posix(), text


COMMANDS = sorted(set(list_commands()))


def cut(text: str) -> list[str]:
    """Split a line as a shell would, up to a pipe, a redirection or a comment."""
    words = shlex.split(text, comments=True)[1:]
    end = next((i for i, word in enumerate(words) if word in {"|", "&", ">"}), len(words))
    return words[:end]


@pytest.mark.parametrize(("page", "text"), COMMANDS, ids=[f"{page}: {text[:50]}" for page, text in COMMANDS])
def test_every_command_in_the_docs_parses(
    page: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = cut(text)
    for word in words:
        if word.endswith((".gz", ".txt", ".zip")):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()  # files that must be there
    command: click.Command = cli
    context = click.Context(cli, info_name="truetape", **cli.context_settings)
    while isinstance(command, click.Group):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    try:
        command.make_context(command.name, words)
    except click.exceptions.Exit:
        pass  # -h
    except (click.UsageError, ConfigError) as error:
        pytest.fail(f"{page}: {text}: {error}")


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {slug(h) for h in headings}, f"{page.name} links to {target}"


def test_nothing_is_loaded_from_elsewhere() -> None:
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings
    assert "http" not in settings


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


def test_the_documents_speak_of_the_project_only() -> None:
    for page in PAGES:
        assert not re.search(r"/tmp/|\bTODO\b|\bFIXME\b", page.read_text()), page
