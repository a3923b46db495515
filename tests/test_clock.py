"""Time that runs faster, and time that jumps."""

import asyncio
import time

import pytest

from truetape import clock

START_S = 1_767_557_700


async def test_as_it_comes_the_clock_is_the_machines() -> None:
    assert abs(clock.wall_ns() - time.time_ns()) < 10**9


def test_compressed_time_runs_faster_for_clocks_and_timers() -> None:
    async def main() -> tuple[float, float]:
        loop, began_ns = asyncio.get_running_loop(), clock.wall_ns()
        began_s = loop.time()
        await asyncio.sleep(30)
        return (clock.wall_ns() - began_ns) / 1e9, loop.time() - began_s

    real_ns = time.monotonic_ns()
    with clock.compress(START_S, 300):
        assert abs(clock.wall_ns() - START_S * 10**9) < 300 * 10**9
        passed_s, timed_s = clock.run(main())
    assert passed_s >= 30
    assert timed_s >= 30
    assert time.monotonic_ns() - real_ns < 29 * 10**9
    assert abs(clock.wall_ns() - time.time_ns()) < 10**9


def test_virtual_time_jumps_over_what_is_idle_and_waits_for_sockets() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        await asyncio.sleep(3600)
        writer.write(b"pong\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> tuple[bytes, float]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            began_ns = clock.wall_ns()
            writer.write(b"ping\n")
            said = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return said, (clock.wall_ns() - began_ns) / 1e9

    with clock.step_virtual(START_S):
        said, passed_s = clock.run(main())
    assert said == b"pong\n"
    assert 3600 <= passed_s < 3601


def test_virtual_time_wakes_for_threads() -> None:
    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: 7)

    with clock.step_virtual(START_S):
        assert clock.run(main()) == 7


def test_an_error_inside_leaves_the_clock_as_it_was() -> None:
    with pytest.raises(ValueError, match="inside"), clock.compress(START_S, 10):
        raise ValueError("inside")
    assert abs(clock.wall_ns() - time.time_ns()) < 10**9
