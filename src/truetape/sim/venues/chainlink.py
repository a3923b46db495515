"""Fake Chainlink Data Streams: signed reports over REST and socket, and the public page with what it asks for.

A key is `CLIENT_ID` with `SECRET`; anything else is refused as the venue refuses it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

import msgspec

from truetape import clock
from truetape.sim.fake import FakeVenue, Line, NoDesk
from truetape.sim.hub import Hub, Session
from truetape.sim.protocol import Query, Quota, Reply, Rules, encode_json
from truetape.sim.venues._chainlink_report import Tick, make_report
from truetape.sim.venues._seconds import Seconds
from truetape.sim.world import World

API_HOSTS = ("api.dataengine.chain.link", "ws.dataengine.chain.link")
PAGE_HOST = "data.chain.link"

CLIENT_ID = "5ad5a1d0-0000-4000-8000-51d0c1e0a11e"
SECRET = "not-a-secret-of-anybody"  # noqa: S105 - the fake's own, so that a recorder can be tried with a key
SKEW_MS_MAX = 5000

FEEDS: Mapping[str, str] = MappingProxyType(
    {
        "BTC": "0x00039d9e45394f473ab1f050a1b963e6b05351e52d71e507509ada0c95ed75b8",
        "ETH": "0x000362205e10b3a147d02792eccee483dca6c7b44ecce7012cb8c6e0b68b3ae9",
        "SOL": "0x0003b778d3f6b2ac4991302b89cb313f99a42467d6c9c5f96f57c29c0d2bc24f",
        "XRP": "0x0003c16c6aed42294f5cb4741f6e59ba2d728f0eae2eb9e6d3f555808c59fc45",
    }
)
ASSETS = {feed_id: asset for asset, feed_id in FEEDS.items()}

REPORT_LAG_US = 400_000
"""A second's report is out so long after it."""
PAGE_LAG_S = 4
"""The page's store is so many seconds behind the reports."""
PAGE_NODES = 60
PAGE_MAX = 500
"""Reports of one answer of history."""

RULES = Rules(ping_interval_s=30.0, poll_s=0.5)

_FEED_ID = re.compile(r"0x[0-9a-fA-F]{64}")


class ReportStage:
    """Publishes a report per stream and second."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hub: Hub = world.hub("chainlink", "streams")
        self._seconds = Seconds(world.time.now_us(), REPORT_LAG_US)

    @property
    def due_us(self) -> int:
        """Market time of the next second's frames."""
        return self._seconds.due_us

    def advance(self, now_us: int) -> int:
        """Send the reports of the seconds that have become due."""
        seconds = self._seconds.take(now_us)
        if not self._hub.rooms:
            return 0
        done = 0
        for second in seconds:
            for feed_id in [topic for topic in self._hub.rooms if topic in ASSETS]:
                if self._world.prediction.is_missing(ASSETS[feed_id], second):
                    continue
                report = _report(self._world, feed_id, second)
                self._hub.publish(feed_id, encode_json({"report": report}), second, second)
                done += 1
        return done


class StreamTalk:
    """One connection: its address has subscribed, and what it says is not listened to."""

    def __init__(self, session: Session, world: World, feed_ids: tuple[str, ...]) -> None:
        for feed_id in feed_ids:
            session.subscribe(feed_id)
        world.on_subscribe()

    def hear(self, text: str) -> None:
        """Take no notice."""

    def tick(self, now_s: float) -> None:
        """Do nothing: the server pings."""


def connect(query: Query) -> Line | Reply | None:
    """Return what answers an address; refuse a wrong key and unknown streams."""
    if query.path != "/api/v1/ws":
        return None
    asked = tuple(part.lower() for part in query.args.get("feedIDs", "").split(",") if part)
    refused = check_headers(query)
    if refused is not None:
        return refused
    if not asked or not all(_FEED_ID.fullmatch(one) for one in asked):
        return _fail(400, "feedIDs: expected feed ids, separated by commas")
    return Line("streams", RULES, partial(StreamTalk, feed_ids=asked))


# REST


