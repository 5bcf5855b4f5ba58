"""The vendor of the worst cases: it reads each batch and answers its items one by one, in a mood.

As cheap as Python can be, so that the importer is measured and not the vendor. It prints its port once it
listens, and ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from typing import TYPE_CHECKING, cast

import uvloop
from stub_server import response_of

if TYPE_CHECKING:
    from collections.abc import Callable

    #: What a mood makes of the ICCIDs of a batch: one entry for each, or None to hang up without a word.
    Mood = Callable[[list[bytes]], list[bytes] | None]

_HEAD_END = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ICCID = re.compile(rb'"iccid":"(\d+)')
_GOOD = b'{"result":"SUCCEED","reason":null}'
_EXISTS = b'{"result":"FAILED","reason":"the iccid is exist in db, iccid:[%s]"}'
_REFUSED = b'{"result":"FAILED","reason":"the profile is not allowed, iccid:[%s]"}'
_BUSY = b'{"result":"FAILED","reason":"system busy, please try again later, iccid:[%s]"}'
_REPLY_BYTES = 1_000_000


def accepts(iccids: list[bytes]) -> list[bytes]:
    return [_GOOD] * len(iccids)


def refuses(iccids: list[bytes]) -> list[bytes]:
    return [_REFUSED % iccid for iccid in iccids]


def verbose() -> Mood:
    """Every item succeeds, in so many words of its own that the reply has a megabyte."""
    padding = b"x" * (_REPLY_BYTES // 1_000 - 70)
    entry = b'{"result":"SUCCEED","reason":"stored, iccid:[%%s] %s"}' % padding
    return lambda iccids: [entry % iccid for iccid in iccids]


def drops_first() -> Mood:
    """A batch with anything new in it is stored and never answered; what is known is said to exist."""
    known: set[bytes] = set()

    def answer(iccids: list[bytes]) -> list[bytes] | None:
        before = len(known)
        known.update(iccids)
        return None if len(known) > before else [_EXISTS % iccid for iccid in iccids]

    return answer


def busy_for_a_tenth() -> Mood:
    """Items whose serial number ends in 7 are told to come again once."""
    waited: set[bytes] = set()

    def entry(iccid: bytes) -> bytes:
        if iccid[-2] != ord("7") or iccid in waited:
            return _GOOD
        waited.add(iccid)
        return _BUSY % iccid

    return lambda iccids: [entry(iccid) for iccid in iccids]


MOODS: dict[str, Callable[[], Mood]] = {
    "accepts": lambda: accepts,
    "refuses": lambda: refuses,
    "verbose": verbose,
    "drops-first": drops_first,
    "busy-for-a-tenth": busy_for_a_tenth,
}


class Connection(asyncio.Protocol):
    """One connection: requests in, a reply each, or the end of it."""

    def __init__(self, mood: Mood) -> None:
        self._mood = mood
        self._data = bytearray()
        self._wanted = 0  # bytes of the request that has begun to arrive; 0: its head is not here yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._data += data
        while not self._transport.is_closing():
            if not self._wanted:
                end = self._data.find(_HEAD_END) + len(_HEAD_END)
                if end < len(_HEAD_END):
                    return
                length = _CONTENT_LENGTH.search(self._data, 0, end)
                self._wanted = end + (int(length[1]) if length else 0)
            if len(self._data) < self._wanted:
                return
            iccids = _ICCID.findall(self._data, 0, self._wanted)
            del self._data[: self._wanted]
            self._wanted = 0
            self._answer(iccids)

    def _answer(self, iccids: list[bytes]) -> None:
        entries = self._mood(iccids)
        if entries is None:
            self._transport.close()
            return
        body = b'{"errorCode":"0","errorMsg":null,"resultList":[%s]}' % b",".join(entries)
        self._transport.write(response_of(body, "Content-Type: application/json"))


async def serve(mood: Mood) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(mood), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mood", choices=MOODS)
    uvloop.run(serve(MOODS[parser.parse_args().mood]()))


if __name__ == "__main__":
    main()
