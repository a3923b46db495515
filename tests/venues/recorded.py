"""Read the recordings, whatever their format: the one reader that every venue test shares.

`tests/venues` is on pytest's `pythonpath`, so any test, in any folder, writes

    from recorded import Recorded, read_frames

    for kind, where, payload, received_ns in read_frames(recordings / "crypto/binance/gct_ws.jsonl"):

Kinds, and what `where` and `payload` are then:

    connect   where = connection, payload = its URL; always before the connection's frames (cfv3 only)
    text      where = connection ("" when the file does not say), payload = the frame exactly
    binary    as text, for frames that were binary on the wire
    send      where = connection, payload = what the recorder sent
    http      where = URL, payload = body of a response with status 200 (or with no status recorded)
    failed    where = URL, payload = body of a response with another status

`received_ns` is 0 where the file has no receive times. A fixture's `where` is its file name: `http` when that
begins with http, else `text`. In hftbacktest lines the snapshot injected in line becomes `http` with a URL.
"""

import base64
import csv
import gzip
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple


class Recorded(NamedTuple):
    """One thing that was recorded; see the module's docstring."""

    kind: str
    where: str
    payload: bytes
    received_ns: int


def read_frames(path: Path) -> Iterator[Recorded]:
    """Yield everything that was recorded in a file, in order."""
    with _open(path) as file:
        yield from _READERS[name_format(path)](path, file)


def name_format(path: Path) -> str:
    """Return the format that INDEX.tsv gives a recording: tsline, cfv3, raw, rest, fixture or replay."""
    if path.name == "tardis_node_replay_raw.ndjson":
        return "replay"
    root = next(folder for folder in path.parents if (folder / "INDEX.tsv").is_file())
    return _read_index(root)[str(path.relative_to(root))]["format"]


def list_recordings(root: Path, venue: str, tiers: str = "AB") -> list[Path]:
    """List a venue's recordings of these tiers; `root` is `recordings / "crypto"`."""
    rows = _read_index(root).values()
    return [root / row["path"] for row in rows if row["path"].startswith(f"{venue}/") and row["tier"] in tiers]


@cache
def _read_index(root: Path) -> dict[str, dict[str, str]]:
    with (root / "INDEX.tsv").open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read_raw(path: Path, file: IO[bytes]) -> Iterator[Recorded]:
    for line in file:
        yield Recorded("text", "", line.rstrip(b"\n"), 0)


def _read_tsline(path: Path, file: IO[bytes]) -> Iterator[Recorded]:
    """Lines of `<receive time> <frame>`; the time is ns in files of 2024 and later, us before."""
    url = _name_snapshot_url(path)
    for line in file:
        time_text, _, payload = line.rstrip(b"\n").partition(b" ")
        time = int(time_text)
        received_ns = time if time > 10**17 else time * 1000
        if payload.startswith(b'{"lastUpdateId"'):
            yield Recorded("http", url, payload, received_ns)
        else:
            yield Recorded("text", "", payload, received_ns)


def _name_snapshot_url(path: Path) -> str:
    """The recorder asked Binance's depth endpoint of the market in the file's name; the symbol is there too."""
    _, market, *symbol, _ = path.name.split(".")[0].split("_")
    base = {
        "spot": "https://api.binance.com/api/v3/depth",
        "usdm": "https://fapi.binance.com/fapi/v1/depth",
        "coinm": "https://dapi.binance.com/dapi/v1/depth",
    }.get(market, "")
    return f"{base}?symbol={'_'.join(symbol).upper()}&limit=1000"


def _read_cfv3(path: Path, file: IO[bytes]) -> Iterator[Recorded]:
    for line in file:
        row = json.loads(line)
        received_ns = round(row.get("ts", 0) * 1_000_000) * 1000  # the file's times are floats, good to a microsecond
        match row["t"]:
            case "connect":
                yield Recorded("connect", row["conn"], row["addr"].encode(), received_ns)
            case "recv" if "b64" in row:
                yield Recorded("binary", row["conn"], base64.b64decode(row["b64"]), received_ns)
            case "recv":
                yield Recorded("text", row["conn"], row["data"].encode(), received_ns)
            case "send":
                yield Recorded("send", row["conn"], row["data"].encode(), received_ns)
            case "http":
                yield Recorded("http", row["url"], row["data"].encode(), received_ns)
            case "header" | "config":
                pass
            case other:
                raise ValueError(f"{path.name}: row type {other!r}")


def _read_rest(path: Path, file: IO[bytes]) -> Iterator[Recorded]:
    for line in file:
        row = json.loads(line)
        kind = "http" if row.get("status", 200) == 200 else "failed"
        yield Recorded(kind, row["url"], _encode_body(row["body"]), 0)


def _read_fixture(path: Path, file: IO[bytes]) -> Iterator[Recorded]:
    for line in file:
        row = json.loads(line)
        kind = "http" if Path(row["file"]).name.startswith("http") else "text"
        yield Recorded(kind, row["file"], _encode_body(row["body"]), 0)


def _read_replay(path: Path, file: IO[bytes]) -> Iterator[Recorded]:
    """Tardis replay objects: `where` is the exchange's name, the message is serialised again."""
    for line in file:
        row = json.loads(line)
        yield Recorded("text", row["exchange"], json.dumps(row["message"], separators=(",", ":")).encode(), 0)


def _encode_body(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()


_READERS: dict[str, Callable[[Path, IO[bytes]], Iterator[Recorded]]] = {
    "raw": _read_raw,
    "tsline": _read_tsline,
    "cfv3": _read_cfv3,
    "rest": _read_rest,
    "fixture": _read_fixture,
    "replay": _read_replay,
}
