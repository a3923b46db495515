"""Markets as units of a build: which there are, what each needs, and which changed since they were built.

A market is built again when any row that could enter it differs: its own books and trades, its asset's oracle and
underlying around its window, its metadata, its resolution (a day later, too), its gaps, and what follows it.
"""

import datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from truetape.events.schema import KINDS
from truetape.lake.snapshot import take_snapshot
from truetape.transform.part import BUCKET_S, index_parts

FACTS = ("prediction_market", "resolution", "market_state", "gap")
"""Kinds that are small, and read whole."""

STREAMS = ("book_change", "oracle_price", "quote", "trade")
"""Kinds of which a market's own time and names are read."""

MEMORY_DEFAULT = "1GB"
"""What the database may take; more goes through a folder beside it."""

_DAY_S = 86_400
_DURATION_MAX_S = 86_400

Market = tuple[str, str]
"""(venue, slug)."""


class Span(msgspec.Struct, frozen=True):
    """One market to build: its name, its window, the streams of its outcomes."""

    venue: str
    slug: str
    opens_us: int
    ends_us: int
    up_symbol: str
    down_symbol: str

    @property
    def key(self) -> Market:
        """Venue and slug."""
        return self.venue, self.slug

    @property
    def seconds(self) -> int:
        """Length of its window."""
        return (self.ends_us - self.opens_us) // 1_000_000


_LAST = "(available_at, tape_offset, tape_row)"

_MARKETS = f"""
    create table market as
    with version as (
        -- Per column what was said last; a version may know less than an earlier one.
        select venue, slug, arg_max(condition, {_LAST}) as condition, arg_max(outcomes, {_LAST}) as outcomes,
            arg_max(epoch_us(opens_at), {_LAST}) as opens_us, arg_max(epoch_us(ends_at), {_LAST}) as ends_us,
            arg_max(resolution_source, {_LAST}) as resolution_source
        from prediction_market group by venue, slug
    ),

    state as (
        select venue, slug, arg_max(epoch_us(opens_at), {_LAST}) as opens_us, arg_max(epoch_us(ends_at), {_LAST}) as ends_us
        from market_state group by venue, slug
    ),

    named as (
        select version.venue, version.slug, version.condition,
            coalesce(version.opens_us, state.opens_us) as opens_us,
            coalesce(version.ends_us, state.ends_us) as ends_us,
            upper(coalesce(
                nullif(regexp_extract(version.resolution_source, '/streams/([a-z0-9]+)-usd', 1), ''),
                nullif(regexp_extract(version.slug, '^([a-z0-9]+)-updown-', 1), ''),
                nullif(regexp_extract(version.slug, '^KX([A-Z]+)15M', 1), ''),
                case regexp_extract(version.slug, '^([a-z]+)-up-or-down-', 1)
                    when 'bitcoin' then 'BTC' when 'ethereum' then 'ETH' when 'solana' then 'SOL' when 'xrp' then 'XRP'
                    when 'dogecoin' then 'DOGE' when 'bnb' then 'BNB' when 'hyperliquid' then 'HYPE' when 'zcash' then 'ZEC'
                end
            )) as asset,
            json_keys(version.outcomes) as names,
            -- Kalshi's windows ask whether the price is up: Yes is Up there.
            case when list_sort(names) = ['Down', 'Up'] then 'Up' when list_sort(names) = ['No', 'Yes'] then 'Yes' end as up_name,
            case up_name when 'Up' then 'Down' when 'Yes' then 'No' end as down_name
        from version left join state using (venue, slug)
    ),

    whole as (
        select *, (ends_us - opens_us) // 1000000 as duration_s
        from named
        where up_name is not null and asset is not null and ends_us > opens_us
            and ends_us - opens_us <= {_DURATION_MAX_S * 1_000_000} and (ends_us - opens_us) % 1000000 = 0
    )

    select venue, slug, condition, asset, duration_s,
        case duration_s when 300 then '5m' when 900 then '15m' when 3600 then '1h' when 14400 then '4h'
            when 86400 then 'daily' else duration_s || 's' end as series,
        opens_us, ends_us, names as outcomes, up_name, down_name,
        slug || ':' || up_name as up_symbol, slug || ':' || down_name as down_symbol,
        min(slug) over following as next_slug, min(condition) over following as next_condition
    from whole
    window following as (
        partition by venue, asset, duration_s order by opens_us
        range between duration_s * 1000000 following and duration_s * 1000000 following
    )
    order by venue, slug"""  # noqa: S608  # constants of ours

