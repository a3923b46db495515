"""The page holds what the lake holds, loads nothing, and shows no empty picture."""

import re
from pathlib import Path
from typing import Any

from gold import write_gold
from market_lake import Shape, at, make_row, write_kind, write_market_lake
from synthetic import gap, trade, write_rows

from truetape.lake import Lake
from truetape.quality import write_report
from truetape.transform import build

BALANCE = {
    "balanced": True,
    "frames": 500,
    "decoded": 480,
    "control": 20,
    "quarantined": 0,
    "rows": {"trade": 480},
    "stored": {"trade": 479},
    "duplicates": {"trade": 1},
    "gaps": 1,
    "lake_sha256": "f00d",
    "problems": [],
}


def test_a_page_of_a_lake(lake: Path, tmp_path: Path) -> None:
    write_rows(lake, "trade", [trade(i * 0.5, i, 100 + i % 5, 0.5) for i in range(1, 400)])
    write_rows(lake, "gap", [gap("g", 50, 60, 9, "closed")])
    build(lake)
    page = write_report(Lake(lake), tmp_path / "out", "A <lake>", balance=BALANCE)
    text = page.read_text(encoding="utf-8")
    assert page.name == "report.html"
    assert (tmp_path / "out" / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert "A &lt;lake&gt;" in text
    for heading in ("Balance", "Prices", "Coverage", "Lag", "Streams", "Checks", "Gaps"):
        assert f"<h2>{heading}</h2>" in text
    assert text.count("<svg") == 3  # one symbol, lanes, lags
    assert "✓ balanced" in text and "f00d" in text and "disconnect" in text


def test_a_page_loads_nothing_and_wears_both_themes(lake: Path, tmp_path: Path) -> None:
    write_rows(lake, "trade", [trade(i * 0.5, i, 100 + i % 5, 0.5) for i in range(1, 100)])
    build(lake)
    text = write_report(Lake(lake), tmp_path / "out", "t").read_text(encoding="utf-8")
    loaded = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!#)([^"')\s>]+)""", text)
    assert [address for address in loaded if not address.startswith("#")] == []
    assert "<script" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text
    used = set(re.findall(r"var\(--(\w+)\)", text))
    for theme in re.findall(r":root \{(.*?)\}", text, re.DOTALL):
        assert used - {"page", "card", "line", "ink", "muted", "bad", "good", "warn"} <= set(
            re.findall(r"--(\w+):", theme)
        )
    assert not re.search(r"#0[0-9a-d]0[0-9a-d]0[0-9a-d]", text)  # every drawn colour became the page's


def test_two_pages_of_one_lake_are_equal(lake: Path, tmp_path: Path) -> None:
    write_rows(lake, "trade", [trade(i * 0.5, i, 100 + i % 5, 0.5) for i in range(1, 100)])
    pages = [write_report(Lake(lake), tmp_path / name, "t").read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_an_empty_lake_has_a_page_without_pictures(lake: Path, tmp_path: Path) -> None:
    text = write_report(Lake(lake), tmp_path / "out", "t").read_text(encoding="utf-8")
    assert "<svg" not in text
    assert "no events yet" in text
    assert not (tmp_path / "out" / "overview.png").exists()


def test_a_lake_without_bars_says_how_to_make_them(lake: Path, tmp_path: Path) -> None:
    write_rows(lake, "trade", [trade(1, 1, 100, exchange_at=None), trade(2, 2, 100, exchange_at=None)])
    text = write_report(Lake(lake), tmp_path / "out", "t").read_text(encoding="utf-8")
    assert "<code>truetape build</code> makes them" in text
    assert "<h2>Lag</h2>" not in text  # the venue says no times: nothing to draw


def test_rows_before_the_venues_own_time_are_told_not_drawn(lake: Path, tmp_path: Path) -> None:
    write_rows(lake, "trade", [trade(float(i), i, 100, lag=-2) for i in range(1, 9)])
    text = write_report(Lake(lake), tmp_path / "out", "t").read_text(encoding="utf-8")
    assert "8 of 8 rows were received before" in text
    assert text.count("<svg") == 1  # the lanes


def test_what_did_not_decode_is_listed(lake: Path, tmp_path: Path) -> None:
    base = {k: v for k, v in trade(1, 1, 0).items() if k not in ("trade_id", "side", "price", "amount")}
    note = {"feed": "spot", "connection": "c", "reason": "Expected `str`", "path": "$.p", "excerpt": "<b>", "bytes": 3}
    write_rows(lake, "quarantine", [base | note])
    write_rows(
        lake,
        "drift",
        [base | {"feed": "spot", "message": "trade", "change": "appeared", "path": "$.x", "was": "", "now": "str"}],
    )
    text = write_report(Lake(lake), tmp_path / "out", "t").read_text(encoding="utf-8")
    assert "<h2>Quarantine</h2>" in text and "&lt;b&gt;" in text and "<h2>Drift</h2>" in text


def test_a_page_of_markets(lake: Path, tmp_path: Path) -> None:
    flaws = {0: ("wrong",), 1: ("disputed",)}
    write_market_lake(lake, 3, duration_s=120, flaws=flaws)

    def blind(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"up_state": "missing"} if row["tau"] > 110 else row

    write_gold(lake, flaws=flaws, second=blind)
    shape = Shape(duration_s=120)
    hole = make_row(
        "gap", shape, f"{shape.slug(0)}:Up", None, shape.start_s + 60.0, gap_id="g", channel="book_change",
        state="closed", reason="checksum", evidence="{}", from_at=at(shape.start_s + 50), to_at=at(shape.start_s + 60),
    )  # fmt: skip
    hole.pop("kind")
    write_kind(lake, "gap", [hole], "gap")
    out = tmp_path / "out"
    text = write_report(Lake(lake), out, "Markets").read_text(encoding="utf-8")
    for heading in ("Markets", "Market coverage", "Market gaps", "Price against strike", "Market verdicts"):
        assert f"<h2>{heading}</h2>" in text
    assert text.count("<svg") == 7  # heat, gaps, three markets, lanes, lags
    assert "2 of 3" in text and "checksum (1)" in text and "computed" in text
    assert {path.name for path in out.iterdir()} == {
        "report.html", "VALIDATION_REPORT.md", "validation.json", "overview.png", "coverage.png", "gaps.png",
        "markets.png",
    }  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))
    assert not re.search(r"#0[0-9a-d]0[0-9a-d]0[0-9a-d]", text)


def test_two_pages_of_markets_are_equal(lake: Path, tmp_path: Path) -> None:
    write_market_lake(lake, 1, duration_s=120)
    write_gold(lake, 1)
    for name in ("a", "b"):
        write_report(Lake(lake), tmp_path / name, "t")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_markets_without_gold_are_listed_without_pictures(lake: Path, tmp_path: Path) -> None:
    write_market_lake(lake, 1, duration_s=120)
    text = write_report(Lake(lake), tmp_path / "out", "t").read_text(encoding="utf-8")
    assert "<h2>Market verdicts</h2>" in text and "<h2>Market coverage</h2>" not in text
    assert "truetape build makes it" in text
