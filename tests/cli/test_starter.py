"""Settings to begin with: each is whole, and `init` writes it with its example of secrets."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run

from truetape.cli._starter import list_starters, read_starter
from truetape.config import parse_settings


@pytest.mark.parametrize("name", list_starters())
def test_every_starter_is_settings(name: str) -> None:
    texts = read_starter(name)
    parse_settings(texts["truetape.yaml"], name, {})
    assert ".env.example" in texts


def test_init_writes_a_starter_once(truetape: Run, refused: Callable[..., str], tmp_path: Path) -> None:
    truetape("init", "--preset", "prediction-snapshots")
    assert (tmp_path / ".env.example").is_file()
    assert truetape("config", "show", "--json").json["snapshots.polymarket.preset"] == "polymarket"
    assert "is there already" in refused("init", "--preset", "prediction-snapshots")
    assert "--assets" in refused("init", "--preset", "prediction-snapshots", "--assets", "BTC")
