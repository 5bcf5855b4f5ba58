"""The vendor in this process: the simulator's logic, driven by a list of events in virtual time.

It outlives the importer's process: what was on its way when that was killed arrives, and commits late.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from world import EPOCH_S

from pipeline.simulator.exchange import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from plan import Away, Plan
    from world import World

    from pipeline.simulator.exchange import Plan as Judgement, Response as VendorsResponse, Vendor
    from pipeline.wire import Request


@dataclass(eq=False)
class Job:
    """One request at the vendor's. `deliver` takes its response, or None when the connection breaks."""

    request: Request
    deliver: Callable[[VendorsResponse | None, Judgement | None], None]
    judgement: Judgement | None = None
    done: bool = False


class VendorInProcess:
    """Arrivals, commits and replies as events; `alarm` asks the living loop to come back at a time."""

    def __init__(self, plan: Plan, world: World) -> None:
        self._plan, self._world = plan.vendor, world
        self._logic = world.logic(plan.vendor.faults, plan.vendor.max_items)
        self._met: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._busy_until: list[float] = []
        self._last_start = 0.0
        self._jobs: dict[int, Job] = {}
        self._away, self._capacity, self.way_s = plan.vendor.away, plan.vendor.capacity, plan.vendor.way_s
        self.alarm: Callable[[float], None] | None = None
        for away in self._away:
            if away.manner == "crash":
                self._at(away.begins_s, self._crash)

    def heal(self) -> None:
        """Put an end to all faults; the vendor's rules on its items stay."""
        self._met.update(self._logic.traffic.faults)
        self._logic = self._world.logic(self._plan.healed, self._plan.max_items)
        self._away, self._capacity, self._busy_until, self._last_start = (), (), [], 0.0

    def faults_met(self) -> Counter[str]:
        """Count what went wrong, by kind."""
        met = self._met + self._logic.traffic.faults
        return Counter({f"fault {kind}": count for kind, count in met.items()})

    # ------------------------------------------------------------ events

    def run_until(self, now: float) -> None:
        """Let everything happen that is due."""
        while self._events and self._events[0][0] <= now:
            at, _, action = heapq.heappop(self._events)
            action(at)

    def times_ahead(self) -> list[float]:
        """Give the times at which something will happen."""
        return [at for at, _, _ in self._events]

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action))
        if self.alarm is not None:
            self.alarm(when)

    def away(self, now: float) -> Away | None:
        """Tell whether the vendor is gone, and how."""
        return next((away for away in self._away if away.begins_s <= now < away.ends_s), None)

    def submit(self, now: float, request: Request, deliver: Any) -> None:
        """Let a request leave for the vendor: from here on nothing can call it back."""
        self._at(now + self.way_s, partial(self._arrive, Job(request, deliver)))

    def _arrive(self, job: Job, at: float) -> None:
        away = self.away(at)
        if away is not None:
            self._met[f"away {away.manner}"] += 1
            if away.manner != "silent":
                self._at(at + self.way_s, lambda _: job.deliver(None, None))
            return
        request = job.request
        judgement = self._logic.handle(
            EPOCH_S + at, request.headers, request.body, method=request.method, path=request.path
        )
        start = at if judgement.refusal is not None else self._slot(at, judgement.wait_s)
        due = start + judgement.wait_s
        job.judgement = replace(judgement, wait_s=due - at)
        self._jobs[id(job)] = job
        self._at(due, partial(self._commit, self._logic, job))

    def _slot(self, at: float, wait_s: float) -> float:
        """Find the time at which a request is worked on: first come, first served, so many at once."""
        start = max(at, self._last_start)
        busy = self._busy_until
        while True:
            while busy and busy[0] <= start:
                heapq.heappop(busy)
            room = next((room for begins, room in reversed(self._capacity) if begins <= start), None)
            if room is None or len(busy) < room:
                break
            self._met["capacity"] += 1
            changes = [begins for begins, _ in self._capacity if begins > start]
            start = min([busy[0], *changes])
        heapq.heappush(busy, start + wait_s)
        self._last_start = start
        return start

    def _commit(self, logic: Vendor, job: Job, at: float) -> None:
        if job.done or job.judgement is None:
            return
        job.done = True
        del self._jobs[id(job)]
        response = logic.carry_out(job.judgement)
        hold_s = 0.0 if response.delivery is Delivery.WHOLE else response.hold_s
        self._at(at + hold_s + self.way_s, lambda _: job.deliver(response, job.judgement))

    def _crash(self, at: float) -> None:
        """Lose what was being worked on; connections break."""
        for job in self._jobs.values():
            job.done = True
            self._at(at + self.way_s, lambda _, job=job: job.deliver(None, None))  # type: ignore[misc]
        self._jobs.clear()
        self._busy_until, self._last_start = [], at
