"""What work on a stream's past needs, whatever becomes of the work."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from truetape.config import find_url, parse_settings
from truetape.errors import ConfigError, TruetapeError
from truetape.flow import verify
from truetape.flow.repair import backfill
from truetape.flow.subject import Subject
from truetape.sim.server import SimServer, Synthetic

WANTED = Subject("kraken", "", "BTC-USD", "", "candle", "1m")


async def test_a_venue_that_is_not_in_the_settings_is_asked_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = parse_settings(f'tape: {tmp_path}/tape\nsinks: ["lake:{tmp_path}/lake"]\n', "test", {})
    async with SimServer(venues=["kraken"], feed=Synthetic(seed=3)) as server:
        monkeypatch.setenv("TRUETAPE_URL_KRAKEN", server.url)
        now = datetime.fromtimestamp(server.time.now_us() / 1e6, UTC)
        span = now - timedelta(minutes=30), now
        assert await asyncio.to_thread(backfill, settings, WANTED, *span) > 0
    with pytest.raises(TruetapeError, match="Cannot connect"):  # the venue is gone, and so is what it lists
        await asyncio.to_thread(backfill, settings, Subject("kraken", "", "ETH-USD", "", "candle", "1m"), *span)
    verdict = verify(settings.tape, settings.sinks[0])
    assert verdict.balanced, verdict.problems


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUETAPE_URL_KRAKEN", "kraken.example")
    with pytest.raises(ConfigError, match=r"TRUETAPE_URL_KRAKEN: .* is not an http:// or https:// address"):
        find_url(parse_settings("tape: tape\n", "test", {}), "kraken")


def test_the_archive_says_first_who_is_asked_of_the_past() -> None:
    venues = 'venues: {binance: {instruments: [BTC-USDT], channels: [trade], url: "http://venue.example"}}\n'
    archive = 'archive: {binance: {instruments: [BTC-USDT], channels: [trade], url: "http://archive.example"}}\n'
    heard = {text: find_url(parse_settings(f"tape: tape\n{text}", "test", {}), "binance") for text in (venues, archive)}
    assert heard == {venues: "http://venue.example", archive: "http://archive.example"}
    assert find_url(parse_settings(f"tape: tape\n{venues}{archive}", "test", {}), "binance") == "http://archive.example"
