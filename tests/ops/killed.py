"""Jobs as processes of their own that die in the middle of a request, and what they put onto the tape."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from truetape.sim.server import SimServer
from truetape.tape import FrameKind, open_reader


async def run_job(config: Path, name: str, **environ: str) -> str:
    """Run a job to its end; return what it printed."""
    process = await _start(config, name, environ)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def kill_job(config: Path, name: str, server: SimServer, fault: str, **environ: str) -> None:
    """Start a job, let a request hang that the fault is about, and kill the job then."""
    server.strike(fault)
    process = await _start(config, name, environ)
    while not any(done["action"] == "slow" for done in server.faults_done):
        await asyncio.sleep(0.02)
        assert process.returncode is None, "it ended before it asked so much"
    process.kill()
    await process.wait()


def list_pages(tape: Path) -> list[str]:
    """List the addresses that were answered, as they are on the tape."""
    reader = open_reader(str(tape))
    found = []
    for batch in reader.read(0):
        for kind, meta in zip(*(batch.data.column(name).to_pylist() for name in ("kind", "meta")), strict=True):
            if kind == FrameKind.RESPONSE:
                found.append(json.loads(meta)["url"])
    reader.close()
    return found


async def _start(config: Path, name: str, environ: dict[str, str]) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "truetape.cli", "jobs", "run", name, "--config", str(config)]
    return await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environ}
    )
