"""Bars and daily charts of tracked coins."""

from truetape.ops.coin import fetch_daily, is_wanted
from truetape.ops.job import Job

JOB = Job(
    "ohlc_daily",
    "Fetch bars of a day or less and daily charts of the tracked coins.",
    "0 1 * * *",  # the point of the day before is there from 00:35 on
    fetch_daily,
    is_wanted,
)
