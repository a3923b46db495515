"""Settings to begin with, one folder of files each; the folder is the registry."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from truetape.errors import ConfigError

ENV_EXAMPLE = ".env.example"


def list_starters() -> tuple[str, ...]:
    """Name what there is to begin with."""
    return tuple(sorted(entry.name for entry in _find_folder().iterdir() if (entry / "truetape.yaml").is_file()))


def read_starter(name: str) -> dict[str, str]:
    """Return the files of a starter: name → text."""
    folder = _find_folder() / name
    names = {"truetape.yaml": "truetape.yaml", "env.example": ENV_EXAMPLE}
    return {to: (folder / own).read_text(encoding="utf-8") for own, to in names.items() if (folder / own).is_file()}


def write_starter(name: str, folder: Path, *, force: bool) -> list[Path]:
    """Write the files of a starter; ConfigError when one is there already."""
    texts = read_starter(name)
    for path in (folder / to for to in texts):
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already; --force replaces it")
    folder.mkdir(parents=True, exist_ok=True)
    for to, text in texts.items():
        (folder / to).write_text(text, encoding="utf-8")
    return [folder / to for to in texts]


def _find_folder() -> Traversable:
    return files("truetape.cli") / "_starters"
