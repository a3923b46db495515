"""Market caps and ranks of coins, every hour."""

from truetape.ops.coin import fetch_market_data, is_wanted
from truetape.ops.job import Job

JOB = Job(
    "market_data",
    "Fetch market caps and ranks of coins, the whole market, and once a day the list of all coins.",
    "0 * * * *",
    fetch_market_data,
    is_wanted,
)
