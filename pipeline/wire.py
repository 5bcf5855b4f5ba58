"""HTTP as the targets see it: a request to be built, a response to be read, and what a status code means.

No I/O here (that is http_client) and no vendor's word (that is its target).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pipeline.model import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_WISH_S = 86_400.0  # a day: nobody waits longer on a header
_WORDS_SHOWN = 200
#: Headers that name a call: what vendors and gateways answer with, and what SIM Express is sent.
_REQUEST_IDS = ("request-id", "x-request-id", "x-correlation-id", "x-trace-id", "rt-requestid")
#: Headers of a request that a vendor knows us by, and nobody else may.
_SECRET_HEADER = re.compile(r"auth|token|secret|signature|access-?code|password|cookie|key", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `path` is appended to the target's base URL; the body is sent byte for byte."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """One complete HTTP response. Header names are lower case; `received_at` is UTC seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: float = 0.0


def fault_of(response: Response) -> Fault | None:
    """Say what an HTTP status means for the batch, before its body is read (RFC 9110); None for 2xx."""
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return None
    code = f"http_{status}"
    reason = f"HTTP {status}: {words_of(response.body)}".rstrip(": ")
    retry_after_s = retry_after(response)
    match status:
        case 425 | 429 | 503:
            return Fault(FaultKind.NOT_CARRIED_OUT, code, reason, retry_after_s)
        case 413:
            return Fault(FaultKind.TOO_LARGE, code, reason)
        case 401 | 403 | 404 | 405 | 407:
            return Fault(FaultKind.STOP, code, reason)
        case _ if 300 <= status < 400:  # noqa: PLR2004 - the class of redirection
            to = words_of(
                response.headers.get("location", "elsewhere").partition("?")[0].encode("utf-8", "replace")
            )
            return Fault(
                FaultKind.STOP,
                code,
                f"HTTP {status}: redirected to {to}; redirects are not followed, set base_url",
            )
        case _ if 400 <= status < 500 and status != 408:  # noqa: PLR2004 - the class of client errors
            return Fault(FaultKind.REFUSED, code, reason)
        case _:
            return Fault(FaultKind.LOST, code, reason, retry_after_s)


def retry_after(response: Response) -> float | None:
    """Read Retry-After in seconds, from either of its forms (RFC 9110 §10.2.3), or None."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WISH_S)
    until = utc_seconds(value)
    return None if until is None else min(max(0.0, until - _date_of(response)), LONGEST_WISH_S)


def rate_limit_hold(response: Response) -> float:
    """Say for how many seconds the vendor's RateLimit headers ask for silence; 0 while something is left.

    Reads the IETF drafts' `RateLimit: "name";r=0;t=5`, their older `RateLimit: remaining=0, reset=5`, and the
    pair `RateLimit-Remaining`/`-Reset` with or without `X-`. A reset of more than a day is an epoch time.
    """
    packed = response.headers.get("ratelimit", "")
    left = re.search(r"\b(?:r|remaining)=(\d+)", packed)
    reset = re.search(r"\b(?:t|reset)=(\d+)", packed)
    said = [(left and left[1], reset and reset[1])]
    said += [
        (response.headers.get(f"{prefix}remaining"), response.headers.get(f"{prefix}reset"))
        for prefix in ("ratelimit-", "x-ratelimit-")
    ]
    waits = (wait for remaining, wait in said if wait and remaining and remaining.strip() == "0")
    seconds = float(next((wait for wait in waits if re.fullmatch(r"\s*[0-9]{1,12}\s*", wait)), 0))
    if seconds > LONGEST_WISH_S:
        seconds -= _date_of(response)
    return min(max(0.0, seconds), LONGEST_WISH_S)


def request_id_of(headers: Mapping[str, str]) -> str:
    """Give the name of a call by which its vendor can find it again; nothing where the headers have none."""
    by_name = {name.lower(): value.strip() for name, value in headers.items()}
    named = (by_name.get(name, "") for name in _REQUEST_IDS)
    return next((value for value in named if _REQUEST_ID.fullmatch(value)), "")


def secrets_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Give what of a request's headers is secret: of "Bearer abc" the last word."""
    return tuple(
        value.split()[-1] for name, value in headers.items() if _SECRET_HEADER.search(name) and value.strip()
    )


def _date_of(response: Response) -> float:
    """Prefer the vendor's own clock, so that a skewed one of ours does not stretch its wish."""
    date = utc_seconds(response.headers.get("date", ""))
    return date if date is not None else response.received_at or datetime.now(tz=UTC).timestamp()


def utc_seconds(date: str) -> float | None:
    """Read an HTTP date in any of its forms (RFC 9110 §5.6.7) as seconds since 1970; None when it is none."""
    try:
        read = parsedate_to_datetime(date)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def words_of(body: bytes) -> str:
    """Give the beginning of a body as one printable line, for an error text."""
    text = body[: 4 * _WORDS_SHOWN].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _WORDS_SHOWN else line[: _WORDS_SHOWN - 1] + "…"
