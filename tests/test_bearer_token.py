"""One token for all who send, from a login or from the job file, and what happens when it is refused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.targets.bearer_token import LOGIN_PATH, BearerToken
from pipeline.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = 'pass"word-of-ours'
USER = "fleet-user"


class Vendor:
    """contracts.Http in memory: gives out tokens t1, t2, …; each is good for `uses` requests."""

    def __init__(self, uses: float = float("inf"), login: Callable[[], Response] | None = None) -> None:
        self.requests = 0
        self.logins = 0
        self.borne: list[str] = []
        self.tokens: dict[str, float] = {}
        self._uses = uses
        self._login = login or self._give

    def _give(self) -> Response:
        self.tokens[f"t{self.logins}"] = self._uses
        return told({"errorCode": "", "content": [{"token": f"t{self.logins}"}]})

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        await asyncio.sleep(0)
        request = make_request()
        self.requests += 1
        await asyncio.sleep(0)
        if request.path == LOGIN_PATH:
            self.logins += 1
            return self._login()
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.borne.append(token)
        if self.tokens.get(token, 0) <= 0:
            return Response(401, {}, b"token expired")
        self.tokens[token] -= 1
        return Response(200, {}, b"fine")


def told(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def bearer() -> BearerToken:
    return BearerToken(username=USER, password=PASSWORD)


def get(headers: dict[str, str]) -> Request:
    return Request("GET", "/thing", headers)


async def after_login(response: Response | NoReply) -> Fault:
    def login() -> Response:
        if isinstance(response, NoReply):
            raise response
        return response

    found = await bearer().exchange(Vendor(login=login), get)
    assert isinstance(found, Fault)
    return found


# ---------------------------------------------------------------- the login


async def test_a_token_is_fetched_at_first_use_and_kept() -> None:
    vendor, token = Vendor(), bearer()
    assert vendor.logins == 0
    for _ in range(3):
        assert isinstance(await token.exchange(vendor, get), Response)
    assert (vendor.logins, vendor.borne) == (1, ["t1"] * 3)


async def test_the_login_posts_username_and_password() -> None:
    seen: list[Request] = []

    class Listening(Vendor):
        async def exchange(self, make_request: Callable[[], Request]) -> Response:
            seen.append(make_request())
            return told({"content": [{"token": "t"}]})

    await bearer().exchange(Listening(), get)
    login, bearing = seen
    assert (login.method, login.path) == ("POST", "/api/v2/auth/token")
    assert json.loads(login.body) == {"username": USER, "password": PASSWORD}
    assert "Authorization" not in login.headers
    assert bearing.headers["Authorization"] == "Bearer t"


async def test_sixteen_at_once_log_in_once() -> None:
    vendor, token = Vendor(), bearer()
    found = await asyncio.gather(*(token.exchange(vendor, get) for _ in range(16)))
    assert all(isinstance(response, Response) and response.status == 200 for response in found)
    assert (vendor.logins, vendor.requests) == (1, 17)


async def test_sixteen_whose_token_dies_log_in_once_more() -> None:
    vendor, token = Vendor(), bearer()
    await token.exchange(vendor, get)
    vendor.tokens.clear()
    found = await asyncio.gather(*(token.exchange(vendor, get) for _ in range(16)))
    assert all(isinstance(response, Response) and response.status == 200 for response in found)
    assert vendor.logins == 2


async def test_a_token_that_is_good_for_few_requests_is_no_refusal() -> None:
    vendor, token = Vendor(uses=10), bearer()
    for _ in range(10):
        found = await asyncio.gather(*(token.exchange(vendor, get) for _ in range(16)))
        assert all(isinstance(response, Response) for response in found)
    assert vendor.logins <= 17


async def test_a_token_used_up_by_others_is_no_refusal_though_a_newer_one_works_already() -> None:
    token = bearer()

    class UsedUp(Vendor):
        """Lets another request log in anew and succeed while the second refusal is on its way back."""

        async def exchange(self, make_request: Callable[[], Request]) -> Response:
            response = await super().exchange(make_request)
            if self.borne[-2:] == ["t1", "t2"] and self.logins == 2:
                token._number, token._token, token._worked = 3, "t3", 3
                self.logins, self.tokens["t3"] = 3, 9
            return response

    vendor = UsedUp(uses=0)
    assert isinstance(await token.exchange(vendor, get), Response)
    assert vendor.borne == ["t1", "t2", "t3"]


async def test_sixteen_share_the_failure_of_one_login() -> None:
    vendor, token = Vendor(login=lambda: told(b"", 503, {"retry-after": "7"})), bearer()
    found = await asyncio.gather(*(token.exchange(vendor, get) for _ in range(16)))
    assert {fault.kind for fault in found if isinstance(fault, Fault)} == {FaultKind.NOT_CARRIED_OUT}
    assert {fault.retry_after_s for fault in found if isinstance(fault, Fault)} == {7.0}
    assert (len(found), vendor.logins, vendor.borne) == (16, 1, [])


async def test_a_login_that_failed_in_passing_is_made_again_later() -> None:
    answers = iter([told(b"", 503), told({"content": [{"token": "t"}]})])
    vendor, token = Vendor(login=lambda: next(answers)), bearer()
    assert isinstance(await token.exchange(vendor, get), Fault)
    vendor.tokens["t"] = 1
    assert isinstance(await token.exchange(vendor, get), Response)


async def test_refused_credentials_are_not_tried_again() -> None:
    vendor, token = Vendor(login=lambda: told(b"", 401)), bearer()
    first, second = await token.exchange(vendor, get), await token.exchange(vendor, get)
    assert first == second
    assert vendor.logins == 1


async def test_a_login_that_is_cancelled_leaves_the_next_one_to_log_in() -> None:
    vendor, token = Vendor(), bearer()
    first, second = (asyncio.create_task(token.exchange(vendor, get)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, Response)
    assert vendor.borne == ["t1"]


# ---------------------------------------------------------------- what a login can come to


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_refused_credentials_stop_the_run_in_the_vendors_words(status: int) -> None:
    found = await after_login(told({"errorCode": "AUTH_1001", "errorMessage": "Wrong login"}, status))
    assert (found.kind, found.code) == (FaultKind.STOP, f"http_{status}")
    assert found.reason == f"credentials refused: HTTP {status}: AUTH_1001: Wrong login"


@pytest.mark.parametrize("status", [301, 404, 405, 409, 413])
async def test_a_login_that_can_never_work_stops_the_run(status: int) -> None:
    assert (await after_login(told(b"", status))).kind is FaultKind.STOP


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_login_that_fails_in_passing_carried_nothing_out(status: int) -> None:
    found = await after_login(told(b"", status))
    assert (found.kind, found.code) == (FaultKind.NOT_CARRIED_OUT, f"http_{status}")
    assert not found.reached


@pytest.mark.parametrize("status", [200, 400, 403])
async def test_a_busy_vendor_refuses_no_credentials(status: int) -> None:
    found = await after_login(
        told({"errorCode": "GLOBAL_1001", "errorMessage": "Try again"}, status, {"retry-after": "3"})
    )
    assert (found.kind, found.retry_after_s) == (FaultKind.NOT_CARRIED_OUT, 3.0)


async def test_a_clear_error_in_a_200_stops_the_run() -> None:
    found = await after_login(told({"errorCode": "AUTH_1001", "errorMessage": "No", "content": ""}))
    assert (found.kind, found.code, found.reason) == (
        FaultKind.STOP,
        "AUTH_1001",
        "credentials refused: AUTH_1001: No",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        {},
        {"content": ""},
        {"content": []},
        {"content": [None]},
        {"content": [{}]},
        {"content": [{"token": ""}]},
        {"content": [{"token": 1}]},
        {"content": [{"token": "a b"}]},
        {"content": [{"token": "a\r\nX-Evil: 1"}]},
        {"content": {"token": "t"}},
    ],
)
async def test_a_login_reply_without_a_usable_token_is_tried_again_and_never_shown(body: Any) -> None:
    found = await after_login(told(body))
    assert found == Fault(
        FaultKind.NOT_CARRIED_OUT, "login_unreadable", "the login's reply holds no token", reached=False
    )


async def test_a_lost_login_is_no_lost_batch() -> None:
    found = await after_login(NoReply(Fault(FaultKind.LOST, "timeout", "no answer")))
    assert (found.kind, found.code, found.reached) == (FaultKind.NOT_CARRIED_OUT, "timeout", False)


async def test_a_login_withdrawn_is_a_batch_withdrawn() -> None:
    withdrawn = Fault(FaultKind.WITHDRAWN, "stopping", "the run is stopping", reached=False)
    assert await after_login(NoReply(withdrawn)) == withdrawn


async def test_a_login_that_needs_no_try_stops_the_run() -> None:
    tls = Fault(FaultKind.STOP, "tls", "the vendor's certificate is not trusted", reached=False)
    assert (await after_login(NoReply(tls))).kind is FaultKind.STOP


async def test_a_login_that_fails_after_a_refused_token_says_that_the_batch_has_left() -> None:
    vendor, token = Vendor(), bearer()
    await token.exchange(vendor, get)
    vendor.tokens.clear()
    vendor._login = lambda: told(b"", 503)
    found = await token.exchange(vendor, get)
    assert isinstance(found, Fault)
    assert (found.kind, found.reached) == (FaultKind.NOT_CARRIED_OUT, True)


async def test_a_repeat_that_meets_no_connection_says_that_the_batch_has_left() -> None:
    class Going(Vendor):
        async def exchange(self, make_request: Callable[[], Request]) -> Response:
            if self.logins == 2:
                raise NoReply(Fault(FaultKind.NOT_CARRIED_OUT, "connect", "no connection", reached=False))
            return await super().exchange(make_request)

    vendor, token = Going(), bearer()
    await token.exchange(vendor, get)
    vendor.tokens.clear()
    with pytest.raises(NoReply) as found:
        await token.exchange(vendor, get)
    assert (found.value.fault.kind, found.value.fault.reached) == (FaultKind.NOT_CARRIED_OUT, True)


# ---------------------------------------------------------------- a token refused


async def test_a_new_token_that_is_refused_too_stops_the_run() -> None:
    vendor = Vendor(uses=0)
    found = await bearer().exchange(vendor, get)
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.STOP, "http_401")
    assert found.reason == "a new token was refused: HTTP 401: token expired"
    assert (vendor.logins, vendor.borne) == (2, ["t1", "t2"])


async def test_the_same_token_given_again_and_refused_stops_the_run() -> None:
    vendor = Vendor(login=lambda: told({"content": [{"token": "same"}]}))
    token = bearer()
    vendor.tokens["same"] = 1
    assert isinstance(await token.exchange(vendor, get), Response)
    found = await asyncio.gather(*(token.exchange(vendor, get) for _ in range(16)))
    assert all(isinstance(fault, Fault) and fault.kind is FaultKind.STOP for fault in found)
    assert vendor.logins == 2


async def test_a_path_that_refuses_what_works_elsewhere_is_not_tried_for_ever() -> None:
    token = bearer()

    class Elsewhere(Vendor):
        async def exchange(self, make_request: Callable[[], Request]) -> Response:
            response = await super().exchange(make_request)
            token._worked = token._number
            return response

    vendor = Elsewhere(uses=0)
    found = await token.exchange(vendor, get)
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.STOP
    assert vendor.borne == ["t1", "t2", "t3", "t4"]


async def test_a_ready_token_is_used_as_it_is() -> None:
    vendor = Vendor()
    vendor.tokens["ready"] = 2
    token = BearerToken(ready="ready")
    assert isinstance(await token.exchange(vendor, get), Response)
    assert (vendor.logins, vendor.borne) == (0, ["ready"])


async def test_a_ready_token_that_is_refused_stops_the_run_at_once() -> None:
    vendor = Vendor()
    found = await BearerToken(ready="ready").exchange(vendor, get)
    assert isinstance(found, Fault)
    assert (found.kind, found.reason) == (FaultKind.STOP, "the token was refused: HTTP 401: token expired")
    assert vendor.requests == 1


async def test_the_token_is_the_one_there_is_when_the_request_may_leave() -> None:
    vendor, token = Vendor(), bearer()
    await token.exchange(vendor, get)
    may_leave = asyncio.Event()

    class Held(Vendor):
        async def exchange(self, make_request: Callable[[], Request]) -> Response:
            await may_leave.wait()
            return await vendor.exchange(make_request)

    held = asyncio.create_task(token.exchange(Held(), get))
    vendor.tokens["t1"] = 0
    await token.exchange(vendor, get)
    may_leave.set()
    assert isinstance(await held, Response)
    assert vendor.borne == ["t1", "t1", "t2", "t2"]


async def test_a_lost_answer_of_the_request_itself_stays_lost() -> None:
    class Deaf(Vendor):
        async def exchange(self, make_request: Callable[[], Request]) -> Response:
            raise NoReply(Fault(FaultKind.LOST, "timeout", "no answer"))

    with pytest.raises(NoReply) as raised:
        await BearerToken(ready="ready").exchange(Deaf(), get)
    assert raised.value.fault.kind is FaultKind.LOST


# ---------------------------------------------------------------- secrets


async def test_credentials_and_tokens_are_taken_out_of_the_vendors_words() -> None:
    secret = "eyJhbGciOiJIUzI1NiJ9.payload.signature"
    vendor, token = Vendor(login=lambda: told({"content": [{"token": secret}]})), bearer()
    vendor.tokens[secret] = 1
    await token.exchange(vendor, get)
    said = (
        f"{USER} with {PASSWORD} and {json.dumps(PASSWORD)[1:-1]} bears {secret}, cut {secret[:20]}; "
        f"{PASSWORD.upper()} 'Bearer {secret}'"
    )
    assert token.words(said) == "… with … and … bears …, cut …; … 'Bearer …'"


async def test_the_token_before_is_hidden_too() -> None:
    vendor, token = Vendor(), bearer()
    await token.exchange(vendor, get)
    vendor.tokens["t1"] = 0
    await token.exchange(vendor, get)
    assert token.words("t1 is old, t2 is new, t12 is nobody's") == "… is old, … is new, t12 is nobody's"


def test_a_short_secret_blanks_out_no_words() -> None:
    token = BearerToken(username="sim", password="1")
    assert token.words("GLOBAL_1001: simple, sim: 1, 10") == "GLOBAL_1001: simple, …: …, 10"


async def test_a_login_that_echoes_its_request_shows_none_of_it() -> None:
    echo = {"username": USER, "password": PASSWORD}
    bodies = [json.dumps(echo).encode(), {"errorMessage": f"bad {json.dumps(echo)}"}, PASSWORD.encode()]
    for status in (200, 400, 401, 500, 503):
        for body in bodies:
            reason = (await after_login(told(body, status))).reason
            assert PASSWORD[:6] not in reason
            assert USER not in reason


def test_long_words_are_cut_and_made_printable() -> None:
    words = bearer().words("a\x00b\n" + "é" * 100_000)
    assert words.startswith("a b éé")
    assert len(words) == 200
