"""What a fake venue lists: one instrument with its units, and how its numbers are written."""

from typing import Literal

import msgspec

Kind = Literal["spot", "linear", "inverse"]


class Spec(msgspec.Struct, frozen=True):
    """One listed instrument; prices and sizes are integers of `10 ** -digits` inside the market."""

    venue: str
    feed: str
    """Product line of the venue: `spot`, `usdm`, `linear`, …"""
    symbol: str
    base: str
    quote: str
    kind: Kind
    price_digits: int
    size_digits: int
    tick: int = 1
    """Smallest price step, in units of the last price digit."""
    lot: int = 1
    """Smallest size step, in units of the last size digit."""
    contract: float = 1.0
    """Linear: base per contract; inverse: quote per contract."""
    expiry_ms: int = 0
    """Delivery time; 0: perpetual or spot."""

    @property
    def key(self) -> str:
        """Name the market uniquely: venue, product line, symbol."""
        return f"{self.venue}/{self.feed}/{self.symbol}"


def write_fixed(value: int, digits: int) -> str:
    """Write an integer of `10 ** -digits` with all its decimals: 6183763, 2 → 61837.63."""
    if digits == 0:
        return str(value)
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, part = divmod(value, 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}"


def write_short(value: int, digits: int) -> str:
    """Write an integer of `10 ** -digits` without trailing zeros: 30316000, 3 → 30316."""
    text = write_fixed(value, digits)
    return text.rstrip("0").rstrip(".") if digits else text


def write_padded(value: int, digits: int, width: int) -> str:
    """Write with exactly `width` decimals, as Binance spot does: 6183763, 2, 8 → 61837.63000000."""
    text = write_fixed(value, digits)
    return text + ("." if digits == 0 and width else "") + "0" * (width - digits)