_NEEDS = f"""
    create table need as
    select venue, slug, 'book_change' as kind, venue as of_venue, slug as name, opens_us // 1000000 - {_DAY_S} as from_s, ends_us // 1000000 as to_s from market
    union all select venue, slug, 'quote', venue, slug, opens_us // 1000000 - {_DAY_S}, ends_us // 1000000 from market
    union all select venue, slug, 'trade', venue, slug, opens_us // 1000000 - {BUCKET_S}, ends_us // 1000000 from market
    union all select venue, slug, 'trade', $underlying, asset || '-USD', opens_us // 1000000 - {BUCKET_S}, ends_us // 1000000 from market
    union all select venue, slug, 'quote', $underlying, asset || '-USD', opens_us // 1000000 - {BUCKET_S}, ends_us // 1000000 from market
    union all select venue, slug, 'oracle_price', null, asset, opens_us // 1000000 - {BUCKET_S}, ends_us // 1000000 + 10 from market
    """  # noqa: S608  # constants of ours

_HELD = f"""
    create view held as
    select need.venue, need.slug, need.kind, need.of_venue, part.file, part.rows, part.content
    from need inner join part
        on part.kind = need.kind and part.name = need.name and (need.of_venue is null or part.venue = need.of_venue)
        and part.bucket between need.from_s // {BUCKET_S} and need.to_s // {BUCKET_S}"""  # noqa: S608  # a constant of ours

_STREAM_SUMS = """
    select venue, slug, kind || coalesce(of_venue, '') as what, sum(rows)::varchar as rows,
        bit_xor(content)::varchar as content
    from held where list_contains($kinds, kind) group by all"""

_FACT_SUMS = f"""
    select market.venue, market.slug, 'prediction_market' as what, count(*)::varchar as rows, bit_xor(fact.content)::varchar as content
    from market inner join (select venue, slug, hash(*columns(*)) as content from prediction_market) as fact
        on fact.venue = market.venue and (fact.slug = market.slug or fact.slug = market.next_slug) group by all
    union all
    select market.venue, market.slug, 'resolution', count(*)::varchar, bit_xor(fact.content)::varchar
    from market inner join (select venue, condition, hash(*columns(*)) as content from resolution) as fact
        on fact.venue = market.venue and (fact.condition = market.condition or fact.condition = market.next_condition) group by all
    union all
    select market.venue, market.slug, 'gap', count(*)::varchar, bit_xor(fact.content)::varchar
    from market inner join (
        select *, hash(*columns(*)) as content,
            case when arg_max(state, row(tape_offset, tape_row)) over (partition by gap_id) = 'open' then null else to_at end as end_at
        from gap
    ) as fact
        on (fact.symbol = '' or split_part(fact.symbol, ':', 1) = market.slug or starts_with(fact.symbol, market.asset || '-'))
        and epoch_us(fact.from_at) < market.ends_us
        and coalesce(epoch_us(fact.end_at), 9223372036854775807) > market.opens_us - {_DAY_S * 1_000_000}
    where list_contains($kinds, 'gap') group by all"""  # noqa: S608  # a constant of ours


