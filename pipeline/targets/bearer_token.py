"""The bearer token that every request carries: given ready, or fetched at first use and anew when refused.

One for all workers: a login is made once for all who wait for it, and they share its outcome (DOMAIN §2).
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.targets.bulk_subscriber_reply import CODES, envelope_of, error_of, http_fault
from pipeline.wire import Request, fault_of, retry_after, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts import Http
    from pipeline.wire import Response

    MakeRequest = Callable[[dict[str, str]], Request]

LOGIN_PATH = "/api/v2/auth/token"
USABLE = re.compile(r"[\x21-\x7e]+")  # what may stand in a header

_UNAUTHORIZED = 401
_FORBIDDEN = 403
#: A token that dies while many share it can be refused to the same request twice; one that never worked for
#: anybody is refused once.
_MOST_RENEWALS = 3
_MOST_CHARS = 4000  # of the vendor's words looked at: far more than are shown
_PART_CHARS = 6  # a beginning of a secret that is hidden like the whole


class BearerToken:
    """Sends requests with the token; it is `ready`, or fetched with `username` and `password`."""

    def __init__(self, *, username: str = "", password: str = "", ready: str = "") -> None:
        self._username, self._password = username, password
        self._token, self._ready = ready, bool(ready)
        self._number = int(self._ready)  # which token this is; 0: there was none yet
        self._worked = 0  # the number of the latest one that the vendor took
        self._lock = asyncio.Lock()
        self._logins = 0
        self._failure: Fault | None = None
        self._secrets = _pattern_of(username, password, ready)

    async def exchange(self, http: Http, make_request: MakeRequest) -> Response | Fault:
        """Send what `make_request` makes of the header that bears the token.

        After a 401 the request is repeated with a new token. Gives a Fault where none is to be had, and lets
        NoReply of this request pass, never that of a login.
        """
        refused = 0
        for _ in range(1 + _MOST_RENEWALS):
            if failure := await self._other_than(refused, http):
                # A login may have left this machine; the request itself did only if a token was refused.
                return replace(failure, reached=refused > 0)
            try:
                used, response = await self._bearing(http, make_request)
            except NoReply as error:
                if refused:  # then it left before
                    raise NoReply(replace(error.fault, reached=True)) from error
                raise
            if response.status != _UNAUTHORIZED:
                self._worked = max(self._worked, used)
                return response
            if self._ready or (refused and used > self._worked):
                break
            refused = used
        said = http_fault(response, self.words)
        which = "the token" if self._ready else "a new token"
        return Fault(FaultKind.STOP, "http_401", f"{which} was refused: {said.reason if said else ''}")

    def words(self, text: str) -> str:
        """Give the vendor's words as one bounded, printable line without our credentials."""
        return words_of(self._secrets.sub("…", text[:_MOST_CHARS]).encode("utf-8", "replace"))

    async def _bearing(self, http: Http, make_request: MakeRequest) -> tuple[int, Response]:
        """Send with the token there is when the request may leave; give its number too."""
        used = 0

        def bearing() -> Request:
            nonlocal used
            used = self._number
            return make_request({"Authorization": f"Bearer {self._token}"})

        response = await http.exchange(bearing)
        return used, response

    async def _other_than(self, refused: int, http: Http) -> Fault | None:
        """See to it that there is another token than the refused one; say why there is none.

        Whoever waited while somebody logged in takes that outcome, a failure too. Credentials that were
        refused are not tried again: a vendor may lock an account for that.
        """
        if self._number != refused:
            return None
        seen = self._logins
        async with self._lock:
            stopped = self._failure is not None and self._failure.kind is FaultKind.STOP
            if self._logins == seen and not stopped:
                self._failure = await self._log_in(http)
                self._logins += 1
            return self._failure

    async def _log_in(self, http: Http) -> Fault | None:
        try:
            response = await http.exchange(self._login)
        except NoReply as error:
            return _of_login(error.fault)
        envelope = envelope_of(response.body) or {}
        if fault := self._refusal(response, envelope):
            return fault
        token = _token_in(envelope)
        if not token:
            return Fault(FaultKind.NOT_CARRIED_OUT, "login_unreadable", "the login's reply holds no token")
        self._secrets = _pattern_of(self._username, self._password, token, self._token)
        self._token, self._number = token, self._number + 1
        return None

    def _refusal(self, response: Response, envelope: dict[str, Any]) -> Fault | None:
        """Classify a login's answer; None when it should hold a token.

        Only the documented words are shown: the rest of the body may hold a token, or the request's echo.
        """
        code, message = error_of(envelope)
        said = self.words(": ".join(filter(None, (code, message))))
        fault = fault_of(replace(response, body=said.encode()))
        if fault is None:
            fault = Fault(FaultKind.REFUSED, self.words(code), said) if code else None
        if fault is None:
            return None
        if CODES.get(code) == "passing":
            wish_s = retry_after(response)
            return replace(_of_login(fault), kind=FaultKind.NOT_CARRIED_OUT, retry_after_s=wish_s)
        if fault.kind is FaultKind.REFUSED or response.status in (_UNAUTHORIZED, _FORBIDDEN):
            return replace(fault, kind=FaultKind.STOP, reason=f"credentials refused: {fault.reason}")
        return _of_login(fault)

    def _login(self) -> Request:
        body = json.dumps({"username": self._username, "password": self._password}).encode()
        return Request("POST", LOGIN_PATH, {"Content-Type": "application/json"}, body)


def _of_login(fault: Fault) -> Fault:
    """Say what a login's fault means for a batch: nothing of that has left, so nothing of it can be lost."""
    match fault.kind:
        case FaultKind.NOT_CARRIED_OUT | FaultKind.LOST:
            kind = FaultKind.NOT_CARRIED_OUT
        case FaultKind.WITHDRAWN:
            return fault
        case _:
            kind = FaultKind.STOP
    return replace(fault, kind=kind, reason=f"no token from {LOGIN_PATH}: {fault.reason}")


def _token_in(envelope: dict[str, Any]) -> str:
    """Read content[0].token; "" where there is none that can stand in a header."""
    content = envelope.get("content")
    entry = content[0] if isinstance(content, list) and content else None
    token = entry.get("token") if isinstance(entry, dict) else None
    return token if isinstance(token, str) and USABLE.fullmatch(token) else ""


def _pattern_of(*secrets: str) -> re.Pattern[str]:
    """Match secrets, plain or as JSON writes them, and a long one's beginning; short ones as whole words."""
    forms = {
        form
        for secret in secrets
        if secret
        for form in (secret, json.dumps(secret, ensure_ascii=False)[1:-1])
    }
    parts = [
        rf"{re.escape(form[:_PART_CHARS])}(?:{re.escape(form[_PART_CHARS:])}|[^\s\"'<>,;]*)"
        if len(form) > _PART_CHARS
        else rf"(?<!\w){re.escape(form)}(?!\w)"
        for form in sorted(forms, key=len, reverse=True)
    ]
    return re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)
