"""Fake Tardis: a relay of its tables under `/relay.test/tardis/…`, its raw recordings, its CSV files, tardis-machine.

The relay wants `RELAY_KEY`, the vendor `API_KEY`; CSV files of a month's first day are free, as there.
"""

import csv
import gzip
import io
from itertools import islice
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from truetape.sim.fake import FakeVenue, NoDesk
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.venues import _tardis_machine
from truetape.sim.venues._tardis_replay import EXCHANGES, pack_minute, read_filters, read_time, send_replay
from truetape.sim.venues._tardis_rows import MARKETS, has_type, list_rows
from truetape.sim.world import World

RELAY_HOST, API_HOST, DATASETS_HOST = "relay.test", "api.tardis.dev", "datasets.tardis.dev"
RELAY_KEY, API_KEY = "relay-fake-key", "TD.fake-api-key"
PER_MINUTE = 6_000
ROWS_MAX = 5_000
"""Rows of a page, whatever is asked for."""
_DAY_US = 86_400_000_000


def respond(world: World, query: Query) -> Reply:
    """Answer by host, or by the machine's path; the bare path is the relay's."""
    if query.host == API_HOST:
        return _send_slice(world, query)
    if query.host == _tardis_machine.RAW_REPLAY or query.path.strip("/") == _tardis_machine.RAW_REPLAY:
        return send_replay(world.prediction.oracle, query)
    return _send_file(world, query) if query.host == DATASETS_HOST else _send_page(world, query)


def refuse(status: int, text: str = "") -> bytes:
    """Write an error as it does."""
    return encode_json({"code": status, "message": text or "Too many requests"})


def _refuse(status: int, text: str) -> Reply:
    return Reply(refuse(status, text), status)


# -- the relay --------------------------------------------------------------------------------------------------


def _send_page(world: World, query: Query) -> Reply:
    if query.headers.get("authorization") != f"Bearer {RELAY_KEY}":
        return _refuse(401, "no such key")
    places = [unquote(part) for part in query.path.split("/") if part]
    places = places if query.host else ["tardis", *places]  # the bare path begins with our name
    if len(places) != 4 or places[0] != "tardis":
        return _refuse(404, "no such path")
    exchange, symbol, data_type = places[1:]
    if exchange not in MARKETS or not has_type(data_type):
        return _refuse(404, f"no {data_type} of {exchange}")
    start_us, end_us = (read_time(query.args.get(name, "")) for name in ("start_time", "end_time"))
    if start_us is None or end_us is None:
        return _refuse(400, "start_time and end_time are times")
    limit = query.number("limit", 1000, ROWS_MAX)
    rows = list(islice(list_rows(world, (exchange, symbol, data_type), start_us, end_us), limit))
    return Reply(encode_json({"data": rows}), quota="relay", is_book=True)


# -- CSV files --------------------------------------------------------------------------------------------------


def _send_file(world: World, query: Query) -> Reply:
    """Send a day, or the rest of it from the byte that `Range` names."""
    places = [unquote(part) for part in query.path.removeprefix("/v1").split("/") if part]
    if len(places) != 6 or not places[5].endswith(".csv.gz"):
        return _refuse(404, "no such path")
    exchange, data_type, *date, name = places
    if date[2] != "01" and query.headers.get("authorization") != f"Bearer {API_KEY}":
        return _refuse(401, "the first day of a month is free, others need a key")
    day = read_time("-".join(date))
    if exchange not in MARKETS or not has_type(data_type) or day is None:
        return _refuse(404, f"no {data_type} of {exchange} on that day")
    symbol = name.removesuffix(".csv.gz")
    body = pack_day(world, (exchange, symbol, data_type), day)
    tag = {"ETag": f'"{len(body)}-{day}"', "Accept-Ranges": "bytes"}
    asked = query.headers.get("range", "")
    begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked.startswith("bytes=") else 0
    if begin >= len(body):
        return Reply(b"", 416, headers=tag)
    if begin:
        tag["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
    return Reply(
        body[begin:], 206 if begin else 200, "files", headers=tag, is_book=True, content_type="application/gzip"
    )


def pack_day(world: World, place: tuple[str, str, str], day_us: int) -> bytes:
    """Return a day's CSV, gzipped."""
    rows = list_rows(world, place, day_us, day_us + _DAY_US)
    out = io.StringIO()
    first = next(rows, None)
    if first is not None:
        writer = csv.DictWriter(out, first.keys(), lineterminator="\n")
        writer.writeheader()
        for row in (first, *rows):
            writer.writerow({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()})
    return gzip.compress(out.getvalue().encode(), 1, mtime=0)


# -- raw recordings ---------------------------------------------------------------------------------------------


def _send_slice(world: World, query: Query) -> Reply:
    """Send one minute of frames as the exchange sent them, each after the time it came."""
    if query.headers.get("authorization") != f"Bearer {API_KEY}":
        return _refuse(401, "no such key")
    exchange = query.path.removeprefix("/v1/data-feeds/")
    if exchange not in EXCHANGES:
        return _refuse(400, f"no recordings of {exchange}")
    begin_us, offset = read_time(query.args.get("from", "")), query.args.get("offset", "")
    if begin_us is None or not offset.isdigit():
        return _refuse(400, "from in ISO 8601 format and offset are wanted")
    told = parse_qs(urlsplit(query.target).query).get("filters", ["[]"])[0]
    try:
        filters = read_filters(told)
    except msgspec.DecodeError as error:
        return _refuse(400, f"filters: {error}")
    body = pack_minute(world.prediction.oracle, exchange, filters, begin_us + int(offset) * 60_000_000)
    return Reply(body, quota="api", headers={"Content-Encoding": "gzip"}, content_type="application/x-json-stream")


FAKE = FakeVenue(
    name="tardis",
    hosts=(RELAY_HOST, API_HOST, DATASETS_HOST, *_tardis_machine.PLACES),
    specs=(),
    connect=_tardis_machine.connect,
    respond=respond,
    make_desk=NoDesk,
    quotas={name: Quota(PER_MINUTE) for name in ("relay", "files", "api")},
    refuse=refuse,
    keys={"API": API_KEY},
)
