"""Run the models over a lake: what changed goes in, gold tables come out."""

import datetime
import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from truetape import clock
from truetape.errors import BuildError, ConfigError
from truetape.lake.disk import find_folder
from truetape.transform import book, market
from truetape.transform.batch import MarketPlan, Work, build_plan, find_market_models
from truetape.transform.engine import OnProgress, ignore_progress, run_models
from truetape.transform.gold import read_version, store_units
from truetape.transform.market import MEMORY_DEFAULT, Desk
from truetape.transform.sources import PROJECT
from truetape.transform.unit import (
    WHOLE,
    Index,
    Starts,
    Unit,
    create_views,
    find_starts,
    fingerprint_units,
    index_files,
    list_files,
)

_SOURCE = re.compile(r"""source\(\s*['"]lake['"]\s*,\s*['"](\w+)['"]\s*\)""")
_BOOKS = re.compile(r"""source\(\s*['"]build['"]\s*,\s*['"]book_second['"]\s*\)""")
_REF = re.compile(r"""ref\(\s*['"](\w+)['"]\s*\)""")
_TABLE = re.compile(r"""config\(\s*materialized='table'""")
_LOOKBACK = re.compile(r"""'lookback_days':\s*(\d+)""")
_INTERVAL = re.compile(r"([1-9][0-9]*)(ms|s|m|h|d)")
_WIDTHS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

VARIABLES = {
    "intervals": "widths of bars",
    "gap_margin_ms": "how much earlier gaps count for bars",
    "memory": "memory that the database may take: 4GB, 75%",
    "large_order_min": "shares on one level of a book from which on it is a large order",
    "settle_tolerance_ms": "how far from a market's boundary an oracle's observation may lie",
    "underlying": "venue whose prices of the asset stand beside a market",
}
"""What a build can be told."""

UNDERLYING_DEFAULT = "coinbase"
LARGE_ORDER_MIN_DEFAULT = 1000.0
TOLERANCE_MS_MAX = 10_000
"""An older price is not the price at a market's boundary, whoever asks."""


class ModelResult(msgspec.Struct, frozen=True):
    """What one model did."""

    name: str
    units: int
    """Venue-days built, or markets."""
    rows: int
    """Rows of these."""
    seconds: float
    """Time in the model's own query."""


class BuildResult(msgspec.Struct, frozen=True):
    """What a build did."""

    models: tuple[ModelResult, ...]
    seconds: float


class _ModelState(msgspec.Struct):
    version: int
    """Version of the gold table this describes."""
    code: str
    """Hash of the project and the variables."""
    units: dict[str, str]
    variables: dict[str, Any] = {}
    """What changed its rows: all but memory, and what is as usual."""


_FORMAT = 2
"""Of the state; another one is not read, and everything is built."""


class _State(msgspec.Struct):
    format: int
    models: dict[str, _ModelState] = {}
    files: dict[str, Index] = {}
    starts: dict[str, Starts] = {}


def build(
    lake: Path | str,
    models: Sequence[str] | None = None,
    *,
    full: bool = False,
    variables: Mapping[str, Any] | None = None,
    heard_at: datetime.datetime | None = None,
    on_progress: OnProgress = ignore_progress,
) -> BuildResult:
    """Build gold tables, all or the named ones, from what changed in the lake since they were built.

    `variables` are those of `project/dbt_project.yml`, and `memory`. Rows received late are found wherever they belong. `full` builds everything again; so does a changed model
    or variable. With `heard_at` the lake counts as heard until then, so that markets which had not ended in a lake cut off
    earlier are built as if it were silent since. Two builds of equal rows give equal tables, in one pass or in many.
    """
    started = clock.monotonic_ns()
    root = find_folder(lake).resolve()
    wanted = _choose_models(models)
    settings = _check_variables(dict(variables or {}))
    with _lock_builds(root / "_build") as work:
        results = _build_models(root, work, wanted, full, settings, heard_at, on_progress)
    return BuildResult(tuple(results), (clock.monotonic_ns() - started) / 1e9)


def read_variables(lake: Path | str, model: str) -> dict[str, Any]:
    """Return the variables that a lake's table was built with last, those that were as usual left out."""
    state = _load_state(Path(lake) / "_build" / "state.json").models.get(model)
    return dict(state.variables) if state is not None else {}


def list_models() -> list[str]:
    """List the gold models: the files of the folder."""
    return sorted(path.stem for path in (PROJECT / "models" / "gold").glob("*.sql"))


def list_derived() -> list[str]:
    """List the silver models that are tables, too: built when they are named."""
    texts = {path.stem: path.read_text("utf-8") for path in (PROJECT / "models" / "silver").glob("*.sql")}
    return sorted(name for name, text in texts.items() if _TABLE.search(text))


def _choose_models(models: Sequence[str] | None) -> list[str]:
    known = [*list_models(), *list_derived()]
    for name in models or ():
        if name not in known:
            raise ConfigError(f"model {name!r}: unknown (allowed: {', '.join(known)})")
    return sorted(set(models)) if models else list_models()


