"""A bad line: a process between importer and vendor that cuts, delays and shortens what passes, by a seed.

It keeps a journal of every request that came by, so it is also the witness of what was sent how often.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import struct
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from waiting import DEADLINE_S, until
from warm import WarmProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What may become of a request. Cuts end with FIN or, at random, with a reset; delays pass all on.
FATES = (
    "cut_before_request", "cut_in_request_head", "cut_in_request_body", "cut_after_request",
    "cut_in_reply_head", "cut_in_reply_body", "cut_behind_reply", "shorten_reply", "swallow_request",
    "swallow_reply", "delay_request", "delay_reply", "trickle_reply",
)  # fmt: skip

_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d+)")
_ICCID = re.compile(rb'"iccid":"(\d+)"')


class _Cut(Exception):  # noqa: N818 - nothing went wrong: this is what the proxy is for
    pass


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one HTTP message with a Content-Length: head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head, await reader.readexactly(int(length[1])) if length else b""


@dataclass
class _Line:
    vendor_port: int
    seed: int
    first: str
    shares: dict[str, float]
    delay_s: float
    requests: int = 0
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        _write(connection, "opened", port=writer.get_extra_info("peername")[1])
        importer, vendor = (reader, writer), None
        try:
            while True:
                request = await _message(reader)
                draw, fate = self.drawn(connection, request)
                vendor = vendor or await asyncio.open_connection("127.0.0.1", self.vendor_port)
                await _Exchange(self, connection, draw, fate, importer, vendor).carry_out(*request)
        except (_Cut, OSError, asyncio.IncompleteReadError):
            writer.close()
            if vendor is not None:
                vendor[1].close()
        _write(connection, "closed")

    def drawn(self, connection: int, request: tuple[bytes, bytes]) -> tuple[random.Random, str]:
        """Draw the fate of a request, and write it down."""
        self.requests += 1
        draw = random.Random(f"{self.seed} {self.requests}")
        shares = {"pass": 1 - sum(self.shares.values()), **self.shares}
        (fate,) = draw.choices(list(shares), list(shares.values()))
        if self.requests == 1:
            fate = self.first or fate
        iccids = [iccid.decode() for iccid in _ICCID.findall(request[1])]
        _write(connection, "request", fate=fate, iccids=iccids)
        return draw, fate


@dataclass
class _Exchange:
    """One request and its reply, under one fate."""

    line: _Line
    connection: int
    draw: random.Random
    fate: str
    importer: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    vendor: tuple[asyncio.StreamReader, asyncio.StreamWriter]

    async def carry_out(self, head: bytes, body: bytes) -> None:
        """Raises _Cut when nothing further can pass on this connection."""
        await self._request(head, body)
        reply = await _message(self.vendor[0])
        _write(self.connection, "reply")
        await self._reply(*reply)

    async def _request(self, head: bytes, body: bytes) -> None:
        match self.fate:
            case "cut_before_request":
                self._cut(self.importer)
            case "swallow_request":
                await self._until_the_importer_leaves()
            case "cut_in_request_head":
                await self._pass(self.vendor, self._part(head))
                self._cut(self.vendor)
            case "cut_in_request_body":
                await self._pass(self.vendor, head + self._part(body))
                self._cut(self.vendor)
            case "delay_request":
                await self._delay()
        await self._pass(self.vendor, head + body)
        if self.fate == "cut_after_request":
            self._cut(self.importer)

    async def _reply(self, head: bytes, body: bytes) -> None:
        match self.fate:
            case "swallow_reply":
                await self._until_the_importer_leaves()
            case "cut_in_reply_head":
                await self._pass(self.importer, self._part(head))
                self._cut(self.importer)
            case "cut_in_reply_body":
                await self._pass(self.importer, head + self._part(body))
                self._cut(self.importer)
            case "shorten_reply":
                body = self._part(body)
                head = _LENGTH.sub(b"\r\nContent-Length: %d" % len(body), head)
            case "delay_reply":
                await self._delay()
            case "trickle_reply":
                for place in range(len(head)):
                    await self._pass(self.importer, head[place : place + 1])
                head = b""
        await self._pass(self.importer, head + body)
        if self.fate == "cut_behind_reply":
            self.importer[1].write_eof()
            await self._until_the_importer_leaves()

    async def _pass(self, to: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes) -> None:
        to[1].write(data)
        await to[1].drain()

    def _cut(self, end: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> NoReturn:
        if self.draw.random() < 0.5:  # reset, instead of closed in order
            linger = struct.pack("ii", 1, 0)
            end[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise _Cut

    async def _until_the_importer_leaves(self) -> NoReturn:
        while True:  # what it sends all the same is written down and goes nowhere
            self.line.drawn(self.connection, await _message(self.importer[0]))

    async def _delay(self) -> None:
        await asyncio.sleep(self.draw.uniform(0, self.line.delay_s))

    def _part(self, data: bytes) -> bytes:
        return data[: self.draw.randrange(1, len(data))]


def _write(connection: int, event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"connection": connection, "event": event, **facts}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve for as long as the process lasts; its one argument is a JSON object of _Line's fields."""
    asyncio.run(_serve(_Line(**json.loads(sys.argv[1]))))


async def _serve(line: _Line) -> None:
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0, limit=2**20)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


# ---------------------------------------------------------------- the tests' side


@dataclass(frozen=True)
class Request:
    """One request as it came by."""

    fate: str
    iccids: tuple[str, ...]


class Proxy:
    """A running proxy: point the job at its `url`."""

    def __init__(self, process: WarmProcess) -> None:
        self._process = process
        self._port = json.loads(until(self._lines, bool, "the proxy's port")[0])["port"]
        self.url = f"http://127.0.0.1:{self._port}"

    @property
    def journal(self) -> list[Request]:
        """Give every request that came by, in the order of their coming."""
        return [
            Request(entry["fate"], tuple(entry["iccids"]))
            for entry in self._entries()
            if entry["event"] == "request"
        ]

    def let_pass(self) -> list[Request]:
        """Wait until all that a dead importer left on the line has come by; give the journal then."""
        with socket.create_connection(("127.0.0.1", self._port), DEADLINE_S) as mine:
            port = mine.getsockname()[1]

        def all_came_by(entries: list[dict[str, Any]]) -> bool:
            # Connections are accepted in their order: when this one is, those before it are.
            accepted = any(entry.get("port") == port for entry in entries)
            last = {entry["connection"]: entry["event"] for entry in entries}
            return accepted and set(last.values()) <= {"closed", "request"}

        until(self._entries, all_came_by, "the last request of a dead importer")
        return self.journal

    def _entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._lines()[1:]]

    def _lines(self) -> list[str]:
        return self._process.written().rpartition("\n")[0].splitlines()


@contextmanager
def proxy_process(
    vendor_port: int, *, folder: Path, seed: int = 0, delay_s: float = 0.0, first: str = "", **shares: float
) -> Iterator[Proxy]:
    """Run a proxy: `first` is the first request's fate, `shares` how often each is met by the others.

    What is neither, passes.
    """
    assert {*shares, first} <= {*FATES, ""}
    options = {"vendor_port": vendor_port, "seed": seed, "first": first, "shares": shares, "delay_s": delay_s}
    process = WarmProcess("proxy", json.dumps(options), environment=os.environ, folder=folder)
    try:
        yield Proxy(process)
    finally:
        process.kill()
        process.communicate(DEADLINE_S)
