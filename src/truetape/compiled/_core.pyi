"""What the C files offer; each says the same as Python does elsewhere."""

from typing import Any, final

from typing_extensions import Buffer

class Shape:
    """An opaque capsule."""

def compile_shape(spec: tuple[Any, ...], /) -> Shape: ...
def scan(
    shape: Shape, payloads: list[bytes], /
) -> tuple[tuple[bytearray, ...], bytearray, bytearray, bytearray, bytearray] | None: ...
def sort_heads(payloads: list[bytes], mark: bytes, codes: dict[bytes, int], /) -> bytearray: ...

@final
class NumberLadder:
    def __new__(
        cls, bid_prices: Buffer, bid_sizes: Buffer, ask_prices: Buffer, ask_sizes: Buffer, /
    ) -> NumberLadder: ...
    def apply(self, side_counts: Buffer, flat: Buffer, /) -> int: ...
    def write(self) -> tuple[bytearray, bytearray, bytearray, bytearray]: ...

@final
class TextLadder:
    def __new__(
        cls, bid_prices: Buffer, bids: list[tuple[str, str]], ask_prices: Buffer, asks: list[tuple[str, str]],
        depth_max: int, /,
    ) -> TextLadder: ...  # fmt: skip
    def apply(
        self, side_counts: Buffer, flat: Buffer, words: Buffer, edges: Buffer, checks: Buffer, frames: Buffer,
        depth: int, /,
    ) -> int: ...  # fmt: skip
    def write(self) -> tuple[bytearray, list[tuple[str, str]], bytearray, list[tuple[str, str]]]: ...
