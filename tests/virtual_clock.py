"""An event loop whose clock jumps to the next timer when nothing else can happen, so that no test sleeps.

For tests that stay within asyncio. While work in an executor is under way, time stands still and the loop
waits for it; a socket is refused outright. A thread the loop did not start itself is not known to it: while
such a thread works, timers that are due next fire at once.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_TICK_S = 1e-9  # a turn of the loop takes a moment, as on a real machine: float residues must not spin it
_LONGEST_S = 1e9  # a test that waits longer waits for something that never comes
_PATIENCE_S = 30.0  # real seconds for an executor or another thread to come back with something


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  # an alias chosen by platform
    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.get_map():  # the first is the loop's own pipe, by which threads wake it
            raise RuntimeError("a virtual clock cannot know when a socket will speak; use a real loop")
        key: selectors.SelectorKey = super().register(fileobj, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        idle = timeout is None or (timeout > 0 and self._loop.at_work > 0)
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(_PATIENCE_S if idle else 0)
        if idle and not ready:
            raise RuntimeError("nothing is scheduled and nothing came back: this waits for ever")
        if not ready:
            self._loop.now += max(timeout or 0.0, _TICK_S)
        if self._loop.now > _LONGEST_S:
            raise RuntimeError("the next timer lies beyond all bounds: this waits for ever")
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 and moves only when the loop has nothing left to do at this moment."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at_work = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.at_work += 1
        future.add_done_callback(self._come_back)
        return future

    def _come_back(self, _: asyncio.Future[Any]) -> None:
        self.at_work -= 1


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time; give what it returns."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(coroutine)


def now() -> float:
    """Give the running loop's time in seconds."""
    return asyncio.get_running_loop().time()
