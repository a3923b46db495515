"""What is written twice, in Python and compiled: tests of one are tests of both."""

from typing import Any

import pytest

from truetape import compiled

NEEDS_COMPILED = pytest.mark.skipif(compiled.core is None, reason="the compiled part was not built, or is left out")


def pair_twins(slow: Any, fast: Any) -> list[Any]:
    """Return both as parameters; where there is only one, the other is skipped."""
    return [pytest.param(slow, id="python"), pytest.param(fast, id="compiled", marks=NEEDS_COMPILED)]
