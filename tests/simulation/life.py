"""One life of the importer's process: its own event loop, and its end at whatever moment the plan says.

Dead is dead: once killed, no coroutine of it does anything any more; the world sees neither its writes nor
its requests. What it left in the files and on the wire stays.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from virtual_clock import VirtualClockLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from journal import Journal
    from plan import Ending

    from pipeline.importer import Import
    from pipeline.model import Snapshot

MOST_STEPS = 1_500_000
RELEASED_AFTER_S = 40.0
LONGEST_S = 30 * 86_400.0


class Killed(BaseException):
    """The process is no more. Nothing in the pipeline may catch this."""


class LifeLoop(VirtualClockLoop):
    """Counts its steps and dies at one of them; work for a thread is done in line, so that order is fixed."""

    def __init__(self, now: float, read_s: float) -> None:
        super().__init__()
        self.now = now
        self.steps = 0
        self.last_step = 0
        self.at_last_step: Callable[[], None] | None = None
        self._read_s = read_s
        self._thread_free_at = now

    def _run_once(self) -> None:
        left = self.last_step - self.steps
        ready = self._ready  # type: ignore[has-type]
        spared: deque[Any] = deque()
        if self.at_last_step is not None and len(ready) > left >= 0:
            spared = deque(islice(ready, left, None))
            self._ready = deque(islice(ready, left))
            if not self._ready:
                self._ready.append(asyncio.Handle(_nothing, (), self))
        self.steps += max(1, len(self._ready))
        super()._run_once()  # type: ignore[misc]
        self._ready.extendleft(reversed(spared))
        if self.at_last_step is not None and self.steps >= self.last_step:
            die, self.at_last_step = self.at_last_step, None
            die()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Do the work when a single thread of the given pace would have done it."""
        future = self.create_future()
        self._thread_free_at = max(self._thread_free_at, self.now) + self._read_s

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - goes where a thread's would go
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(result)

        self.call_at(self._thread_free_at, work)
        return future


def _nothing() -> None:
    pass


class Life:
    """Runs an Import until it ends by itself or by the plan's Ending (None: it may live)."""

    def __init__(
        self, journal: Journal, ending: Ending | None, now: float, *, disk_s: float, read_s: float
    ) -> None:
        self.journal = journal
        self.record = journal.begin_life(now)
        self.ending = ending
        self.began = now
        self.disk_s = disk_s
        self.loop = LifeLoop(now, read_s)
        self.dead = self.disk_full = False
        self.snapshot: Callable[[], Snapshot]
        self._task: Import | None = None
        self._points = 0
        self.most_steps = MOST_STEPS

    # ------------------------------------------------------------ dying

    def die(self) -> None:
        """Be dead from now on."""
        if not self.dead:
            self.journal.say(self.loop.now, f"killed ({self.ending})")
            self.dead = True
            self.loop.stop()

    def reaches(self, kind: str) -> None:
        """Pass a point at which the plan may have this life end. Raises Killed when dead."""
        if not self.dead and self.ending is not None and self.ending.kind == kind:
            self._points += 1
            if self._points == self.ending.number:
                self.die()
        if self.dead:
            raise Killed

    async def point(self, kind: str) -> None:
        """Pass a point likewise; a dead coroutine gets no further, it does not even learn of its death."""
        try:
            self.reaches(kind)
        except Killed:
            await self.loop.create_future()

    def may_write(self) -> bool:
        """Tell whether the disk takes one more write."""
        if self.ending is not None and self.ending.kind == "disk-full" and not self.disk_full:
            self._points += 1
            self.disk_full = self._points >= self.ending.number
        return not self.disk_full

    # ------------------------------------------------------------ living

    def run(self, task: Import) -> Any:
        """Run the import. Gives its RunRecord, None when killed; raises what it raises."""
        self._foresee(task)
        self.snapshot, self._task = task.snapshot, task
        return self._run(task.run())

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        loop = self.loop
        loop.set_exception_handler(self._unhandled)
        main = loop.create_task(coroutine)
        main.add_done_callback(self._main_done)
        if self.ending is None or self.ending.kind != "step":
            loop.last_step, loop.at_last_step = self.most_steps, self._endless
        try:
            loop.run_forever()
            if main.done() and not self.dead:
                return main.result()
            return None
        finally:
            self._bury()

    def _foresee(self, task: Import) -> None:
        self.loop.call_at(self.began + LONGEST_S, self._endless)
        if self.ending is None:
            return
        at = self.began + self.ending.after_s
        match self.ending.kind:
            case "step":
                self.loop.last_step, self.loop.at_last_step = self.ending.number, self.die
            case "time":
                self.loop.call_at(at, self.die)
            case "signal":
                self.loop.call_at(at, task.stop, 15)
            case "two-signals":
                self.loop.call_at(at, task.stop, 2)
                self.loop.call_at(at + 1, task.abandon)

    def _endless(self) -> None:
        self.journal.breach(
            f"the run does not end: {self.loop.steps} steps, {self.loop.now - self.began:.0f} s"
        )
        self.dead = True
        self.loop.stop()

    def release_later(self) -> None:
        """Let an operator look at why the run is held, and release it."""
        if self._task is not None:
            self.loop.call_later(RELEASED_AFTER_S, self._task.open, "hold")

    def _main_done(self, _main: Any) -> None:
        if not self.dead:
            self.loop.stop()

    def _unhandled(self, _loop: Any, context: dict[str, Any]) -> None:
        if not self.dead:
            self.journal.breach(f"unhandled: {context.get('message')} {context.get('exception')!r}")

    def _bury(self) -> None:
        """Let the coroutines unwind; being dead, they reach neither the ledger nor the vendor."""
        self.dead = True
        loop = self.loop
        loop.at_last_step = None
        for _ in range(100):
            left = asyncio.all_tasks(loop)
            if not left:
                break
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=1))
            for task in left:
                if task.done() and not task.cancelled():
                    task.exception()
        else:
            self.journal.breach("tasks that cannot be cancelled")
        loop.close()
        self.journal.end_life(self.record)

    def abort(self) -> None:
        """End a life that was killed before its loop ran."""
        if not self.loop.is_closed():
            self._bury()
