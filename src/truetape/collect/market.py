"""One prediction market's life: what the clock and the venue's answers make of it, and when to ask again. Pure.

    listed → open → ending → ended → proposed ⇄ disputed → resolved → settled, or unknown

The clock opens and ends it, the venue's word does the rest. Time is microseconds since 1970.
"""

from typing import Any

import msgspec

from truetape.events.instrument import Instrument
from truetape.venues._contract import MarketVersion

SECOND_US = 1_000_000
ENDING_US = 60 * SECOND_US
"""A market is ending for so long before its end."""
ASK_FIRST_US = 5 * SECOND_US
ASK_LAST_US = 300 * SECOND_US
ASK_SHARE = 12
"""After its end a market is asked for after every twelfth of the time since: 5 s apart, 60 s after 12 min, then 5 min."""
ASK_FOR_US = 90 * 60 * SECOND_US
"""So long it is asked for in this way; most resolve within minutes, hourly ones within ten."""
CHECK_AFTER_US = 24 * 3600 * SECOND_US
"""Then it is looked at once more, a day after the end."""
CHECKS_MAX = 7
"""A proposal or dispute is looked at for so many days."""
CHECK_PATIENCE_US = 3600 * SECOND_US
"""A last look that got no answer is tried again for so long."""
LOOK_US = 1800 * SECOND_US
"""A running market is asked for this often: it may close early, or move its end."""
LOOK_ENDLESS_US = 300 * SECOND_US
"""The same where nobody knows its end."""

BEFORE_END = ("listed", "open", "ending")
RUNNING = (*BEFORE_END, "ended", "proposed", "disputed")
"""States of markets without a label."""


class Transition(msgspec.Struct, frozen=True):
    """One step, as the event `market_state` tells it."""

    slug: str
    condition: str
    state: str
    previous: str
    reason: str
    opens_us: int | None = None
    ends_us: int | None = None
    tokens: dict[str, str] = {}
    kept: dict[str, Any] = {}
    """What else a later run needs to go on."""


class Market(msgspec.Struct):
    """One market that is followed."""

    slug: str
    handle: str
    """What the venue is asked for it by."""
    condition: str = ""
    instruments: dict[str, Instrument] = {}
    opens_us: int | None = None
    ends_us: int | None = None
    state: str = ""
    ended_us: int | None = None
    """When it ended, or was seen closed; null while it trades."""
    judged_us: int | None = None
    """When its resolution was first looked for; null before."""
    told_us: int = 0
    """When an answer last told of it."""
    asked_us: int = 0
    ask_us: int = 0
    """When to ask for it next; 0: never again."""
    checks: int = 0
    """Looks taken a day and more after the end."""
    payouts: dict[str, float] = {}
    resolved_us: int = 0
    """When an answer first told the label."""
    is_confirmed: bool = False
    """The last answer had the same label."""
    is_priced: bool = False
    is_resumed: bool = False
    """An earlier run had it subscribed."""
    subscribed: dict[str, Instrument] = {}
    """venue_symbol → what is subscribed now."""

    @property
    def is_subscribed(self) -> bool:
        """Tell whether anything of it is subscribed."""
        return bool(self.subscribed)

    @property
    def is_over(self) -> bool:
        """Tell whether there is nothing more to learn."""
        return self.ask_us == 0

    @property
    def check_us(self) -> int:
        """When the next look a day after the end is due."""
        return (self.judged_us or self.ended_us or 0) + CHECK_AFTER_US * (self.checks + 1)

    @property
    def tokens(self) -> dict[str, str]:
        """Return outcomes' names with their tokens."""
        return {name: instrument.venue_symbol for name, instrument in self.instruments.items()}


def begin_market(version: MarketVersion, now_us: int) -> tuple[Market, list[Transition]]:
    """Begin to follow a market that an answer told of."""
    market = Market(version.slug, version.handle or version.slug, told_us=now_us)
    _learn(market, version, now_us)
    return market, [move(market, "listed", "an answer of the venue"), *hear(market, version, now_us)]


KEPT = ("handle", "ended_us", "judged_us", "resolved_us", "checks", "payouts", "is_priced")


