"""Addresses of pages: changing what an address asks for."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def ask(address: str, **parameters: object) -> str:
    """Return the address with these parameters set; those that are None are taken out."""
    parts = urlsplit(address)
    told: dict[str, object] = dict(parse_qsl(parts.query)) | parameters
    query = urlencode({name: value for name, value in told.items() if value is not None})
    return urlunsplit(parts._replace(query=query))


def read_query(address: str) -> Mapping[str, str]:
    """Return the parameters of an address."""
    return dict(parse_qsl(urlsplit(address).query))


def to_ms(at_us: int) -> int:
    """Return the millisecond that a microsecond lies in."""
    return at_us // 1000