def respond(world: World, query: Query) -> Reply:
    """Answer a request of the API, or of the public page."""
    if query.path.startswith("/api/v1/"):
        refused = check_headers(query)
        answer = _ENDPOINTS.get(query.path.removeprefix("/api/v1/"))
        if refused is not None or answer is None:
            return refused or _fail(404, "not found")
        return answer(world, query)
    if query.path == "/api/query-timescale":
        return _answer_page(world, query)
    if query.path.startswith("/streams/"):
        return _show_stream(query.path.removeprefix("/streams/").rstrip("/"))
    return _fail(404, "not found")


def check_headers(query: Query) -> Reply | None:
    """Return the refusal of a request that is not signed by the key, or too long ago; null when all is well."""
    text = query.headers.get("x-authorization-timestamp", "")
    if query.headers.get("authorization") != CLIENT_ID or not text.isdigit():
        return _fail(401, "authorization: unknown client, or no timestamp")
    now_ms = clock.wall_ns() // 1_000_000  # the signer's clock, however fast the market's runs
    if abs(now_ms - int(text)) > SKEW_MS_MAX:
        return _fail(401, f"timestamp {text} is more than {SKEW_MS_MAX} ms from the server's {now_ms}")
    expected = sign(query.method, query.target, query.body, CLIENT_ID, SECRET, text)
    if not hmac.compare_digest(expected, query.headers.get("x-authorization-signature-sha256", "")):
        return _fail(401, "signature does not match")
    return None


def sign(method: str, target: str, body: bytes, client_id: str, secret: str, timestamp: str) -> str:
    """Return the signature that a request must have."""
    text = " ".join((method, target, hashlib.sha256(body).hexdigest(), client_id, timestamp))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _list_feeds(world: World, query: Query) -> Reply:
    return _ok({"feeds": [{"feedID": feed_id} for feed_id in FEEDS.values()]})


def _tell_latest(world: World, query: Query) -> Reply:
    feed_id = query.args.get("feedID", "").lower()
    return _known(feed_id) or _ok({"report": _report(world, feed_id, _newest_s(world))})


def _tell_one(world: World, query: Query) -> Reply:
    feed_id, second = query.args.get("feedID", "").lower(), query.number("timestamp", -1)
    if second < 0:
        return _fail(400, "timestamp: expected seconds")
    refused = _known(feed_id)
    if refused is None and not _has_report(world, feed_id, second):
        refused = _fail(404, f"no report of {feed_id} at {second}")
    return refused or _ok({"report": _report(world, feed_id, second)})


def _tell_bulk(world: World, query: Query) -> Reply:
    asked, second = query.args.get("feedIDs", "").lower().split(","), query.number("timestamp", -1)
    found = [one for one in asked if one in ASSETS and _has_report(world, one, second)]
    if not found:
        return _fail(404, f"no report of these feeds at {second}")
    # What is missing of a bulk is told by the status alone.
    status = 200 if len(found) == len(asked) else 206
    return _ok({"reports": [_report(world, one, second) for one in found]}, status)


def _tell_history(world: World, query: Query) -> Reply:
    feed_id, begin_s = query.args.get("feedID", "").lower(), query.number("startTimestamp", -1)
    limit = query.number("limit", 10, PAGE_MAX)
    if begin_s < 0 or limit < 1:
        return _fail(400, "startTimestamp: expected seconds; limit: expected at least 1")
    refused = _known(feed_id)
    if refused is not None:
        return refused
    seconds = [s for s in range(begin_s, begin_s + limit) if _has_report(world, feed_id, s)]
    return _ok({"reports": [_report(world, feed_id, second) for second in seconds]})


_ENDPOINTS: dict[str, Callable[[World, Query], Reply]] = {
    "feeds": _list_feeds,
    "reports/latest": _tell_latest,
    "reports": _tell_one,
    "reports/bulk": _tell_bulk,
    "reports/page": _tell_history,
}


def _report(world: World, feed_id: str, second: int) -> dict[str, object]:
    return make_report(feed_id, second, _read_tick(world, feed_id, second))


def _read_tick(world: World, feed_id: str, second: int) -> Tick:
    oracle, asset = world.prediction.oracle, ASSETS[feed_id]
    return Tick(oracle.price(asset, second), *oracle.quote(asset, second))