def dump_market(market: Market) -> dict[str, Any]:
    """Return what a later run needs beside names, state and times; what is not so, or goes without saying, is left out."""
    usual = {"handle": market.slug, "ended_us": market.ends_us, "judged_us": market.ends_us}
    told = {name: value for name in KEPT if (value := getattr(market, name))}
    return {name: value for name, value in told.items() if value != usual.get(name)}


def restore_market(said: dict[str, Any], instruments: dict[str, Instrument]) -> Market:
    """Make a market of what was kept of it."""
    told = {name: said[name] for name in ("slug", "state", "condition", "opens_us", "ends_us", *KEPT) if name in said}
    has_ended = said["state"] not in BEFORE_END
    usual = {"ended_us": said.get("ends_us"), "judged_us": said.get("ends_us")} if has_ended else {}
    return Market(**{"handle": said["slug"], **usual, **told}, instruments=instruments, is_resumed=bool(instruments))


def move(market: Market, state: str, reason: str) -> Transition:
    """Go to another state."""
    previous, market.state = market.state, state
    own = market.slug, market.condition, state, previous, reason, market.opens_us, market.ends_us, market.tokens
    return Transition(*own, kept=dump_market(market))


def follow_clock(market: Market, now_us: int) -> list[Transition]:
    """Make the steps that time alone brings."""
    steps = []
    opens_us, ends_us = market.opens_us, market.ends_us
    if market.ended_us is None and ends_us is not None and now_us >= ends_us:
        market.ended_us = ends_us
    if market.state == "listed" and (opens_us is None or now_us >= opens_us or market.ended_us is not None):
        steps.append(move(market, "open", "its window began" if opens_us else "it has no window"))
    if market.state == "open" and ends_us is not None and now_us >= ends_us - ENDING_US:
        steps.append(move(market, "ending", "its end is near"))
    if market.state == "ending" and market.ended_us is not None:
        steps.append(move(market, "ended", "its window ended"))
    if market.ended_us is not None and market.judged_us is None:
        market.judged_us = market.ended_us
    return steps


def hear(market: Market, version: MarketVersion, now_us: int) -> list[Transition]:
    """Take what an answer says, and what it changes."""
    _learn(market, version, now_us)
    steps = []
    if market.state in ("ending", "ended") and version.phase == "trading" and _is_far(market, now_us):
        market.ended_us = market.judged_us = None
        steps.append(move(market, "open", "its end was moved"))
    steps += follow_clock(market, now_us)
    if version.phase in ("closed", "resolved") and market.ended_us is None:
        market.ended_us = now_us
        if market.state in BEFORE_END and version.phase == "closed":
            steps.append(move(market, "ended", "the venue closed it early"))
    steps += _hear_judgement(market, version)
    if market.state not in BEFORE_END and market.judged_us is None:
        market.judged_us = now_us
    schedule(market, now_us)
    return steps


def _learn(market: Market, version: MarketVersion, now_us: int) -> None:
    market.condition = version.condition or market.condition
    market.instruments = version.instruments or market.instruments
    market.opens_us = market.opens_us if version.opens_us is None else version.opens_us
    market.ends_us = market.ends_us if version.ends_us is None else version.ends_us
    market.is_priced = market.is_priced or version.is_priced
    market.told_us = now_us


def _is_far(market: Market, now_us: int) -> bool:
    return market.ends_us is not None and now_us < market.ends_us - ENDING_US


def _hear_judgement(market: Market, version: MarketVersion) -> list[Transition]:
    """Take the venue's word on the outcome; an answer from a cache may lag behind, and takes nothing back."""
    phase, state = version.phase, market.state
    market.is_confirmed = phase == "resolved" and version.payouts == market.payouts
    if phase in ("proposed", "disputed") and state in RUNNING and state != phase:
        return [move(market, phase, "the venue's word")]
    if phase != "resolved" or state == "unknown":
        return []
    steps = []
    if state in RUNNING:
        market.payouts, market.is_confirmed, market.resolved_us = version.payouts, True, market.told_us
        steps.append(move(market, "resolved", f"the venue's word: {_spell(version.payouts)}"))
    elif not market.is_confirmed:
        told = f"paid {_spell(market.payouts)} before, {_spell(version.payouts)} now"
        return [move(market, "unknown", told)]
    if market.state == "resolved" and market.is_priced:
        steps.append(move(market, "settled", "the venue published the prices that decided"))
    return steps


