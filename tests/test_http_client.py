"""The HTTP client against real servers on loopback: what it sends, what it bounds, what a failure means."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import time
import tracemalloc
import zlib
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pipeline.errors import NoReply
from pipeline.http_client import HttpClient, open_http
from pipeline.model import Fault, FaultKind
from pipeline.pace import Pace
from pipeline.settings import Limits
from pipeline.wire import Request, Response, fault_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Handler = Callable[["Wire"], Awaitable[None]]

BODY = b'{"profileItems":[{"iccid":"12345678912345678919"}]}\xc3\xa9\x00\xff'
SECRET_WORDS = b'{"profileItems":[{"ac":"LPA:1$smdp.example$QX7-93KD","cc":"4711-77"}]}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Wire:
    """The far end of one connection, byte by byte."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self._reader, self._writer = server, reader, writer

    async def request(self) -> tuple[bytes, bytes]:
        """Read one request; give head and body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        body = await self._reader.readexactly(length)
        self.server.requests.append((head, body))
        return head, body

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self.server.sent_bytes += len(data)

    def reset(self) -> None:
        """Break the connection without a farewell."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError, ssl.SSLError):
            await self._writer.wait_closed()

    async def stay(self) -> None:
        """Say nothing more until the client has gone."""
        with suppress(OSError):
            await self._reader.read()


