"""Settings that come with the program."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run

from truetape.cli._preset import PRESETS, write_preset
from truetape.collect.collector import load_venues
from truetape.collect.plan import find_discovery
from truetape.config import parse_settings
from truetape.venues import load_venue


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_settings_that_can_be_recorded(name: str) -> None:
    settings = parse_settings(write_preset(name, None), name, {})
    load_venues(settings)
    polymarket = settings.venues["polymarket"]
    assert polymarket.series == (name.removeprefix("updown-"),)
    assert find_discovery(load_venue("polymarket"), polymarket) is not None
    listed = {instrument.symbol for instrument in load_venue("polymarket").read_listing("https://x/time", b"1")}
    assert set(polymarket.instruments) <= listed
    assert settings.venues["coinbase"].instruments == ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")


def test_init_writes_a_preset_with_chosen_assets(truetape: Run, tmp_path: Path) -> None:
    truetape("init", "--preset", "updown-5m", "--assets", "btc, doge")
    shown = truetape("config", "show", "--json").json
    assert shown["venues.polymarket.assets"] == ["BTC", "DOGE"]
    assert shown["venues.coinbase.instruments"] == ["BTC-USD", "DOGE-USD"]
    assert "# each window's market" in (tmp_path / "truetape.yaml").read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--assets", "BTC"), "--assets: goes with --preset only"),
        (("--preset", "updown-15m", "--assets", "BCT"), "venues.polymarket.assets: 'BCT' is not there"),
    ],
)
def test_what_a_preset_cannot_do_is_one_line(refused: Callable[..., str], args: tuple[str, ...], says: str) -> None:
    assert says in refused("record", *args)
    assert says in refused("init", *args)
