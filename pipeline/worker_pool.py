"""The loop of one worker, many times over: take, claim, pace, send, reconcile, decide, settle.

Workers pull; nothing is pushed at them. What a vendor only promises is asked after in between, question and
send taking turns. A settlement is shielded, and whatever slips through a crash is found by its claim.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bound_contextvars

from pipeline.backlog import Backlog
from pipeline.calls import Hide, ask, send, show
from pipeline.completion import decide_promised, to_ask_singly
from pipeline.model import Batch, Fault, FaultKind, State, Status
from pipeline.next_work import NextWork
from pipeline.open_tickets import OpenTickets, Question
from pipeline.retry import decide
from pipeline.settlement import completion_of, settlement_of
from pipeline.vendor_state import VendorState

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable

    from pipeline.contracts import Http, Ledger, Target
    from pipeline.feed import Feed
    from pipeline.guards import Guards, Trip
    from pipeline.model import Decision, Exceptional
    from pipeline.pace import Pace
    from pipeline.settings import Completion, Limits, Retry

BACKLOG_BATCHES = 64  # full batches' worth of items that may wait to go out again
CALLS_LOST = 8  # questions for a call without an answer in a row: from then on each ticket is asked after too

log = structlog.get_logger(__name__)


class WorkerPool:
    """Sends everything the feed gives, as often as it takes, and settles every item.

    `run` returns how the run ended: finished, stopped (with `stop_reason`) or interrupted. Raises what the
    ledger raises. `guards` hear of all that is settled, and the feed is to admit what they do; `on_trip` is
    told when one trips, to write it down, and to hold the run where it is not to be stopped.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        target: Target,
        http: Http,
        ledger: Ledger,
        pace: Pace,
        limits: Limits,
        batch_items: int,
        policy: Retry,
        completion: Completion,
        rng: random.Random,
        guards: Guards,
        on_trip: Callable[[Trip], Awaitable[None]],
        exists_is_good: bool = False,
        hide: Hide = show,
    ) -> None:
        self._feed, self._target, self._http = feed, target, http
        self._ledger, self._pace, self._policy, self._rng = ledger, pace, policy, rng
        self._ceiling = limits.concurrency
        self._guards, self._on_trip = guards, on_trip
        self._exists_is_good, self._hide = exists_is_good, hide
        self._backlog = Backlog(
            batch_items=batch_items,
            batch_bytes=limits.batch_bytes,
            most_items=BACKLOG_BATCHES * batch_items,
        )
        self._tickets = OpenTickets(completion)
        self._vendor = VendorState(policy, rng, pace, concurrency=limits.concurrency, batch_items=batch_items)
        self._next = NextWork(
            feed=feed,
            backlog=self._backlog,
            tickets=self._tickets,
            guards=guards,
            pace=pace,
            size=self._vendor.size,
        )
        self._group: asyncio.TaskGroup | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._guarded = ""  # why a guard has stopped the run
        self.claimed = self._calls_lost = 0
        self.settled: Counter[Status] = Counter()
        self.state = State.RUNNING
        self.stop_reason = ""

    async def run(self) -> State:
        """Work until every item is final, or until stopped."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._employ()
        if self._guarded and await self._nothing_left():
            self.state = State.RUNNING
            self.stop_reason = "" if self.stop_reason == self._guarded else self.stop_reason
        self.stop_reason = self.stop_reason or self._next.broke_off
        if self.state is State.RUNNING:
            self.state = State.STOPPED if self.stop_reason else State.FINISHED
        return self.state

    async def _nothing_left(self) -> bool:
        """Tell whether every item is final: then a guard that stopped the run has nothing left to guard."""
        return self._feed.taken == self.settled.total() and await self._next.is_read_out()

    def _employ(self) -> None:
        """Have as many workers as requests may be open; with fewer slots the others wait."""
        if self._group is None or self.state is not State.RUNNING:
            return
        for number in range(len(self._workers), self._ceiling):
            self._workers.append(self._group.create_task(self._work(), name=f"worker-{number}"))

    @property
    def ceiling(self) -> int:
        """How many requests may be open at most; may be changed while the pool works."""
        return self._ceiling

    @ceiling.setter
    def ceiling(self, ceiling: int) -> None:
        self._ceiling = self._vendor.ceiling = ceiling
        self._employ()

    def forget_rate(self) -> None:
        """Take it that the vendor allows what the limits do, until it pushes back again."""
        self._vendor.forget_rate()

    @property
    def concurrency(self) -> int:
        """How many requests may be open just now."""
        return self._vendor.slots.limit

    @property
    def in_flight(self) -> int:
        """How many requests have left and are not answered yet."""
        return self._vendor.in_flight

    def tempo(self) -> tuple[float, int]:
        """Give the mean round trip in seconds (0: none) and the push-backs since this was last asked."""
        return self._vendor.tempo()

    def gates_changed(self) -> None:
        """Let the workers look again whether anything may leave."""
        self._next.pulse()

    @property
    def waiting(self) -> int:
        """Count the items that wait to go out again."""
        return self._backlog.items

    @property
    def open_tickets(self) -> int:
        """Count the items that the vendor has accepted and not finished."""
        return self._tickets.items

    def holding(self) -> str:
        """Say in words that the vendor is away, or that a guard or the whole run waits for it; or nothing."""
        return self._vendor.breaker.holding() or self._guards.waits_for() or self._next.only_waits()

    def stop(self, state: State, reason: str) -> None:
        """Take no new batch; those in flight are still answered and settled. The first reason stays."""
        if self.state is State.RUNNING:
            self.state, self.stop_reason = state, self.stop_reason or self._next.broke_off or reason
            log.warning("stopping", state=str(state), reason=reason)
        self._pace.close()
        self._vendor.close()
        self._next.close()

    def abandon(self) -> None:
        """Wait for nothing any more: what is in flight stays claimed, and so in doubt for a later resume."""
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while self.state is State.RUNNING:
            async with self._vendor.slots.slot(), self._vendor.breaker.turn() as probe:
                work = await self._next.take()
                if work is None:
                    return
                with self._next.under_way(work):
                    await self._carry_out(work, probe=probe)

    async def _carry_out(self, work: Batch | Question, *, probe: bool) -> None:
        """Send or ask; whatever is logged meanwhile names the batch and the attempt."""
        asks = isinstance(work, Question)
        batch = work.batch if isinstance(work, Question) else await self._ledger.claim(work)
        self.claimed += not asks
        with bound_contextvars(batch=batch.id, attempt=batch.sends + 1):
            if isinstance(work, Question):
                await self._ask(work, probe=probe)
            else:
                await self._handle(batch, probe=probe)

    async def _handle(self, batch: Batch, *, probe: bool) -> None:
        timed = self._vendor.timed(self._http)
        outcome = await send(self._target, batch, timed, self._hide)
        if stop := self._vendor.sent(batch, outcome, probe=probe):
            self.stop(State.STOPPED, stop)
        self._backlog.batch_items = self._vendor.size.bound
        decision = decide(
            batch,
            outcome,
            self._policy,
            chance=self._rng.random(),
            vendor=self._vendor.health(),
            most_items=self._vendor.size.bound,
            exists_is_good=self._exists_is_good,
        )
        fault = outcome if isinstance(outcome, Fault) else None
        self._vendor.paced_by(timed, fault, pushed_back=decision.pushed_back, items=len(batch))
        said_id = self._hide(timed.answer_id, *timed.secrets) if timed.answer_id else ""
        settlement = settlement_of(batch, decision, outcome, said_id or timed.request_id)
        await asyncio.shield(self._ledger.settle(settlement))
        plain = 0 if settlement.leaves_all_open else len(batch) - len(settlement.exceptional)
        self._count(settlement.exceptional, plain)
        if decision.promised:
            now = asyncio.get_running_loop().time()
            self._tickets.add(batch, decision.promised, decision.call, now)
        self._act(batch, decision)
        await self._heed(self._guards.settled(batch, settlement))

    async def _ask(self, question: Question, *, probe: bool) -> None:
        """Ask after promised items; what is still not done will be asked after again."""
        timed = self._vendor.timed(self._http)
        outcome = await ask(self._target, question, timed, self._hide, shared=self._tickets.shared)
        fault = outcome if isinstance(outcome, Fault) else None
        if stop := self._vendor.asked(fault, probe=probe):
            self.stop(State.STOPPED, stop)
        if question.call:
            lost = fault is not None and fault.kind is FaultKind.LOST
            self._calls_lost = self._calls_lost + 1 if lost else 0
        singly = to_ask_singly(
            question.tickets,
            outcome,
            call=question.call,
            last=question.last or self._calls_lost >= CALLS_LOST,
        )
        decision = decide_promised(
            question.batch,
            outcome,
            self._policy,
            tickets={i: ticket for i, ticket in question.tickets.items() if i not in singly},
            call=question.promised.call,
            chance=self._rng.random(),
            vendor=self._vendor.health(),
            last=question.last,
        )
        self._vendor.paced_by(timed, fault, pushed_back=decision.pushed_back)
        completion = completion_of(question.batch, decision, outcome)
        if completion.plain or completion.exceptional:
            await asyncio.shield(self._ledger.complete(completion))
        self._count(completion.exceptional, len(completion.plain))
        done = {*decision.final}.union(*(again.indices for again in decision.again))
        self._tickets.answered(
            question,
            done,
            asyncio.get_running_loop().time(),
            singly=singly,
            call_refused=bool(singly) and fault is not None and fault.kind is not FaultKind.LOST,
        )
        self._act(question.batch, decision)
        await self._heed(self._guards.completed(completion))

    def _count(self, rows: Iterable[Exceptional], plain: int) -> None:
        final = Counter(row.status for row in rows if row.status is not None)
        final[Status.SUCCEEDED] += plain
        self.settled.update(final)

    def _act(self, batch: Batch, decision: Decision) -> None:
        now = asyncio.get_running_loop().time()
        good = any(self.settled[status] for status in Status if status.good)
        self._vendor.accepted = self._vendor.accepted or bool(decision.promised) or good
        recorded = batch.recorded or not decision.void
        for again in decision.again:
            self._backlog.add(batch, again, now, recorded=recorded)
        if decision.hold_s > 0:
            self._pace.hold(decision.hold_s, "the vendor pushed back")
        if decision.stop is not None:
            self.stop(State.STOPPED, f"{decision.stop.code}: {decision.stop.reason}")

    async def _heed(self, trip: Trip | None) -> None:
        """Stop where a guard has tripped, unless it only wants the run held: then also once it goes on."""
        if trip is None or not (trip.holds or self.state is State.RUNNING):
            return
        if not trip.holds:
            self._guarded = trip.words
            self.stop(State.STOPPED, trip.words)
        await self._on_trip(trip)
