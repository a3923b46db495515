"""The process of the views: told to finish, it delivers what is on the tape, however short that was."""

import queue
from pathlib import Path

from truetape.config import Settings
from truetape.flow.message import Finish
from truetape.flow.view_process import run_views
from truetape.tape import FrameKind, Source, TapeSettings, has_tape, open_writer


def test_a_tape_that_is_over_when_it_is_first_seen_is_delivered(tmp_path: Path) -> None:
    class Inbox(queue.Queue):
        """The tape is made and ended while somebody waits for a message."""

        def get(self, block: bool = True, timeout: float | None = None) -> object:
            if not has_tape(tmp_path / "tape"):
                writer = open_writer(tmp_path / "tape", TapeSettings())
                source = writer.register(Source("recorder", "recorder", "recorder"))
                writer.append(source, 1, 1, FrameKind.EVENT, b"", '{"event":"started"}')
                writer.close()
            return super().get(block, timeout)

    inbox = Inbox()
    inbox.put(Finish())
    counts = run_views(Settings(tape=str(tmp_path / "tape"), sinks=(f"csv:{tmp_path / 'rows'}",)), inbox)
    assert counts["frames"] == 1
