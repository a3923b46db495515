"""The variable that compresses time."""

import os
import subprocess
import sys
from pathlib import Path

from truetape.config import describe_settings, load_secrets, mask_secrets, parse_settings
from truetape.config.environment import MASK


def test_a_wrong_clock_is_refused_in_one_line() -> None:
    for text in ("fast", "0@", "1767557700@0", "1767557700@-2", "1@2@3@4"):
        done = run_python("from truetape.config import load_clock; load_clock()", TRUETAPE_CLOCK=text)
        assert "ConfigError: TRUETAPE_CLOCK" in done.stderr, text


def test_processes_told_the_same_clock_have_the_same_time() -> None:
    parent = (
        "import subprocess, sys; from truetape import clock, config; config.load_clock(); before = clock.wall_ns();"
        "child = 'from truetape import clock, config; config.load_clock(); print(clock.wall_ns())';"
        "said = int(subprocess.run([sys.executable, '-c', child], capture_output=True).stdout);"
        "print(before <= said <= clock.wall_ns(), before)"
    )
    is_same, before = run_python(parent, TRUETAPE_CLOCK="1767557700@1000").stdout.split()
    assert is_same == "True"
    assert int(before) >= 1767557700 * 10**9


def run_python(code: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environ})


def test_settings_that_are_kept_hold_no_password() -> None:
    text = "venues: {binance: {instruments: [BTC-USDT], url: 'http://me:s3cret@127.0.0.1:1'}}"
    kept = describe_settings(parse_settings(text, "test", {}))
    assert kept["venues"]["binance"]["url"] == "http://…@127.0.0.1:1"
    assert "s3cret" not in str(kept)


def test_secrets_are_masked_however_an_address_spells_them() -> None:
    known = {"TRUETAPE_KEY_X_API": "a/b+c==secret", "TRUETAPE_ALERT_URLS": "mailtos://me:pa%40ss%2Fword@host"}
    secrets = load_secrets(known, Path("none"))
    told = "GET http://h/?key=a%2Fb%2Bc%3D%3Dsecret refused; a/b+c==secret; pa@ss/word is wrong; pa%40ss%2Fword"
    masked = mask_secrets(told, secrets)
    assert masked == f"GET http://h/?key={MASK} refused; {MASK}; {MASK} is wrong; {MASK}"
