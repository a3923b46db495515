"""The job that keeps the past, killed half-way: it goes on where it was, asks for nothing twice, and stores nothing twice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from killed import kill_job, list_pages, run_job

from truetape.flow import verify
from truetape.lake import Lake
from truetape.sim.server import SimServer, Synthetic

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
ops: {{state: {folder}/state}}
jobs: {{archive: {{attempts: 1}}}}
archive:
  binance: {{instruments: [BTC-USDT-PERP], market: usdm, channels: [open_interest], days: 4, url: "{url}"}}
  okx: {{instruments: [BTC-USDT-PERP], channels: [open_interest, funding], days: 3, url: "{url}"}}
"""
STEP_S = 300
DAY_ROWS = 86_400 // STEP_S
TIMES = """
    select venue, count(*) as n, count(distinct exchange_at) as times,
        epoch(max(exchange_at) - min(exchange_at)) as seconds
    from derivative where open_interest is not null group by venue order by venue"""


async def test_a_killed_job_goes_on_where_it_was(tmp_path: Path) -> None:
    """One stream is done, another is half-way, newest first."""
    fault = "after 9 okx slow 60s for 1 request of */open-interest-history"
    async with SimServer(venues=["binance", "okx"], feed=Synthetic(seed=3, rate=1.0)) as server:
        config = tmp_path / "truetape.yaml"
        config.write_text(YAML.format(folder=tmp_path, url=server.url))
        await kill_job(config, "archive", server, fault)
        had = [url for url in list_pages(tmp_path / "tape") if "nterest" in url]
        assert len(had) >= 2
        said = await run_job(config, "archive")
    assert "okx//BTC-USDT-PERP/open_interest/5m: kept" in said
    pages = [url for url in list_pages(tmp_path / "tape") if "nterest" in url]
    now = datetime.now(UTC)
    begin = {days: (now - timedelta(days=days)).replace(hour=0, minute=0, second=0) for days in (3, 4)}
    rows = {days: (now - at).total_seconds() / STEP_S for days, at in begin.items()}
    # A day before is asked for, too, which shows that the venue still tells of then; then all, by 500 and by 100, once.
    whole = -(-(rows[4] + DAY_ROWS) // 500) + -(-(rows[3] + DAY_ROWS) // 100)
    assert len(pages) <= whole + 2, pages
    told = Lake(tmp_path / "lake").sql(TIMES).arrow().to_pylist()
    assert [row["venue"] for row in told] == ["binance", "okx"]
    for row, days in zip(told, (4, 3), strict=True):
        assert row["n"] == row["times"] == row["seconds"] / STEP_S + 1  # none twice, none missing
        assert row["n"] > rows[days] - 4
    assert verify(f"{tmp_path}/tape", f"lake:{tmp_path}/lake").problems == []
