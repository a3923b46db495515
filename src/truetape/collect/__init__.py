"""Collect: wire → tape. The only place that owns sockets; asyncio stays in here."""

from truetape.collect.collector import collect as collect
from truetape.collect.status import CollectorStatus as CollectorStatus
