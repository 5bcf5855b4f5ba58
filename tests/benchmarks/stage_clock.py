"""CPU time by stage, measured by clocks around functions: exact, exclusive, for every thread by itself.

A stage's time is what its functions used, less what was used in other stages that they called; C code counts
where it was called. A thread's base stage takes what no other stage claims. Unlike sampling this does not
favour the places where the interpreter lock is let go; unlike a tracing profiler it costs next to nothing,
because stages are entered a few times a batch, not a row.
"""

from __future__ import annotations

import functools
import threading
import time
import types
from collections import Counter, defaultdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping


class _Book:
    """What one thread used, by stage."""

    def __init__(self, base: str) -> None:
        self.stack = [base]
        self.spent_s: defaultdict[str, float] = defaultdict(float)
        self._since = 0.0  # a thread's clock begins with it

    def turn(self) -> None:
        now = time.thread_time()
        self.spent_s[self.stack[-1]] += now - self._since
        self._since = now


class StageClock:
    """`bases`: the base stage of a thread, by how its name begins; that of any other thread is its name."""

    def __init__(self, bases: Mapping[str, str]) -> None:
        self._bases = bases
        self._own = threading.local()
        self._books: list[tuple[str, _Book]] = []

    def _book(self) -> _Book:
        book: _Book | None = getattr(self._own, "book", None)
        if book is None:
            name = threading.current_thread().name
            thread = next((known for known in self._bases if name.startswith(known)), name)
            book = self._own.book = _Book(self._bases.get(thread, f"thread {name}"))
            self._books.append((thread, book))
        return book

    def enter(self, stage: str) -> None:
        book = self._book()
        book.turn()
        book.stack.append(stage)

    def leave(self) -> None:
        book = self._book()
        book.turn()
        book.stack.pop()

    def spent_s(self) -> dict[str, dict[str, float]]:
        """Give the seconds by thread and stage, as far as threads have ended or left their stages."""
        self._book().turn()
        found: dict[str, Counter[str]] = {}
        for thread, book in self._books:
            found.setdefault(thread, Counter()).update(book.spent_s)
        return {thread: dict(stages) for thread, stages in found.items()}

    # ------------------------------------------------------------ putting clocks on

    def install(self, stages: Mapping[str, tuple[str, ...]]) -> None:
        """Put a clock on functions named `module:name` or `module:Class.name`, by stage.

        A name imported into another module is clocked where it is called from. Raises AttributeError when
        the code has no such function any more: then the profile is to be mended, not believed.
        """
        self._put_on(threading.Thread, "run", self._thread)
        for stage, functions in stages.items():
            for function in functions:
                module, _, names = function.partition(":")
                *owners, name = names.split(".")
                owner = functools.reduce(getattr, owners, import_module(module))
                self._put_on(owner, name, functools.partial(self._clocked, stage))

    def _put_on(
        self, owner: Any, name: str, clocked: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        plain = vars(owner)[name] if name in vars(owner) else getattr(owner, name)
        if isinstance(plain, classmethod):
            setattr(owner, name, classmethod(clocked(plain.__func__)))
        else:
            setattr(owner, name, functools.wraps(plain)(clocked(plain)))

    def _thread(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Settle a thread's account when it ends."""

        def run(thread: threading.Thread) -> None:
            try:
                plain(thread)
            finally:
                self._book().turn()

        return run

    def _clocked(self, stage: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        code = getattr(plain, "__code__", None)
        flags = code.co_flags if code else 0
        if flags & 0x80:  # inspect.CO_COROUTINE
            return self._coroutine(stage, plain)
        if flags & 0x20:  # inspect.CO_GENERATOR
            return self._generator(stage, plain)

        def function(*args: Any, **more: Any) -> Any:
            self.enter(stage)
            try:
                return plain(*args, **more)
            finally:
                self.leave()

        return function

    def _generator(self, stage: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def generator(*args: Any, **more: Any) -> Iterator[Any]:
            items = plain(*args, **more)
            try:
                while True:
                    self.enter(stage)
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                    finally:
                        self.leave()
                    yield item
            finally:
                items.close()

        return generator

    def _coroutine(self, stage: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Clock each step of a coroutine, not the time between them."""

        @types.coroutine
        def coroutine(*args: Any, **more: Any) -> Generator[Any, Any, Any]:
            inner = plain(*args, **more)
            step, value = inner.send, None
            while True:
                self.enter(stage)
                try:
                    waited_for = step(value)
                except StopIteration as end:
                    return end.value
                finally:
                    self.leave()
                try:
                    step, value = inner.send, (yield waited_for)
                except GeneratorExit:
                    inner.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - a cancellation is the coroutine's to see
                    step, value = inner.throw, error

        return coroutine
