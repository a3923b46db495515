"""Fake Polymarket: order books, Gamma, real-time prices, and the services of other files, each under its real host."""

from collections.abc import Callable

from truetape.sim.fake import FakeVenue, Line, NoDesk
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.venues import _clob, _clob_rest, _data_api, _gamma, _goldsky, _polybolt, _rtds
from truetape.sim.world import World

_LINES: dict[str, Callable[[Query], Line | None]] = {
    _clob.HOSTS[0]: lambda query: _clob.LINE if query.path.rstrip("/") == "/ws/market" else None,
    _rtds.HOSTS[0]: lambda query: _rtds.LINE,
    _polybolt.HOSTS[0]: _polybolt.connect,
}
"""Host → what answers its WebSocket addresses."""
_ANSWERS: dict[str, Callable[[World, Query], Reply]] = {
    _clob_rest.HOST: _clob_rest.respond,
    _gamma.HOST: _gamma.respond,
    _data_api.HOSTS[0]: _data_api.respond,
    _goldsky.HOSTS[0]: _goldsky.respond,
}
"""Host → what answers its requests."""


def connect(query: Query) -> Line | None:
    """Return what answers a WebSocket address."""
    find = _LINES.get(query.host)
    return find(query) if find is not None else None


def respond(world: World, query: Query) -> Reply:
    """Answer a request."""
    answer = _ANSWERS.get(query.host)
    if answer is None:
        return Reply(encode_json({"error": f"name a host first: {', '.join(_ANSWERS)}"}), 404)
    return answer(world, query)


def find_feed(url: str) -> str:
    """Return the product line of an address."""
    feeds = {_rtds.HOSTS[0]: _rtds.FEED, _polybolt.HOSTS[0]: _polybolt.FEED}
    return next((feed for host, feed in feeds.items() if host in url), _clob.FEED)


FAKE = FakeVenue(
    name="polymarket",
    hosts=(*_LINES, *_ANSWERS),
    specs=(),
    connect=connect,
    respond=respond,
    make_desk=NoDesk,
    quotas={_clob_rest.QUOTA: Quota(9000, 10.0), **_gamma.QUOTAS, **_data_api.QUOTAS, **_goldsky.QUOTAS},
    refuse=_clob_rest.refuse,
    find_feed=find_feed,
    stages={_clob.FEED: _clob.ClobStage, _rtds.FEED: _rtds.RtdsStage, _polybolt.FEED: _polybolt.BoltStage},
    methods=("GET", "POST"),
    keys=_polybolt.KEYS,
)
