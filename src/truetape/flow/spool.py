"""Work on the past that is handed to a running recorder, which alone may write on its tape: files in a folder beside it.

Whoever hands over waits for the outcome; what a recorder that ended left undone is not done by the next one, as the
lake may have some of it by then: it is to be planned anew.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from truetape import clock
from truetape.collect.backfill import Backfiller, Order, Result
from truetape.collect.key import load_key
from truetape.collect.recorder import Recorder
from truetape.config import Settings, find_url
from truetape.errors import Busy, TruetapeError
from truetape.events.backfill import BACKFILL, Began, Ended
from truetape.flow.teller import find_relay_backfill, load_relay, load_relay_key
from truetape.tape.frame import Source
from truetape.venues import load_venue
from truetape.venues.tardis import NAME as RELAY

LOOK_S = 1.0
SHARE = 0.25
"""Of what a venue allows: the rest is the recording's."""
TAKE_WAIT_S = 60.0
"""A recorder that is there takes what is handed to it within this time."""
_ORDERS, _TAKEN, _DONE = ".orders", ".taken", ".done"


class _Piece(msgspec.Struct, frozen=True):
    """One order, as it lies in a file."""

    venue: str
    began: Began
    feed: str
    reason: str
    channel: str
    """Of the backfill that is meant; empty: the past cannot be asked for."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one order."""

    gaps: tuple[str, ...]
    """Ids of the gaps that it was for."""
    ended: Ended


def name_spool(tape: str) -> Path:
    """Name the folder that lies beside a tape."""
    return Path(f"{tape.rstrip('/')}-orders")


async def hand_over(
    settings: Settings, orders: Mapping[str, Sequence[Order]], wait_s: float = TAKE_WAIT_S
) -> list[Outcome]:
    """Give orders, by venue, to the recorder that holds the tape; return what became of them. One at a time may do so.

    Raises Busy when no recorder takes them within `wait_s`, or it ends before it has done them.
    """
    folder = name_spool(settings.tape)
    for left in folder.glob(f"*{_DONE}"):  # whoever waited for it is dead
        left.unlink(missing_ok=True)
    slip = _Slip(folder, f"{clock.wall_ns()}")
    slip.write([
        _Piece(name, order.completed, order.feed, order.reason, order.backfill.channel if order.backfill else "")
        for name, own in orders.items()
        for order in own
    ])  # fmt: skip
    waited_s = 0.0
    try:
        while (outcomes := slip.read_done()) is None:
            waited_s = 0.0 if slip.is_taken else waited_s + LOOK_S
            if waited_s > wait_s or not slip.is_there:
                raise Busy(f"the recorder of {settings.tape} does not take what is to be asked, or has ended")
            await asyncio.sleep(LOOK_S)
        return outcomes
    finally:
        slip.clear()


async def take_orders(settings: Settings, recorder: Recorder) -> None:
    """Do what is handed over, one file after the other, until cancelled; meant to run beside the recording."""
    folder = name_spool(settings.tape)
    _clear(folder, recorder)
    while True:
        for slip in _list_slips(folder):
            await _take(settings, recorder, slip)
        await asyncio.sleep(LOOK_S)


