"""Recorded markets: the outcome computed from oracle prices next to the one the venue paid."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pytest
from market_lake import Shape, at, make_row, write_kind

from truetape.events.schema import KINDS
from truetape.lake import Lake
from truetape.lake.table import LakeTable
from truetape.transform import build
from truetape.venues.polymarket.gamma import read_markets
from truetape.venues.polymarket.oracle import scale_e18

SHAPE = Shape()


def write_market(market: Any, window_s: int | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The rows that one market of Gamma's becomes."""
    own = {
        "slug": market.slug, "condition": market.condition, "outcomes": json.dumps(market.outcomes),
        "opens_at": at(market.opens_us / 1e6), "ends_at": at(market.ends_us / 1e6), "rule": market.rule,
        "rule_window_s": market.rule_window_s, "resolution_source": market.resolution_source,
    }  # fmt: skip
    told = {
        "slug": market.slug, "condition": market.condition, "source": "gamma", "status": market.resolution_status,
        "is_resolved": market.is_resolved, "winner": market.winner, "payouts": json.dumps(market.prices),
    }  # fmt: skip
    when = market.ends_us / 1e6
    return [
        ("prediction_market", make_row("", SHAPE, market.slug, None, market.opens_us / 1e6 - 80_000, **own)),
        ("resolution", make_row("", SHAPE, market.slug, None, when + 60, **told)),
    ]


def write_facts(lake: Path, rows: list[tuple[str, dict[str, Any]]]) -> None:
    for kind in ("prediction_market", "resolution", "oracle_price"):
        write_kind(lake, kind, [row for name, row in rows if name == kind], "recorded")


def write_ticks(lake: Path, path: Path) -> None:
    """A day of RTDS prices, as recorded."""
    table = pc.read_csv(io.BytesIO(gzip.decompress(path.read_bytes())), convert_options=pc.ConvertOptions(
        column_types={"full_accuracy_value": pa.utf8()}
    ))  # fmt: skip
    count, stamp = table.num_rows, pa.timestamp("us", tz="UTC")
    observed = pa.array(table["feed_ts_ms"].to_numpy() * 1000)
    received = pa.array(table["recv_ms"].to_numpy() * 1000)
    columns = {
        "venue": ["polymarket"] * count, "symbol": ["BTC-USD:rtds_chainlink"] * count,
        "venue_symbol": ["rtds_chainlink:btc/usd"] * count, "exchange_at": observed.cast(stamp),
        "received_at": received.cast(stamp), "available_at": received.cast(stamp), "tape_offset": received,
        "tape_row": [0] * count, "source": ["rtds_chainlink"] * count, "feed_id": ["btc/usd"] * count,
        "price": table["value"].to_numpy(), "is_snapshot": [False] * count,
        "exact_price": [scale_e18(text) for text in table["full_accuracy_value"].to_pylist()],
    }  # fmt: skip
    schema = KINDS["oracle_price"].arrow
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in schema
    ]
    LakeTable(lake, KINDS["oracle_price"], lambda step: None).append(pa.table(arrays, schema=schema), "ticks", 1 << 60)


@pytest.fixture(scope="module")
def five_minutes(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of 5-minute markets of Bitcoin with their oracle's prices, built."""
    lake = tmp_path_factory.mktemp("recorded") / "lake"
    folder = recordings / "prediction" / "oracle_and_outcomes" / "ligengxin_btc5m"
    write_ticks(lake, folder / "BTCUSD-prices-2026-06-08.csv.gz")
    lines = gzip.decompress((folder / "BTC-5m-markets-2026-06-08.jsonl.gz").read_bytes()).splitlines()
    markets = [read_markets(json.dumps([json.loads(line)["raw"]]).encode())[0][0] for line in lines]
    write_facts(lake, [row for market in markets for row in write_market(market)])
    build(lake, ["truth"])
    return lake


def test_a_day_of_markets_is_computed_as_it_was_paid(five_minutes: Path) -> None:
    """All 279 with an observation at both boundary seconds, 7 more with one a second before, 6 nobody can know."""
    rows = Lake(five_minutes).sql("""
        select case when is_match is not null then strike_age_ms = 0 and settlement_age_ms = 0 end as is_exact, is_match, official_outcome in ('Up', 'Down') as is_official,
            computed_outcome <> 'indeterminate' as is_computed, count(*) as markets
        from truth group by all""")
    counted = {tuple(row.values())[:4]: row["markets"] for row in rows.arrow().to_pylist()}
    assert counted == {(True, True, True, True): 279, (False, True, True, True): 7, (None, None, True, False): 6}


def test_averages_read_at_each_start_settle_the_markets_before(recordings: Path, tmp_path: Path) -> None:
    """All 128 windows that another one of the journal follows; indeterminate where none does."""
    path = (
        recordings / "prediction" / "oracle_and_outcomes" / "ericeric_btc15m_sep2026" / "market_outcomes_rows1-174.csv"
    )
    rows = list(csv.DictReader(path.read_text().splitlines()))
    made: list[tuple[str, dict[str, Any]]] = []
    for row in rows:
        slug, opens = row["market_slug"], int(row["market_start_utc_epoch"])
        own = {
            "slug": slug, "condition": slug, "outcomes": '{"Up":"1","Down":"2"}', "opens_at": at(opens),
            "ends_at": at(opens + 900), "rule": "twap", "rule_window_s": 60,
            "resolution_source": "https://data.chain.link/streams/btc-usd-twap-60s-streams",
        }  # fmt: skip
        winner = row["official_outcome"].capitalize()
        told = {"slug": slug, "condition": slug, "source": "gamma", "is_resolved": True, "winner": winner}
        told |= {"payouts": json.dumps({"Up": float(winner == "Up"), "Down": float(winner == "Down")})}
        made.append(("prediction_market", make_row("", SHAPE, slug, None, opens - 80_000, **own)))
        made.append(("resolution", make_row("", SHAPE, slug, None, opens + 1000, status="resolved", **told)))
        for window_s, column in ((60, "journal_strike"), (None, "journal_spot")):
            if not row[column]:
                continue
            symbol = "BTC-USD:rtds_chainlink" + ("" if window_s is None else "_twap60")
            price = {
                "source": "rtds_chainlink",
                "feed_id": "btc/usd",
                "window_s": window_s,
                "price": float(row[column]),
            }
            made.append(("oracle_price", make_row("", SHAPE, symbol, opens, opens + 1.3, **price)))
    write_facts(tmp_path / "lake", made)
    build(tmp_path / "lake", ["truth"])
    counted = (
        Lake(tmp_path / "lake").sql("select is_match, count(*) as markets from truth group by all").arrow().to_pylist()
    )
    assert {row["is_match"]: row["markets"] for row in counted} == {True: 128, None: 15}
