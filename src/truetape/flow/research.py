"""The files that researchers of up-or-down markets exchange, written from the lake."""

from pathlib import Path
from typing import Any

import msgspec

from truetape.errors import ConfigError
from truetape.flow.dataset import Selection, select_rows
from truetape.flow.file import export
from truetape.lake import Lake, Rows
from truetape.quality import has_table, judge_market, read_markets
from truetape.quality.market import Market
from truetape.quality.validation import make_validation, render_markdown

_ORACLES = ("chainlink_streams", "polybolt_chainlink", "rtds_chainlink", "chainlink_page")
"""Whose prices make the continuous series of an asset: the first of these that was recorded."""

_CANONICAL = {
    "t": "t", "tau": "tau", "market_id": "market_id", "asset": "asset",
    "oracle_mid": "cl_mid", "oracle_bid": "cl_bid", "oracle_ask": "cl_ask", "oracle_ffill": "cl_ffill",
    "up_mid": "pm_up_mid", "up_bid": "pm_up_bid", "up_ask": "pm_up_ask",
    "down_mid": "pm_down_mid", "down_bid": "pm_down_bid", "down_ask": "pm_down_ask", "book_ffill": "pm_ffill",
    "k": "K", "settlement": "settlement", "y": "Y", "delta": "delta", "delta_bps": "delta_bps",
    "sum_bids": "sum_bids", "sum_asks": "sum_asks", "up_spread": "pm_up_spread", "down_spread": "pm_down_spread",
}  # fmt: skip
"""Column of `canonical` → its name there, in the order there; every other column follows under its own name."""

_BOOKS = """
    select strftime(t, '%Y-%m-%d %H:%M:%S.%f') || '+00:00' as timestamp, asset, market_id,
        up_mid, up_bid, up_ask, down_mid, down_bid, down_ask,
        up_state = 'observed' or down_state = 'observed' as is_observed
    from rows where venue = $venue and asset = $asset order by t, market_id"""

# One row per second from an asset's first to its last: what was known by then. In a declared gap nothing is known.
_ORACLE = """
    with wanted as (
        select split_part(symbol, '-', 1) as asset, symbol, venue, source, price, bid, ask, available_at, exchange_at,
            list_position($sources::varchar[], source) as rank, window_s
        from oracle_price where list_contains($sources::varchar[], source) and not is_snapshot
            and ($asset::varchar is null or lower(split_part(symbol, '-', 1)) = lower($asset))
    ),
    chosen as (
        select asset, arg_min(symbol, (coalesce(window_s, 0), rank)) as symbol,
            arg_min(venue, (coalesce(window_s, 0), rank)) as venue
        from wanted group by asset
    ),
    tick as (
        select asset, epoch_us(available_at) as us, arg_max(price, exchange_at) as mid, arg_max(bid, exchange_at) as bid,
            arg_max(ask, exchange_at) as ask
        from wanted join chosen using (asset, symbol, venue) group by all
    ),
    span as (
        select asset, (min(us) + 999999) // 1000000 as first_s, (max(us) + 999999) // 1000000 as last_s
        from tick group by asset
    ),
    grid as (select asset, unnest(range(first_s, last_s + 1)) * 1000000 as us from span),
    hole as (
        select chosen.asset, epoch_us(gap.from_at) as from_us, epoch_us(gap.to_at) as to_us
        from (
            select gap_id, any_value(venue) as venue, any_value(symbol) as symbol, any_value(channel) as channel,
                min(from_at) as from_at, max(to_at) as to_at, arg_max(state, (tape_offset, tape_row)) as state
            from gap group by gap_id
        ) as gap join chosen on gap.venue = chosen.venue and gap.symbol in ('', chosen.symbol)
            and gap.channel in ('*', 'oracle_price')
        where gap.state <> 'repaired' and gap.to_at is not null
    ),
    filled as (
        select grid.asset, grid.us, tick.us as seen_us, mid, bid, ask
        from grid asof left join tick on tick.asset = grid.asset and tick.us <= grid.us
    ),
    marked as (
        select *, seen_us > us - 1000000 as is_observed,
            exists (select 1 from hole where hole.asset = filled.asset and us >= from_us and us < to_us) as is_hole
        from filled
    )
    select strftime(make_timestamp(us::bigint), '%Y-%m-%d %H:%M:%S.%f') || '+00:00' as timestamp, asset,
        case when is_observed or not is_hole then mid end as mid, case when is_observed or not is_hole then bid end as bid,
        case when is_observed or not is_hole then ask end as ask, is_observed
    from marked order by asset, us"""