class RawServer:
    """Speaks to each connection as the test says; remembers what it was asked and how much it sent."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = self.sent_bytes = self.port = 0

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(Wire(self, reader, writer)))
        self._tasks.add(task)

    async def _serve(self, wire: Wire) -> None:
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._handler(wire)
        finally:
            await wire.close()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert [end for end in ends if end and not isinstance(end, asyncio.CancelledError)] == []


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    raw = RawServer(handler)
    server = await asyncio.start_server(raw.connected, "127.0.0.1", 0, ssl=tls)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        await raw.end()
        await server.wait_closed()


def replying(data: bytes) -> Handler:
    async def handler(wire: Wire) -> None:
        await wire.request()
        await wire.send(data)

    return handler


def request(body: bytes = BODY, method: str = "POST") -> Request:
    return Request(method, "/v1/import", {"Content-Type": "application/json", "RT-Signature": "ABC"}, body)


@asynccontextmanager
async def client(port: int, scheme: str = "http", **limits: Any) -> AsyncIterator[HttpClient]:
    facts = {"requests_per_second": 1000, "connect_timeout_s": 5, "reply_timeout_s": 5} | limits
    async with open_http(f"{scheme}://127.0.0.1:{port}/api/", Pace(1000), Limits(**facts)) as http:
        yield http


async def exchanged(handler: Handler, body: bytes = BODY, **limits: Any) -> Response:
    async with serving(handler) as server, client(server.port, **limits) as http:
        return await http.exchange(lambda: request(body))


async def fault(handler: Handler, **limits: Any) -> Fault:
    with pytest.raises(NoReply) as raised:
        await exchanged(handler, **limits)
    return raised.value.fault


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


# ---------------------------------------------------------------- what is sent, what comes back


@pytest.mark.parametrize("body", [BODY, b"{}", b"", b"x" * 900_000], ids=["odd", "small", "none", "large"])
async def test_the_bytes_that_are_signed_are_the_bytes_that_are_sent(body: bytes) -> None:
    async with serving(replying(OK)) as server, client(server.port) as http:
        await http.exchange(lambda: request(body))
        ((head, sent),) = server.requests
    assert sent == body
    assert head.startswith(b"POST /api/v1/import HTTP/1.1\r\n")
    assert b"RT-Signature: ABC\r\n" in head
    assert head.lower().count(b"content-type:") == 1


async def test_a_body_as_large_as_the_limits_allow_is_sent_without_a_warning() -> None:
    async def handler(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await wire.stay()

    async with serving(handler) as server, client(server.port) as http:
        await http.exchange(lambda: request(b"x" * 2_000_000))
        assert [len(body) for _, body in server.requests] == [2_000_000]


async def test_a_response_comes_back_whole_with_lower_case_header_names() -> None:
    data = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX-Mixed-CASE: a\r\nContent-Length: 4\r\n\r\nlate"
    began = time.time()
    response = await exchanged(replying(data))
    assert (response.status, response.body) == (503, b"late")
    assert (response.headers["retry-after"], response.headers["x-mixed-case"]) == ("7", "a")
    assert began - 1 <= response.received_at <= time.time() + 1


async def test_a_compressed_reply_is_read() -> None:
    body = gzip.compress(b'{"errorCode":"0"}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert (await exchanged(replying(head + body))).body == b'{"errorCode":"0"}'


async def test_a_redirect_is_not_followed_and_stops_the_run() -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(serving(replying(OK)))
        there = f"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
        server = await stack.enter_async_context(serving(replying(there.encode())))
        http = await stack.enter_async_context(client(server.port))
        response = await http.exchange(request)
        assert (other.connections, http.requests) == (0, 1)
    found = fault_of(response)
    assert found is not None
    assert found.kind is FaultKind.STOP


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await exchanged(replying(OK))).status == 200


async def test_many_requests_at_once_against_a_real_server_are_each_answered_and_counted() -> None:
    cookies: list[str | None] = []

    async def answer(asked: web.Request) -> web.Response:
        cookies.append(asked.headers.get("Cookie"))
        reply = web.Response(body=await asked.read())
        reply.set_cookie("session", "1")
        return reply

    app = web.Application()
    app.router.add_post("/api/v1/import", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with client(runner.addresses[0][1], concurrency=8) as http:
            bodies = [f"body {number}".encode() for number in range(60)]
            replies = await asyncio.gather(
                *(http.exchange(lambda body=body: request(body)) for body in bodies)
            )
            assert [reply.body for reply in replies] == bodies
            assert http.requests == 60
    finally:
        await runner.cleanup()
    assert set(cookies) == {None}


async def test_a_connection_is_used_again() -> None:
    async def twice(wire: Wire) -> None:
        for _ in range(2):
            await wire.request()
            await wire.send(OK)
        await wire.stay()

    async with serving(twice) as server, client(server.port) as http:
        for _ in range(2):
            await http.exchange(request)
        assert (server.connections, http.requests) == (1, 2)


# ---------------------------------------------------------------- pace


async def test_a_request_is_made_after_permission_is_given() -> None:
    seen: list[str] = []

    class Told(Pace):
        async def permit(self) -> float:
            seen.append("permit")
            return await super().permit()

    def make() -> Request:
        seen.append("made")
        return request()

    async with (
        serving(replying(OK)) as server,
        open_http(f"http://127.0.0.1:{server.port}", Told(1000), Limits()) as http,
    ):
        await http.exchange(make)
    assert seen == ["permit", "made", "permit"]  # again, once the new connection stands


async def test_a_request_that_gets_no_permission_is_neither_made_nor_counted() -> None:
    pace = Pace(0.001)
    await pace.permit()
    async with serving(replying(OK)) as server:
        async with open_http(f"http://127.0.0.1:{server.port}", pace, Limits()) as http:
            asking = asyncio.ensure_future(http.exchange(lambda: pytest.fail("it was made")))
            await asyncio.sleep(0)
            pace.close()
            with pytest.raises(NoReply) as raised:
                await asking
            assert http.requests == 0
        assert server.connections == 0
    assert (raised.value.fault.kind, raised.value.fault.reached) == (FaultKind.WITHDRAWN, False)


async def test_a_new_connection_at_a_low_rate_does_not_use_up_another_turn() -> None:
    limits = Limits(connect_timeout_s=1, reply_timeout_s=1)
    async with (
        serving(replying(OK)) as server,
        open_http(f"http://127.0.0.1:{server.port}", Pace(0.01), limits) as http,
    ):
        assert (await http.exchange(request)).status == 200


async def test_what_waits_too_long_on_a_new_connection_is_turned_away_and_not_lost() -> None:
    pace = Pace(50)

    class Held(Pace):
        async def permit_anew(self, given_at: float) -> None:
            pace.hold(60, "the vendor pushed back")  # to another request, meanwhile
            await pace.permit_anew(given_at)

    async with serving(replying(OK)) as server:
        limits = Limits(connect_timeout_s=0.1, reply_timeout_s=0.2)
        async with open_http(f"http://127.0.0.1:{server.port}", Held(50), limits) as http:
            with pytest.raises(NoReply) as raised:
                await http.exchange(request)
            assert http.requests == 0
        assert server.requests == []
    assert (raised.value.fault.kind, raised.value.fault.reached) == (FaultKind.WITHDRAWN, False)


# ---------------------------------------------------------------- not carried out


async def test_a_refused_connection_left_nothing_behind() -> None:
    async with client(free_port()) as http:
        with pytest.raises(NoReply) as raised:
            await http.exchange(request)
    found = raised.value.fault
    assert (found.kind, found.code, found.reached) == (FaultKind.NOT_CARRIED_OUT, "connect", False)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "mute"])
async def test_a_handshake_that_fails_on_the_way_left_nothing_behind(cut: bool) -> None:  # noqa: FBT001 - a case
    async def handler(wire: Wire) -> None:
        if not cut:
            await wire.stay()

    async with serving(handler) as server, client(server.port, "https", connect_timeout_s=0.2) as http:
        with pytest.raises(NoReply) as raised:
            await http.exchange(request)
    assert (raised.value.fault.kind, raised.value.fault.reached) == (FaultKind.NOT_CARRIED_OUT, False)


# ---------------------------------------------------------------- lost


async def hangs_up(wire: Wire) -> None:
    await wire.request()


async def resets(wire: Wire) -> None:
    await wire.request()
    wire.reset()


async def hangs_up_at_once(_: Wire) -> None:
    return


@pytest.mark.parametrize(
    "handler",
    [
        hangs_up,
        resets,
        hangs_up_at_once,
        replying(b"HTTP/1.1 200 OK\r\nContent-Le"),
        replying(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + SECRET_WORDS),
        replying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        replying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        replying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"),
        replying(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n"),
        replying(b"\x00\x01\x02\x03 this is not HTTP\r\n\r\n"),
    ],
    ids=["before", "reset", "at once", "head", "body", "chunk", "end", "gzip", "long head", "junk"],
)
async def test_a_connection_cut_before_the_answer_is_whole_leaves_it_in_doubt(handler: Handler) -> None:
    found = await fault(handler)
    assert (found.kind, found.reached) == (FaultKind.LOST, True)


@pytest.mark.parametrize(
    "data",
    [
        SECRET_WORDS,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET_WORDS,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + SECRET_WORDS,
        b"HTTP/1.1 200 OK\r\nX\x00: " + SECRET_WORDS + b"\r\n\r\n",
    ],
    ids=["no head", "no chunk", "wrong length", "bad header"],
)
async def test_a_malformed_reply_is_told_in_one_line_that_does_not_quote_it(data: bytes) -> None:
    found = await fault(replying(data))
    assert found.kind is FaultKind.LOST
    assert "QX7-93KD" not in found.reason
    assert "4711-77" not in found.reason
    assert "\n" not in found.reason
    assert "\\n" not in found.reason


async def test_no_answer_in_time_leaves_it_in_doubt() -> None:
    async def mute(wire: Wire) -> None:
        await wire.request()
        await wire.stay()

    began = time.monotonic()
    found = await fault(mute, reply_timeout_s=0.2)
    assert (found.kind, found.code, found.reached) == (FaultKind.LOST, "timeout", True)
    assert time.monotonic() - began < 4


async def test_an_answer_that_trickles_is_bounded_too() -> None:
    async def trickle(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await wire.send(b"x")
            await asyncio.sleep(0.02)

    began = time.monotonic()
    found = await fault(trickle, connect_timeout_s=0.2, reply_timeout_s=0.3)
    assert (found.kind, found.code) == (FaultKind.LOST, "timeout")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_lost_answer_is_never_followed_by_a_silent_repeat(method: str) -> None:
    async def once(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await wire.request()

    async with serving(once) as server, client(server.port) as http:
        await http.exchange(request)
        with pytest.raises(NoReply) as raised:
            await http.exchange(lambda: request(method=method))
        assert len(server.requests) == http.requests == 2
    assert raised.value.fault.kind is FaultKind.LOST


async def test_a_lost_answer_to_a_poll_is_not_silently_repeated_either() -> None:
    async def once(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await wire.request()

    async with serving(once) as server, client(server.port) as http:
        await http.exchange(lambda: request(b"", "GET"))
        with suppress(NoReply):
            await http.exchange(lambda: request(b"", "GET"))
        assert len(server.requests) == http.requests


async def test_requests_without_an_answer_are_counted() -> None:
    async with serving(hangs_up) as server, client(server.port) as http:
        for _ in range(3):
            with pytest.raises(NoReply):
                await http.exchange(request)
        assert http.requests == len(server.requests) == 3


# ---------------------------------------------------------------- bounded


async def test_a_reply_as_long_as_the_limit_is_read() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
    assert len((await exchanged(replying(data), reply_bytes=5000)).body) == 5000
    assert (await fault(replying(data), reply_bytes=4999)).code == "reply_too_large"


async def test_a_reply_without_an_end_is_cut_off_and_leaves_it_in_doubt() -> None:
    async def endless(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while wire.server.sent_bytes < 100_000_000:
            await wire.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with serving(endless) as server, client(server.port, reply_bytes=1_000_000) as http:
        with pytest.raises(NoReply) as raised:
            await http.exchange(request)
        assert server.sent_bytes < 20_000_000
    found = raised.value.fault
    assert (found.kind, found.code, found.reached) == (FaultKind.LOST, "reply_too_large", True)


def bomb(megabytes: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(pack.compress(bytes(1 << 20)) for _ in range(megabytes)) + pack.flush()


async def test_a_reply_that_unpacks_into_very_much_is_bounded_in_memory() -> None:
    body = bomb(256)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    handler = replying(head + body)
    tracemalloc.start()
    try:
        found = await fault(handler, reply_bytes=1_000_000)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.kind, found.code) == (FaultKind.LOST, "reply_too_large")
    assert most_bytes < 64_000_000


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate for this test, and it is not installed")
    folder: Path = tmp_path_factory.mktemp("tls")
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *kind, *name, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_a_certificate_that_is_not_trusted_stops_the_run_before_a_byte_is_sent(
    self_signed: ssl.SSLContext,
) -> None:
    async with serving(replying(OK), tls=self_signed) as server, client(server.port, "https") as http:
        with pytest.raises(NoReply) as raised:
            await http.exchange(request)
        assert server.requests == []
    found = raised.value.fault
    assert (found.kind, found.code, found.reached) == (FaultKind.STOP, "tls", False)
    assert "certificate" in found.reason


async def test_an_address_that_is_none_stops_the_run() -> None:
    async with client(99_999) as http:
        with pytest.raises(NoReply) as raised:
            await http.exchange(request)
    assert (raised.value.fault.kind, raised.value.fault.reached) == (FaultKind.STOP, False)
