"""Settings: frozen, unknown keys refused; the only reader of the environment.

One `truetape.yaml`, overridden by the environment and by `.env`: `TRUETAPE__SECTION__KEY=value` sets any key, and
`TRUETAPE_URL_<VENUE>=http://host:port` sends everything meant for that venue to another server.
Credentials (`TRUETAPE_KEY_<VENUE>_<NAME>`) come from there alone: no setting holds one.
"""

from truetape.config.environment import (
    CLOCK_KEY,
    load_alert_urls,
    load_clock,
    load_keys,
    load_secrets,
    load_url,
    mask_secrets,
    name_key,
)
from truetape.config.reading import (
    find_origins,
    find_url,
    load_defaults,
    load_settings,
    parse_settings,
    rewrite_url,
    walk_settings,
)
from truetape.config.settings import (
    DEFAULT_YAML,
    AlertSettings,
    ArchiveSettings,
    BackupSettings,
    BuildSettings,
    CoinSettings,
    DeliverSettings,
    JobSettings,
    LogSettings,
    MarketFilters,
    OpsSettings,
    RecordSettings,
    RetentionSettings,
    Settings,
    SnapshotFilters,
    SnapshotSettings,
    TardisSettings,
    VenueSettings,
)

__all__ = [
    "CLOCK_KEY",
    "DEFAULT_YAML",
    "AlertSettings",
    "ArchiveSettings",
    "BackupSettings",
    "BuildSettings",
    "CoinSettings",
    "DeliverSettings",
    "JobSettings",
    "LogSettings",
    "MarketFilters",
    "OpsSettings",
    "RecordSettings",
    "RetentionSettings",
    "Settings",
    "SnapshotFilters",
    "SnapshotSettings",
    "TardisSettings",
    "VenueSettings",
    "find_origins",
    "find_url",
    "load_alert_urls",
    "load_clock",
    "load_defaults",
    "load_keys",
    "load_secrets",
    "load_settings",
    "load_url",
    "mask_secrets",
    "name_key",
    "parse_settings",
    "rewrite_url",
    "walk_settings",
]
