"""`record` against fake venues: whatever is killed, nothing durable is lost and everything balances."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from truetape.config import Settings, VenueSettings, parse_settings
from truetape.errors import ConfigError, TapeError
from truetape.flow import deliver, record, verify
from truetape.flow.live import LiveStatus
from truetape.tape import verify_tape

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
deliver: {{commit_seconds: 2}}
record: {{tick_seconds: 0.5, segment_seconds: 4}}
venues:
  binance: {{instruments: [BTC-USDT, ETH-USDT], markets: [spot], url: "{url}"}}
  coinbase: {{instruments: [BTC-USD], url: "{url}"}}
"""


def make_settings(folder: Path, url: str) -> Settings:
    return parse_settings(YAML.format(folder=folder, url=url), "test", {})


def find_child(module: str) -> int | None:
    """Return the process id of our child that runs a module."""
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        try:
            if module in Path(f"/proc/{pid}/cmdline").read_text():
                return int(pid)
        except FileNotFoundError:
            continue
    return None


class Seen:
    """The newest durable offset that was promised."""

    def __init__(self) -> None:
        self.durable = 0
        self.status = LiveStatus()

    def show(self, status: LiveStatus) -> None:
        self.status = status
        if status.tape:
            self.durable = max(self.durable, status.tape.durable)


async def kill_later(module: str, seen: Seen, after_s: float) -> None:
    while seen.status.tape is None:  # noqa: ASYNC110 - a machine that is busy takes its time to begin
        await asyncio.sleep(0.05)
    await asyncio.sleep(after_s)
    pid = find_child(module)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def check(folder: Path, seen: Seen) -> None:
    tape, lake = str(folder / "tape"), f"lake:{folder / 'lake'}"
    deliver(tape, (lake,))
    verdict = verify(tape, lake)
    assert verdict.problems == []
    assert verdict.quarantined == 0
    assert verdict.frames >= seen.durable
    assert verify_tape(folder / "tape").ok


async def test_recording_seals_and_balances(tmp_path: Path, sim_url: str) -> None:
    seen = Seen()
    await record(make_settings(tmp_path, sim_url), seen.show, duration_s=8)
    assert seen.status.view is not None
    assert seen.status.view.offset == seen.status.view.end > 100
    assert {s.venue for s in seen.status.view.streams} >= {"binance", "coinbase"}
    assert not [s for s in seen.status.view.streams if s.gap]
    check(tmp_path, seen)


async def kill_over_and_over(folder: Path, url: str, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    seen = Seen()
    for _ in range(kills):
        victim = chance.choice(["recorder_process", "view_process"])
        seen.status = LiveStatus()
        killer = asyncio.create_task(kill_later(victim, seen, chance.uniform(0.0, 2.5)))
        try:
            await record(make_settings(folder, url), seen.show, duration_s=4)
        except TapeError:
            assert victim == "recorder_process"
        killer.cancel()
    check(folder, seen)


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_moments_nothing_durable_is_missing(tmp_path: Path, sim_url: str, seed: int) -> None:
    await kill_over_and_over(tmp_path, sim_url, 2, seed)


@pytest.mark.soak
async def test_killed_fifty_times_nothing_durable_is_missing(tmp_path: Path, sim_url: str) -> None:
    await kill_over_and_over(tmp_path, sim_url, 50, 7)


async def test_nothing_to_record_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="venues: nothing to record"):
        await record(Settings(tape=str(tmp_path / "tape")), lambda status: None)
    assert not (tmp_path / "tape").exists()


@pytest.mark.parametrize(
    ("wrong", "words"), [("binanse", "venues: 'binanse'.*mean binance"), ("okx", "okx.channels: 'trades'")]
)
async def test_an_unknown_venue_or_channel_is_refused_before_anything_starts(
    tmp_path: Path, wrong: str, words: str
) -> None:
    chosen = VenueSettings(instruments=("all",), channels=("trades",))
    with pytest.raises(ConfigError, match=words):
        await record(Settings(tape=str(tmp_path / "tape"), venues={wrong: chosen}), lambda status: None)
    assert not (tmp_path / "tape").exists()


async def test_an_unknown_instrument_is_named_with_the_nearest(tmp_path: Path, sim_url: str) -> None:
    text = YAML.format(folder=tmp_path, url=sim_url).replace("BTC-USDT,", "BTC-USTD,")
    with pytest.raises((ConfigError, TapeError), match="BTC-USDT"):
        await record(parse_settings(text, "test", {}), lambda status: None, duration_s=60)
