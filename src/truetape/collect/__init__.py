"""Collect: wire → tape. The only place that owns sockets; asyncio stays in here."""
