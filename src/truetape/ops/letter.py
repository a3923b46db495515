"""Carry messages to people: mail, Slack, Telegram and some hundred other services, through Apprise."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from truetape import clock
from truetape.errors import ConfigError, MissingExtra
from truetape.ops.alert import Message

WAITING_MAX = 50
"""Messages kept for a service that is away; the oldest are given up."""
RETRY_S = 60.0
"""A service that did not take a message is tried again after this."""


class _Box:
    """One address, and what it has not taken yet."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.waiting: deque[Message] = deque(maxlen=WAITING_MAX)
        self.tried_s: float | None = None


class Postman:
    """Sends to every address; an address is a secret and is never shown."""

    def __init__(self, addresses: Sequence[str]) -> None:
        try:
            import apprise
        except ImportError as error:
            raise MissingExtra("alerts", "ops") from error
        self._boxes: list[_Box] = []
        self.doubts: list[str] = []
        """What is wrong with addresses that will do, one line each."""
        for number, address in enumerate(addresses, 1):
            service = apprise.Apprise()
            if not service.add(address):
                raise ConfigError(
                    f"TRUETAPE_ALERT_URLS: address {number} of {len(addresses)} is none that Apprise knows"
                    " (like mailtos://user:password@host, slack://tokens, tgram://token/chat, json://host/path)"
                )
            self._boxes.append(_Box(service))
            if any(_is_open(plugin) for plugin in service):
                self.doubts.append(
                    f"TRUETAPE_ALERT_URLS: address {number} of {len(addresses)} sends its password in the clear"
                    " (mailtos:// and jsons:// go through TLS)"
                )
        self._kinds = {True: apprise.NotifyType.SUCCESS, False: apprise.NotifyType.WARNING}

    @property
    def waiting(self) -> int:
        """Messages that some service has not taken yet."""
        return sum(len(box.waiting) for box in self._boxes)

    async def send(self, message: Message) -> bool:
        """Send one message everywhere; false when some service did not take it, which is tried again by `resend`."""
        for box in self._boxes:
            box.waiting.append(message)
        return all(await asyncio.gather(*map(self._empty, self._boxes)))

    async def resend(self) -> None:
        """Send what services have not taken, in order, to those that were left alone for a minute."""
        now_s = clock.monotonic_ns() / 1e9
        late = [box for box in self._boxes if box.waiting and now_s - (box.tried_s or 0.0) >= RETRY_S]
        await asyncio.gather(*map(self._empty, late))

    async def _empty(self, box: _Box) -> bool:
        """Send what waits for one address, oldest first, as far as it is taken."""
        while box.waiting:
            message = box.waiting[0]
            kind = self._kinds[message.is_recovery]
            box.tried_s = clock.monotonic_ns() / 1e9
            notify = box.service.notify
            if not await asyncio.to_thread(notify, body=message.body, title=message.title, notify_type=kind):
                return False
            if box.waiting and box.waiting[0] is message:
                box.waiting.popleft()
        return True


def _is_open(plugin: Any) -> bool:
    """Tell whether a password goes over the network without TLS."""
    host = getattr(plugin, "smtp_host", "") or plugin.host or ""
    return bool(plugin.password) and not plugin.secure and host != "localhost" and not host.startswith("127.")
