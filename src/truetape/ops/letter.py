"""Carry messages to people: mail, Slack, Telegram and some hundred other services, through Apprise."""

import asyncio
from collections.abc import Sequence

from truetape.errors import ConfigError, MissingExtra
from truetape.ops.alert import Message


class Postman:
    """Sends to every address; an address is a secret and is never shown."""

    def __init__(self, addresses: Sequence[str]) -> None:
        try:
            import apprise
        except ImportError as error:
            raise MissingExtra("alerts", "ops") from error
        self._post = apprise.Apprise()
        for number, address in enumerate(addresses, 1):
            if not self._post.add(address):
                raise ConfigError(
                    f"TRUETAPE_ALERT_URLS: address {number} of {len(addresses)} is none that Apprise knows"
                    " (like mailto://user:password@host, slack://tokens, tgram://token/chat, json://host/path)"
                )
        self._kinds = {True: apprise.NotifyType.SUCCESS, False: apprise.NotifyType.WARNING}

    async def send(self, message: Message) -> bool:
        """Send one message everywhere; false when some service did not take it."""
        kind = self._kinds[message.is_recovery]
        sending = asyncio.to_thread(self._post.notify, body=message.body, title=message.title, notify_type=kind)
        return bool(await sending)
