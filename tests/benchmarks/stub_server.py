"""A vendor that accepts everything, as cheaply as Python can: each path has a fixed reply.

It stands in for nginx where that is not installed. It prints its port once it listens, and ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_BYTES = 262_144
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class FixedReply(asyncio.BufferedProtocol):
    """One connection. The body is read into the same buffer over and over and never looked at."""

    def __init__(self, responses: Mapping[bytes, bytes]) -> None:
        self._responses = responses
        self._response = _NOT_FOUND
        self._buffer = bytearray(_READ_BYTES)
        self._head = b""  # the part of a request's head that has arrived
        self._body_bytes_left = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._body_bytes_left > nbytes:
            self._body_bytes_left -= nbytes
            return
        data = bytes(memoryview(self._buffer)[self._body_bytes_left : nbytes])
        if self._body_bytes_left:
            self._finish_request()
        self._read_heads(data)

    def _read_heads(self, data: bytes) -> None:
        data = self._head + data
        while (end := data.find(b"\r\n\r\n") + 4) >= 4:
            path = data[: data.index(b"\r")].split(b" ")[1].partition(b"?")[0]
            self._response = self._responses.get(path, _NOT_FOUND)
            length = _CONTENT_LENGTH.search(data, 0, end)
            self._body_bytes_left = int(length[1]) if length else 0
            arrived = min(len(data) - end, self._body_bytes_left)
            self._body_bytes_left -= arrived
            data = data[end + arrived :]
            if self._body_bytes_left:
                break
            self._finish_request()
        self._head = data

    def _finish_request(self) -> None:
        self._body_bytes_left = 0
        assert self._transport is not None
        self._transport.write(self._response)


def response_of(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode("ascii") + body


_NOT_FOUND = response_of(b"", status="404 Not Found")


async def serve(responses: Mapping[bytes, bytes]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: FixedReply(responses), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="answer every request to a path with the same reply")
    parser.add_argument("replies", help='JSON: {path: {"file": body, "headers": [...]}}')
    replies = json.loads(parser.parse_args().replies)
    responses = {
        path.encode(): response_of(Path(reply["file"]).read_bytes(), *reply["headers"])
        for path, reply in replies.items()
    }
    uvloop.run(serve(responses))


if __name__ == "__main__":
    main()
