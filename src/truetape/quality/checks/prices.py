"""Numbers that no market could have: null, not a number, not positive."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome

_BAD_PRICE = "({0} is null or isnan({0}) or isinf({0}) or {0} <= 0)"
_BAD_SIZE = "({0} is not null and (isnan({0}) or isinf({0}) or {0} {1} 0))"

# Combos trade at differences of prices, which may be negative. Bars leave out what is 1e18 and more.
_RULES = {
    "trade": "coalesce(flag, '') <> 'combo' and ("
    + _BAD_PRICE.format("price")
    + f" or {_BAD_SIZE.format('amount', '<=')} or price >= 1e18 or amount >= 1e18 or price * amount >= 1e18)",
    "quote": " or ".join(
        [f"({name} is not null and {_BAD_PRICE.format(name)})" for name in ("bid_price", "ask_price")]
        + [_BAD_SIZE.format(name, "<") for name in ("bid_amount", "ask_amount")]
    ),
    "book_change": f"{_BAD_PRICE.format('price')} or {_BAD_SIZE.format('amount', '<')}",
    "candle": " or ".join(
        [_BAD_PRICE.format(name) for name in ("open", "high", "low", "close")]
        + [_BAD_SIZE.format("volume", "<"), "high < greatest(open, close, low)", "low > least(open, close)"]
    ),
}


def _run(lake: Lake) -> Outcome:
    examined, findings = 0, []
    for kind, rule in _RULES.items():
        query = f"""
            select venue, symbol, count(*) as rows, count(*) filter (where {rule}) as count,
                min(received_at) filter (where {rule}) as at,
                arg_min(tape_offset, received_at) filter (where {rule}) as tape_offset
            from {kind} group by all order by all"""  # noqa: S608  # texts of this file
        for row in lake.sql(query).arrow().to_pylist():
            examined += row["rows"]
            if row["count"]:
                what = f"{kind} with an impossible price or amount"
                findings.append(
                    Finding("error", row["venue"], row["symbol"], what, row["count"], row["at"], row["tape_offset"])
                )
    return Outcome(examined, tuple(findings))


CHECK = Check(
    "prices",
    "Prices and amounts of trades, quotes, books and candles are numbers a market can have.",
    "rows",
    _run,
)
