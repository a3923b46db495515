"""The sources file is what the schema says."""

from truetape.transform.sources import SOURCES, render_sources


def test_sources_are_up_to_date() -> None:
    assert SOURCES.read_text(encoding="utf-8") == render_sources(), (
        "write it anew: python -c 'from truetape.transform.sources import *; SOURCES.write_text(render_sources())'"
    )
