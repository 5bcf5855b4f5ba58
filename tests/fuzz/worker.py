"""The process that drives files, and its parent's watch over it: a crash, a hang or a flood is a finding.

One process serves many cases; after a finding of that kind another one takes its place.
"""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from driving import drive

import pipeline
from pipeline import plugins

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import CodeType, FrameType

    from driving import Case, Read

_PIPELINE = str(Path(pipeline.__file__).parent) + os.sep
_PAGE_BYTES, _TICKS_PER_S = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_LOOK_EVERY_S = 0.1
_MOST_CASES = 4_000  # of one process
_MOST_STEPS = 300_000  # that are looked at of a case: it makes them ten times as slow
_STOPPED_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a case may take: processor seconds, seconds in all, resident memory; and address space at most."""

    cpu_s: float = 20.0
    wall_s: float = 120.0
    memory_bytes: int = 1_500_000_000
    address_bytes: int = 8_000_000_000


@dataclass(slots=True)
class Ended:
    """How a case ended: its `label` in statistics, with a finding (`kind`, words) if any, and what it took.

    `edges`: steps from line to line of simlift's that no case before had taken.
    """

    label: str = ""
    kind: str = ""
    words: str = ""
    cpu_s: float = 0.0
    memory_bytes: int = 0
    reasons: frozenset[str] = frozenset()
    edges: frozenset[int] = field(default=frozenset(), repr=False)


class Worker:
    """Drives cases in a process of its own, by `drive`; started when first needed."""

    def __init__(self, bounds: Bounds, drive: Callable[[Path, Case], Read] = drive) -> None:
        self._bounds, self._drive = bounds, drive
        self._process: Any = None
        self._connection: Any = None
        self._served = 0
        self._said = tempfile.NamedTemporaryFile(prefix="simlift-fuzz-")  # noqa: SIM115 - see close
        self.edges: set[int] = set()

    def run(self, path: Path, case: Case, *, traced: bool = False) -> Ended:
        """Drive one file, and say how it ended."""
        if self._process is None or self._served >= _MOST_CASES:
            self._start()
        self._served += 1
        os.truncate(self._said.name, 0)
        began_s, cpu_before_s = time.monotonic(), self._cpu_s()
        self._connection.send((path, case, traced))
        while not self._connection.poll(_LOOK_EVERY_S):
            words = ""
            if not self._process.is_alive():
                words, kind = self._obituary(), "dead worker"
            elif (cpu_s := self._cpu_s() - cpu_before_s) > self._bounds.cpu_s:
                words, kind = f"{cpu_s:.0f} s of processor time and not done: {self._stack()}", "hang"
            elif (wall_s := time.monotonic() - began_s) > self._bounds.wall_s:
                words, kind = f"{wall_s:.0f} s and not done: {self._stack()}", "hang"
            elif (memory := self._memory_bytes()) > self._bounds.memory_bytes:
                words, kind = f"{memory / 1e6:,.0f} MB of memory: {self._stack()}", "memory"
            if words:
                cpu_s = self._cpu_s() - cpu_before_s
                self._end()
                return Ended(kind, kind, words, cpu_s)
        try:
            ended: Ended = self._connection.recv()
        except EOFError:
            self._process.join(5)
            ended = Ended("dead worker", "dead worker", self._obituary())
            self._end()
            return ended
        ended.cpu_s = self._cpu_s() - cpu_before_s
        if not ended.kind and ended.memory_bytes > self._bounds.memory_bytes:
            ended.kind, ended.words = "memory", f"{ended.memory_bytes / 1e6:,.0f} MB of memory at its height"
        self.edges |= ended.edges
        return ended

    def close(self) -> None:
        """End the process, and be of no more use."""
        self._end()
        self._said.close()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None

    def _start(self) -> None:
        self._end()
        context = multiprocessing.get_context("spawn")
        self._connection, its = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(its, self._drive, self._bounds, frozenset(self.edges), self._said.name)
        )
        self._process.start()
        its.close()
        self._connection.recv()
        self._served = 0

    def _cpu_s(self) -> float:
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S if len(fields) > 12 else 0.0

    def _memory_bytes(self) -> int:
        fields = self._proc("statm").split()
        return int(fields[1]) * _PAGE_BYTES if fields else 0

    def _proc(self, what: str) -> str:
        try:
            return Path(f"/proc/{self._process.pid}/{what}").read_text("utf-8")
        except OSError:
            return ""

    def _stack(self) -> str:
        """Have the process say where it is, as faulthandler does at a signal."""
        os.kill(self._process.pid, signal.SIGUSR1)
        time.sleep(0.5)
        return self._said_so_far()

    def _obituary(self) -> str:
        return f"exit code {self._process.exitcode}: {self._said_so_far()}"

    def _said_so_far(self) -> str:
        return Path(self._said.name).read_bytes()[:_STOPPED_WORDS].decode("utf-8", "replace").strip()


# ---------------------------------------------------------------- in the process


def _serve(
    connection: Connection,
    drive: Callable[[Path, Case], Read],
    bounds: Bounds,
    edges: frozenset[int],
    errors: str,
) -> None:
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), sys.stderr.fileno())
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    resource.setrlimit(resource.RLIMIT_AS, (bounds.address_bytes, bounds.address_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    structlog.configure(processors=[_drop])
    # What is installed costs more to find than most cases take.
    for name in ("entry_points", "_load"):
        setattr(plugins, name, functools.cache(getattr(plugins, name)))
    tracer = _Tracer(set(edges))
    connection.send("ready")
    while True:
        try:
            path, case, traced = connection.recv()
        except EOFError:
            return
        _forget_height()
        try:
            with tracer if traced else _NOTHING:
                found = drive(path, case)
            ended = Ended(found.label, reasons=frozenset(found.reasons))
        except Exception as error:  # noqa: BLE001 - what is raised here is what is looked for
            ended = Ended("exception", type(error).__name__, _told(error))
        except BaseException as error:  # noqa: BLE001 - a panic of Rust's is no Exception
            ended = Ended("exception", f"{type(error).__module__}.{type(error).__name__}", _told(error))
        ended.memory_bytes = _height_bytes()
        ended.edges = tracer.taken()
        connection.send(ended)


def _told(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    text = "".join(lines)
    return (
        text if len(text) < 2 * _STOPPED_WORDS else text[:_STOPPED_WORDS] + "\n…\n" + text[-_STOPPED_WORDS:]
    )


def _drop(*_event: Any) -> Any:
    raise structlog.DropEvent


def _forget_height() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _height_bytes() -> int:
    told = Path("/proc/self/status").read_text("ascii")
    return int(told.partition("VmHWM:")[2].split()[0]) * 1024


class _Tracer:
    """Tells which steps from line to line of simlift's were never taken before, by their hashes."""

    def __init__(self, seen: set[int]) -> None:
        self._seen, self._new = seen, set[int]()
        self._ours: dict[CodeType, bool] = {}
        self._steps = 0

    def __enter__(self) -> None:
        self._steps = 0
        sys.settrace(self._enter)

    def __exit__(self, *_exception: object) -> None:
        sys.settrace(None)

    def taken(self) -> frozenset[int]:
        """Give the new ones since it was last asked."""
        new, self._new = frozenset(self._new), set()
        self._seen |= new
        return new

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        if code not in self._ours:
            self._ours[code] = code.co_filename.startswith(_PIPELINE)
        if not self._ours[code] or self._steps > _MOST_STEPS:
            return None
        place = zlib.crc32(f"{code.co_filename} {code.co_firstlineno}".encode())
        before = 0

        def step(stepped: FrameType, event: str, _arg: Any) -> Any:
            nonlocal before
            edge = hash((place, before, stepped.f_lineno, event == "exception"))
            before = stepped.f_lineno
            self._steps += 1
            if edge not in self._seen:
                self._new.add(edge)
            return step if self._steps < _MOST_STEPS else None

        return step


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_exception: object) -> None: ...


_NOTHING = _Nothing()
