"""The only reader of the time: wall and monotonic nanoseconds."""

import time
from collections.abc import Callable

wall_ns: Callable[[], int] = time.time_ns
"""Nanoseconds since 1970-01-01 UTC, as the machine's clock has them; may step."""

monotonic_ns: Callable[[], int] = time.monotonic_ns
"""Nanoseconds of a clock that never steps back; only differences mean anything."""