def _check_variables(variables: dict[str, Any]) -> dict[str, Any]:
    for name in variables:
        if name not in VARIABLES:
            raise ConfigError(f"variable {name!r}: unknown (allowed: {', '.join(VARIABLES)})")
    for name in variables.get("intervals", ()):
        match = _INTERVAL.fullmatch(str(name))
        if not match or _WIDTHS_MS["d"] % (int(match[1]) * _WIDTHS_MS[match[2]]):
            raise ConfigError(f"interval {name!r}: not a width that divides a day (allowed: 250ms, 1s, 5m, 1h, 1d, …)")
    _check_market_variables(variables)
    if variables.get("large_order_min") == LARGE_ORDER_MIN_DEFAULT:
        del variables["large_order_min"]  # said or not, it is the same
    return variables


def _check_market_variables(variables: dict[str, Any]) -> None:
    large_min, underlying = variables.get("large_order_min", 1), variables.get("underlying", UNDERLYING_DEFAULT)
    if not isinstance(large_min, int | float) or not 0 < large_min < float("inf"):
        raise ConfigError(f"large_order_min: {large_min!r} is no number of shares above 0")
    if not re.fullmatch(r"[a-z0-9_]+", str(underlying)):
        raise ConfigError(f"underlying: {underlying!r} is no name of a venue (such as coinbase, binance)")
    tolerance = variables.get("settle_tolerance_ms", 0)
    if not isinstance(tolerance, int) or not 0 <= tolerance <= TOLERANCE_MS_MAX:
        raise ConfigError(f"settle_tolerance_ms: {tolerance!r} is no integer from 0 to {TOLERANCE_MS_MAX}")