def finish_ask(market: Market, now_us: int, problem: str) -> list[Transition]:
    """Judge after an answer, or none (`problem`), and say when to ask next."""
    steps: list[Transition] = []
    was_told = market.told_us >= market.asked_us
    if market.state not in BEFORE_END and now_us >= market.check_us:
        if not was_told and problem and now_us < market.check_us + CHECK_PATIENCE_US:
            market.ask_us = now_us + ASK_LAST_US
            return []
        steps = _check(market, problem if not was_told else "", was_told=was_told)
    schedule(market, now_us)
    return steps


def _check(market: Market, problem: str, *, was_told: bool) -> list[Transition]:
    """Conclude from the look a day after the end."""
    market.checks += 1
    if market.state == "resolved":
        if was_told and market.resolved_us == market.told_us:
            return []  # told just now: the day begins
        if was_told and market.is_confirmed:
            return [move(market, "settled", "confirmed a day later")]
        return [move(market, "unknown", f"not confirmed a day later: {problem or 'the answer has another label'}")]
    if market.state in ("proposed", "disputed") and market.checks < CHECKS_MAX:
        return []
    if market.state in RUNNING:
        days = f"{market.checks} day{'s' if market.checks > 1 else ''}"
        return [move(market, "unknown", f"unresolved {days} after its end" + (f": {problem}" if problem else ""))]
    return []


def schedule(market: Market, now_us: int) -> None:
    """Say when to ask next."""
    if market.state == "unknown" or (market.state == "settled" and market.checks):
        market.ask_us = 0
    elif market.judged_us is None:
        market.ask_us = _find_look(market, now_us)
    else:
        elapsed_us = now_us - market.judged_us
        has_more = market.state in RUNNING or (market.state == "resolved" and market.opens_us is not None)
        wait_us = min(max(elapsed_us // ASK_SHARE, ASK_FIRST_US), ASK_LAST_US)
        next_us = now_us + wait_us
        market.ask_us = next_us if has_more and elapsed_us < ASK_FOR_US else max(market.check_us, now_us)


def _find_look(market: Market, now_us: int) -> int:
    if market.ends_us is None:
        return now_us + LOOK_ENDLESS_US
    first_us = max(market.ends_us, now_us) + ASK_FIRST_US
    return min(now_us + LOOK_US, first_us)


def is_watched(market: Market, now_us: int, lead_us: int, grace_us: int) -> bool:
    """Tell whether its outcomes are to be subscribed: from a while before the window until a while after."""
    if market.ended_us is not None:
        return (market.is_subscribed or market.is_resumed) and now_us < market.ended_us + grace_us
    return bool(market.instruments) and (market.opens_us is None or now_us >= market.opens_us - lead_us)


def watch(market: Market, now_us: int, lead_us: int, grace_us: int) -> tuple[list[Instrument], list[Instrument]]:
    """Return what to subscribe and what to let go of now, and take it as done."""
    is_wanted = is_watched(market, now_us, lead_us, grace_us)
    wanted = {one.venue_symbol: one for one in market.instruments.values()} if is_wanted else {}
    added = [one for symbol, one in wanted.items() if symbol not in market.subscribed]
    removed = [one for symbol, one in market.subscribed.items() if symbol not in wanted]
    market.subscribed = wanted
    return added, removed


def find_wake(market: Market, lead_us: int, grace_us: int) -> int:
    """Return when something is due next: a step of the clock, a subscription, a question; 0: never."""
    due = [market.ask_us] if market.ask_us else []
    if market.state == "listed" and market.opens_us is not None:
        due.append(market.opens_us)
        if market.instruments and not market.is_subscribed:
            due.append(market.opens_us - lead_us)
    if market.state == "open" and market.ends_us is not None:
        due.append(market.ends_us - ENDING_US)
    if market.ended_us is None and market.ends_us is not None:
        due.append(market.ends_us)
    if market.ended_us is not None and market.is_subscribed:
        due.append(market.ended_us + grace_us)
    return min(due, default=0)


def _spell(payouts: dict[str, float]) -> str:
    return ", ".join(f"{name} {payout:g}" for name, payout in payouts.items()) or "nothing"
