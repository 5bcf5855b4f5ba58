"""HTTP by aiohttp: paced, bounded, counted; its exceptions are mapped to Faults here and nowhere else.

What tells *lost* from *not carried out* is whether a byte of the request may have left this machine.
"""

from __future__ import annotations

import time
import warnings
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.wire import Request, Response, rate_limit_hold

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pipeline.pace import Pace
    from pipeline.settings import Limits

_PIECE_BYTES = 256 * 1024
_LARGE_BYTES = 1024 * 1024


_TOO_LATE = Fault(FaultKind.WITHDRAWN, "held", "its turn did not come while it was waited for", reached=False)


@dataclass(slots=True)
class _Leave:
    """When a request was permitted; `waits`: it has a new connection and waits for permission again."""

    permitted_at: float
    waits: bool = False


class HttpClient:
    """contracts.Http against a real server. TLS is verified, redirects are not followed."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, pace: Pace, limits: Limits) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._pace = pace
        self._reply_bytes = limits.reply_bytes
        self.requests = 0

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        """Send one request when the pace permits. Raises NoReply: its Fault says what may have happened."""
        leave = _Leave(await self._pace.permit())
        request = make_request()
        self.requests += 1
        try:
            response = await self._send(request, leave)
        except NoReply as error:  # turned away once its connection stood, or the reply is too large
            self.requests -= 0 if error.fault.reached else 1
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            fault = _TOO_LATE if leave.waits else _fault_of(error)
            self.requests -= 0 if fault.reached else 1
            raise NoReply(fault) from error
        if (hold_s := rate_limit_hold(response)) > 0:
            self._pace.hold(hold_s, "the vendor's RateLimit headers")
        return response

    async def _send(self, request: Request, leave: _Leave) -> Response:
        async with self._session.request(
            request.method,
            self._base_url + request.path,
            data=_as_data(request.body),
            headers=request.headers,
            allow_redirects=False,
            trace_request_ctx=leave,
        ) as response:
            pieces: list[bytes] = []
            size = 0
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                size += len(piece)
                if size > self._reply_bytes:
                    response.close()
                    raise NoReply(
                        Fault(
                            FaultKind.LOST, "reply_too_large", f"the reply exceeds {self._reply_bytes} bytes"
                        )
                    )
                pieces.append(piece)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, headers, b"".join(pieces), time.time())


@asynccontextmanager
async def open_http(base_url: str, pace: Pace, limits: Limits) -> AsyncIterator[HttpClient]:
    """Open a client for one run. Its connections are as many as requests in flight: those have a bound."""
    timeout = aiohttp.ClientTimeout(
        total=limits.longest_call_s,
        sock_connect=limits.connect_timeout_s,
        sock_read=limits.reply_timeout_s,
    )
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_PIECE_BYTES,
        trace_configs=[_permitted_anew(pace)],
    ) as session:
        # aiohttp repeats a GET on a dead connection by itself: neither paced nor counted, so not here.
        session._retry_connection = False  # noqa: SLF001 - it has no public switch
        yield HttpClient(session, base_url, pace, limits)


def _permitted_anew(pace: Pace) -> aiohttp.TraceConfig:
    """Ask for permission again once a new connection stands.

    Setting one up takes time that requests on open connections do not need: those would catch up with it,
    and the vendor would see more in a second than were permitted in one.
    """

    async def connected(_: aiohttp.ClientSession, context: Any, __: object) -> None:
        leave: _Leave = context.trace_request_ctx
        leave.waits = True
        await pace.permit_anew(leave.permitted_at)
        leave.waits = False

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    return trace


def _as_data(body: bytes) -> bytes | aiohttp.BytesPayload:
    """Hand a large body over without aiohttp's warning: batch_bytes bounds it."""
    if len(body) <= _LARGE_BYTES:
        return body
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return aiohttp.BytesPayload(body)


def _fault_of(error: Exception) -> Fault:  # noqa: C901 - a table of cases
    """Say what a failed exchange means for the batch; without proof that nothing left, it is lost.

    In fixed words: aiohttp's own quote the raw reply, which is as secret as the inventory.
    """
    unreached = partial(Fault, reached=False)
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return unreached(FaultKind.STOP, "tls", "the vendor's certificate is not trusted")
        case aiohttp.ClientConnectorSSLError():
            return unreached(FaultKind.STOP, "tls", "no TLS connection could be made")
        case aiohttp.InvalidURL():
            return unreached(FaultKind.STOP, "url", "base_url is no address")
        case aiohttp.ClientConnectorDNSError():
            return unreached(FaultKind.NOT_CARRIED_OUT, "connect", f"no such host: {error.host}")
        case aiohttp.ClientConnectorError():
            why = error.strerror or "no connection"
            return unreached(FaultKind.NOT_CARRIED_OUT, "connect", f"{error.host}:{error.port}: {why}")
        case aiohttp.ConnectionTimeoutError():
            return unreached(FaultKind.NOT_CARRIED_OUT, "connect", "no connection within connect_timeout_s")
        case TimeoutError():
            return Fault(FaultKind.LOST, "timeout", "no complete answer within reply_timeout_s")
        case aiohttp.ServerDisconnectedError():
            return Fault(
                FaultKind.LOST, "connection_lost", "the vendor closed the connection without an answer"
            )
        case aiohttp.ClientPayloadError():
            return Fault(FaultKind.LOST, "reply_cut_off", "the reply broke off or could not be decoded")
        case aiohttp.ClientResponseError():
            return Fault(FaultKind.LOST, "reply_not_http", "the reply is not HTTP")
        case _:
            return Fault(FaultKind.LOST, "connection_lost", "the connection broke before the answer")