@contextmanager
def _lock_builds(work: Path) -> Iterator[Path]:
    """Let one build run per lake, in a work folder that starts without a database."""
    work.mkdir(exist_ok=True)
    with (work / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BuildError(f"{work.parent}: another build of this lake is running") from error
        _clear(work)
        try:
            yield work
        finally:
            _clear(work)


def _clear(work: Path) -> None:
    for path in work.glob("models.duckdb*"):
        path.unlink()
    shutil.rmtree(work / "spill", ignore_errors=True)


class _Plan(msgspec.Struct, frozen=True):
    """What one model needs: from the files to the units to build."""

    model: str
    kinds: frozenset[str]
    prints: dict[Unit, str]
    units: list[Unit]
    """Units to build."""
    is_new: bool
    """Whether the whole table is to be replaced."""


def _build_models(
    lake: Path,
    work: Path,
    models: list[str],
    full: bool,
    variables: dict[str, Any],
    heard_at: datetime.datetime | None,
    on_progress: OnProgress,
) -> list[ModelResult]:
    if full:
        (work / "parts.parquet").unlink(missing_ok=True)
    state = _State(_FORMAT) if full else _load_state(work / "state.json")
    code = _hash_project(variables)
    by_market = find_market_models(read_models())
    results = {model: ModelResult(model, 0, 0, 0.0) for model in models}
    by_day = [model for model in models if model not in by_market]
    for result in _build_days(lake, work, by_day, state, code, variables, on_progress):
        results[result.name] = result
    _save_state(work / "state.json", state)
    markets = [m for m in models if m in by_market]
    for result in _build_markets(lake, work, markets, state, code, variables, heard_at, on_progress):
        results[result.name] = result
    return [results[model] for model in models]


def _build_days(
    lake: Path,
    work: Path,
    models: list[str],
    state: _State,
    code: str,
    variables: dict[str, Any],
    on_progress: OnProgress,
) -> Iterator[ModelResult]:
    """Build the models whose units are venue-days."""
    kinds = {model: _find_kinds(model) for model in models}
    indexes: dict[str, Index] = {}
    for kind in sorted(frozenset().union(*kinds.values()) - set(WHOLE)):
        known, files = state.files.get(kind, {}), list_files(lake, kind)
        indexes[kind] = index_files(files, known)
        fresh = [file for file in files if file not in known]
        state.starts[kind] = find_starts(fresh, state.starts.get(kind, {}))
    state.files.update(indexes)
    plans = [_plan_model(lake, model, kinds[model], indexes, state, code) for model in models]
    todo = [plan for plan in plans if plan.units]
    if not todo:
        return
    units = sorted(set().union(*(plan.units for plan in todo)))
    back = max(find_lookback(plan.model) for plan in todo)
    # What looks back sees the rows of the days before; only the units' own rows are stored.
    seen = sorted({(venue, day - ago) for venue, day in units for ago in range(back + 1)})
    create_views(work / "models.duckdb", set().union(*(p.kinds for p in todo)), seen, indexes, state.starts, lake)
    seconds = run_models([plan.model for plan in todo], work, variables, on_progress)
    for plan in todo:
        rows, version = store_units(lake, plan.model, work / "models.duckdb", None if plan.is_new else units)
        names = {_name_unit(unit): value for unit, value in plan.prints.items()}
        state.models[plan.model] = _ModelState(version, code, names, _list_telling(variables))
        yield ModelResult(plan.model, len(units), rows, seconds[plan.model])


def _build_markets(
    lake: Path,
    folder: Path,
    models: list[str],
    state: _State,
    code: str,
    variables: dict[str, Any],
    heard_at: datetime.datetime | None,
    on_progress: OnProgress,
) -> Iterator[ModelResult]:
    """Build the models whose units are prediction markets."""
    if not models or not list_files(lake, "prediction_market"):
        return
    large_min = float(variables.get("large_order_min", LARGE_ORDER_MIN_DEFAULT))
    work = Work(lake, folder, {"memory": MEMORY_DEFAULT} | variables, large_min)
    with Desk(
        lake, folder, variables.get("underlying", UNDERLYING_DEFAULT), work.variables["memory"], heard_at
    ) as desk:
        for model in models:
            plan = _plan_markets(lake, model, desk, state, code)
            old = state.models.get(model)
            built = {} if old is None or plan.is_new else dict(old.units)
            rows, seconds, count = 0, 0.0, 0
            for done in build_plan(plan, desk, work):
                rows, seconds, count = rows + done.rows, seconds + done.seconds, count + len(done.markets)
                on_progress(f"markets of {model}", count, len(plan.todo))
                built.update((_name_unit(market), plan.prints[market]) for market in done.markets)
                state.models[model] = _ModelState(done.version, code, dict(built), _list_telling(variables))
                _save_state(folder / "state.json", state)  # what is built stays built when a later batch fails
            yield ModelResult(model, len(plan.todo), rows, seconds)


def _plan_markets(lake: Path, model: str, desk: Desk, state: _State, code: str) -> MarketPlan:
    kinds = _find_kinds(model)
    # By the second there is nothing to say of a market before all of its seconds are over.
    prints = desk.fingerprint_markets(kinds, is_whole="book_change" in kinds)
    old = state.models.get(model)
    is_new = old is None or (old.version, old.code) != (read_version(lake, model), code)
    built = {} if old is None or is_new else old.units
    todo = [market for market, value in prints.items() if built.get(_name_unit(market)) != value]
    return MarketPlan(model, kinds, prints, todo, is_new)


def _plan_model(
    lake: Path, model: str, kinds: frozenset[str], indexes: dict[str, Index], state: _State, code: str
) -> _Plan:
    mine = {kind: index for kind, index in indexes.items() if kind in kinds}
    starts = {kind: state.starts[kind] for kind in mine}
    prints = fingerprint_units(mine, starts, list_files(lake, "gap") if "gap" in kinds else [])
    prints = _look_back(prints, find_lookback(model))
    old = state.models.get(model)
    is_new = old is None or (old.version, old.code) != (read_version(lake, model), code)
    built = {} if old is None or is_new else old.units
    changed = [unit for unit, value in prints.items() if built.get(_name_unit(unit)) != value]
    return _Plan(model, kinds, prints, changed, is_new)


def find_lookback(model: str) -> int:
    """Find how many days before its own a model looks at; 0 for most."""
    found = _LOOKBACK.search(read_models()[model])
    return int(found[1]) if found else 0


def _look_back(prints: dict[Unit, str], days: int) -> dict[Unit, str]:
    """Let a unit's fingerprint cover those of the days before it."""
    if not days:
        return prints
    return {
        (venue, day): " ".join(prints.get((venue, day - ago), "") for ago in range(days + 1)) for venue, day in prints
    }


def _load_state(path: Path) -> _State:
    """Read what the last build left; anything unreadable means: build everything."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=_State)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return _State(_FORMAT)
    return state if state.format == _FORMAT else _State(_FORMAT)


def _save_state(path: Path, state: _State) -> None:
    # Losing it costs time only: a state that does not fit the gold table's version is not used.
    draft = path.with_suffix(".tmp")
    draft.write_bytes(msgspec.json.encode(state))
    draft.replace(path)


def _name_unit(unit: tuple[str, int | str]) -> str:
    return f"{unit[0]} {unit[1]}"


def _list_telling(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if name != "memory"}


def _hash_project(variables: dict[str, Any]) -> str:
    digest = hashlib.sha256(repr(sorted(variables.items())).encode())
    for path in [*sorted(PROJECT.rglob("*")), Path(book.__file__), Path(market.__file__)]:
        if (
            path.suffix in (".sql", ".py") or path.name == "dbt_project.yml"
        ):  # what changes rows, not what describes them
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _find_kinds(model: str) -> frozenset[str]:
    """Find the event kinds a model reads, through the models it builds on."""
    texts = read_models()
    kinds: set[str] = set()
    queue, seen = [model], {model}
    while queue:
        text = texts[queue.pop()]
        kinds.update(_SOURCE.findall(text))
        if _BOOKS.search(text):
            kinds.add("book_change")  # the runner makes these seconds from the changes
        queue.extend(name for name in _REF.findall(text) if name not in seen)
        seen.update(_REF.findall(text))
    return frozenset(kinds)


def read_models() -> dict[str, str]:
    """Read the text of every model by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in (PROJECT / "models").rglob("*.sql")}
