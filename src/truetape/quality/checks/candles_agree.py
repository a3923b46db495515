"""Candles made from trades against the venue's own, where both were recorded whole."""

import re
from typing import Any

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import list_gaps

_INTERVAL = re.compile(r"([1-9][0-9]*)([smhd])")
_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}

# Sums are made in another order than the venue's: the last digits may differ. Prices may not.
_QUERY = """
    with source as (
        -- Sums of executions stand in where the executions themselves were not recorded; they only lack the number.
        select venue, symbol, count(*) filter (where flag is null) = 0 as is_summed from trade group by all
    ),
    trades as (
        select venue, symbol, is_summed, epoch_us(coalesce(exchange_at, received_at)) as us, price, amount,
            epoch_us(coalesce(exchange_at, received_at))::hugeint * 9444732965739290427392
                + coalesce(try_cast(trade_id as bigint), tape_offset * 16777216 + tape_row) as place
        from trade join source using (venue, symbol)
        where flag is null or flag = 'liquidation' or (is_summed and flag = 'aggregate')
    ),
    span as (select venue, symbol, min(us) as first_us, max(us) as last_us from trades group by all),
    made as (
        select venue, symbol, us // {width} * {width} as open_us, arg_min(price, place) as open, max(price) as high,
            min(price) as low, arg_max(price, place) as close, sum(amount) as volume,
            case when not is_summed then count(*) end as trades
        from trades group by venue, symbol, open_us, is_summed
    ),
    told as (
        select venue, symbol, epoch_us(open_at) as open_us, max_by(struct_pack(open, high, low, close, volume, trades,
            tape_offset), row(tape_offset, tape_row)) as candle
        from candle where interval = $interval and is_closed group by all
    )
    select told.venue, told.symbol, make_timestamp(told.open_us)::timestamptz as at,
        make_timestamp(told.open_us + {width})::timestamptz as until, candle.tape_offset as tape_offset,
        coalesce(candle.volume, 0) = 0 and coalesce(candle.trades, 0) = 0 and made.open is null
        or coalesce(
            candle.open = made.open and candle.high = made.high and candle.low = made.low
            and candle.close = made.close and coalesce(candle.trades = made.trades, true)
            and coalesce(abs(candle.volume - made.volume) <= 1e-9 * candle.volume, true), false
        ) as agrees,
        candle.trades as told_trades, made.trades as made_trades
    from told
    join span on span.venue = told.venue and span.symbol = told.symbol
        and told.open_us >= span.first_us and told.open_us + {width} <= span.last_us
    left join made on made.venue = told.venue and made.symbol = told.symbol and made.open_us = told.open_us
    order by all"""


def _run(lake: Lake) -> Outcome:
    ((names,),) = lake.sql("select list(distinct interval order by interval) from candle").duckdb().fetchall()
    gaps = list_gaps(lake, channel="trade") + list_gaps(lake, channel="*")
    examined, findings = 0, []
    for name in names or ():
        match = _INTERVAL.fullmatch(name)
        if match is None:
            continue  # a week or a month does not begin where counting from 1970 begins it
        query = _QUERY.format(width=int(match[1]) * _UNITS_US[match[2]])
        rows = [
            row
            for row in lake.sql(query, {"interval": name}).arrow().to_pylist()
            if not any(gap.covers(row["venue"], row["symbol"], "trade", row["at"], row["until"]) for gap in gaps)
        ]
        examined += len(rows)
        findings += _report_rows(name, [row for row in rows if not row["agrees"]])
    return Outcome(examined, tuple(findings))


def _report_rows(interval: str, rows: list[dict[str, Any]]) -> list[Finding]:
    streams: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        streams.setdefault((row["venue"], row["symbol"]), []).append(row)
    findings = []
    for (venue, symbol), mine in sorted(streams.items()):
        first = mine[0]
        trades = f" ({first['made_trades'] or 0} trades here, {first['told_trades']} there)"
        what = f"{interval} candle of the venue differs from its trades{trades if first['told_trades'] else ''}"
        findings.append(Finding("error", venue, symbol, what, len(mine), first["at"], first["tape_offset"]))
    return findings


CHECK = Check(
    "candles_agree", "Candles made from trades are the venue's own, where both were recorded whole.", "candles", _run
)
