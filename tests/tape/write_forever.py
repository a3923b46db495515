"""Write numbered frames to a tape until killed; print each durable offset. Run by the kill and tailing tests."""

import sys
import time
from pathlib import Path

from truetape.tape import FrameKind, Source, TapeSettings, open_writer


def main(folder: str, frames: int, pause_s: float, segment_bytes: int) -> None:
    writer = open_writer(Path(folder), TapeSettings(segment_bytes_max=segment_bytes))
    source = writer.register(Source("venue", "feed", "writer"))
    while True:
        for _ in range(frames):
            offset = writer.next_offset
            sent_ns = time.monotonic_ns()
            writer.append(source, sent_ns, sent_ns, FrameKind.TEXT, b"%d" % offset * (1 + offset % 50))
        writer.flush()
        print(writer.sync(), flush=True)
        if pause_s:
            time.sleep(pause_s)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
