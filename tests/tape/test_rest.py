"""Recorded HTTP answers come onto a tape, and from there into the lake with exactly their rows."""

import gzip
import json
from pathlib import Path

import pytest

from truetape.errors import TapeError
from truetape.flow import deliver, import_files, verify
from truetape.lake import Lake
from truetape.tape import Frame, FrameKind
from truetape.tape.foreign import read_recording
from truetape.tape.foreign.origin import Origin


def read(path: Path, *entries: object, start_ns: int | None = None) -> list[Frame]:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return list(
        read_recording("rest", Origin(path, "coingecko", "import", feed_of=lambda url: "rest", start_ns=start_ns))
    )


def test_an_answer_keeps_its_address_status_time_and_what_matters_of_its_headers(tmp_path: Path) -> None:
    entry = {"url": "https://x/y?z=1", "method": "get", "status": "429", "body": "{}",
             "headers": {"Retry-After": "7", "Set-Cookie": "secret"}, "recorded_at": "Sun, 16 May 2021 08:21:20 GMT"}  # fmt: skip
    (frame,) = read(tmp_path / "a.jsonl", entry)
    assert (frame.kind, frame.feed, frame.payload) == (FrameKind.RESPONSE, "rest", b"{}")
    assert frame.received_ns == 1_621_153_280 * 10**9
    assert json.loads(frame.meta) == {
        "method": "GET", "url": "https://x/y?z=1", "status": 429, "headers": {"retry-after": "7"},
    }  # fmt: skip


def test_times_may_be_iso_or_of_the_header_or_given(tmp_path: Path) -> None:
    bare = {"url": "u", "body": ""}
    times = [{"recorded_at": "2021-05-16T08:21:20.5+00:00"}, {"headers": {"Date": "Sun, 16 May 2021 08:21:20 GMT"}}, {}]
    found = read(tmp_path / "a.jsonl", *({**bare, **one} for one in times), start_ns=9)
    assert [frame.received_ns for frame in found] == [1_621_153_280_500_000_000, 1_621_153_280_000_000_000, 9]
    with pytest.raises(TapeError, match="line 1: an answer without time"):
        read(tmp_path / "a.jsonl", bare)
    with pytest.raises(TapeError, match="line 1"):
        read(tmp_path / "a.jsonl", {**bare, "status": "fine", "recorded_at": "2021-05-16"})


def list_charts(path: Path) -> list[list[int]]:
    """Return the times of the recorded charts' points."""
    with gzip.open(path) as file:
        entries = [json.loads(line) for line in file]
    bodies = [json.loads(e["body"]) for e in entries if "/market_chart?" in e["url"] and e["status"] == 200]
    return [[at for at, _ in body["prices"]] for body in bodies]


def test_recorded_answers_of_coingecko_are_in_the_lake_row_by_row(recordings: Path, tmp_path: Path) -> None:
    path = recordings / "crypto/coingecko/coingecko_ruby_vcr_2021_a.jsonl.gz"
    tape, sink = str(tmp_path / "tape"), f"lake:{tmp_path / 'lake'}"
    assert import_files("rest", [path], "coingecko", tape) == [(path, 31)]
    deliver(tape, (sink,))
    verdict = verify(tape, sink)
    assert verdict.balanced, verdict.problems
    assert verdict.stored.pop("market") > 7248
    assert verdict.stored.pop("error") == 9
    month, first, second = (times[:-1] for times in list_charts(path))  # the last point of each is "now"
    later = [at for at in second if at > first[-1]]
    assert verdict.stored == {"coin": 1 + len(month) + len(first) + len(later), "candle": 42, "coin_total": 61}
    bars = Lake(tmp_path / "lake").sql("select count(*) n, count(*) filter (is_closed) c from candle").arrow()
    assert bars.to_pylist() == [{"n": 42, "c": 41}]
