"""Prediction markets: which there are, and everything known of one."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option
from truetape.cli._output import print_json, print_rows

if TYPE_CHECKING:
    from truetape.quality import Market, MarketVerdict

_BUILD = "truetape build"


@click.group("markets")
def command() -> None:
    """Show prediction markets: life, strike, settlement, label, coverage, and where each came from."""


@command.command("ls")
@click.option("--asset", help="Only markets of this asset (BTC).")
@click.option("--series", help="Only markets of this series: its width (5m, 15m, 1h, 4h, daily) or the venue's name.")
@click.option("--state", help="Only markets in this state: listed, open, ending, ended, proposed, disputed, resolved, "
              "settled, unknown.")  # fmt: skip
@click.option("--all", "is_all", is_flag=True, help="Also markets that were only heard of.")
@lake_option
@config_option
@json_option
def list_(
    asset: str | None, series: str | None, state: str | None, is_all: bool, lake: str | None, config_path: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """List the markets that were followed by when they open, with label, coverage and verdict."""
    from truetape.lake import Lake
    from truetape.quality import judge_market, read_markets

    opened = Lake(find_lake(lake, config_path))
    markets = read_markets(opened, asset=asset, series=series, state=state)
    shown = [market for market in markets if is_all or market.changes or market.truth]
    rows = [_summarize(market, judge_market(market)) for market in shown]
    if not as_json:
        for row in rows:
            _shorten(row)
    spare = ("reasons", "gaps", "down", "up", "oracle", "opens_at", "asset", "computed", "settlement")
    print_rows(rows, as_json=as_json, title="markets", spare=spare)
    if len(shown) < len(markets):
        click.echo(f"{len(markets) - len(shown)} more were only heard of: --all lists them", err=True)
    _say_what_to_build(opened)


@command.command("show")
@click.argument("slug")
@lake_option
@config_option
@json_option
def show(slug: str, lake: str | None, config_path: Path, as_json: bool) -> None:
    """Show one market: its life, prices and label with their sources, coverage, gaps and verdict."""
    import msgspec

    from truetape.errors import ConfigError
    from truetape.lake import Lake
    from truetape.quality import judge_market, list_windows, read_markets

    opened = Lake(find_lake(lake, config_path))
    found = read_markets(opened, slug=slug)
    if not found:
        raise ConfigError(_deny(slug, [window.slug for window in list_windows(opened)]))
    for market in found:
        verdict = judge_market(market)
        if as_json:
            print_json(msgspec.to_builtins(market) | {"verdict": verdict})
        else:
            _print_market(market, verdict)
    _say_what_to_build(opened)


def _deny(slug: str, known: list[str]) -> str:
    from difflib import get_close_matches

    if not known:
        return f"market {slug!r}: the lake knows no markets"
    near = get_close_matches(slug, known, 1, 0.0)
    return f"market {slug!r}: unknown (nearest: {near[0]}; truetape markets ls lists all {len(known)})"


def _say_what_to_build(lake: Any) -> None:
    """Tell what the lake lacks, beside the output: it stays JSON."""
    from truetape.quality import has_table

    missing = [name for name in ("truth", "canonical") if not has_table(lake, name)]
    if missing:
        click.echo(f"note: no table {' and no table '.join(missing)} yet; {_BUILD} makes it", err=True)


def _summarize(market: "Market", verdict: "MarketVerdict") -> dict[str, Any]:
    truth = market.truth
    shares = {c.stream: round(c.known / c.seconds, 4) if c.seconds else None for c in market.coverage}
    return {
        "market": market.slug,
        "venue": market.venue,
        "asset": market.asset,
        "opens_at": market.opens_at,
        "seconds": market.duration_s,
        "state": market.state,
        "strike": truth.strike if truth else None,
        "settlement": truth.settlement if truth else None,
        "computed": truth.computed_outcome if truth else None,
        "official": truth.official_outcome if truth else None,
        "label": truth.label if truth else None,
        "oracle": shares.get("oracle"),
        "up": shares.get("up"),
        "down": shares.get("down"),
        "gaps": len(market.gaps),
        "verdict": verdict.grade,
        "reasons": "; ".join(verdict.reasons),
    }


def _shorten(row: dict[str, Any]) -> None:
    """Make a row of the list fit a screen; `markets show` tells the rest."""
    del row["seconds"], row["venue"]
    row["opens_at"] = f"{row['opens_at']:%m-%d %H:%M}" if row["opens_at"] else ""
    first, _, more = row["reasons"].partition("; ")
    row["reasons"] = f"{first}; …" if more else first


def _print_market(market: "Market", verdict: "MarketVerdict") -> None:
    width = f", {market.duration_s} s" if market.duration_s else ""
    click.echo(f"{market.slug}  ({market.asset}, {market.series or 'no window'}, {market.venue})")
    _print_fact("window", f"{_show_time(market.opens_at)} to {_show_time(market.ends_at)} UTC{width}")
    _print_fact("state", market.state)
    _print_fact("verdict", verdict.grade + "".join(f"\n{'':14}{reason}" for reason in verdict.reasons))
    if market.truth is not None:
        _print_truth(market)
    life = [
        {"state": c.state, "at (UTC)": c.at, "because": c.reason or "", "tape offset": str(c.tape_offset)}
        for c in market.changes
    ]
    print_rows(life, as_json=False, title="life, by rows of market_state")
    seconds = [
        {
            "stream": c.stream, "seconds": c.seconds, "observed": c.observed, "carried": c.carried, "gap": c.gap,
            "before open": c.before_open, "after end": c.after_end, "missing": c.missing,
        }
        for c in market.coverage
    ]  # fmt: skip
    print_rows(seconds, as_json=False, title="coverage, in seconds of the market")
    gaps = [
        {"stream": f"{g.venue} {g.symbol or '(all)'} {g.channel}", "from (UTC)": g.from_at, "seconds": g.seconds,
         "reason": g.reason, "state": g.state}
        for g in market.gaps
    ]  # fmt: skip
    print_rows(gaps, as_json=False, title="gaps that touch it and are not repaired")


def _print_truth(market: "Market") -> None:
    truth = market.truth
    assert truth is not None
    window = f" over {truth.rule_window_s} s" if truth.rule_window_s else ""
    _print_fact("rule", f"{truth.rule or 'not told'}{window}, {truth.resolution_source or 'no source told'}")
    for name, theirs, venue_price in (
        ("strike", "priceToBeat", truth.venue_strike),
        ("settlement", "finalPrice", truth.venue_final),
    ):
        value = getattr(truth, name)
        if value is None:
            text = "not observed"
        else:
            age = (getattr(truth, f"{name}_age_ms") or 0) / 1000
            source, seen = getattr(truth, f"{name}_source"), getattr(truth, f"{name}_observed_at")
            where = f"{abs(age):g} s {'before' if age > 0 else 'after'} the boundary" if age else "at the boundary"
            text = f"{value:,.10g}, {source} at {_show_time(seen)} ({where})"
        _print_fact(name, text + (f"; {theirs} {venue_price:,.10g}" if venue_price is not None else ""))
    if truth.next_strike is not None:
        _print_fact("next strike", f"{truth.next_strike:,.10g}")
    _print_fact("computed", truth.computed_outcome or "nothing")
    told = f", {truth.official_source} at {_show_time(truth.official_at)}" if truth.official_source else ""
    _print_fact("official", f"{truth.official_outcome or 'unknown'}{told}{', disputed' if truth.is_disputed else ''}")
    _print_fact("label", f"{truth.label or 'unknown'} ({truth.label_source or 'none'})")
    if truth.reason:
        _print_fact("because", truth.reason)


def _print_fact(name: str, text: str) -> None:
    click.echo(f"  {name:12}{text}")


def _show_time(moment: datetime | None) -> str:
    if moment is None:
        return "?"
    return moment.strftime("%Y-%m-%d %H:%M:%S") + (f".{moment.microsecond // 1000:03d}" if moment.microsecond else "")
