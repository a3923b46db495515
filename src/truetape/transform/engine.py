"""Where dbt is called, and the only place that knows it."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from truetape.errors import BuildError, MissingExtra
from truetape.transform.sources import PROJECT

_FLAGS = 10
"""Arguments that stand before the command."""
_MANIFESTS: dict[str, Any] = {}
"""Variables → the parsed project: parsing takes seconds, and the project does not change while we run."""


OnProgress = Callable[[str, int, int], None]
"""(what, how much of it is done, how much there is)."""


def ignore_progress(what: str, done: int, total: int) -> None:
    """Do nothing."""


def run_models(
    models: list[str], work: Path, variables: dict[str, Any], on_progress: OnProgress = ignore_progress
) -> dict[str, float]:
    """Run models with what they need and the tests on them in `work/models.duckdb`; give the seconds of each.

    Nothing is sent anywhere, nothing outside `work` is written, no profile of the user is read.
    BuildError names the first model or test that failed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dbt's own, which its user cannot act on
        try:
            from dbt.adapters.duckdb.connections import DuckDBConnectionManager
            from dbt.artifacts.schemas.run import RunExecutionResult
            from dbt.cli.main import dbtRunner
        except ImportError as error:
            raise MissingExtra("truetape build", "transform") from error
        arguments = _arguments(work, variables)
        key = json.dumps(variables, sort_keys=True)
        if key not in _MANIFESTS:
            parsed = dbtRunner().invoke([*arguments[:_FLAGS], "parse", *arguments[_FLAGS:]])
            if parsed.exception is not None:
                raise BuildError(f"models: {_first_line(str(parsed.exception))}") from parsed.exception
            _MANIFESTS[key] = parsed.result
        select = ("--select", *(f"+{model}" for model in models))

        def hear(event: Any) -> None:
            if event.info.name == "LogStartLine":
                on_progress("models and tests", event.data.index - 1, event.data.total)

        answer = dbtRunner(manifest=_MANIFESTS[key], callbacks=[hear]).invoke(
            [*arguments[:_FLAGS], "build", *arguments[_FLAGS:], *select]
        )
        # dbt keeps the file open until the process ends, and its door to it complains when there is none.
        if DuckDBConnectionManager._ENV is not None:
            DuckDBConnectionManager._ENV.close()
        DuckDBConnectionManager._ENV = None
    if answer.exception is not None:
        raise BuildError(f"models: {_first_line(str(answer.exception))}") from answer.exception
    results: list[Any] = list(answer.result.results) if isinstance(answer.result, RunExecutionResult) else []
    for result in results:
        if result.status not in {"success", "pass", "warn"}:
            kind = result.node.resource_type.value
            raise BuildError(f"{kind} {result.node.name}: {result.status}: {_first_line(result.message)}")
    return {r.node.name: r.execution_time for r in results if r.node.resource_type.value == "model"}


def _arguments(work: Path, variables: dict[str, Any]) -> list[str]:
    database = {"database": str(work / "models.duckdb"), "spill": str(work / "spill")}
    return [
        *("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-print"),
        *("--no-send-anonymous-usage-stats", "--no-version-check", "--no-use-colors", "--no-write-json"),
        *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
        *("--target-path", str(work / "dbt"), "--log-path", str(work / "dbt")),
        *("--vars", json.dumps(database | variables)),
    ]


def _first_line(message: str | None) -> str:
    lines = [line.strip() for line in (message or "no message").splitlines() if line.strip()]
    useful = [line for line in lines if not line.endswith(("Error", "Error:")) and "Error in" not in line]
    return (useful or lines)[0]
