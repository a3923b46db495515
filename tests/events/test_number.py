"""Numbers that no table takes do not get past decoding."""

import msgspec
import pytest

from truetape.events.number import Id, Moment, Real, Size


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e301", ""])
@pytest.mark.parametrize("kind", [Size, Real])
def test_what_is_not_finite_is_refused(kind: object, text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.Decoder(kind, strict=False).decode(f'"{text}"'.encode())


def test_a_size_is_not_negative_and_a_rate_may_be() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.Decoder(Size, strict=False).decode(b'"-0.1"')
    assert msgspec.json.Decoder(Real, strict=False).decode(b'"-0.1"') == -0.1


def test_integers_stay_within_64_bits() -> None:
    decode = msgspec.json.Decoder(Id).decode
    assert decode(b"9223372036854775807") == 2**63 - 1
    assert decode(b"-9223372036854775808") == -(2**63)
    for text in (b"9223372036854775808", b"13935949241502919679", b"-9223372036854775809"):
        with pytest.raises(msgspec.ValidationError):
            decode(text)


def test_the_microseconds_of_a_moment_fit_64_bits() -> None:
    decode = msgspec.json.Decoder(Moment).decode
    assert decode(b"1723161256300") * 1000 < 2**63
    for text in (b"-1", b"10000000000000001"):
        with pytest.raises(msgspec.ValidationError):
            decode(text)
