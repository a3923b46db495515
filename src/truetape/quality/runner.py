"""Run checks over a lake; the folder `checks` is the registry."""

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache

import msgspec

from truetape import clock
from truetape.errors import ConfigError
from truetape.lake import Lake
from truetape.quality import checks as registry
from truetape.quality._contract import Check, Finding

NOT_APPLICABLE = "not applicable"
"""There was nothing to examine: that proves nothing, and is no pass."""


DULL_MAX = 3
"""Names of checks that had nothing to examine are told when they are so few."""


class CheckResult(msgspec.Struct, frozen=True):
    """What one check said."""

    name: str
    doc: str
    examines: str
    examined: int
    total: int | None
    """How many there are, where not all of them could be examined."""
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def verdict(self) -> str:
        """Say it in a word: failed, warned, passed, or not applicable when there was nothing to examine."""
        if any(finding.severity == "error" for finding in self.findings):
            return "failed"
        if self.findings:
            return "warned"
        return "passed" if self.examined else NOT_APPLICABLE


class CheckReport(msgspec.Struct, frozen=True):
    """What all checks said."""

    results: tuple[CheckResult, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the checks."""
        return tuple(finding for result in self.results for finding in result.findings)

    @property
    def is_fine(self) -> bool:
        """Whether no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def summary(self) -> str:
        """Say it in one line: how many passed, and which did not."""
        words = []
        for verdict in ("passed", "warned", "failed", NOT_APPLICABLE):
            names = [result.name for result in self.results if result.verdict == verdict]
            if names:
                is_dull = verdict == "passed" or (verdict == NOT_APPLICABLE and len(names) > DULL_MAX)
                listed = "" if is_dull else f" ({', '.join(names)})"
                words.append(f"{len(names)} {verdict}{listed}")
        return ", ".join(words)

    @property
    def exit_code(self) -> int:
        """What a command exits with: 1 when a finding is an error, else 0."""
        return 0 if self.is_fine else 1


@cache
def list_checks() -> tuple[Check, ...]:
    """Load every check there is a file for, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(registry.__path__))
    found = [importlib.import_module(f"{registry.__name__}.{name}").CHECK for name in names]
    return tuple(found)


def run_checks(lake: Lake, names: Sequence[str] | None = None, *, deep: bool = False) -> CheckReport:
    """Run all checks, or the named ones; those that build models only when named, or when `deep`."""
    known = {check.name: check for check in list_checks()}
    for name in names or ():
        if name not in known:
            raise ConfigError(f"check {name!r}: unknown (allowed: {', '.join(known)})")
    chosen = [known[name] for name in names] if names else [c for c in known.values() if deep or not c.is_deep]
    return CheckReport(tuple(_run_check(check, lake) for check in chosen))


def _run_check(check: Check, lake: Lake) -> CheckResult:
    started = clock.monotonic_ns()
    outcome = check.run(lake)
    seconds = (clock.monotonic_ns() - started) / 1e9
    return CheckResult(
        check.name, check.doc, check.examines, outcome.examined, outcome.total, outcome.findings, seconds
    )
