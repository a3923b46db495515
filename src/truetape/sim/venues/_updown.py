"""Words that the venue has for up-or-down markets."""

from datetime import UTC, datetime

from truetape.sim.oracle import ASSETS
from truetape.sim.prediction import NEW_YORK, SERIES, Market


def name_title(market: Market) -> str:
    """Name a market as people read it: Bitcoin Up or Down - April 30, 11:25AM-11:30AM ET."""
    begin, end = (datetime.fromtimestamp(s, UTC).astimezone(NEW_YORK) for s in (market.opens_s, market.ends_s))
    head = f"{ASSETS[market.asset].title} Up or Down"
    if market.series == "daily":
        return f"{head} on {end:%B} {end.day}?"
    if market.series == "1h":
        return f"{head} - {begin:%B} {begin.day}, {_write_hour(begin)} ET"
    return f"{head} - {begin:%B} {begin.day}, {_write_minute(begin)}-{_write_minute(end)} ET"


def _write_hour(moment: datetime) -> str:
    return f"{moment.hour % 12 or 12}{'AM' if moment.hour < 12 else 'PM'}"


def _write_minute(moment: datetime) -> str:
    return f"{moment.hour % 12 or 12}:{moment:%M}{'AM' if moment.hour < 12 else 'PM'}"


SERIES_NUMBERS = {
    "5m": {"BTC": 10684, "ETH": 10683, "SOL": 10686, "XRP": 10685},
    "15m": {"BTC": 10192, "ETH": 10191, "SOL": 10423, "XRP": 10422},
}


def name_series(market: Market) -> tuple[str, str]:
    """Return (id, slug) of the series that a market belongs to."""
    number = SERIES_NUMBERS.get(market.series, {}).get(market.asset)
    if number is None:
        number = 11_000 + list(SERIES).index(market.series) * 10 + list(ASSETS).index(market.asset)
    word = {"1h": "hourly"}.get(market.series, market.series)
    return str(number), f"{market.asset.lower()}-up-or-down-{word}"
