"""Load for benchmarks: every frame whole and in order, stamped when asked."""

import json
from pathlib import Path

import aiohttp
import pytest

from truetape.errors import ConfigError
from truetape.sim.blast import blast, load_ammunition, read_payloads

FRAMES = [json.dumps({"n": n, "fill": "x" * (n * 7 % 300)}).encode() for n in range(500)]


@pytest.mark.parametrize("rate", [0.0, 50_000.0])
@pytest.mark.parametrize("has_stamps", [False, True])
async def test_frames_come_whole_and_in_order(rate: float, has_stamps: bool) -> None:
    server = await blast(FRAMES, port=0, rate=rate, has_stamps=has_stamps)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://127.0.0.1:{port}/any") as socket:
        await socket.ping(b"hello")
        frames = [await socket.receive_json(timeout=10) for _ in range(1200)]
    server.close()

    assert [f["n"] for f in frames] == [i % 500 for i in range(1200)]
    stamps = [f.get("sent_ns", 0) for f in frames]
    assert stamps == sorted(stamps)
    assert all((s > 10**18) == has_stamps for s in stamps)


async def test_it_ends_after_the_time() -> None:
    server = await blast(FRAMES, port=0, rate=1000, seconds=0.1)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://127.0.0.1:{port}/") as socket:
        while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE
    server.close()


def test_recordings_of_each_form_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('1723161256299 {"a":1}\n')
    (tmp_path / "b.jsonl").write_text('{"t":"connect","addr":"x"}\n{"t":"recv","data":"{\\"b\\":2}"}\n')
    (tmp_path / "c.jsonl").write_text('{"c":3}\n')

    found = list(read_payloads([tmp_path / "a.txt", tmp_path / "b.jsonl", tmp_path / "c.jsonl"]))
    assert found == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_nothing_to_send_is_said() -> None:
    with pytest.raises(ConfigError, match="no frame"):
        load_ammunition([])
