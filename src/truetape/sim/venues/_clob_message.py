"""What a client may say to the fake order book socket."""

from typing import Literal

import msgspec


class Message(msgspec.Struct, frozen=True):
    """A subscription; the first message of a connection has a type, later ones an operation."""

    assets_ids: tuple[str, ...] = ()
    type: str | None = None
    operation: Literal["subscribe", "unsubscribe"] | None = None
    custom_feature_enabled: bool = False
    initial_dump: bool = True
    level: int = 2


_decode = msgspec.json.Decoder(Message).decode


def read_message(text: str) -> Message | None:
    """Read a message; null when it is not one that the venue knows."""
    try:
        message = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    is_first = message.type is not None and message.type.lower() == "market"
    return message if is_first or message.operation is not None else None
