"""The process that reads Parquet, as its parent sees it: started, lent to one read at a time, ended.

Its program is parquet_reader.py.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from pipeline.errors import InventoryError
from pipeline.files import PIECE_BYTES, words_of
from pipeline.sources.parquet_channel import Channel, Line, Request

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import BinaryIO

    import pyarrow as pa

_PROGRAM = "pipeline.sources.parquet_reader"
_DYING_S = 5


def answers(
    name: str, content: BinaryIO, *, bytes_total: int, header: tuple[str, ...] | None = None
) -> Generator[tuple[Line, pa.Buffer], None, None]:
    """Have a file read, called `name` in messages: yield what is told of it, and the bytes that follow each.

    Raises InventoryError for what is wrong with the file, also when it ends the process. That process, and
    one whose answer was not heard to its end, is never asked again.
    """
    process = _idle_one() or _started(name)
    rows_read = 0
    try:
        process.ask(Request(name, content.seek(0, io.SEEK_END), bytes_total, header))
        while not process.at_rest:
            line, following = process.hear(content)
            if line.error:
                raise InventoryError(line.error)
            rows_read = line.rows_read
            yield line, following
    except ConnectionError:
        raise InventoryError(f"{name}: {process.obituary()} (after row {rows_read:,})") from None
    except OSError as error:
        words = f"cannot be read: {words_of(error)}; fetch it again"
        raise InventoryError(f"{name}: {words} (after row {rows_read:,})") from None
    finally:
        if process.at_rest and not _idle:
            _idle.append(process)
        else:
            process.end()


class _Process:
    """A process that reads Parquet; `at_rest` when it has answered all that it was asked. Raises OSError."""

    def __init__(self) -> None:
        self.at_rest = False
        ours, its = socket.socketpair()
        self._channel = Channel(ours)
        with its, ExitStack() as on_failure:
            on_failure.callback(self._channel.close)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", _PROGRAM, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # where C++ has its say when it aborts
                pass_fds=[its.fileno()],
                start_new_session=True,  # Ctrl-C is for its parent to act on
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},  # the others reserve addresses
            )
            on_failure.pop_all()

    @property
    def exit_code(self) -> int | None:
        """How it ended, as subprocess has it; None while it runs."""
        return self._process.poll()

    def ask(self, request: Request) -> None:
        """Send a request. Raises ConnectionError."""
        self.at_rest = False
        self._channel.send(request)

    def hear(self, content: BinaryIO | None = None) -> tuple[Line, pa.Buffer]:
        """Wait for what it tells, and give it the parts of the content that it asks for meanwhile.

        Raises ConnectionError when it has ended, and OSError for the content.
        """
        while True:
            line, following = self._channel.receive(Line)
            if line.part_at is None or content is None:
                self.at_rest = line.last
                return line, following
            content.seek(line.part_at)
            part = content.read(min(line.most, PIECE_BYTES))
            self._channel.send(Line(bytes=len(part)), part)

    def obituary(self) -> str:
        """Say what its end tells of the file that it read."""
        try:
            # Not killed at once: its socket closes before it is quite dead, and a kill would hide of what.
            signal_number = -self._process.wait(_DYING_S)
        except subprocess.TimeoutExpired:
            signal_number = 0  # it lives, but spoke nonsense
        match signal_number:
            case signal.SIGALRM:
                return "is damaged: nothing comes of it for a minute; fetch it again"
            case signal.SIGKILL:
                return "the process that read it was killed, perhaps for want of memory; try again"
        return "is damaged: pyarrow crashes on it; fetch it again"

    def end(self) -> None:
        """End it at once, whatever it is at."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


_idle: list[_Process] = []  # one, for the next file


def _idle_one() -> _Process | None:
    with suppress(IndexError):
        process = _idle.pop()
        if process.exit_code is None:
            return process
        process.end()
    return None


def _started(name: str) -> _Process:
    try:
        process = _Process()
    except OSError as error:
        raise InventoryError(f"{name}: no process could be started to read it: {words_of(error)}") from None
    try:
        process.hear()
    except ConnectionError:
        process.end()
        raise InventoryError(
            f"{name}: the process to read it did not start (exit code {process.exit_code})"
        ) from None
    except BaseException:
        process.end()
        raise
    return process


@atexit.register
def _end_idle_one() -> None:
    while _idle:
        _idle.pop().end()
