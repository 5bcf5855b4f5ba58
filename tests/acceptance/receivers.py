"""Servers of the tests' own on the loopback, for what a run says: webhooks, spans, requests to a vendor."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

from waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Received(NamedTuple):
    """A request as it came; names of headers are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """What has arrived at `url`, in its order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []

    def everything(self) -> str:
        """Give all that was said to it, as one text."""
        return "\n".join(f"{r.path} {r.headers} {r.body.decode('utf-8', 'replace')}" for r in self.received)


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def receiving(answer: Callable[[Received], Answer | bytes]) -> Iterator[Receiver]:
    """Serve as long as the context lasts. An answer of mere bytes is put on the wire as it is."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = DEADLINE_S

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = Received(self.command, self.path, headers, body)
            receiver.received.append(received)
            said = answer(received)
            if isinstance(said, bytes):
                self.wfile.write(said)
                self.close_connection = True
                return
            status, extra, content = said
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(content)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_HEAD = _take  # noqa: N815 - http.server's names

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
