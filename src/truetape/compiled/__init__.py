"""The part of truetape that is compiled, where a C compiler was at hand when it was installed.

Everything in it is written in Python, too, and says the same there: it only takes longer. `TRUETAPE_PURE=1` leaves
the compiled part out. Measured reasons: docs/explain/compiled.md.
"""

from types import ModuleType

from truetape.config.environment import is_pure

core: ModuleType | None
if is_pure():
    core = None
else:
    try:
        from truetape.compiled import _core as core
    except ImportError:
        core = None
