"""What the jobs for coins do: choose what to ask, ask only what is not had yet, remember what came."""

import math
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Literal

import msgspec

from truetape import clock
from truetape.collect.errand import Errand, Errands, Failure, Service, name_tape, visit
from truetape.collect.http import Reply
from truetape.collect.key import Key
from truetape.config import CoinSettings, Settings, load_keys, name_key
from truetape.errors import ConfigError, DecodeError, Fatal, RateLimited, Refused, Transient, TruetapeError
from truetape.ops.history import Run
from truetape.ops.job import Context
from truetape.venues import coingecko, load_venue
from truetape.venues._contract import Ask

Interval = Literal["hourly", "daily"]

RANKS = "market_data"
"""Job whose marks know which coins are the largest."""
HOUR, DAY = "%Y-%m-%dT%H", "%Y-%m-%d"
"""What is asked once an hour, or a day, is remembered by it."""
BARS_DAYS_MAX = {"hourly": 90, "daily": 180}
"""Spans that the paid plans give such bars for."""
RUNS_MAX = 2000
"""Runs looked at for those that brought nothing: some three months of hours."""
PROGRESS_LINES = 10
_CELLS = 20


def is_wanted(settings: Settings) -> bool:
    """Tell whether the settings ask for coins."""
    return bool(settings.coins.ids or settings.coins.top)


def fetch_market_data(context: Context) -> dict[str, int | str]:
    """Fetch the list of coins once a day, market caps and ranks, and the whole market."""
    return _run(context, RANKS, _fetch_ranked)


def fetch_hourly(context: Context) -> dict[str, int | str]:
    """Fetch bars of an hour or less and the hourly chart of each tracked coin."""
    return _run(context, "ohlc_hourly", lambda course, errands: _fetch_coins(course, errands, "hourly"))


def fetch_daily(context: Context) -> dict[str, int | str]:
    """Fetch bars of a day or less and the daily chart of each tracked coin."""
    return _run(context, "ohlc_daily", lambda course, errands: _fetch_coins(course, errands, "daily"))


class Course:
    """One run of a job: what it had already, what it asked, what failed."""

    def __init__(self, context: Context, job: str, plan: coingecko.Plan) -> None:
        self.context, self.plan, self.job = context, plan, job
        self.coins: CoinSettings = context.settings.coins
        self.now = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
        self.asked = self.had = 0
        self.failures: list[Failure] = []

    def find(self, key: str, job: str = "") -> str | None:
        """Return what is remembered."""
        return self.context.history.find_mark(job or self.job, key)

    async def fetch(
        self,
        errands: Errands,
        wanted: Sequence[Errand],
        mark: str,
        take: Callable[[Errand, Reply], None] = lambda errand, reply: None,
        job: str = "",
    ) -> None:
        """Ask for what is not marked with the present hour or day, and mark it when it is durable."""
        slot = self.now.strftime(mark)
        missing = [errand for errand in wanted if self.find(errand.key, job) != slot]
        self.had += len(wanted) - len(missing)
        done, total = 0, len(missing)

        def keep(errand: Errand, reply: Reply) -> None:
            nonlocal done
            take(errand, reply)
            self.context.history.mark(job or self.job, errand.key, slot)
            done += 1
            self.asked += 1
            if self.context.show is not None:
                self.context.show(self.job, done, total)
            elif done * PROGRESS_LINES // total > (done - 1) * PROGRESS_LINES // total:
                self.context.say(draw_progress(self.job, done, total))

        self.failures += await errands.run(missing, keep)


def draw_progress(name: str, done: int, total: int) -> str:
    """Draw a bar as text."""
    cells = _CELLS * done // total
    return f"{name} [{'#' * cells}{'.' * (_CELLS - cells)}] {done} of {total}"


def _run(
    context: Context, job: str, work: Callable[[Course, Errands], Coroutine[None, None, None]]
) -> dict[str, int | str]:
    settings = context.settings
    if not is_wanted(settings):
        context.say("coins: neither ids nor top is set: nothing to ask")
        return {"plan": "", "asked": 0, "had": 0}
    plan, key = choose_plan()
    course = Course(context, job, plan)
    coins, venue = settings.coins, load_venue(coingecko.NAME)
    service = Service(venue, key, coins.url, coins.calls_per_minute, coins.parallel, judge)
    tape = name_tape(settings.tape)
    clock.run(visit(tape, settings.record, service, lambda errands: work(course, errands), context.say))
    _tell_failures(course)
    return {"plan": plan.name.lower(), "asked": course.asked, "had": course.had}


def choose_plan() -> tuple[coingecko.Plan, Key]:
    """Return the best plan that there is a key for, and the key; ConfigError names the variables when there is none."""
    values = load_keys(coingecko.NAME, tuple(coingecko.PLANS))
    for name, plan in coingecko.PLANS.items():
        if name in values:
            return plan, Key(coingecko.NAME, plan.credentials, {name: values[name]})
    demo, pro = (name_key(coingecko.NAME, name) for name in ("DEMO", "PRO"))
    origin = coingecko.PLANS["DEMO"].credentials.origin
    raise ConfigError(f"coins: no key: set {demo} or {pro} in the environment or .env (get one at {origin})")


def judge(ask: Ask, reply: Reply) -> TruetapeError | None:
    """Return what is wrong with an answer, whatever its status says."""
    complaint = coingecko.find_complaint(reply.body)
    if complaint is None:
        return _check_form(ask, reply) if reply.status == 200 else Transient(f"CoinGecko answered {reply.status}")
    text = f"CoinGecko: {complaint.text or 'an error'} ({complaint.code or reply.status})"
    if complaint.is_about_key:
        names = " and ".join(name_key(coingecko.NAME, name) for name in coingecko.PLANS)
        return Refused(f"{text}: look at {names}")
    if complaint.code == 429:  # such an answer has status 200: others are waited for already
        return RateLimited(text, coingecko.PAUSE_S)
    return Fatal(text) if 400 <= reply.status < 500 else Transient(text)


