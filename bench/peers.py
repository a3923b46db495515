"""Other tools, each in an environment of its own, installed from the registries; kept for the next run."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

CRYPTOFEED = "3.0.1"
TARDIS = "13"
HOME = Path(os.environ.get("TRUETAPE_BENCH_CACHE", "~/.cache/truetape-bench")).expanduser()
PYTHON_MIN = (3, 12)


class Missing(Exception):
    """A tool that cannot be measured here, and why."""


def find_python() -> str:
    """Return a Python that cryptofeed 3.x runs on; Missing when there is none."""
    names = [f"python3.{minor}" for minor in range(15, PYTHON_MIN[1] - 1, -1)] + ["python3"]
    candidates = [os.environ.get("TRUETAPE_BENCH_PYTHON"), *map(shutil.which, names)]
    kept = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"), reverse=True)
    for candidate in [*filter(None, candidates), *map(str, kept)]:
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True
        )
        if asked.returncode == 0 and tuple(map(int, asked.stdout.split())) >= PYTHON_MIN:
            return candidate
    raise Missing(f"no Python ≥ {PYTHON_MIN[0]}.{PYTHON_MIN[1]}")


def _install(name: str, requirement: str) -> str:
    """Return the Python of an environment that has one package."""
    folder = HOME / name
    if not (folder / ".made").exists():
        subprocess.run([find_python(), "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, requirement], stdout=sys.stderr).returncode:
            raise Missing(f"{requirement} cannot be installed from the registry")
        (folder / ".made").touch()
    return str(folder / "bin/python")


@functools.cache
def cryptofeed() -> str:
    """Return the Python that has cryptofeed."""
    return _install("cryptofeed", f"cryptofeed=={CRYPTOFEED}")


@functools.cache
def ccxt() -> str:
    """Return the Python that has ccxt."""
    return _install("ccxt", "ccxt")


@functools.cache
def tardis() -> Path:
    """Return the folder in which npm installed tardis-dev."""
    folder = HOME / "tardis"
    if not shutil.which("npm") or not shutil.which("node"):
        raise Missing("no node and npm")
    if not (folder / "node_modules/tardis-dev").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"tardis-dev@{TARDIS}"]
        if subprocess.run(command, cwd=folder, stdout=sys.stderr).returncode:
            raise Missing("tardis-dev cannot be installed from the registry")
    return folder


def version_of(name: str) -> str:
    """Return the installed version of a peer, or why there is none."""
    try:
        if name == "tardis-dev":
            script = "console.log(require('./node_modules/tardis-dev/package.json').version)"
            return _say(["node", "-e", script], tardis()) + ", node " + _say(["node", "--version"]).lstrip("v")
        python = {"cryptofeed": cryptofeed, "ccxt": ccxt}[name]()
        script = (
            f"import importlib.metadata as m, sys; print(m.version({name!r}) + ', Python ' + sys.version.split()[0])"
        )
        return _say([python, "-c", script])
    except Missing as missing:
        return f"not measured: {missing}"


def _say(command: list[str], folder: Path | None = None) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
