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
    tree = {
        "sources": [
            {"name": "lake", "description": "The lake's tables, one per event kind.", "tables": lake},
            {"name": "build", "description": "What the runner says to the models.", "tables": [unit, stream]},
        ]
    }
    head = "# Made from the schema by truetape.transform.sources; a test compares.\n"
    return head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def _column(name: str, doc: str) -> dict[str, str]:
    return {"name": name, "description": doc}
