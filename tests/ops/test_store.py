"""Objects in a bucket: a real server of the S3 protocol on loopback."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from pyarrow import fs

from truetape.config import Settings
from truetape.errors import ConfigError, Fatal, Transient
from truetape.flow import verify
from truetape.lake import lake_hash
from truetape.ops import back_up, restore
from truetape.ops.store import Store


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a bucket."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    before = {name: os.environ.get(name) for name in keys}
    os.environ.update(keys)
    command = [sys.executable, "-W", "ignore", "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        until = monotonic() + 30
        while not (found := re.search(r"http://(127\.0\.0\.1:\d+)", log.read_text())):
            assert monotonic() < until, log.read_text()
            sleep(0.1)
        files = fs.S3FileSystem(
            endpoint_override=found[1], scheme="http", region="us-east-1", allow_bucket_creation=True
        )
        files.create_dir("bucket")
        yield f"s3://bucket/truetape?endpoint_override={found[1].replace(':', '%3A')}&scheme=http&region=us-east-1"
        process.kill()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def test_an_object_is_stored_once_and_comes_back(bucket: str, tmp_path: Path) -> None:
    store = Store(bucket)
    digest, size, is_new = store.put(io.BytesIO(b"x" * 10_000_000))
    assert (size, is_new) == (10_000_000, True)
    assert Store(bucket).put(io.BytesIO(b"x" * 10_000_000)) == (digest, size, False)
    store.fetch(digest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"x" * 10_000_000


def test_a_backup_in_a_bucket_comes_back_equal(bucket: str, settings: Settings, tmp_path: Path) -> None:
    before = lake_hash(tmp_path / "lake")
    back_up(settings, bucket)
    shutil.rmtree(settings.tape)
    shutil.rmtree(tmp_path / "lake")
    (tmp_path / "rows.sqlite").unlink()
    restore(settings, bucket)
    assert lake_hash(tmp_path / "lake") == before
    assert verify(settings.tape, settings.sinks[0]).balanced


def test_what_is_not_there_or_cannot_be_reached_is_told_in_one_line(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="it is not there"):
        Store(bucket).fetch("0" * 64, tmp_path / "none")
    with pytest.raises((Transient, ConfigError)) as away:
        Store(
            "s3://bucket/x?endpoint_override=127.0.0.1%3A1&scheme=http&region=us-east-1&connect_timeout=1"
        ).list_names()
    assert "\n" not in str(away.value)


def test_an_object_that_grows_is_cut_where_it_was_listed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    digest, size, _ = store.put(io.BytesIO(b"0123456789"), 4)
    store.fetch(digest, tmp_path / "back")
    assert (size, (tmp_path / "back").read_bytes()) == (4, b"0123")


def test_what_a_power_cut_left_shorter_is_stored_again(tmp_path: Path) -> None:
    digest, _, _ = Store(str(tmp_path)).put(io.BytesIO(b"whole"))
    path = tmp_path / "objects" / digest[:2] / digest
    path.write_bytes(b"")
    assert not Store(str(tmp_path)).has(digest, 5)
    assert Store(str(tmp_path)).put(io.BytesIO(b"whole")) == (digest, 5, True)
    assert path.read_bytes() == b"whole"


def test_half_written_objects_are_nobodys_and_old_ones_go(tmp_path: Path) -> None:
    digest, _, _ = Store(str(tmp_path)).put(io.BytesIO(b"whole"))
    folder = tmp_path / "objects" / digest[:2]
    old, new = folder / f"{'0' * 64}.1.partial", folder / f"{'1' * 64}.2.partial"
    for path in (old, new):
        path.write_bytes(b"ha")
    os.utime(old, (1, 1))
    store = Store(str(tmp_path))
    assert store.has(digest, 5) and not store.has("0" * 64, 2)
    assert sorted(path.name for path in folder.iterdir()) == sorted([digest, new.name])


def test_a_full_disk_keeps_nothing_half_written(small_disk: Callable[..., Path]) -> None:
    place = small_disk("-t", "tmpfs", "-o", "size=64k", "tmpfs")
    with pytest.raises(Transient, match="No space left"):
        Store(str(place)).put(io.BytesIO(b"x" * 1_000_000))
    assert [path for path in place.rglob("*") if path.is_file()] == []
    assert Store(str(place)).put(io.BytesIO(b"x" * 1000))[2]