def _check_form(ask: Ask, reply: Reply) -> TruetapeError | None:
    try:
        coingecko.check_answer(ask.url, reply.body)
    except DecodeError as error:
        return Transient(f"CoinGecko's answer does not read, it is on the tape: {error}")
    return None


async def _fetch_ranked(course: Course, errands: Errands) -> None:
    """Fetch market data; hours that are missing in the history of ranks, which nobody tells later, become a gap."""
    await _fetch_market_data(course, errands)
    lost = [] if course.failures else find_lost_runs(course.context.history.list_runs(course.job, RUNS_MAX))
    if lost:
        counts = Counter(run.state for run in lost)
        reason = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        since_ns = int(min(due.timestamp() for run in lost if (due := run.due_at)) * 1e9)
        errands.note_missed(course.job, since_ns, len(lost), f"runs of the job since the last that was done: {reason}")


def find_lost_runs(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that were due since the last one that was done and brought nothing; newest first, as given."""
    since = takewhile(lambda run: run.state != "done", runs)
    return [run for run in since if run.due_at is not None and run.state in ("missed", "failed", "killed")]


async def _fetch_market_data(course: Course, errands: Errands) -> None:
    await course.fetch(errands, [Errand("list", coingecko.ask_list(course.plan))], DAY)
    await course.fetch(errands, [Errand("total", coingecko.ask_total(course.plan))], HOUR)
    await _fetch_ranks(course, errands)
    missing = [coin for coin in course.coins.ids if coin not in set(_list_ranked(course))]
    await course.fetch(errands, list(_ask_missing(course, missing)), HOUR)


def _ask_missing(course: Course, coins: Sequence[str]) -> Iterator[Errand]:
    """Ask for tracked coins that are not among the largest, a page at a time."""
    currency, size = course.coins.currency, coingecko.PAGE_COINS_MAX
    for start in range(0, len(coins), size):
        page = tuple(coins[start : start + size])
        yield Errand(f"coins/{currency}/{','.join(page)}", coingecko.ask_coins(course.plan, currency, page))


async def _fetch_ranks(course: Course, errands: Errands) -> None:
    currency, history = course.coins.currency, course.context.history

    def take(errand: Errand, reply: Reply) -> None:
        ids = coingecko.list_ids(reply.body)
        history.mark(RANKS, f"ids/{currency}/{errand.ask.page}", msgspec.json.encode(ids).decode())

    pages = range(1, _count_pages(course.coins) + 1)
    wanted = [Errand(f"ranks/{currency}/{page}", coingecko.ask_ranks(course.plan, currency, page)) for page in pages]
    await course.fetch(errands, wanted, HOUR, take, RANKS)


def _count_pages(coins: CoinSettings) -> int:
    return math.ceil(max(coins.ranked, coins.top) / coingecko.PAGE_COINS_MAX)


def _list_ranked(course: Course) -> list[str]:
    """List the largest coins as the last answers had them."""
    ranked: list[str] = []
    for page in range(1, _count_pages(course.coins) + 1):
        known = course.find(f"ids/{course.coins.currency}/{page}", RANKS)
        ranked += msgspec.json.decode(known or "[]", type=list[str])
    return ranked


async def _fetch_coins(course: Course, errands: Errands, interval: Interval) -> None:
    top = course.coins.top
    if top and not _list_ranked(course):
        await _fetch_ranks(course, errands)
    tracked = dict.fromkeys([*course.coins.ids, *_list_ranked(course)[:top]])
    wanted = [errand for coin in tracked for errand in _ask_coin(course, coin, interval)]
    await course.fetch(errands, wanted, HOUR if interval == "hourly" else DAY)


def _ask_coin(course: Course, coin: str, interval: Interval) -> Iterator[Errand]:
    """Ask for what is new of a coin since it was last had, bars and chart."""
    currency, plan = course.coins.currency, course.plan
    key = f"bars/{currency}/{coin}"
    if plan.has_intervals:
        days = min(_count_days(course, key, interval), BARS_DAYS_MAX[interval])
    else:  # longer spans have longer bars there: half an hour within a day, four hours within a month
        days = 1 if interval == "hourly" else min(max(_count_days(course, key, interval), 7), 30)
    yield Errand(key, coingecko.ask_bars(plan, coin, currency, days, interval))
    key = f"chart/{currency}/{coin}"
    yield Errand(key, coingecko.ask_chart(plan, coin, currency, _count_days(course, key, interval), interval))


def _count_days(course: Course, key: str, interval: Interval) -> int:
    """Return how many days back to ask: to when it was last had, else as far as the settings say."""
    last = course.find(key)
    if last is None:
        return course.coins.hourly_days if interval == "hourly" else course.coins.daily_days
    at = datetime.strptime(last, HOUR if interval == "hourly" else DAY).replace(tzinfo=UTC)
    return (course.now - at) // timedelta(days=1) + 2  # the first day of an answer is cut off somewhere within


def _tell_failures(course: Course) -> None:
    """Raise what is to be said of requests that brought nothing; Transient when trying again may help."""
    failures = course.failures
    if not failures:
        return
    helpless = [failure for failure in failures if not isinstance(failure.error, Transient)]
    worst = (helpless or failures)[0]
    total = course.asked + course.had + len(failures)
    text = f"{len(failures)} of {total} requests failed; first {worst.errand.key}: {worst.error}"
    if len(helpless) == len(failures):
        raise Fatal(text)
    raise Transient(text)
