"""What a person asks of a run while it lasts: other limits, a hold, a release, a stop.

Asked from another process by way of the ledger. What was tuned or held stays so when the run is resumed.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import time
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import structlog

from pipeline.chronicle import Event, EventKind
from pipeline.errors import SimliftError
from pipeline.settings import Limits, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipeline.importer import Import

LOOK_EVERY_S = 0.5
LOOKS_IN_VAIN = 20  # in a row: then nobody could stop a run that goes on, nor see what became of it
GATE = "hold"

log = structlog.get_logger(__name__)


def person() -> str:
    """Say who is at the keyboard: whoever became root by sudo, else the user, by number if nameless."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def tuned(limits: Limits, changes: Mapping[str, Any]) -> Limits:
    """Give the limits with some of them changed. Raises UsageError where [limits] would not allow it."""
    return read_table(Limits, {**limits.model_dump(), **changes}, where="tune", table="limits")


@dataclass(frozen=True, slots=True)
class Course:
    """What holds for a run: its limits as they were tuned, and why it is held, or nothing."""

    limits: Limits
    held: str = ""

    def after(self, wish: Event) -> Course:
        """Give the course once a wish is granted; a stop changes none."""
        match wish.kind:
            case EventKind.TUNE:
                return replace(self, limits=tuned(self.limits, wish.data))
            case EventKind.HOLD:
                return replace(self, held=wish.words)
            case EventKind.RELEASE:
                return replace(self, held="")
            case _:
                return self


def course_of(limits: Limits, events: Iterable[Event]) -> Course:
    """Give what holds after all that was asked of a run whose job has these limits."""
    return reduce(Course.after, events, Course(limits))


def act(work: Import, wish: Event) -> None:
    """Do at once what a wish asks for."""
    match wish.kind:
        case EventKind.TUNE:
            work.tune(tuned(work.limits, wish.data))
        case EventKind.HOLD:
            work.shut(GATE, wish.words)
        case EventKind.RELEASE:
            work.open(GATE)
        case EventKind.STOP:
            work.stop_for(f"{wish.words}; `simlift resume` goes on from here")


def take_course(work: Import) -> None:
    """Go on as was asked for before: to be called before anything leaves. Raises LedgerError."""
    course = course_of(work.limits, work.ledger.events())
    work.tune(course.limits)
    if course.held:
        work.shut(GATE, course.held)


async def follow(work: Import, clock: Callable[[], float] = time.time) -> None:
    """Act on what is asked for until cancelled; each wish is marked as taken once it is in effect.

    A run whose ledger cannot be read any more, as when its folder was deleted, is stopped.
    """
    in_vain = 0
    while True:
        try:
            for wish in await asyncio.to_thread(work.ledger.wishes):
                act(work, wish)
                await work.ledger.take(wish, clock())
                log.info("asked", kind=str(wish.kind), by=wish.by, words=wish.words)
            in_vain = 0
        except SimliftError as error:
            in_vain += 1
            log.warning("what is asked of the run cannot be read", reason=str(error))
            if in_vain == LOOKS_IN_VAIN:
                work.stop_for(f"what is asked of the run cannot be read: {error}")
        await asyncio.sleep(LOOK_EVERY_S)
