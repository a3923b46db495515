"""Headers that prove who asks Chainlink's Data Streams; pure, so the caller brings the time and the secret."""

import hashlib
import hmac


def sign(method: str, path: str, body: bytes, client_id: str, secret: str, timestamp_ms: int) -> dict[str, str]:
    """Return the headers of one request; `path` includes the query, and the venue takes times within 5 s of its own."""
    digest = hashlib.sha256(body).hexdigest()
    text = f"{method} {path} {digest} {client_id} {timestamp_ms}"
    return {
        "Authorization": client_id,
        "X-Authorization-Timestamp": str(timestamp_ms),
        "X-Authorization-Signature-SHA256": hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
    }
