"""Streams that a server hands on and lost: gaps until it has them again, though our line to it stands."""

from truetape.decode.continuity import FindState
from truetape.decode.gaps import Ledger
from truetape.decode.state import ConnectionState
from truetape.events.rows import Rows


def cut_streams(rows: Rows, ledger: Ledger, find_state: FindState, connections: dict[str, ConnectionState]) -> None:
    """Open gaps on the streams that were cut, from when any of them was last heard; books need a new picture."""
    for cut in rows.cuts:
        connection = connections.get(cut.connection)
        at = cut.received_ns, cut.offset
        found = []
        for index in connection.streams if connection is not None else ():
            stream = rows.streams[index]
            if stream.venue_symbol.startswith(cut.prefix) and stream.venue_symbol in (
                cut.names or (stream.venue_symbol,)
            ):
                found.append((stream, find_state(index, at)))
        from_ns = max((state.seen_ns for _, state in found), default=0) or cut.received_ns
        for stream, state in found:
            if stream.channel == "book_change":
                state.is_synced = False
                state.last = None
                state.book = None
                state.buffer.clear()
            evidence = {"by": "the server said that it lost it", "prefix": cut.prefix}
            ledger.open(stream, state, "disconnect", at, from_ns=from_ns, evidence=evidence)
    rows.cuts.clear()
