"""The fake order book socket of Polymarket: pictures, changes, trades, new and resolved markets, once a second.

A connection joins `<slug>` (changed levels of both outcomes), `<slug>:Up` and `<slug>:Down` (pictures, trades, steps),
and, where it asked for more, `<slug>:Up:best`, `<slug>:resolved` and `new_market`. Faults name these streams.
"""

from truetape.sim.fake import Line
from truetape.sim.faults import Fault
from truetape.sim.hub import Hub, Session, encode_wire
from truetape.sim.prediction import Market
from truetape.sim.protocol import Rules
from truetape.sim.venues._clob_frames import (
    OUTCOMES,
    PRICES,
    Told,
    describe,
    face_book,
    list_changes,
    recall_book,
    write_changes,
    write_new_market,
    write_quote,
    write_resolved,
    write_tick,
    write_trade,
)
from truetape.sim.venues._clob_message import Message, read_message
from truetape.sim.venues._seconds import Seconds
from truetape.sim.venues._updown import name_title
from truetape.sim.world import World

VENUE, FEED = "polymarket", "clob"
HOSTS = ("ws-subscriptions-clob.polymarket.com",)
RULES = Rules(poll_s=5.0, idle_s=0.0)
LAG_US = 300_000
"""A second's frames are out so long after it began."""
GRACE_S = 2
"""A market has a book as soon as Gamma can have listed it, though this second's frames are not out yet."""
NEW_MARKET = "new_market"
LISTED_FROM_S, LISTED_TO_S = 86_000, 86_400
"""A market is listed so long before its window, at the latest and at the earliest."""


class ClobStage:
    """Publishes the books of all markets that somebody watches."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.hub: Hub = world.hub(VENUE, FEED)
        self._seconds = Seconds(world.time.now_us(), LAG_US)
        self._told: dict[str, tuple[Market, Told]] = {}
        """Slug → the book of a watched market as its watchers have it."""
        self._upcoming: list[Market] = []
        self._upcoming_to_s = 0

    @property
    def due_us(self) -> int:
        """When the next second's frames are out."""
        return self._seconds.due_us

    @property
    def last_s(self) -> int:
        """The newest second whose frames are out."""
        return self._seconds.last_s

    def recall(self, market: Market) -> Told | None:
        """Return a market's book as everybody has been told it; null where there is none (yet, or any more)."""
        if market.created_s > self.last_s + GRACE_S or market.resolved_s <= self.last_s:
            return None
        return recall_book(self._world.crowd, market, self.last_s)

    def watch(self, market: Market) -> None:
        """Publish a market's changes from now on."""
        if market.slug not in self._told:
            told = self.recall(market)
            if told is not None:
                self._told[market.slug] = market, told

    def advance(self, now_us: int) -> int:
        """Publish the seconds that have become due."""
        before = self.hub.published
        for second in self._seconds.take(now_us):
            for market, told in list(self._told.values()):
                if market.slug not in self.hub.rooms:
                    del self._told[market.slug]
                    continue
                self._told[market.slug] = market, self._tell(market, told, second)
                if second >= market.resolved_s:
                    self._resolve(market)
            if NEW_MARKET in self.hub.rooms:
                self._list_new(second)
        return self.hub.published - before

    # one market, one second

    def _tell(self, market: Market, told: Told, second: int) -> Told:
        """Publish what happened since the second before."""
        for trade in self._world.crowd.list_trades(market, (second - 1) * 1000, second * 1000):
            lasts = list(told.lasts)
            frame = write_trade(market, trade)
            self.hub.publish(f"{market.slug}:{OUTCOMES[trade.outcome]}", frame.encode(), trade.at_ms, trade.at_ms)
            lasts[trade.outcome] = PRICES[trade.price]
            told = Told(told.picture, (lasts[0], lasts[1]), trade.at_ms)
            for outcome, name in enumerate(OUTCOMES):
                if f"{market.slug}:{name}" in self.hub.rooms:
                    book = face_book(market, told, outcome).write_frame(trade.at_ms)
                    self.hub.publish(f"{market.slug}:{name}", book.encode(), trade.at_ms, trade.at_ms)
        ladder = self._world.crowd.ladder(market)
        picture = ladder.read(ladder.find_second(second))
        if picture.second == told.picture.second:
            return told
        new = Told(picture, told.lasts, picture.at_ms)
        self._publish_changes(market, told, new)
        return new

    def _publish_changes(self, market: Market, old: Told, new: Told) -> None:
        picture = new.picture
        if picture.tick != old.picture.tick:
            for outcome, name in enumerate(OUTCOMES):
                frame = write_tick(market, outcome, old.picture.tick, picture)
                self.hub.publish(f"{market.slug}:{name}", frame.encode(), picture.at_ms, picture.at_ms)
        changes = list_changes(old.picture, picture)
        if not changes:
            return
        hashes = tuple(face_book(market, new, outcome).hash(picture.at_ms) for outcome in (0, 1))
        # A batch may come in several frames of one timestamp, each with the hash of the whole.
        parts = [changes[:2], changes[2:]] if len(changes) > 3 and picture.second % 4 == 0 else [changes]
        for part in parts:
            self._publish_part(market, new, part, (hashes[0], hashes[1]))
        if (picture.bids[:1], picture.asks[:1]) != (old.picture.bids[:1], old.picture.asks[:1]):
            for outcome, name in enumerate(OUTCOMES):
                topic = f"{market.slug}:{name}:best"
                if topic in self.hub.rooms:
                    self.hub.publish(topic, write_quote(market, outcome, picture).encode())

    def _publish_part(
        self, market: Market, told: Told, part: list[tuple[int, int, int]], hashes: tuple[str, str]
    ) -> None:
        at_ms = told.picture.at_ms
        whole = write_changes(market, part, told.picture, hashes, (0, 1)).encode()
        spells = self._find_stalls(market)
        if not spells:
            self.hub.publish(market.slug, whole, at_ms, at_ms)
            return
        flowing = tuple(outcome for outcome in (0, 1) if outcome not in spells)
        rest = write_changes(market, part, told.picture, hashes, flowing).encode() if flowing else b""
        since_s = min(spell.value for spell in spells.values())
        for delivery in self.hub.rooms.get(market.slug, ()):
            payload = whole if delivery.session.opened_s >= since_s else rest
            if payload and not self.hub.judge.is_frozen(VENUE):
                delivery.session.out.append(encode_wire(payload))
        for outcome in spells:
            self.hub.judge.record(VENUE, FEED, f"{market.slug}:{OUTCOMES[outcome]}", "mute", first_id=at_ms)

    def _find_stalls(self, market: Market) -> dict[int, Fault]:
        """Return which outcomes are silent while the market as such is not."""
        judge = self.hub.judge
        if not judge.spells or judge.find_spell("mute", VENUE, market.slug):
            return {}
        found = {i: judge.find_spell("mute", VENUE, f"{market.slug}:{name}") for i, name in enumerate(OUTCOMES)}
        return {outcome: spell for outcome, spell in found.items() if spell is not None}

    # markets come and go

    def _resolve(self, market: Market) -> None:
        """Tell the end of a market, and close whom nothing is left to tell."""
        del self._told[market.slug]
        frame = write_resolved(market, name_title(market), describe(market))
        self.hub.publish(f"{market.slug}:resolved", frame.encode(), market.resolved_s * 1000, market.resolved_s * 1000)
        for delivery in list(self.hub.rooms.get(market.slug, ())):
            talk = delivery.session.talk
            assert isinstance(talk, ClobTalk)
            talk.forget(market)

    def _list_new(self, second: int) -> None:
        if self._upcoming_to_s < second + LISTED_TO_S:
            from_s = max(self._upcoming_to_s, second + LISTED_FROM_S)
            self._upcoming_to_s = second + LISTED_TO_S + 3600
            self._upcoming += self._world.prediction.list_markets(from_s, self._upcoming_to_s)
        for market in [one for one in self._upcoming if one.created_s == second]:
            frame = write_new_market(market, name_title(market), describe(market))
            self.hub.publish(NEW_MARKET, frame.encode())
        self._upcoming = [one for one in self._upcoming if one.created_s > second]