class _Slip:
    """Work that is handed over: a file that changes its name as it goes on."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._orders, self._taken, self._done = (folder / f"{name}{end}" for end in (_ORDERS, _TAKEN, _DONE))

    @property
    def is_taken(self) -> bool:
        """Whether a recorder has it in hand."""
        return self._taken.exists()

    @property
    def is_there(self) -> bool:
        """Whether it is known to anybody: a recorder that begins throws away what an earlier one left."""
        return self._orders.exists() or self._taken.exists() or self._done.exists()

    def write(self, pieces: list[_Piece]) -> None:
        """Hand it over."""
        self._folder.mkdir(parents=True, exist_ok=True)
        _replace(self._orders, msgspec.json.encode(pieces))

    def take(self) -> list[_Piece]:
        """Take it in hand: OSError or msgspec.DecodeError when it is gone, or nothing that was handed over."""
        self._orders.rename(self._taken)
        return msgspec.json.decode(self._taken.read_bytes(), type=list[_Piece])

    def finish(self, outcomes: list[Outcome]) -> None:
        """Say what became of it."""
        _replace(self._done, msgspec.json.encode(outcomes))  # first: it must be there all the time
        self._taken.unlink(missing_ok=True)

    def read_done(self) -> list[Outcome] | None:
        """Return what became of it; null while it is not done."""
        return msgspec.json.decode(self._done.read_bytes(), type=list[Outcome]) if self._done.exists() else None

    def clear(self) -> None:
        """Take it away, whatever it is called now."""
        for path in (self._orders, self._taken, self._done):
            path.unlink(missing_ok=True)


def _replace(path: Path, body: bytes) -> None:
    scratch = path.with_suffix(".part")
    scratch.write_bytes(body)
    scratch.rename(path)


def _list_slips(folder: Path) -> list[_Slip]:
    return [_Slip(folder, path.name.removesuffix(_ORDERS)) for path in sorted(folder.glob(f"*{_ORDERS}"))]


def _clear(folder: Path, recorder: Recorder) -> None:
    """Say that what an earlier recorder had under way has ended; what it had not taken is planned anew, too."""
    for left in (*folder.glob(f"*{_TAKEN}"), *folder.glob(f"*{_ORDERS}")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            for piece in msgspec.json.decode(left.read_bytes(), type=list[_Piece]):
                _break_off(recorder, piece)
        left.unlink(missing_ok=True)


def _break_off(recorder: Recorder, piece: _Piece) -> None:
    source = recorder.register(Source(piece.venue, piece.feed, f"{piece.venue}/{BACKFILL}"))
    ended = Ended(status="failed", reason="broken off")
    recorder.note(source, "backfill_ended", **msgspec.to_builtins(ended))


async def _take(settings: Settings, recorder: Recorder, slip: _Slip) -> None:
    outcomes: list[Outcome] = []
    try:
        pieces = slip.take()
    except (OSError, msgspec.DecodeError) as error:
        recorder.note_self("orders_refused", reason=str(error))
        slip.clear()
        return
    for name in dict.fromkeys(piece.venue for piece in pieces):
        own = [piece for piece in pieces if piece.venue == name]
        try:
            await _open_asker(settings, recorder, name).run(
                [_read(settings, piece) for piece in own], partial(_keep, outcomes)
            )
        except TruetapeError as error:
            known = {gap for outcome in outcomes for gap in outcome.gaps}
            left = tuple(lost.gap_id for piece in own for lost in piece.began.gaps if lost.gap_id not in known)
            outcomes.append(Outcome(left, Ended(status="failed", reason=str(error))))
    slip.finish(outcomes)


def _keep(outcomes: list[Outcome], result: Result) -> None:
    outcomes.append(Outcome(tuple(lost.gap_id for lost in result.order.began.gaps), result.ended))


def _open_asker(settings: Settings, recorder: Recorder, name: str) -> Backfiller:
    if name == RELAY:
        return Backfiller(load_relay(settings), "", recorder, load_relay_key(settings))
    venue = load_venue(name)
    return Backfiller(venue, find_url(settings, name), recorder, load_key(venue), share=SHARE)


def _read(settings: Settings, piece: _Piece) -> Order:
    began = piece.began
    if piece.venue == RELAY and piece.channel:
        instrument = load_venue(began.venue).name_instrument(began.market, began.venue_symbol)
        return Order(began, find_relay_backfill(settings, piece.channel, instrument))
    wanted = piece.channel, began.market
    found = next((one for one in load_venue(piece.venue).backfills if (one.channel, one.market) == wanted), None)
    reason = piece.reason or f"{piece.venue} tells no {piece.channel} of {began.market}'s past"
    return Order(began, found, piece.feed, reason)
