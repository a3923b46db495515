"""Messages reach people over real sockets: mail, and the forms that Slack and Telegram take."""

import asyncio
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from mail_server import PASSWORD, MailServer, Proxy, serve

from truetape import clock
from truetape.collect.status import ServiceStatus
from truetape.config import AlertSettings, Settings
from truetape.decode.status import StreamStatus
from truetape.ops.alert import Message
from truetape.ops.letter import Postman
from truetape.ops.vital import Vitals
from truetape.ops.watch import keep_watch

START_S = 1_767_571_200
TROUBLE = Message("truetape: 1 trouble", "backup: no space", is_recovery=False)
OVER = Message("truetape: 1 trouble over", "over after 60 s: backup: no space", is_recovery=True)


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    with serve(server):
        yield server


def read(mail: MailServer) -> tuple[str, list[str]]:
    """Return subject and lines of the next mail."""
    message = mail.heard.get(timeout=30)
    for part in message.walk():
        if part.get_content_type() == "text/plain":
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            return str(message["Subject"]), payload.decode().strip().splitlines()
    return str(message["Subject"]), [str(message.get_payload())]


async def test_a_mail_arrives_with_its_lines(mail: MailServer) -> None:
    assert await Postman([mail.address]).send(Message("truetape: 2 troubles", "first\nsecond", is_recovery=False))
    subject, lines = read(mail)
    assert subject == "truetape: 2 troubles"
    assert "first" in "\n".join(lines)
    assert "second" in "\n".join(lines)


async def test_a_wrong_password_is_a_message_not_sent(mail: MailServer) -> None:
    postman = Postman([mail.address.replace(PASSWORD, "another")])
    assert not await postman.send(TROUBLE)
    assert (mail.heard.qsize(), postman.waiting) == (0, 1)


@pytest.fixture(params=["ssl", "starttls"])
def safe_mail(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A server with TLS, whose authority is trusted as operators do it."""
    server = MailServer(request.param)
    server.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serve(server):
        yield server


async def test_mail_goes_through_tls(safe_mail: MailServer) -> None:
    assert await Postman([safe_mail.address]).send(Message("truetape: 1 trouble", "first", is_recovery=False))
    subject, lines = read(safe_mail)
    assert (subject, lines[-1]) == ("truetape: 1 trouble", "first")
    assert {"AUTH", "MAIL", "DATA"} <= {verb for is_secure, verb in safe_mail.said if is_secure}
    assert {verb for is_secure, verb in safe_mail.said if not is_secure} <= {"EHLO", "STARTTLS"}


async def test_a_server_that_is_not_trusted_hears_no_password(
    safe_mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its authority is trusted, or `verify=no` says not to look."""
    monkeypatch.delenv("SSL_CERT_FILE")
    postman = Postman([safe_mail.address])
    assert not await postman.send(TROUBLE)
    assert (safe_mail.heard.qsize(), postman.waiting) == (0, 1)
    assert "AUTH" not in [verb for _, verb in safe_mail.said]
    assert await Postman([f"{safe_mail.address}&verify=no"]).send(TROUBLE)
    assert read(safe_mail)[0] == TROUBLE.title


@pytest.mark.parametrize("mode", ["ssl", "starttls"])
async def test_a_server_without_tls_hears_no_password_that_was_meant_for_tls(mail: MailServer, mode: str) -> None:
    assert not await Postman([mail.write_address(mode)]).send(TROUBLE)
    assert mail.heard.empty()
    assert "AUTH" not in [verb for _, verb in mail.said]


def test_a_password_in_the_clear_is_told() -> None:
    safe = ["mailtos://a:b@example.com", "mailto://a:b@gmail.com", "jsons://a:b@example.com/", "json://example.com/",
            "mailto://a:b@example.com?smtp=127.0.0.1", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"]  # fmt: skip
    assert Postman(safe).doubts == []
    assert [doubt.split(" (")[0] for doubt in Postman([*safe, "mailto://a:b@example.com"]).doubts] == [
        "TRUETAPE_ALERT_URLS: address 7 of 7 sends its password in the clear"
    ]


def test_troubles_are_grouped_and_taken_back_by_mail(mail: MailServer, tmp_path: Path) -> None:
    """What begins within the time of grouping is one mail, what ends is one more, whatever else comes and goes."""
    settings = Settings(alerts=AlertSettings(group_seconds=60, disk_free_bytes_min=0))
    missing = ServiceStatus("fake", 3, 40, 20, 20, 70, 20, 0, 900.0, 0, ("decode",))
    blind = StreamStatus("binance", "BTC-USDT", "book_change", 5, 0, "disconnect", 1, None, 3.0)
    story = {0: Vitals(troubles=("binance: refused",)), 20: Vitals(troubles=("binance: refused",), streams=(blind,)),
             40: Vitals(troubles=("binance: refused",), streams=(blind,), services=(missing,)), 200: Vitals()}  # fmt: skip

    async def main() -> None:
        began_s = clock.monotonic_ns() / 1e9

        def look() -> Vitals:
            return story[max(at for at in story if at <= clock.monotonic_ns() / 1e9 - began_s)]

        watching = asyncio.create_task(keep_watch(settings, look, Postman([mail.address]), lambda message: None))
        while mail.heard.qsize() < 2:  # noqa: ASYNC110 - another thread fills it
            await asyncio.sleep(5)
        await asyncio.sleep(200)
        watching.cancel()

    with clock.compress(START_S, 100):
        clock.run(asyncio.wait_for(main(), 3000))
    (subject, lines), (later, over) = read(mail), read(mail)
    assert subject == "truetape: 3 troubles"
    said = "\n".join(lines)
    for part in ("binance: refused", "binance BTC-USDT book_change: in a gap", "snapshots.fake: snapshots are missed"):
        assert part in said
    assert later == "truetape: 3 troubles over"
    assert "\n".join(over).count("over after") == 3
    assert mail.heard.empty()


def test_a_service_that_was_away_gets_what_it_missed_once(mail: MailServer) -> None:
    other = MailServer()

    async def main() -> None:
        postman = Postman([mail.address, other.address])
        mail.is_away = True
        assert not await postman.send(TROUBLE)
        assert postman.waiting == 1
        mail.is_away = False
        await asyncio.sleep(61)  # it is left alone for a minute
        await postman.resend()
        assert postman.waiting == 0

    with serve(other), clock.compress(START_S, 100):
        clock.run(main())
    for server in (mail, other):
        assert read(server)[0] == TROUBLE.title
        assert server.heard.empty()


async def test_slack_and_telegram_get_what_they_understand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their hosts are fixed, so a proxy on loopback stands for them: TLS, path, token and body are the real ones."""
    proxy = Proxy()
    proxy.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with serve(proxy):
        postman = Postman([
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
            "tgram://123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc/12315544",
        ])  # fmt: skip
        assert await postman.send(TROUBLE)
        assert await postman.send(OVER)
    heard = list(iter_queue(proxy.heard))
    slack = [one for one in heard if one.host == "hooks.slack.com"]
    telegram = [one for one in heard if one.host == "api.telegram.org"]
    assert [one.path for one in slack] == ["/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"] * 2
    assert {one.path for one in telegram} == {"/bot123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc/sendMessage"}
    assert {str(one.body["chat_id"]) for one in telegram} == {"12315544"}
    for first, second in (slack, telegram):
        assert "backup: no space" in str(first.body)
        assert "over after 60 s" in str(second.body)


def iter_queue(heard: "queue.Queue[object]") -> Iterator[object]:
    while not heard.empty():
        yield heard.get()