class ClobTalk:
    """One connection."""

    def __init__(self, session: Session, world: World) -> None:
        self._session, self._world = session, world
        stage = world.stages[FEED]
        assert isinstance(stage, ClobStage)
        self._stage = stage
        self._tokens: dict[str, tuple[Market, int]] = {}
        self._has_more = False
        self._has_begun = False

    def hear(self, text: str) -> None:
        """Take one message of the client."""
        if text == "PING":
            self._session.show_life(b"PONG")
            return
        message = read_message(text)
        if message is None or (message.operation is None and self._has_begun):
            self._session.send(b"INVALID OPERATION")
        elif message.operation == "unsubscribe":
            for token in message.assets_ids:
                self._leave(token)
        else:
            self._has_begun = True
            self._join(message)

    def _join(self, message: Message) -> None:
        self._has_more = self._has_more or message.custom_feature_enabled
        now_s = self._world.time.now_us() / 1e6
        books: list[str] = []
        if self._has_more:
            self._session.subscribe(NEW_MARKET)
        self._session.has_subscribed = True
        for token in message.assets_ids:
            found = self._world.prediction.find_token(token, now_s)
            if found is None:
                continue
            market, outcome = found
            told = self._stage.recall(market)
            if told is None:
                continue
            self._tokens[token] = found
            self._enter(market, outcome)
            if message.initial_dump and not self._is_muted(market, outcome):
                books.append(face_book(market, told, outcome).write_frame(told.at_ms))
        if message.initial_dump and not self._is_muted(None, 0):
            self._session.send(f"[{','.join(books)}]\n".encode())
        self._world.on_subscribe()

    def _enter(self, market: Market, outcome: int) -> None:
        topic = f"{market.slug}:{OUTCOMES[outcome]}"
        self._stage.watch(market)
        self._session.subscribe(market.slug)
        self._session.subscribe(topic)
        if self._has_more:
            self._session.subscribe(f"{topic}:best")
            self._session.subscribe(f"{market.slug}:resolved")

    def _is_muted(self, market: Market | None, outcome: int) -> bool:
        judge = self._session.hub.judge
        topics = [f"{market.slug}:{OUTCOMES[outcome]}", market.slug] if market else ["*"]
        spells = [judge.find_spell("mute", VENUE, topic) for topic in topics]
        return any(spell is not None and self._session.opened_s < spell.value for spell in spells)

    def _leave(self, token: str) -> None:
        found = self._tokens.pop(token, None)
        if found is None:
            return
        market, outcome = found
        topic = f"{market.slug}:{OUTCOMES[outcome]}"
        left = [topic, f"{topic}:best"]
        if market.tokens[1 - outcome] not in self._tokens:
            left += [market.slug, f"{market.slug}:resolved"]
        for one in left:
            self._session.unsubscribe(one)

    def forget(self, market: Market) -> None:
        """Leave a resolved market; the venue closes a connection that watched nothing else."""
        for token in market.tokens:
            self._leave(token)
        if not self._tokens:
            self._session.close(1000, "all subscribed assets resolved")

    def tick(self, now_s: float) -> None:
        """Nothing is due by time."""


LINE = Line(FEED, RULES, ClobTalk)
