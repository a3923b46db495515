"""Trade ids that are missing although they step by one, and no gap says so."""

from datetime import UTC, date, datetime, timedelta

from truetape.errors import ConfigError
from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import Gap, list_gaps
from truetape.venues import load_venue

_OTHER_NUMBER = {"deribit"}
"""Venues whose rule is about a number other than the id that is stored (Deribit: trade_seq)."""

_CLOCK = timedelta(seconds=1)
_HOLES_MAX = 100_000

Era = tuple[str, datetime, datetime]
"""Venue, and from when until when its ids step by one."""


def _run(lake: Lake) -> Outcome:
    ((names,),) = lake.sql("select list(distinct venue order by venue) from trade").duckdb().fetchall()
    eras = [era for name in names or () for era in _find_eras(name)]
    gaps = list_gaps(lake)
    examined, findings = 0, []
    for era in eras:
        seen, holes = _find_holes(lake, era)
        examined += seen
        findings += _report_holes(holes, gaps)
    return Outcome(examined, tuple(findings))


def _find_eras(venue: str) -> list[Era]:
    try:
        rules = [rule for rule in load_venue(venue).continuity if rule.channel == "trade"]
    except ConfigError:
        return []  # rows of a venue that this version does not know
    rules.sort(key=lambda rule: rule.since)
    ends = [rule.since for rule in rules[1:]] + [date.max]
    return [
        (venue, _midnight(rule.since), _midnight(end))
        for rule, end in zip(rules, ends, strict=True)
        if rule.rule == "step" and venue not in _OTHER_NUMBER
    ]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _find_holes(lake: Lake, era: Era) -> tuple[int, list[dict[str, object]]]:
    source = """
        select symbol, try_cast(trade_id as bigint) as id, received_at, tape_offset
        from trade
        where venue = $venue and received_at >= $since and received_at < $until
            and coalesce(flag, '') <> 'aggregate' and try_cast(trade_id as bigint) is not null"""
    values = dict(zip(("venue", "since", "until"), era, strict=True))
    ((seen,),) = lake.sql(f"select count(*) from ({source})", values).arrow().to_pydict().values()  # noqa: S608
    query = f"""
        select $venue as venue, symbol, id, before, id - before - 1 as missing, tape_offset,
            least(received_at, received_before) as start, greatest(received_at, received_before) as stop
        from (
            select *, lag(id) over by_id as before, lag(received_at) over by_id as received_before
            from ({source}) window by_id as (partition by symbol order by id, received_at)
        )
        where id > before + 1 order by symbol, id limit {_HOLES_MAX}"""  # noqa: S608  # texts of this file
    return seen, lake.sql(query, values).arrow().to_pylist()


def _report_holes(holes: list[dict[str, object]], gaps: list[Gap]) -> list[Finding]:
    silent: dict[tuple[str, str], list[dict[str, object]]] = {}
    for hole in holes:
        start, stop = hole["start"], hole["stop"]
        assert isinstance(start, datetime) and isinstance(stop, datetime)
        venue, symbol = str(hole["venue"]), str(hole["symbol"])
        if not any(gap.covers(venue, symbol, "trade", start - _CLOCK, stop + _CLOCK) for gap in gaps):
            silent.setdefault((venue, symbol), []).append(hole)
    findings = []
    for (venue, symbol), mine in sorted(silent.items()):
        missing = sum(int(str(hole["missing"])) for hole in mine)
        first = min(mine, key=lambda hole: str(hole["start"]))
        what = f"ids missing and no gap says so, first after {first['before']}"
        start, offset = first["start"], first["tape_offset"]
        assert isinstance(start, datetime) and isinstance(offset, int)
        findings.append(Finding("error", venue, symbol, what, missing, start, offset))
    return findings


CHECK = Check(
    "trade_ids", "Where trade ids step by one, every missing id is in a declared gap.", "trades with such ids", _run
)
