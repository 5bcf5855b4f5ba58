"""HTTP by aiohttp: paced, bounded, counted; its exceptions are mapped to Faults here and nowhere else.

What tells *lost* from *not carried out* is whether a byte of the request may have left this machine.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pipeline.pace import Pace
    from pipeline.settings import Limits

_PIECE_BYTES = 256 * 1024


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
        await self._pace.permit()
        request = make_request()
        self.requests += 1
        try:
            return await self._send(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoReply(_fault_of(error)) from error

    async def _send(self, request: Request) -> Response:
        async with self._session.request(
            request.method,
            self._base_url + request.path,
            data=request.body,
            headers=request.headers,
            allow_redirects=False,
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
    """Open a client for one run, with as many connections as requests may be in flight."""
    timeout = aiohttp.ClientTimeout(
        total=limits.connect_timeout_s + limits.reply_timeout_s,
        sock_connect=limits.connect_timeout_s,
        sock_read=limits.reply_timeout_s,
    )
    connector = aiohttp.TCPConnector(limit=limits.concurrency + 1)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=_PIECE_BYTES
    ) as session:
        yield HttpClient(session, base_url, pace, limits)


def _fault_of(error: Exception) -> Fault:
    """Say what a failed exchange means for the batch; without proof that nothing left, it is lost."""
    words = str(error).strip() or type(error).__name__
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return Fault(
                FaultKind.STOP, "tls", f"the vendor's certificate is not trusted: {words}", reached=False
            )
        case aiohttp.ClientConnectorSSLError():
            return Fault(FaultKind.STOP, "tls", f"no TLS connection: {words}", reached=False)
        case aiohttp.InvalidURL():
            return Fault(FaultKind.STOP, "url", f"base_url is no address: {words}", reached=False)
        case aiohttp.ClientConnectorError():
            return Fault(FaultKind.NOT_CARRIED_OUT, "connect", f"no connection: {words}", reached=False)
        case aiohttp.ConnectionTimeoutError():
            return Fault(
                FaultKind.NOT_CARRIED_OUT, "connect", "no connection within connect_timeout_s", reached=False
            )
        case asyncio.TimeoutError():
            return Fault(FaultKind.LOST, "timeout", "no complete answer within reply_timeout_s")
        case _:
            return Fault(
                FaultKind.LOST, "connection_lost", f"the connection broke before the answer: {words}"
            )
