"""The process of the views: told to finish, it delivers what is on the tape, however short that was."""

import queue
from pathlib import Path

from truetape.config import DeliverSettings, Settings
from truetape.flow.message import Finish
from truetape.flow.view import View
from truetape.flow.view_process import Watch, run_views
from truetape.sinks import open_sink
from truetape.tape import FrameKind, Source, TapeSettings, has_tape, open_reader, open_writer


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


def test_books_have_a_lag_and_no_price(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "tape", TapeSettings())
    source = writer.register(Source("bybit", "spot", "bybit/spot/1#1"))
    for sent_ms, number in ((1_700_000_000_000, 1), (1_700_000_000_100, 2)):
        kind = "snapshot" if number == 1 else "delta"
        frame = (
            f'{{"topic":"orderbook.200.BTCUSDT","type":"{kind}","ts":{sent_ms},"cts":{sent_ms},'
            f'"data":{{"s":"BTCUSDT","b":[["1","2"]],"a":[["3","4"]],"u":{number},"seq":{number}}}}}'
        )
        writer.append(source, (sent_ms + 7) * 10**6, number, FrameKind.TEXT, frame.encode())
    writer.close()
    reader = open_reader(tmp_path / "tape")
    view = View(reader, open_sink("memory:", reader.tape_id), DeliverSettings())
    view.advance()
    reader.close()
    (told,) = [one for one in Watch().list_streams(view) if one.channel == "book_change"]
    assert (told.rows, told.price, told.lag_ms) == (2, None, 7.0)
