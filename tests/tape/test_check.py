from pathlib import Path

from tapes import write_tape

from truetape.events.checkpoint import Checkpoint
from truetape.tape import TapeSettings, find_losses, list_sealed, list_segments, open_reader, verify_tape
from truetape.tape.folder import segment_path
from truetape.tape.pruning import prune_segments


def test_goes_on_after_damage_and_counts_the_rest(tmp_path: Path) -> None:
    write_tape(tmp_path, [10] * 30, settings=TapeSettings(segment_bytes_max=9000))
    infos = list_segments(tmp_path)
    path = segment_path(tmp_path, infos[1].first)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    check = verify_tape(tmp_path)
    assert check.frames == 290
    assert check.segments == len(infos)
    reasons = {problem.reason for problem in check.problems}
    assert "checksum does not match" in reasons or "no message begins here" in reasons
    assert "the file's hash is not the manifest's" in reasons
    assert {problem.segment for problem in check.problems} == {path.name}


def test_a_missing_segment_is_a_problem(tmp_path: Path) -> None:
    write_tape(tmp_path, [1])
    segment_path(tmp_path, 0).unlink()
    (problem,) = verify_tape(tmp_path).problems
    assert "missing" in problem.reason


def find_lost(folder: Path) -> list[str]:
    reader = open_reader(folder)
    try:
        return find_losses(folder, reader.end)
    finally:
        reader.close()


def test_what_readers_cannot_see_of_what_was_sealed_is_a_loss(tmp_path: Path) -> None:
    for _ in range(3):
        write_tape(tmp_path, [2, 3])
    assert find_lost(tmp_path) == []
    firsts = [info.first for info in list_segments(tmp_path)]
    end = list_segments(tmp_path)[-1].end

    newest = segment_path(tmp_path, firsts[-1])
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) * 2 // 3])
    (lost,) = find_lost(tmp_path)
    assert lost.startswith(newest.name) and lost.endswith("are damaged")
    newest.unlink()
    assert find_lost(tmp_path) == [f"{newest.name}: {end - firsts[-1]} frames from offset {firsts[-1]} on are missing"]
    newest.write_bytes(whole)
    segment_path(tmp_path, firsts[1]).unlink()
    (lost,) = find_lost(tmp_path)
    assert lost.startswith(segment_path(tmp_path, firsts[1]).name) and lost.endswith("are missing")


def test_what_is_open_or_was_pruned_is_no_loss(tmp_path: Path) -> None:
    write_tape(tmp_path, [5])
    write_tape(tmp_path, [5], close=False)
    (info,) = list_sealed(tmp_path)
    prune_segments(tmp_path, [info], Checkpoint("", info.end, {}, b""))
    assert find_lost(tmp_path) == []


def test_an_open_tape_is_fine(tmp_path: Path) -> None:
    write_tape(tmp_path, [5, 5], close=False)
    check = verify_tape(tmp_path)
    assert (check.ok, check.frames, check.segments) == (True, 10, 1)
    (info,) = list_segments(tmp_path)
    assert (info.reason, info.count, info.sha256) == ("open", 10, "")
    assert list_sealed(tmp_path) == []


def test_sealed_segments_are_listed_without_the_open_one(tmp_path: Path) -> None:
    write_tape(tmp_path, [5, 5])
    write_tape(tmp_path, [5], close=False)
    assert [info.count for info in list_sealed(tmp_path)] == [10]
    assert [bool(info.sha256) for info in list_segments(tmp_path)] == [True, False]