class Desk:
    """Everything about the lake's markets that a build asks, in one database in memory."""

    def __init__(
        self, lake: Path, work: Path, underlying: str, memory: str, heard_at: datetime.datetime | None
    ) -> None:
        self._connection = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        )
        self._connection.execute("set TimeZone = 'UTC'")
        self._connection.execute(f"set memory_limit = '{memory}'")
        for kind in FACTS:
            self._connection.execute(f"create view {kind} as {take_snapshot(lake, KINDS[kind]).build_query()}")
        index_parts(self._connection, lake, list(STREAMS), work / "parts.parquet")
        self._connection.execute(_MARKETS)
        self._connection.execute(_NEEDS, {"underlying": underlying})
        self._connection.execute(_HELD)
        self.heard_us = self._find_heard() if heard_at is None else round(heard_at.timestamp() * 1_000_000)
        """When the lake last heard anything of markets, in microseconds."""

    def __enter__(self) -> "Desk":
        """Give the desk, to be closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database."""
        self._connection.close()

    def _find_heard(self) -> int:
        (heard,) = self._ask("select coalesce(max(heard_us), 0) from part")[0]
        times = [heard]
        for kind in FACTS:
            times += self._ask(f"select coalesce(max(epoch_us(received_at)), 0) from {kind}")[0]  # noqa: S608  # a name of ours
        return max(int(us) for us in times)

    def fingerprint_markets(self, kinds: frozenset[str], *, is_whole: bool) -> dict[Market, str]:
        """Give the fingerprint of every market that has opened, or (`is_whole`) that has ended."""
        border = "ends_us" if is_whole else "opens_us"
        query = f"""
            with sums as ({_STREAM_SUMS} union all {_FACT_SUMS})
            select market.venue, market.slug,
                md5(concat_ws('|', any_value(market.opens_us), any_value(market.ends_us), any_value(market.ends_us) <= $until,
                    string_agg(what || ' ' || rows || ' ' || content, ',' order by what)))
            from market inner join sums using (venue, slug)
            where market.{border} <= $until group by all order by all"""  # noqa: S608  # constants of ours
        rows = self._ask(query, {"kinds": sorted(kinds), "until": self.heard_us})
        return {(venue, slug): value for venue, slug, value in rows}

    def list_spans(self, markets: list[Market]) -> list[Span]:
        """Give windows and streams of the named markets, in the order of their opening."""
        self._name("chosen", markets)
        rows = self._ask("""
            select venue, slug, opens_us, ends_us, up_symbol, down_symbol from market semi join chosen using (venue, slug)
            order by opens_us, venue, slug""")
        return [Span(*row) for row in rows]

    def list_files(self, kind: str, markets: list[Market]) -> list[str]:
        """Name the files that hold rows of a kind which these markets need."""
        self._name("chosen", markets)
        query = "select distinct file from held semi join chosen using (venue, slug) where kind = $kind order by all"
        return [file for (file,) in self._ask(query, {"kind": kind})]

    def count_rows(self, kind: str) -> dict[Market, int]:
        """Count the rows of a kind that each market needs."""
        rows = self._ask(
            "select venue, slug, sum(rows)::bigint from held where kind = $kind group by all", {"kind": kind}
        )
        return {(venue, slug): count for venue, slug, count in rows}

    def describe_markets(self, markets: list[Market]) -> Any:
        """Give what is known of the named markets and of those that follow them, as an Arrow table."""
        self._name("chosen", markets)
        return self._connection.sql(
            """
            select market.*, row(venue, slug) in (select row(chosen.venue, chosen.slug) from chosen) as is_wanted,
                ends_us <= $heard as is_over
            from market
            where is_wanted or row(venue, slug) in (
                select row(m.venue, m.next_slug) from market as m semi join chosen using (venue, slug)
            ) order by venue, slug""",
            params={"heard": self.heard_us},
        ).to_arrow_table()

    def describe_needs(self, markets: list[Market]) -> Any:
        """Give which rows of the streams the named markets need, as an Arrow table."""
        self._name("chosen", markets)
        return self._connection.sql(
            "select need.* from need semi join chosen using (venue, slug) order by all"
        ).to_arrow_table()

    def _name(self, table: str, markets: list[Market]) -> None:
        self._connection.execute(f"create or replace temp table {table} (venue varchar, slug varchar)")
        if markets:
            venues, slugs = [venue for venue, _ in markets], [slug for _, slug in markets]
            self._connection.execute(f"insert into {table} select unnest(?), unnest(?)", [venues, slugs])

    def _ask(self, query: str, given: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        used = {name: value for name, value in (given or {}).items() if f"${name}" in query}
        return self._connection.execute(query, used).fetchall() if used else self._connection.execute(query).fetchall()
