"""Bars and hourly charts of tracked coins."""

from truetape.ops.coin import fetch_hourly, is_wanted
from truetape.ops.job import Job

JOB = Job(
    "ohlc_hourly",
    "Fetch bars of an hour or less and hourly charts of the tracked coins.",
    "30 * * * *",
    fetch_hourly,
    is_wanted,
)
