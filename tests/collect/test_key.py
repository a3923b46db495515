"""Credentials: read from the environment alone, used where the venue wants them, and on no tape."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from aiohttp import WSMsgType, web
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from truetape.collect.connection import Connection, Tuning
from truetape.collect.gate import Gate
from truetape.collect.key import Key, choose_pages, choose_polls, leave_out_keyless, load_key
from truetape.collect.plan import ConnectionPlan, plan_connections
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.collect.socket import SocketOptions
from truetape.config import RecordSettings, VenueSettings, load_keys
from truetape.errors import ConfigError
from truetape.tape.frame import FrameKind
from truetape.venues import load_venue
from truetape.venues.chainlink import FEED_IDS

TUNING = Tuning(
    overlap_s=0.03,
    handover_timeout_s=0.3,
    decide=make_decide(Backoff(base_s=0.002, cap_s=0.02, banned_s=0.1)),
    socket=SocketOptions(handshake_timeout_s=2, close_timeout_s=0.2),
    draw=lambda: 0.001,
)
BOLT_KEY = {"API": "api-key-1234", "SECRET": "bolt-secret-5678", "PASSPHRASE": "open-sesame-9"}
CHAIN_KEY = {"CLIENT": "client-4711", "SECRET": "secret-0815"}
PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
PEM = PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
Talk = Callable[[web.Request, web.WebSocketResponse], Awaitable[None]]


def make_key(venue: str, values: dict[str, str]) -> Key:
    credentials = load_venue(venue).credentials
    assert credentials is not None
    return Key(venue, credentials, values)


def settings_of(*markets: str, channels: tuple[str, ...] = ("oracle_price",), url: str = "") -> VenueSettings:
    return VenueSettings(instruments=("all",), channels=channels, markets=markets, url=url)


@asynccontextmanager
async def listening(talk: Talk, seen: list[web.Request], status: int = 0) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        if status:
            return web.Response(status=status)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await talk(request, socket)
        return socket

    app = web.Application()
    app.router.add_get("/{rest:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def holding(tape: Any, name: str, plan: ConnectionPlan, url: str, key: Key) -> AsyncIterator[Any]:
    """Run one connection; yields it with its task."""
    venue = load_venue(name)
    recorder = Recorder(tape, RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5))
    connection = Connection(venue, settings_of(url=url), plan, recorder, Gate(venue, key), TUNING)
    async with asyncio.TaskGroup() as above:
        above.create_task(recorder.run())
        try:
            running = asyncio.create_task(connection.run())
            yield connection, running
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        finally:
            recorder.close("done")


def plan_oracles(name: str, market: str, symbols: list[str]) -> ConnectionPlan:
    venue = load_venue(name)
    instruments = [venue.name_instrument(market, symbol) for symbol in symbols]
    (plan,) = plan_connections(venue, settings_of(market), instruments)
    return plan


async def hush(request: web.Request, socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


def test_keys_come_from_the_environment_then_from_the_file_then_from_files_of_their_own(tmp_path: Path) -> None:
    file, secret = tmp_path / ".env", tmp_path / "secret.pem"
    secret.write_text("a\nb\n")
    file.write_text(
        f"TRUETAPE_KEY_X_A=file\nTRUETAPE_KEY_X_B='with $dollar'\nTRUETAPE_KEY_X_C_FILE={secret}\nTRUETAPE_KEY_X_D=\n"
    )
    environ = {"TRUETAPE_KEY_X_A": " set ", "OTHER": "1"}
    assert load_keys("x", ["A", "B", "C", "D", "E"], environ, file) == {"A": "set", "B": "with $dollar", "C": "a\nb"}
    with pytest.raises(ConfigError, match=r"^TRUETAPE_KEY_X_E_FILE: .*gone cannot be read \(No such file"):
        load_keys("x", ["E"], {"TRUETAPE_KEY_X_E_FILE": str(tmp_path / "gone")}, file)


def test_a_key_shows_what_it_is_called_and_hides_what_it_is() -> None:
    key = make_key("polymarket", {**BOLT_KEY, "PASSPHRASE": "abc"})
    assert repr(key) == (
        "Key(TRUETAPE_KEY_POLYMARKET_API and TRUETAPE_KEY_POLYMARKET_SECRET and TRUETAPE_KEY_POLYMARKET_PASSPHRASE)"
    )
    assert key.hide(b'{"you":"api-key-1234","abc":1}') == b'{"you":"***","abc":1}'  # three letters are everywhere
    assert key.sign("GET", "https://x/", b"", 0) == {}
    pem = make_key("kalshi", {"ID": "kalshi-id-1", "PRIVATE": PEM})
    assert pem.hide_text(PEM.splitlines()[3]) == "***"
    assert pem.hide_text("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_key_that_is_not_whole_or_of_no_use_is_none() -> None:
    kalshi = load_venue("kalshi")
    assert load_key(load_venue("binance"), {}) is None
    assert load_key(kalshi, {"TRUETAPE_KEY_KALSHI_ID": "me"}) is None
    one_line = PEM.replace("\n", "\\n")
    assert load_key(kalshi, {"TRUETAPE_KEY_KALSHI_ID": "me", "TRUETAPE_KEY_KALSHI_PRIVATE": one_line}) is not None
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )  # fmt: skip
    for text in ("nonsense", other.decode()):
        environ = {"TRUETAPE_KEY_KALSHI_ID": "me", "TRUETAPE_KEY_KALSHI_PRIVATE": text}
        with pytest.raises(ConfigError, match="TRUETAPE_KEY_KALSHI_PRIVATE cannot be used to sign") as raised:
            load_key(kalshi, environ)
        assert text not in str(raised.value)


def test_feeds_without_their_key_are_left_out_with_a_line() -> None:
    chainlink = load_venue("chainlink")
    smaller, lines = leave_out_keyless(chainlink, settings_of(), None, {})
    assert smaller.feeds == smaller.listings == smaller.default_markets == ()
    assert [poll.name for poll in choose_polls(smaller, settings_of())] == ["page"]
    assert lines == (
        "venues.chainlink: streams is left out, it needs a key: set TRUETAPE_KEY_CHAINLINK_CLIENT and "
        "TRUETAPE_KEY_CHAINLINK_SECRET in the environment or .env (get it at https://docs.chain.link/data-streams: "
        "Chainlink gives them on request)",
    )
    key = make_key("chainlink", CHAIN_KEY)
    assert leave_out_keyless(chainlink, settings_of(), key, {}) == (chainlink, ())
    assert [poll.name for poll in choose_polls(chainlink, settings_of("latest"))] == ["latest"]
    assert choose_pages(chainlink, settings_of()) == ()
    assert [page.name for page in choose_pages(chainlink, settings_of("browser"))] == ["browser"]


def test_what_is_asked_for_by_name_is_refused_without_its_key() -> None:
    chainlink, kalshi, polymarket = (load_venue(name) for name in ("chainlink", "kalshi", "polymarket"))
    with pytest.raises(ConfigError, match=r"^venues\.chainlink\.markets: streams needs a key: set TRUETAPE_KEY_CHAIN"):
        leave_out_keyless(chainlink, settings_of("page", "streams"), None, {})
    with pytest.raises(ConfigError, match=r"^venues\.polymarket\.markets: polybolt needs a key: .* and TRUETAPE_KEY_"):
        leave_out_keyless(polymarket, settings_of("rtds", "polybolt"), None, {})
    with pytest.raises(ConfigError, match=r"^venues\.kalshi: public needs a key: set TRUETAPE_KEY_KALSHI_PRIVATE in"):
        leave_out_keyless(
            kalshi, settings_of(channels=("quote", "book_change")), None, {"TRUETAPE_KEY_KALSHI_ID": "me"}
        )
    smaller, lines = leave_out_keyless(kalshi, settings_of(channels=("trade", "book_snapshot")), None, {})
    assert len(lines) == 1
    assert [poll.name for poll in choose_polls(smaller, settings_of(channels=("book_snapshot",)))] == ["books"]
    assert "trades" in [poll.name for poll in smaller.polls]  # instead of the socket's
    key = make_key("kalshi", {"ID": "me", "PRIVATE": PEM})
    whole, lines = leave_out_keyless(kalshi, settings_of(channels=("trade",)), key, {})
    assert (lines, [poll.name for poll in whole.polls], whole.feeds) == ((), ["books"], kalshi.feeds)
    smaller, lines = leave_out_keyless(polymarket, settings_of(), None, {})
    assert (lines, [feed.name for feed in smaller.feeds]) == ((), ["clob", "rtds", "rtds-twap30", "rtds-twap60"])


async def test_polybolt_is_told_who_asks_before_anything_else_and_the_tape_is_not(tape: Any) -> None:
    received: list[Any] = []

    async def talk(request: web.Request, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                received.append(json.loads(message.data))
                await socket.send_str(f'{{"op":"authed","rid":"a","whose":"{BOLT_KEY["API"]}"}}')

    plan = plan_oracles("polymarket", "polybolt", ["polybolt_chainlink:btcusd"])
    async with listening(talk, []) as url, holding(tape, "polymarket", plan, url, make_key("polymarket", BOLT_KEY)):
        await tape.until(lambda: len(tape.payloads()) == 2)
    assert [message["op"] for message in received] == ["auth", "subscribe"]
    assert received[0]["auth"] == {
        "apiKey": "api-key-1234",
        "secret": "bolt-secret-5678",
        "passphrase": "open-sesame-9",
    }
    requests = [json.loads(p) for p in tape.payloads(FrameKind.REQUEST)]
    assert requests[0]["auth"] == {"apiKey": "***", "secret": "***", "passphrase": "***"}
    assert json.loads(tape.payloads()[0])["whose"] == "***"
    assert not any(value in repr(tape.frames) for value in BOLT_KEY.values())


async def test_a_key_that_is_not_taken_ends_its_feed_and_nothing_else(tape: Any) -> None:
    async def talk(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close(code=4001, message=b"auth failed")

    plan = plan_oracles("polymarket", "polybolt", ["polybolt_chainlink:btcusd"])
    key = make_key("polymarket", BOLT_KEY)
    async with listening(talk, []) as url, holding(tape, "polymarket", plan, url, key) as (connection, running):
        await asyncio.wait_for(running, 5)  # it ends, and raises nothing
        assert connection.status().reason.endswith("its key is " + key.variables)
        await tape.until(lambda: tape.events("feed_refused"))
    (refused,) = tape.events("feed_refused")
    assert "closed: 4001 auth failed: refused" in refused["reason"]
    assert len(tape.events("opened")) == 1


async def test_other_ends_are_tried_again(tape: Any) -> None:
    async def talk(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close(code=4003, message=b"draining")

    plan = plan_oracles("polymarket", "polybolt", ["polybolt_chainlink:btcusd"])
    async with listening(talk, []) as url, holding(tape, "polymarket", plan, url, make_key("polymarket", BOLT_KEY)):
        await tape.until(lambda: len(tape.events("opened")) >= 3)
    assert not tape.events("feed_refused")


async def test_kalshis_handshake_is_signed(tape: Any) -> None:
    seen: list[web.Request] = []
    venue = load_venue("kalshi")
    feed = venue.feeds[0]
    plan = ConnectionPlan(feed, 1, ("trade:T",), ())
    key = make_key("kalshi", {"ID": "kalshi-id-1", "PRIVATE": PEM})
    async with listening(hush, seen) as url, holding(tape, "kalshi", plan, url, key):
        await tape.until(lambda: tape.events("opened"))
    headers = seen[0].headers
    text = f"{headers['KALSHI-ACCESS-TIMESTAMP']}GET/trade-api/ws/v2".encode()
    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"])
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    PRIVATE_KEY.public_key().verify(signature, text, pss, SHA256())
    assert headers["KALSHI-ACCESS-KEY"] == "kalshi-id-1"
    everything = repr(tape.frames)
    assert "kalshi-id-1" not in everything
    assert headers["KALSHI-ACCESS-SIGNATURE"] not in everything


async def test_a_refused_handshake_ends_its_feed(tape: Any) -> None:
    plan = ConnectionPlan(load_venue("kalshi").feeds[0], 1, ("trade:T",), ())
    key = make_key("kalshi", {"ID": "kalshi-id-1", "PRIVATE": PEM})
    async with listening(hush, [], 401) as url, holding(tape, "kalshi", plan, url, key) as (_, running):
        await asyncio.wait_for(running, 5)
        await tape.until(lambda: tape.events("feed_refused"))
    assert "TRUETAPE_KEY_KALSHI_ID" in tape.events("feed_refused")[0]["reason"]


async def test_chainlinks_address_subscribes_and_a_new_plan_takes_a_new_connection(tape: Any) -> None:
    seen: list[web.Request] = []
    heard: list[Any] = []

    async def talk(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("{}")
        async for message in socket:
            heard.append(message.data)

    btc, eth = FEED_IDS["BTC-USD"], FEED_IDS["ETH-USD"]
    plan = plan_oracles("chainlink", "streams", [btc])
    wider = plan_oracles("chainlink", "streams", [btc, eth])
    key = make_key("chainlink", CHAIN_KEY)
    async with listening(talk, seen) as url, holding(tape, "chainlink", plan, url, key) as (connection, _):
        await tape.until(lambda: tape.payloads())
        await connection.revise(wider)
        await tape.until(lambda: tape.events("closed"))
    asked = [parse_qs(urlsplit(str(request.rel_url)).query)["feedIDs"][0] for request in seen]
    assert asked == [btc, f"{btc},{eth}"]
    assert heard == []
    assert [len(e["streams"]) for e in tape.events("subscribed")] == [1, 2]
    assert not tape.payloads(FrameKind.REQUEST)
    headers = seen[0].headers
    path = f"/api/v1/ws?feedIDs={btc}"
    text = f"GET {path} {hashlib.sha256(b'').hexdigest()} client-4711 {headers['X-Authorization-Timestamp']}"
    assert (
        headers["X-Authorization-Signature-SHA256"]
        == hmac.new(b"secret-0815", text.encode(), hashlib.sha256).hexdigest()
    )
    assert tape.events("opened")[0]["url"] == f"wss://ws.dataengine.chain.link{path}"
    assert not any(value in repr(tape.frames) for value in CHAIN_KEY.values())


def test_settings_cannot_hold_a_key() -> None:
    text = msgspec.json.encode(settings_of()).decode()
    assert "key" not in text.lower()
