"""A small recording with several sealed segments, delivered into a lake and a database."""

from pathlib import Path

import msgspec
import pytest
from hourly_trades import write_trades

from truetape.config import DeliverSettings, Settings
from truetape.flow import deliver

FRAMES = 600


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A delivered recording of 25 days."""
    given = Settings(
        tape=str(tmp_path / "tape"),
        sinks=(f"lake:{tmp_path / 'lake'}", f"sqlite:{tmp_path / 'rows.sqlite'}"),
        ops=msgspec.convert({"state": str(tmp_path / "state")}, type(Settings().ops)),
    )
    write_trades(tmp_path / "tape", 0, FRAMES)
    deliver(given.tape, given.sinks, DeliverSettings(archive=False))
    return given
