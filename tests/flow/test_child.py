"""A child process ends with its last word and nothing on standard error, though a thread still waits for a line."""

import signal
import subprocess
import sys
import time

import pytest

from truetape.flow.child import hold_signals

CODE = """
import sys, threading
import duckdb
from truetape.flow.child import run_child
def work(settings):
    threading.Thread(target=sys.stdin.buffer.readline, daemon=True).start()
    {end}
run_child(work)
"""


def run(end: str) -> tuple[int, str, str]:
    with subprocess.Popen(
        [sys.executable, "-c", CODE.format(end=end)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write('{"type":"Begin","settings":{}}\n')
        process.stdin.flush()
        said, complained = process.stdout.read(), process.stderr.read()
        return process.wait(), said.strip(), complained


def test_a_good_end_is_told() -> None:
    assert run("return {'frames': 3}") == (0, '{"type":"Done","counts":{"frames":3}}', "")


def test_an_error_of_ours_is_one_line() -> None:
    code, said, complained = run("from truetape.errors import ConfigError; raise ConfigError('tape: no')")
    assert (code, complained) == (2, "")
    assert said == '{"type":"Failed","error":"tape: no","is_fatal":true}'


def test_an_error_nobody_foresaw_says_where() -> None:
    code, said, complained = run("1 / 0")
    assert (code, complained) == (3, "")
    assert "internal error: ZeroDivisionError" in said


def test_no_process_of_ours_loads_pandas_for_arrow() -> None:
    code = """
import sys
from truetape.flow.child import leave_out_pandas
leave_out_pandas()
import pyarrow as pa
assert pa.array([1, 2]).to_numpy().tolist() == [1, 2]
assert "pandas" not in sys.modules, "loaded"
frame = pa.table({"a": [1]}).to_pandas()  # who asks for it gets it
assert frame["a"].tolist() == [1]
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_does_not_end_a_process_that_only_begins(number: int) -> None:
    code = "import time; time.sleep(1)\n" + CODE.format(end="return {}")  # long imports
    with hold_signals():
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    time.sleep(0.3)
    process.send_signal(number)
    said, _ = process.communicate('{"type":"Begin","settings":{}}\n')
    assert (process.returncode, said.strip()) == (0, '{"type":"Done","counts":{}}')
