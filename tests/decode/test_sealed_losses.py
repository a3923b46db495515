"""Whatever is lost, repeated or torn: nothing of a sealed book is missing outside its gaps.

A hash proves what a book is, not what it was on the way: a lost change that the next frame for this book undoes, or
that a picture follows on at once, leaves no trace, and is not asked for here.
"""

from dataclasses import dataclass, field
from typing import Any

from framed import Outcome, Tape, check_balance, decode
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_market import DOWN, LINE, RECORDER, UP, URL, SealedMarket, subscribe, tick

from truetape.tape.frame import Source

TOKENS = (UP, DOWN)
CHANGES = st.tuples(st.sampled_from(("BUY", "SELL")), st.integers(0, 6), st.integers(0, 9))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("change", "change", "change", "lose", "half", "repeat", "split")), CHANGES),
        st.tuples(st.sampled_from(("answer", "stale", "picture", "reconnect", "quiet", "tick")), st.none()),
    ),
    max_size=30,
)


@dataclass
class Story:
    """A tape, the market it tells of, and when the stream of which token lost what."""

    tape: Tape = field(default_factory=Tape)
    market: SealedMarket = field(default_factory=SealedMarket)
    source: Source = LINE
    number: int = 1
    hidden: int = 0
    losses: list[tuple[str, int]] = field(default_factory=list)
    """What a batch after it must show."""
    pending: list[tuple[str, int]] = field(default_factory=list)
    stale: dict[str, dict[str, Any]] = field(default_factory=dict)

    def begin(self) -> None:
        subscribe(self.tape, self.source)
        self.tape.say(self.source, self.market.pictures())

    def move(self, what: tuple[str, int, int]) -> tuple[str, str, str]:
        """Change a level, and never to what it is already."""
        side, step, size = what
        price = f"{0.45 - step / 100 if side == 'BUY' else 0.5 + step / 100:.2f}"
        book = self.market.bids if side == "BUY" else self.market.asks
        told = str(size) if book.get(price, "0") != str(size) else str(size + 10)
        return side, price, told

    def take(self, step: str, what: tuple[str, int, int] | None) -> None:
        tape, market = self.tape, self.market
        tape.wait(0.1)
        market.at_ms = tape.now_ns // 10**6
        if what is not None:
            getattr(self, step)(self.move(what))
        elif step == "answer":
            for token in TOKENS:
                tape.answer("polymarket", "clob", URL + token, market.answer(token))
        elif step == "stale":
            for token, answer in self.stale.items():
                tape.answer("polymarket", "clob", URL + token, answer)
            self.stale = {token: market.answer(token) for token in TOKENS}
        elif step == "picture":
            self.pending.clear()
            tape.say(self.source, market.pictures())
        elif step == "reconnect":
            self.pending.clear()
            tape.note(self.source, "closed", code=1006)
            self.number += 1
            self.source = Source("polymarket", "clob", f"polymarket/clob/0#{self.number}")
            self.begin()
        else:
            tick(tape, 1, 5.0 if step == "tick" else 40.0, pong=self.source)

    def show(self, tokens: tuple[str, ...] = TOKENS) -> None:
        """Say that a batch of these tokens came, whose hash must show what was lost before."""
        self.losses += [loss for loss in self.pending if loss[0] in tokens]
        self.pending = [loss for loss in self.pending if loss[0] not in tokens]

    def hide(self) -> tuple[str, str, str]:
        """Return a change that no later one undoes."""
        self.hidden += 1
        return "BUY", f"0.{30 - self.hidden % 29:02d}", str(100 + self.hidden)

    def change(self, level: tuple[str, str, str]) -> None:
        self.show()
        self.tape.say(self.source, self.market.change(level, after_ms=1))

    def lose(self, _: tuple[str, str, str]) -> None:
        self.market.change(self.hide(), after_ms=1)
        self.pending += [(token, self.tape.now_ns) for token in TOKENS]

    def half(self, _: tuple[str, str, str]) -> None:
        """Lose the part of one token."""
        self.show((UP,))
        self.tape.say(self.source, self.market.change(self.hide(), after_ms=1, tokens=(UP,)))
        self.pending.append((DOWN, self.tape.now_ns))

    def repeat(self, level: tuple[str, str, str]) -> None:
        self.show()
        frame = self.market.change(level, after_ms=1)
        self.tape.say(self.source, frame)
        self.tape.say(self.source, frame)

    def split(self, level: tuple[str, str, str]) -> None:
        """Tell one batch in two frames, each with the hash of its end."""
        self.show()
        self.market.change(level, after_ms=1)
        second = self.move((level[0], 7, 3))
        self.market.change(second, after_ms=0)
        self.tape.say(self.source, self.market.tell(level))
        self.tape.say(self.source, self.market.tell(second))


def rebuild(outcome: Outcome, token: str) -> dict[tuple[str, float], float]:
    book: dict[tuple[str, float], float] = {}
    frame = None
    for row in outcome.rows("book_change", venue_symbol=token):
        if row["is_snapshot"] and row["tape_offset"] != frame:
            book.clear()
        frame = row["tape_offset"]
        book[row["side"], row["price"]] = row["amount"]
    return {key: size for key, size in book.items() if size}


def whole(market: SealedMarket, token: str) -> dict[tuple[str, float], float]:
    bids, asks = market.list_sides(token)
    return {("bid", float(p)): float(s) for p, s in bids} | {("ask", float(p)): float(s) for p, s in asks}


@settings(max_examples=60, deadline=None)
@given(STEPS, st.data())
def test_no_loss_is_silent(steps: list[tuple[str, Any]], data: st.DataObject) -> None:
    story = Story()
    story.begin()
    for step, what in steps:
        story.take(step, what)
    story.take("change", ("BUY", 3, 5))
    story.take("change", ("SELL", 3, 5))
    tick(story.tape, 2)
    story.tape.note(RECORDER, "stopped", reason="signal")
    outcome = decode(story.tape)
    check_balance(outcome)
    assert outcome.counts["quarantined"] == 0
    gaps = {token: outcome.gaps(channel="book_change", venue_symbol=token) for token in TOKENS}
    for token in TOKENS:
        if not any(gap["state"] == "open" for gap in gaps[token]):
            assert rebuild(outcome, token) == whole(story.market, token)
    for token, at_ns in story.losses:
        covering = [
            gap
            for gap in gaps[token]
            if gap["from_at"].timestamp() <= at_ns / 1e9 + 1e-3
            and (gap["to_at"] is None or gap["to_at"].timestamp() >= at_ns / 1e9 - 1e-3)
        ]
        assert covering, (token, at_ns)
    cut = data.draw(st.integers(1, len(story.tape.frames)), label="cut")
    again = decode(story.tape, restores=[cut])
    assert {kind: table.to_pylist() for kind, table in again.tables.items()} == {
        kind: table.to_pylist() for kind, table in outcome.tables.items()
    }
    assert again.wishes == outcome.wishes
