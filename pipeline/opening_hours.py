"""Keeps a run inside its [window]: shuts it before the window closes, opens it again, sets the hour's rate.

By the wall clock, looked at every few seconds: it may be set, and a laptop may sleep.
"""

from __future__ import annotations

import asyncio
import math
import time
from itertools import takewhile
from typing import TYPE_CHECKING

import structlog

from pipeline.chronicle import Event, EventKind
from pipeline.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.importer import Import
    from pipeline.window import Schedule, Stretch

GATE = "window"
LOOK_EVERY_S = 5.0  # so late at most it is noticed that the clock was set

log = structlog.get_logger(__name__)


class OpeningHours:
    """Has an import send when its schedule lets it, and writes each change into its ledger.

    `wall` gives UTC seconds.
    """

    def __init__(self, work: Import, schedule: Schedule, wall: Callable[[], float] = time.time) -> None:
        self._work, self._schedule, self._wall = work, schedule, wall
        self._since = self._until = math.inf  # what was set last is right from then until then
        self._set: tuple[float, float] | None = None  # the share, and the end of the opening it is about
        self._sent_at_share = 1.0  # or last sent at, while shut
        self._unwritten: list[Event] = []

    def look(self) -> float:
        """Set gate and rate as they must be now; give the moment from which on they must be otherwise.

        To be called in the event loop, for the first time before anything leaves.
        """
        if not self._schedule.changes:
            return math.inf
        now = self._wall()
        if self._since <= now < self._until:
            return self._until
        stretch = self._schedule.at(now)
        self._since, self._until = now, stretch.until
        if self._set != (stretch.share, stretch.opening.ends):
            self._set = stretch.share, stretch.opening.ends
            words = words_for(self._schedule, stretch, now)
            self._act(stretch.share, words)
            data = {"share": stretch.share, "until": stretch.until}
            self._unwritten.append(Event(now, EventKind.WINDOW, words, data=data))
        return stretch.until

    def _act(self, share: float, words: str) -> None:
        if not share:
            self._work.shut(GATE, words)
            return
        self._sent_at_share = share
        self._work.slow_to(share)
        self._work.open(GATE)

    def reach(self, work_s: float) -> float:
        """Give the seconds until work is over that takes so many at the present pace; inf: over a year."""
        now = self._wall()
        return self._schedule.ends_at(now, work_s * self._sent_at_share) - now

    async def keep(self) -> None:
        """Keep gate and rate as they must be, until cancelled; return at once where nothing ever changes."""
        while (until := self.look()) < math.inf:
            await self._write()
            wait_s = max(0.0, until - self._wall())
            await asyncio.sleep(min(wait_s, LOOK_EVERY_S))

    async def _write(self) -> None:
        while self._unwritten:
            event = self._unwritten.pop(0)
            log.info("window", words=event.words)
            try:
                await self._work.ledger.note(event)
            except LedgerError as error:  # the run stops by its own writes; until then its hours are kept
                log.warning("the window's change could not be written down", reason=str(error))


def words_for(schedule: Schedule, stretch: Stretch, now: float) -> str:
    """Say how it stands from now on, in words."""
    if not stretch.share:
        return f"the window is closed until {schedule.clock(stretch.until, now)}" + _left_out(
            schedule, stretch, now
        )
    said = []
    if not schedule.always:
        said.append(f"the window is open until {schedule.clock(stretch.opening.ends, now)}")
    if not schedule.even:
        rate = "all" if stretch.share == 1 else f"{100 * stretch.share:g}%"
        lasts = stretch.until < stretch.opening.closes
        said.append(
            f"{rate} of the rate may be used"
            + (f" until {schedule.clock(stretch.until, now)}" if lasts else "")
        )
    return ", ".join(said)


def _left_out(schedule: Schedule, stretch: Stretch, now: float) -> str:
    """Name the openings in which nothing can be sent: a change of the clock has left too little of them."""
    before = takewhile(lambda opening: opening.begins < stretch.until, schedule.openings(now))
    too_short = [f"{schedule.local(opening.begins):%a %H:%M}" for opening in before if opening.begins > now]
    if not too_short:
        return ""
    why = f"it is over before a call need be answered ({schedule.drain_s:g} s)"
    return f"; {', '.join(too_short)} is left out, {why}"
