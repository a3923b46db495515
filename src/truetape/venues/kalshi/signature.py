"""Headers that prove who asks Kalshi; pure, so the caller brings the time and the key."""

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from truetape.errors import MissingExtra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def write_signed_text(method: str, path: str, timestamp_ms: int) -> bytes:
    """Return what a key must sign (RSA-PSS, SHA-256) for one request or handshake; the path goes without its query."""
    return f"{timestamp_ms}{method}{path.partition('?')[0]}".encode()


def sign_request(values: Mapping[str, str], method: str, url: str, body: bytes, now_ms: int) -> dict[str, str]:
    """Return the headers of one request or handshake; ValueError when the private key is none."""
    key = _read_key(values["PRIVATE"])
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
    from cryptography.hazmat.primitives.hashes import SHA256

    text = write_signed_text(method, urlsplit(url).path, now_ms)
    signature = key.sign(text, PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH), SHA256())
    return {
        "KALSHI-ACCESS-KEY": values["ID"],
        "KALSHI-ACCESS-TIMESTAMP": str(now_ms),
        "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
    }


@lru_cache(maxsize=2)
def _read_key(pem: str) -> "RSAPrivateKey":
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise MissingExtra("signing for Kalshi", "keys") from error
    try:
        # One line with \\n in it is how a key fits into a variable.
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), None)
    except TypeError as error:  # it wants a password
        raise ValueError("the private key is encrypted") from error
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the private key is not of RSA")
    return key
