"""The document says what the checks and verdicts say, for people and for programs."""

import json
from pathlib import Path

from gold import write_gold
from market_lake import write_market_lake

from truetape.lake import Lake
from truetape.quality.validation import make_validation, render_markdown, write_validation


def test_a_document_of_markets(lake: Path, tmp_path: Path) -> None:
    flaws = {1: ("wrong",), 2: ("no_settlement",)}
    write_market_lake(lake, 4, duration_s=120, flaws=flaws)
    write_gold(lake, 4, flaws=flaws)
    path = write_validation(make_validation(Lake(lake), "A title"), tmp_path, ("coverage.png",))
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# A title\n\n**Checks failed**: ")
    assert "| `outcome_reproduced` | ✗ failed | 2 of 4 markets with both outcomes |" in text
    assert "| computed outcome is the official one | 1 of 2 (50.00%) |" in text
    assert "| indeterminate: no observation at a boundary | 2 |" in text
    assert "![coverage](coverage.png)" in text
    assert "| `blind_share_good_max` | 0.01 |" in text
    assert "* error, `outcome_reproduced`, polymarket btc-updown-2m-1777420920: computed" in text
    read = json.loads((tmp_path / "validation.json").read_text())
    assert (read["is_fine"], read["labels"]["compared"], read["labels"]["matched"]) == (False, 2, 1)
    assert {c["name"]: c["verdict"] for c in read["checks"]}["outcome_reproduced"] == "failed"
    assert [m["grade"] for m in read["markets"]] == ["good", "bad", "degraded", "degraded"]
    assert read["days"][0]["grade"] == "bad"
    assert "seconds" not in read["checks"][0]


def test_a_document_of_a_lake_without_markets(lake: Path) -> None:
    text = render_markdown(make_validation(Lake(lake), "Empty"))
    assert "not applicable" in text
    assert "## Markets" not in text