def export_research(lake: Lake, selection: Selection, folder: Path) -> dict[str, int]:
    """Write the files into a folder and give the rows of each; ConfigError when there is nothing to write."""
    canonical = select_rows(lake, "canonical", selection)
    ids = {(row["venue"], row["market_id"]) for row in select_rows(lake, "truth", selection).arrow().to_pylist()}
    markets = [market for market in read_markets(lake) if (market.venue, market.slug) in ids]
    if not markets:
        raise ConfigError("there are no markets to export")
    written: dict[str, int] = {}
    if has_table(lake, "oracle_price"):
        values = {"sources": list(_ORACLES), "asset": selection.asset}
        written["raw/chainlink_continuous.csv"] = export(
            lake.sql(_ORACLE, values), folder / "raw" / "chainlink_continuous.csv"
        )
    held = canonical.sql("select distinct venue, asset from rows order by all").duckdb().fetchall()
    for venue, asset in held:
        name = f"raw/{venue}_{asset}.csv"
        written[name] = export(canonical.sql(_BOOKS, {"venue": venue, "asset": asset}), folder / name)
    name = "research/canonical_dataset.parquet"
    written[name] = export(_rename(canonical), folder / name)
    master = [_describe_market(market) for market in markets]
    path = folder / "research" / "market_master.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(master), indent=1) + b"\n")
    written["research/market_master.json"] = len(master)
    report = render_markdown(make_validation(lake, "Validation report"))
    (folder / "research" / "VALIDATION_REPORT.md").write_text(report, encoding="utf-8")
    written["research/VALIDATION_REPORT.md"] = len(report.splitlines())
    return written


def _rename(canonical: Rows) -> Rows:
    names = canonical.sql("select * from rows limit 0").arrow().schema.names
    missing = [name for name in _CANONICAL if name not in names]
    if missing:
        raise ConfigError(
            f"table canonical has no column {missing[0]}: it was made by another version; truetape build --full"
        )
    own = [f'"{name}"' for name in names if name not in _CANONICAL]
    columns = [f'"{name}" as "{told}"' for name, told in _CANONICAL.items()]
    return canonical.sql(f"select {', '.join([*columns, *own])} from rows order by asset, t, market_id")  # noqa: S608


def _describe_market(market: Market) -> dict[str, Any]:
    """Tell a market in the names that are exchanged, then everything else known of it."""
    truth, verdict = market.truth, judge_market(market)
    assert truth is not None and market.opens_at is not None and market.ends_at is not None  # it is selected by truth
    official = None if truth.official_outcome == "unknown" else truth.official_outcome
    return {
        "market_id": market.slug,
        "asset": market.asset,
        "start_timestamp": market.opens_at,
        "end_timestamp": market.ends_at,
        "strike_K": truth.strike,
        "settlement_price": truth.settlement,
        "resolved_outcome": official,
        "computed_outcome": truth.computed_outcome,
        "outcome_match": truth.is_match,
        "venue": market.venue,
        "series": market.series,
        "duration_s": market.duration_s,
        **{
            name: getattr(truth, name)
            for name in (
                "rule", "rule_window_s", "resolution_source", "strike_source", "strike_age_ms", "settlement_source",
                "settlement_age_ms", "official_source", "official_at", "venue_strike", "venue_final", "next_strike",
                "label", "label_source", "is_disputed", "reason",
            )
        },
        "verdict": verdict.grade,
        "verdict_reasons": verdict.reasons,
        "coverage": market.coverage,
    }  # fmt: skip
