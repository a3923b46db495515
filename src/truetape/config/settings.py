"""Every setting there is, with what it means and what it is unless somebody says otherwise."""

from typing import Annotated, Literal

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(gt=0)]


class RecordSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How frames get onto the tape."""

    fsync_interval_ms: Positive = 200
    """What was received longer ago than this survives a power cut."""
    flush_interval_ms: Positive = 3
    """How long a frame may wait before readers of the tape see it, while more than 17,000 arrive a second."""
    flush_interval_idle_ms: Positive = 50
    """The same while fewer than 1,000 arrive a second: small batches cost processor time and space; between, it grows."""
    buffer_frames_max: Count = 500_000
    """Frames held in memory while the disk is slow; beyond it frames are dropped and a gap says so."""
    buffer_bytes_max: Count = 128 * 1024 * 1024
    """Bytes held in memory while the disk is slow."""
    segment_seconds: Positive = 300
    """A tape segment is sealed after this time."""
    segment_bytes_max: Count = 256 * 1024 * 1024
    """A tape segment is sealed at this size."""
    frame_bytes_max: Count = 64 * 1024 * 1024
    """Larger messages close the connection."""
    stop_seconds: Positive = 30
    """Stopping waits no longer for a disk that hangs, and says what was not written."""
    tick_seconds: Positive = 5
    """The recorder proves on the tape that it lives, this often."""


class DeliverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a view carries rows into its sink."""

    commit_rows: Count = 250_000
    """Rows held in memory before a commit; more make fewer files and need about 1 KB of memory for every row."""
    commit_bytes: Count = 128 * 1024 * 1024
    """Bytes of rows held before a commit: rows that are wide, as pictures of a book are, are committed sooner."""
    commit_seconds: Positive = 300
    """Longest time (of the tape) between commits while rows arrive."""
    archive: bool = True
    """Whether sealed segments are recompressed once every sink has them."""
    compact_hours: Annotated[float, msgspec.Meta(ge=0)] = 24
    """Join the lake's small files this often while recording; 0: only when `truetape lake compact` says so."""


class BuildSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the gold tables hold, whoever builds them."""

    large_order_min: Positive = 1000.0
    """Shares on one level of an outcome's book from which on `canonical` counts it as a large order, second by second."""


class MarketFilters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which prediction markets to record beside those of `series`; what is given must all hold."""

    ids: tuple[str, ...] = ()
    """The venue's ids of markets, or their conditions."""
    slugs: tuple[str, ...] = ()
    """Readable names of markets or of the events they belong to."""
    tags: tuple[str, ...] = ()
    """Tags of which one must be there."""
    categories: tuple[str, ...] = ()
    """Categories of which the market's must be one."""
    status: Literal["open", "closed", "all"] = "open"
    """Open ones are recorded; closed ones are only followed to their resolution."""
    volume_min: Annotated[float, msgspec.Meta(ge=0)] = 0
    """Smallest volume so far, in the venue's currency."""
    markets_max: Count = 2000
    """Markets followed at once, series included; more are left out, and an event says so."""


class VenueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to record of one venue."""

    instruments: tuple[str, ...]
    """Names (BTC-USDT), patterns (*-USDT-PERP) or `all`."""
    channels: tuple[str, ...] = ("trade", "book_change", "quote")
    """Event kinds to subscribe."""
    markets: tuple[str, ...] = ()
    """Product lines of the venue to look in (spot, usdm); empty: all it has."""
    url: str = ""
    """Send everything meant for this venue to this server instead."""
    lifetime_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0
    """Replace connections after this time; 0: shortly before the venue would."""
    listing_seconds: Annotated[float, msgspec.Meta(ge=0)] = 3600
    """Look this often for instruments that are new or gone; 0: only at the start."""
    series: tuple[str, ...] = ()
    """Recurring prediction markets (15m, 1h): each window's market is found and followed to its resolution."""
    assets: tuple[str, ...] = ()
    """Assets of those series (BTC, ETH); empty: all there are."""
    filters: MarketFilters = MarketFilters()
    """Other prediction markets to record."""
    lead_seconds: Annotated[float, msgspec.Meta(ge=60)] = 120
    """Subscribe a prediction market so long before its window opens."""
    grace_seconds: Annotated[float, msgspec.Meta(ge=0)] = 120
    """Stay subscribed so long after its window has ended."""


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be thrown away, never before every sink has it, nor what a pinned dataset needs; 0: never."""

    tape_days: Annotated[float, msgspec.Meta(ge=0)] = 0
    """Sealed segments of the tape that are older."""
    tape_bytes_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The oldest sealed segments, while all of them together are larger."""
    table_days: dict[str, Count] = {}
    """Table → days: rows of the lake received earlier, day by day."""
    open_gap_days: Positive = 30
    """A gap that is open holds the tape from where it began, at most this long."""


class BackupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where backups go."""

    to: str = ""
    """A folder, or s3://bucket/prefix with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; empty: nowhere."""


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a job runs, and what becomes of runs that were missed."""

    at: str = ""
    """Five fields of cron, in UTC (`30 3 * * *`); empty: as the job has it; `never`: only by hand."""
    missed: Literal["run", "skip"] = "run"
    """After a pause: run once for all that was missed, or only write down that it was."""
    attempts: Count = 3
    """Tries of one run, when a service is away."""


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people hear of, while `truetape run` runs; where it is sent is a secret: `TRUETAPE_ALERT_URLS`."""

    gap_seconds: Positive = 60
    """A stream in a gap for so long."""
    stale_seconds: Positive = 900
    """A book, quote, ticker, derivative or oracle price without a row for so long."""
    quarantined_max: Annotated[int, msgspec.Meta(ge=0)] = 10
    """More messages than this that do not decode, within a minute."""
    errors_max: Annotated[int, msgspec.Meta(ge=0)] = 30
    """More failed requests than this, within a minute."""
    drifts_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """More changes of a message's form than this, within a minute."""
    disk_free_bytes_min: Annotated[int, msgspec.Meta(ge=0)] = 5_000_000_000
    """Less space than this where the tape, a sink or the state lies."""
    behind_frames_max: Count = 5_000_000
    """Decoding is further behind the tape than this."""
    group_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30
    """What goes wrong within this time is told together, and what ends within it again is not told."""
    repeat_hours: Positive = 6
    """What stays wrong is told again after this."""
    messages_per_hour_max: Count = 12
    """Messages sent at most; the rest waits."""


class OpsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a recording is kept running unattended."""

    state: str = "data/state"
    """Folder of locks and of the jobs' history."""
    health_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Answer /healthz and /metrics (Prometheus) on this port of loopback; 0: nowhere."""


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How truetape talks while it runs."""

    format: Literal["auto", "console", "json"] = "auto"
    """A live table on a terminal and log lines elsewhere; log lines everywhere; log lines as JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Log lines below this are left out."""
    file: str = ""
    """Log lines of `run`, `record`, `poll` and `jobs run` are written there, too, by several at once. Empty: nowhere."""
    file_format: Literal["json", "console"] = "json"
    """What the lines in the file look like."""
    max_bytes: Annotated[int, msgspec.Meta(ge=10_000)] = 50_000_000
    """A log file that would become larger is put by as `FILE.1`, the one before as `FILE.2`."""
    max_hours: Annotated[float, msgspec.Meta(ge=0)] = 24
    """The same when it is older; 0: whatever its age."""
    keep: Count = 14
    """So many files are kept beside the one that is written."""


class SnapshotFilters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which markets of a snapshot service to track beside those named by id; what is given must all hold."""

    status: Literal["open", "closed", "all"] = "open"
    """Status when a market is chosen; one that is tracked is followed to its end anyway."""
    categories: tuple[str, ...] = ()
    """Categories of which the market's must be one."""
    volume_min: Annotated[float, msgspec.Meta(ge=0)] = 0
    """Smallest volume so far, in the service's currency."""
    markets_max: Annotated[int, msgspec.Meta(ge=0)] = 20
    """Markets tracked at once, those named by id not counted; the largest volumes are taken first."""


class SnapshotSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service that is asked for its markets' prices on a schedule: `truetape poll`."""

    preset: str = "common"
    """What its answers look like: common, polymarket, kalshi, manifold."""
    url: str = ""
    """Base address; empty: the preset's, which `common` has none of."""
    paths: dict[str, str] = {}
    """markets, market, prices, history → path below the address (`/markets/{id}/prices`), instead of the preset's."""
    fields: dict[str, str] = {}
    """Our name of a field → where it is in an answer (`data.lastPrice`), instead of the preset's."""
    ids: tuple[str, ...] = ()
    """Markets to track whatever the filters say."""
    filters: SnapshotFilters = SnapshotFilters()
    """Other markets to track."""
    interval_seconds: Positive = 900
    """A snapshot of each market this often, on the clock: a quarter of an hour is :00, :15, :30, :45 UTC."""
    requests_per_minute_max: Count = 60
    """Requests are spaced so that no minute sees more."""
    attempts: Count = 3
    """Tries of one request, the first included."""
    timeout_seconds: Positive = 30
    """A try that takes longer has failed."""
    needs_key: bool = False
    """Whether nothing is asked without a bearer token in `TRUETAPE_KEY_SNAPSHOT_<SERVICE>`; one that is set is sent."""


class CoinSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to ask CoinGecko for, by jobs: `market_data`, `ohlc_hourly`, `ohlc_daily`."""

    ids: tuple[str, ...] = ()
    """Coins whose bars and charts are fetched, by CoinGecko's id: bitcoin, ethereum."""
    top: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The same for so many of the largest by market cap; without `ids` and 0: nothing is asked."""
    ranked: Count = 250
    """Price, caps and rank of so many of the largest are fetched each hour, 250 by one request."""
    currency: str = "usd"
    """What prices are in, as CoinGecko writes it."""
    calls_per_minute: Count = 30
    """What the plan of your key allows."""
    parallel: Count = 4
    """Requests under way at once."""
    hourly_days: Annotated[int, msgspec.Meta(ge=2, le=90)] = 30
    """Days of the hourly chart that are fetched of a coin that is new."""
    daily_days: Annotated[int, msgspec.Meta(ge=2, le=365)] = 365
    """Days of the daily chart that are fetched of a coin that is new."""
    url: str = ""
    """Ask this server instead."""


class ArchiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the job `archive` keeps of one venue's past, day by day, without recording it."""

    instruments: tuple[str, ...]
    """Names (BTC-USDT, BTC-USDT-PERP), no patterns."""
    channels: tuple[str, ...] = ("trade", "candle")
    """Of these: trade, candle, funding, open_interest; from files also aggregate_trade and quote."""
    market: str = ""
    """Product line of the venue to look in, where a name is in several."""
    source: Literal["api", "files"] = "api"
    """Ask the venue's API, or fetch the files that it publishes."""
    intervals: tuple[str, ...] = ("1m",)
    """Of candles."""
    days: Count = 7
    """So far back a stream is fetched that is new."""
    url: str = ""
    """Ask this server of the venue's past instead; goes before `venues.<venue>.url`."""


class TardisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the vendor Tardis, or a relay of its tables, is asked; keys are `TRUETAPE_KEY_TARDIS_API` and `_RELAY`."""

    relay_url: str = ""
    """Base address of a relay, which is asked for `/tardis/{exchange}/{symbol}/{data_type}` below it; empty: none."""
    relay_limit: Annotated[int, msgspec.Meta(gt=1)] = 10_000
    """Rows of a page."""
    relay_repairs: bool = False
    """Whether the job `gaps_repair` asks the relay, too, for what the venues have not."""
    relay_times: Literal["iso", "us", "ms"] = "iso"
    """How the relay spells times: ISO 8601, or micro- or milliseconds since 1970."""
    relay_requests_per_minute_max: Count = 60
    """Requests are spaced so that no minute sees more."""
    book_levels: Literal[5, 25] = 25
    """Levels of the book snapshots that are asked for."""
    api_url: str = "https://api.tardis.dev/v1"
    """The vendor's HTTP API: raw recordings."""
    datasets_url: str = "https://datasets.tardis.dev/v1"
    """The vendor's CSV files."""
    folder: str = "data/tardis"
    """Where fetched files lie."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything in `truetape.yaml`."""

    tape: str = "data/tape"
    """Folder of the tape."""
    sinks: tuple[str, ...] = ("lake:data/lake",)
    """Where rows go: lake:DIR, csv:DIR, sqlite:FILE."""
    venues: dict[str, VenueSettings] = {}
    coins: CoinSettings = CoinSettings()
    tardis: TardisSettings = TardisSettings()
    archive: dict[str, ArchiveSettings] = {}
    """Venue → what to keep of its past."""
    snapshots: dict[str, SnapshotSettings] = {}
    """Service → what to ask it for on a schedule; a name of small letters, digits and `_`."""
    record: RecordSettings = RecordSettings()
    deliver: DeliverSettings = DeliverSettings()
    build: BuildSettings = BuildSettings()
    log: LogSettings = LogSettings()
    ops: OpsSettings = OpsSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()
    alerts: AlertSettings = AlertSettings()
    jobs: dict[str, JobSettings] = {}
    """Job → when it runs; those not named run as they have it."""


DEFAULT_YAML = """\
# truetape: what to record, and where it goes. Every key: truetape config show
tape: data/tape
sinks:
  - lake:data/lake
venues:
  binance:
    instruments: [BTC-USDT, ETH-USDT]      # names, patterns (*-USDT), or all
    channels: [trade, book_change, quote]
  coinbase:
    instruments: [BTC-USD, ETH-USD]
    channels: [trade, book_change, quote]
"""
