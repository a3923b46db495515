"""Prediction markets for hours of virtual time under faults, over restarts: no silent hole, no wrong label."""

import json
import os
import resource
import time
from pathlib import Path

import pytest
from prediction_day import START_S, Day, find_wrong_books

from truetape.flow import verify
from truetape.lake import Lake
from truetape.sim.prediction import Prediction
from truetape.transform import build

FAULTS = """
every 5 dispute 600s of btc-*
every 7 split of eth-*
every 6 late 900s of *-updown-15m-*
every 4 miss 3s of eth-updown-15m-*
every 997 drop 2 frames of *-updown-15m-*
every 1500 wrong-hash 1 frame of *-updown-15m-*
at 700s polymarket cut
at 1400s mute 90s of btc-updown-15m-*:Up
at 1900s polymarket freeze 40s
at 2600s polymarket 5xx for 6 requests
at 3100s polymarket 429 retry-after 5 for 3 requests
at 3500s coinbase cut
"""


def repeat_faults(windows: int) -> str:
    """Let what happens at a time happen again every hour."""
    lines = []
    for line in FAULTS.strip().splitlines():
        if not line.startswith("at "):
            lines.append(line)
            continue
        _, when, rest = line.split(" ", 2)
        lines += [f"at {int(when[:-1]) + 3600 * hour}s {rest}" for hour in range(max(1, windows // 4))]
    return "\n".join(lines)


def check(day: Day, folder: Path, whole_after_s: int) -> dict[str, int]:
    """Prove everything that is promised of a day; return what was looked at."""
    verdict = verify(str(folder / "tape"), f"lake:{folder / 'lake'}")
    assert verdict.balanced, verdict.problems
    build(folder / "lake")
    lake = Lake(folder / "lake")
    truths = lake.sql("select * from truth").arrow().to_pylist()
    markets = [day.world.find(asset, "15m", START_S, ahead=n) for asset in day.assets for n in range(day.windows)]
    by_slug = {truth["market_id"]: truth for truth in truths}
    assert {market.slug for market in markets} <= by_slug.keys()
    counts = {"markets": len(markets), "labelled": 0, "computed": 0, "indeterminate": 0, "seconds": 0}
    for market in markets:
        truth = by_slug[market.slug]
        if truth["label"] != "unknown":
            assert truth["label"] == market.official, market.slug
            counts["labelled"] += 1
        if truth["computed_outcome"] in ("Up", "Down"):
            assert truth["computed_outcome"] == market.computed, market.slug
            counts["computed"] += 1
        else:
            counts["indeterminate"] += 1
    seconds = lake.sql(
        """select market_id, count(*) as n, count(*) filter (where 'missing' in
            (oracle_state, up_state, down_state)) as missing from canonical group by 1"""
    ).arrow()
    for row in seconds.to_pylist():
        market = day.world.find_slug(row["market_id"], START_S)
        assert market is not None
        assert row["n"] == market.duration_s
        if market.opens_s >= whole_after_s:
            assert row["missing"] == 0, f"{row['market_id']}: {row['missing']} seconds neither observed nor declared"
        counts["seconds"] += row["n"]
    wrong = find_wrong_books(day, lake)
    assert not wrong, f"{len(wrong)} seconds differ from the world outside of every declared hole: {wrong[:5]}"
    other = Day(folder, day.assets, day.windows, "", ())
    other.world = Prediction(day.world.seed + 1)
    assert len(find_wrong_books(other, lake)) > counts["seconds"], "another world's books would have passed"
    counts["frames"] = verdict.frames
    counts["gaps"] = verdict.gaps
    return counts


def test_hours_of_two_assets_under_faults_over_a_restart(tmp_path: Path) -> None:
    day = Day(tmp_path, ("BTC", "ETH"), 3, FAULTS, restarts=[1200])
    day.run()
    counts = check(day, tmp_path, START_S)
    assert counts["labelled"] >= 4
    assert counts["computed"] >= 4


@pytest.mark.soak
def test_a_day_of_four_assets_under_faults_over_restarts(tmp_path: Path) -> None:
    windows = int(os.environ.get("TRUETAPE_SOAK_WINDOWS", "96"))
    began = time.monotonic()
    day = Day(tmp_path, ("BTC", "ETH", "SOL", "XRP"), windows, repeat_faults(windows), restarts=[5000, 30_000, 61_234])
    day.run()
    recorded = time.monotonic()
    counts = check(day, tmp_path, START_S)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**counts, "recorded_s": round(recorded - began), "checked_s": round(time.monotonic() - recorded),
                      "memory_mb": round(memory)}))  # fmt: skip
    assert counts["labelled"] >= counts["markets"] - 8
