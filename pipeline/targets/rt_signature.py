"""The RT-* headers that SIM Express asks for on every request (DOMAIN §1, "Signature")."""

from __future__ import annotations

import hmac


def signed_headers(
    body: bytes, *, access_code: str, secret_code: str, timestamp: int, request_id: str
) -> dict[str, str]:
    """Sign a body as it will be sent, byte for byte.

    `timestamp` counts seconds (or milliseconds, where the vendor wants them) since 1970; `request_id` is 32
    hex digits that were never used before: the vendor takes each only once, for a retry too.
    """
    signed = f"{timestamp}{request_id}{access_code}".encode() + body
    return {
        "RT-AccessCode": access_code,
        "RT-Timestamp": str(timestamp),
        "RT-RequestID": request_id,
        "RT-Signature": hmac.digest(secret_code.encode(), signed, "sha256").hex().upper(),
    }
