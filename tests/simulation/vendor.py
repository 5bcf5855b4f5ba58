"""The vendor in this process: the simulator's logic, driven by a list of events in virtual time.

It outlives the importer's process: what was on its way when that was killed arrives, and commits late.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import re
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from drawn_inventory import position_in

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.simulator.exchange import Delivery
from pipeline.simulator.fault_kinds import NoEcho, ReorderEcho, ResultsShuffled, ShortList
from pipeline.simulator.faults import Faults
from pipeline.simulator.sim_express import SimExpress
from pipeline.simulator.store import Profile, Store
from pipeline.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from journal import Journal
    from life import Life
    from plan import Away, Plan

    from pipeline.pace import Pace
    from pipeline.settings import Limits
    from pipeline.simulator.exchange import Plan as Judgement, Response as VendorsResponse

EPOCH_S = 1_767_225_600.0  # when virtual time is 0
ACCESS_CODE, SECRET_CODE = "simulation-access", "simulation-secret"
_NAMED = re.compile(r"iccid:\[(\d+)\]")
_MOVED = ShortList | ResultsShuffled | ReorderEcho | NoEcho


@dataclass(eq=False)
class Job:
    """One request at the vendor's. `deliver` takes its response, or None when the connection breaks."""

    request: Request
    deliver: Callable[[VendorsResponse | None, Judgement | None], None]
    judgement: Judgement | None = None
    done: bool = False


class VendorInProcess:
    """Arrivals, commits and replies as events; `alarm` asks the living loop to come back at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan.vendor
        self.store = Store()
        if plan.inventory.planted:
            self.store.add([Profile(iccid) for iccid in sorted(plan.inventory.planted)], planted=True)
        self._logic = self._logic_with(plan.vendor.faults, plan.vendor.max_items)
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

    def _logic_with(self, faults: dict[str, Any], max_items: int) -> SimExpress:
        return SimExpress(
            self.store,
            access_code=ACCESS_CODE,
            secret_code=SECRET_CODE,
            faults=Faults.model_validate(faults),
            max_items=max_items,
        )

    def heal(self) -> None:
        """Put an end to all faults; the vendor's rules on its items stay."""
        self._met.update(self._logic.traffic.faults)
        self._logic = self._logic_with(self._plan.healed, self._plan.max_items)
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
        job.judgement = judgement
        self._jobs[id(job)] = job
        self._at(start + judgement.wait_s, partial(self._commit, self._logic, job))

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

    def _commit(self, logic: SimExpress, job: Job, at: float) -> None:
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


# ---------------------------------------------------------------- the way to it


class SimulatedHttp:
    """contracts.Http: what http_client does, on a connection that exists in virtual time only."""

    def __init__(self, vendor: VendorInProcess, life: Life, pace: Pace, limits: Limits) -> None:
        self._vendor, self._life, self._pace, self._limits = vendor, life, pace, limits
        self._journal: Journal = life.journal
        self._in_flight = 0
        self.requests = 0

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        """Send one request when the pace permits. Raises NoReply."""
        await self._pace.permit()
        await self._life.point("permit")
        request = make_request()
        self._in_flight += 1
        try:
            return await self._send(request)
        finally:
            self._in_flight -= 1

    async def _send(self, request: Request) -> Response:
        life, vendor, loop = self._life, self._vendor, asyncio.get_running_loop()
        began = loop.time()
        self._journal.permitted(life.record, began, self._in_flight, life.waiting())
        away = vendor.away(began)
        if away is not None and away.manner != "silent":
            self._journal.seen[f"fault away {away.manner}"] += 1
            await asyncio.sleep(vendor.way_s)
            raise NoReply(Fault(FaultKind.NOT_CARRIED_OUT, "connect", "no connection", reached=False))
        self.requests += 1
        rows = {position_in(item["ac"]): item["iccid"] for item in json.loads(request.body)["profileItems"]}
        self._journal.sent(life.record, rows)
        self._journal.say(began, f"send {_span(rows)}")
        arrived: asyncio.Future[tuple[VendorsResponse | None, Judgement | None]] = loop.create_future()
        vendor.submit(began, request, partial(_hand_over, life, arrived))
        await life.point("sent")
        try:
            async with asyncio.timeout(self._limits.reply_timeout_s):
                reply, judgement = await arrived
        except TimeoutError:
            self._journal.say(loop.time(), f"no answer for {_span(rows)}")
            raise NoReply(Fault(FaultKind.LOST, "timeout", "no complete answer in time")) from None
        await life.point("answered")
        return self._received(reply, judgement, rows, loop.time())

    def _received(
        self,
        reply: VendorsResponse | None,
        judgement: Judgement | None,
        rows: dict[int, str],
        now: float,
    ) -> Response:
        faults = [hit.kind for hit in judgement.hits] if judgement else []
        self._journal.say(
            now, f"answer for {_span(rows)}: {reply and (reply.status, reply.delivery.name)} {faults}"
        )
        if reply is None or reply.delivery is Delivery.NONE:
            raise NoReply(Fault(FaultKind.LOST, "connection_lost", "the connection broke before the answer"))
        if reply.delivery is Delivery.HALF:
            raise NoReply(Fault(FaultKind.LOST, "reply_cut_off", "the reply broke off"))
        headers = {name.lower(): value for name, value in reply.headers.items()}
        headers["content-type"] = reply.content_type
        if headers.get("retry-after", "").isdigit() and reply.status in (429, 503):
            wish_s = float(headers["retry-after"])
            self._journal.asked_for_peace(self._life.record, now, 2 * self._life.disk_s + 1e-5, wish_s)
        if judgement is not None and judgement.refusal is None and judgement.ending is None:
            moved = any(isinstance(fault, _MOVED) for fault in judgement.hits)
            self._journal.told(self._life.record, _plainly_told(reply.body, rows, moved=moved))
        return Response(reply.status, headers, reply.body, EPOCH_S + now)


def _hand_over(life: Life, arrived: asyncio.Future[Any], *reply: Any) -> None:
    if not life.dead and not arrived.done():
        arrived.set_result(reply)


def _plainly_told(body: bytes, rows: dict[int, str], *, moved: bool) -> list[int]:
    """Give the rows whose end is plain: named in a final no, or a success where nothing is moved."""
    document = json.loads(body)
    results = document.get("resultList") or document.get("resultItems") or []
    position_of = {iccid: position for position, iccid in rows.items()}
    final = [_NAMED.search(entry["reason"] or "") for entry in results if not _passes(entry["reason"])]
    told = [position_of[named[1]] for named in final if named]
    if not moved:
        told += [at for at, entry in zip(rows, results, strict=True) if entry["result"] == "SUCCEED"]
    return told


def _passes(reason: str | None) -> bool:
    return "busy" in (reason or "") or "error" in (reason or "")


def _span(rows: dict[int, str]) -> str:
    positions = sorted(rows)
    return f"{len(positions)} rows {positions[0]}…{positions[-1]}"


def connecting(vendor: VendorInProcess, life: Life) -> Any:
    """Give the `connect` of an Import."""

    @asynccontextmanager
    async def connect(_base_url: str, pace: Pace, limits: Limits) -> AsyncIterator[SimulatedHttp]:
        yield SimulatedHttp(vendor, life, pace, limits)

    return connect
