"""SIM Express's proof of who asks, and when: four headers on every request (the vendor's signature page)."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMESTAMP_VALID_S = 600

_REQUEST_ID = re.compile(r"[0-9a-fA-F]{32}")
_TIMESTAMP = re.compile(r"[0-9]{1,16}")


def signature(secret_code: str, timestamp: str, request_id: str, access_code: str, body: bytes) -> str:
    """Return the RT-Signature as lower-case hex: HMAC-SHA256 over the four parts without separators."""
    message = (timestamp + request_id + access_code).encode() + body
    return hmac.new(secret_code.encode(), message, hashlib.sha256).hexdigest()


class Doorkeeper:
    """Lets a request in whose headers prove who sent it, when, and that it is new."""

    def __init__(self, access_code: str, secret_code: str, timestamp_unit_s: float) -> None:
        self._access_code = access_code
        self._secret_code = secret_code
        self._timestamp_unit_s = timestamp_unit_s
        self._used_request_ids: set[str] = set()

    def refuses(self, now: float, headers: Mapping[str, str], body: bytes) -> tuple[str, str] | None:
        """Return error code and message, or None and take the request id as used from now on."""
        given = {name.lower(): value for name, value in headers.items()}
        timestamp, request_id = given.get("rt-timestamp", ""), given.get("rt-requestid", "")
        if not _TIMESTAMP.fullmatch(timestamp):
            return "101001", "the timestamp is invalid"
        if abs(now - int(timestamp) * self._timestamp_unit_s) > TIMESTAMP_VALID_S:
            return "101001", "the timestamp is expired"
        if given.get("rt-accesscode") != self._access_code:
            return "101002", "the access code is unknown"
        if not _REQUEST_ID.fullmatch(request_id):
            return "101004", "the request id must be 32 hex digits"
        right = signature(self._secret_code, timestamp, request_id, self._access_code, body)
        sent = given.get("rt-signature", "").lower()
        if not hmac.compare_digest(right.encode(), sent.encode("utf-8", "surrogateescape")):
            return "101003", "the signature is wrong"
        if request_id.lower() in self._used_request_ids:
            return "101004", "the request id was used before"
        self._used_request_ids.add(request_id.lower())
        return None
