"""What the models may read, written from the schema: `models/sources.yml` is made by this module."""

from pathlib import Path

import yaml

from truetape.events.schema import KINDS

PROJECT = Path(__file__).parent / "project"
"""The dbt project inside the package."""

SOURCES = PROJECT / "models" / "sources.yml"

_UNIT_COLUMNS = (
    ("venue", "venue of the unit"),
    ("date", "UTC day of the unit, by the time of the event"),
    ("heard_at", "when anything of the driving kind was last received from this venue"),
)

_MARKET_COLUMNS = (
    ("venue", "venue of the market"),
    ("slug", "name of the market"),
    ("condition", "id of the condition that it resolves"),
    ("asset", "asset whose price decides: BTC"),
    ("duration_s", "length of its window"),
    ("series", "5m, 15m, 1h, 4h, daily; other lengths in seconds: 600s"),
    ("opens_us", "start of its window, microseconds since 1970"),
    ("ends_us", "end of its window"),
    ("outcomes", "names of its outcomes in the venue's order"),
    ("up_name", "name of the outcome that wins when the price is up, or the same"),
    ("down_name", "name of the other"),
    ("up_symbol", "symbol of the one"),
    ("down_symbol", "symbol of the other"),
    ("next_slug", "the market of the same asset and length that opens when this one ends"),
    ("next_condition", "id of that one's condition"),
    ("is_wanted", "false for those that are there because they follow one that is built"),
    ("is_over", "whether the lake was heard after its end"),
)

_BOOK_COLUMNS = (
    ("venue", "venue of the market"),
    ("slug", "name of the market"),
    ("symbol", "symbol of the outcome"),
    ("second", "seconds since the market opened, from 0; what had been received by then"),
    ("bid", "best bid; null when that side was empty"),
    ("ask", "best ask"),
    ("bid_depth", "shares on all bids"),
    ("ask_depth", "shares on all asks"),
    ("large_orders", "levels of both sides that held at least large_order_min shares"),
    ("heard_us", "when the book last changed, microseconds since 1970"),
)

_STREAM_COLUMNS = (
    ("kind", "event kind"),
    ("venue", "venue of the stream"),
    ("symbol", "symbol of the stream"),
    ("first_us", "time of the stream's first event in the whole lake, microseconds since 1970"),
)


def render_sources() -> str:
    """Write the text of `models/sources.yml`: every event kind, and the units of this run."""
    lake = [
        {"name": kind.name, "description": kind.doc, "columns": [_column(c.name, c.doc) for c in kind.columns]}
        for kind in KINDS.values()
    ]
    unit = {
        "name": "unit",
        "description": "Venue-days this run builds: a model gives the rows of these and no others.",
        "columns": [_column(name, doc) for name, doc in _UNIT_COLUMNS],
    }
    stream = {
        "name": "stream",
        "description": "When each stream began.",
        "columns": [_column(name, doc) for name, doc in _STREAM_COLUMNS],
    }
    market = {
        "name": "market",
        "description": "Markets this run builds, and those that follow them.",
        "columns": [_column(name, doc) for name, doc in _MARKET_COLUMNS],
    }
    books = {
        "name": "book_second",
        "description": "Books of the markets' outcomes by the second, from their first whole picture on.",
        "columns": [_column(name, doc) for name, doc in _BOOK_COLUMNS],
    }
    tree = {
        "sources": [
            {"name": "lake", "description": "The lake's tables, one per event kind.", "tables": lake},
            {
                "name": "build",
                "description": "What the runner says to the models.",
                "tables": [unit, stream, market, books],
            },
        ]
    }
    head = "# Made from the schema by truetape.transform.sources; a test compares.\n"
    return head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def _column(name: str, doc: str) -> dict[str, str]:
    return {"name": name, "description": doc}
