"""House rules that no linter checks."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "truetape"
FILES = sorted(p for p in SOURCE.rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_short_and_well_named(path: Path) -> None:
    text = path.read_text()
    limit = 700 if "venues" in path.parts else 400
    assert len(text.splitlines()) <= limit or "# hot:" in text, f"{path} has more than {limit} lines"
    assert path.stem not in FORBIDDEN_NAMES


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_functions_are_short(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    for function in functions(ast.parse(text)):
        body = lines[function.lineno - 1 : function.end_lineno]
        if any("# hot:" in line for line in body):
            continue
        doc = ast.get_docstring(function, clean=False)
        code = len(body) - (doc.count("\n") + 1 if doc else 0)
        assert code <= 60, f"{path}:{function.lineno} {function.name} has {code} lines"


def test_only_one_module_reads_the_environment_and_one_the_clock() -> None:
    for path in FILES:
        text = path.read_text()
        if path.parts[-2:] != ("config", "environment.py"):
            assert not re.search(r"os\.environ|getenv", text), f"{path} reads the environment"
        if path.name != "clock.py":
            assert not re.search(r"\btime\.(time|time_ns|monotonic|monotonic_ns)\(|datetime\.now\(", text), (
                f"{path} reads the clock"
            )


def test_nobody_pickles_or_evaluates() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text())
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert not names & {"eval", "exec"}, path
        assert not imported & {"pickle", "marshal", "shelve"}, path


def test_every_source_file_has_its_test_folder() -> None:
    folders = {p.parent.name for p in FILES if p.parent != SOURCE and p.parent.parent == SOURCE}
    missing = sorted(f for f in folders - {"ops"} if not (ROOT / "tests" / f).is_dir())
    assert not missing, f"no tests for {missing}"


def test_members_of_a_registry_never_import_each_other() -> None:
    for folder in ("venues", "sinks"):
        members = [p for p in (SOURCE / folder).iterdir() if not p.name.startswith("_")]
        names = {p.stem for p in members}
        for member in members:
            paths = sorted(member.rglob("*.py")) if member.is_dir() else [member]
            for path in paths:
                for name in names - {member.stem}:
                    assert not re.search(rf"truetape\.{folder}\.{name}\b", path.read_text()), f"{path} imports {name}"


def test_imports_never_run_in_a_circle() -> None:
    graph = grimp.build_graph("truetape", cache_dir=None)  # with those that only types need
    left = {module: graph.find_modules_directly_imported_by(module) - {module} for module in graph.modules}
    while done := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in done}
    assert not left, f"a circle is among, or below, {sorted(left)}"


def test_no_registry_address_and_no_machine_path_is_committed() -> None:
    pattern = re.compile(
        rb"files\.pythonhosted|pypi\.org/simple|registry\.npmjs|https?://[^\s\"']*/simple/|/work/|/root/\."
    )
    for path in tracked():
        if path.suffix not in {".png", ".svg"} and path != Path(__file__):
            assert not pattern.search(path.read_bytes()), f"{path} names a registry or a machine path"


def test_the_door_is_small_and_every_name_behind_it_exists() -> None:
    package = importlib.import_module("truetape")
    assert len(package.__all__) <= 25
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from truetape.cli import cli; cli.main(['--help'], standalone_mode=False); "
        "heavy = {'pyarrow', 'duckdb', 'deltalake', 'aiohttp', 'numpy'} & set(sys.modules); sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