def _has_report(world: World, feed_id: str, second: int) -> bool:
    return 0 <= second <= _newest_s(world) and not world.prediction.is_missing(ASSETS[feed_id], second)


def _newest_s(world: World) -> int:
    return (world.time.now_us() - REPORT_LAG_US) // 1_000_000


def _known(feed_id: str) -> Reply | None:
    if not _FEED_ID.fullmatch(feed_id):
        return _fail(400, f"feedID {feed_id[:80]!r} is not a feed id")
    return None if feed_id in ASSETS else _fail(404, f"no feed {feed_id}")


def _ok(body: object, status: int = 200) -> Reply:
    return Reply(encode_json(body), status, quota="api")


def _fail(status: int, message: str) -> Reply:
    return Reply(encode_json({"error": message}), status, quota="api")


# the public page


class _Variables(msgspec.Struct):
    feedId: str


def _answer_page(world: World, query: Query) -> Reply:
    """Answer as GraphQL does: status 200 with `errors` for what cannot be answered."""
    try:
        feed_id = msgspec.json.decode(query.args.get("variables", "{}"), type=_Variables).feedId.lower()
    except msgspec.DecodeError:
        feed_id = ""
    if query.args.get("query") != "LIVE_STREAM_REPORTS_QUERY" or feed_id not in ASSETS:
        return Reply(encode_json({"errors": [{"message": "unknown query or feed"}]}), quota="page")
    newest_s = _newest_s(world) - PAGE_LAG_S
    nodes = []
    for second in range(newest_s, newest_s - PAGE_NODES, -1):
        if not _has_report(world, feed_id, second):
            continue
        tick = _read_tick(world, feed_id, second)
        time = datetime.fromtimestamp(second, UTC).isoformat()
        prices = {"price": str(tick.price), "bid": str(tick.bid), "ask": str(tick.ask)}
        nodes.append({"validFromTimestamp": time, **prices})
    return Reply(encode_json({"data": {"liveStreamReports": {"nodes": nodes}}}), quota="page")


def _show_stream(name: str) -> Reply:
    """Show a stream's page, which asks for its prices once a second."""
    asset = name.removesuffix("-usd").upper()
    if asset not in FEEDS:
        return Reply(b"<!doctype html><title>404</title>", 404, content_type="text/html")
    body = _PAGE.replace("ASSET", asset).replace("FEED_ID", FEEDS[asset])
    return Reply(body.encode(), content_type="text/html")


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>ASSET / USD stream</title></head>
<body>
<h1>ASSET / USD</h1>
<p>Mid-price <output id="price">-</output> bid <output id="bid">-</output> ask <output id="ask">-</output>
at <time id="time">-</time></p>
<script>
const asked = "../api/query-timescale?query=LIVE_STREAM_REPORTS_QUERY&variables=" +
  encodeURIComponent(JSON.stringify({feedId: "FEED_ID"}));
async function show() {
  try {
    const answer = await fetch(asked);
    if (!answer.ok) return;
    const newest = (await answer.json()).data.liveStreamReports.nodes[0];
    for (const name of ["price", "bid", "ask"])
      document.getElementById(name).textContent = (Number(newest[name]) / 1e18).toFixed(4);
    document.getElementById("time").textContent = newest.validFromTimestamp;
  } catch (error) {
    document.title = "no answer";
  }
}
show();
setInterval(show, 1000);
</script>
</body>
</html>
"""


def find_feed(url: str) -> str:
    """Return the source of an address."""
    return "streams" if "dataengine" in url else "page"


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    return encode_json({"error": "too many requests" if status == 429 else "internal error"})


FAKE = FakeVenue(
    name="chainlink",
    hosts=(*API_HOSTS, PAGE_HOST),
    specs=(),
    connect=connect,
    respond=respond,
    make_desk=NoDesk,
    quotas={"api": Quota(100, 10.0), "page": Quota(60, 10.0)},
    refuse=refuse,
    find_feed=find_feed,
    stages={"chainlink": ReportStage},
    keys={"CLIENT": CLIENT_ID, "SECRET": SECRET},
)
