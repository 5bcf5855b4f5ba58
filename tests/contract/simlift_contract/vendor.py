"""A vendor in memory, as a target's `http`: it keeps what it was sent and answers as it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.wire import Request

    Play = Callable[[Request], Response]

_MOST_EXCHANGES = 20
HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Welcome</body></html>"


class Vendor:
    """contracts.Http. Answers as `play` does, but from the exchange with this index on as `instead` does."""

    def __init__(self, play: Play, instead: Play | None = None, *, since: int = 0) -> None:
        self._play = play
        self._instead = instead
        self._since = since
        self.sent: list[Request] = []
        self.last = Response(0, {}, b"")

    @property
    def requests(self) -> int:
        return len(self.sent)

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        request = make_request()
        self.sent.append(request)
        assert len(self.sent) <= _MOST_EXCHANGES, (
            "the target asks again and again: to wait is not its business"
        )
        play = self._play if self._instead is None or len(self.sent) <= self._since else self._instead
        self.last = play(request)
        return self.last


def saying(body: bytes | str, status: int = 200, **headers: str) -> Play:
    """Make a vendor that says the same to everything; `headers` with "_" for "-"."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body.encode() if isinstance(body, str) else body
    return lambda _: Response(status, said, raw)


def repeating(response: Response) -> Play:
    """Make a vendor that says to everything what it said before."""
    return lambda _: response


def json_in(body: bytes) -> Any:
    """Read a body as JSON; None for anything else."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def texts_in(value: Any) -> list[str]:
    """List all texts in a JSON value, keys of objects left out."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for inner in value for text in texts_in(inner)]
    return [value] if isinstance(value, str) else []


def without_entry(value: Any, index: int, entries: int) -> Any:
    """Give a JSON value in which every list of so many entries lacks one of them."""
    if isinstance(value, dict):
        return {name: without_entry(inner, index, entries) for name, inner in value.items()}
    if isinstance(value, list):
        if len(value) == entries:
            return value[:index] + value[index + 1 :]
        return [without_entry(inner, index, entries) for inner in value]
    return value
