"""The loop of one worker, many times over: take, claim, pace, send, reconcile, decide, settle.

Workers pull; nothing is pushed at them. A decision is made without I/O and then acted upon; a settlement
is shielded, and whatever slips through a crash is found again by its claim.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from pipeline.backlog import Backlog
from pipeline.errors import InventoryError, NoReply
from pipeline.model import Fault, FaultKind, State, Status, Verdicts
from pipeline.reconciler import reconcile
from pipeline.retry import decide
from pipeline.settlement import settlement_of

if TYPE_CHECKING:
    import random

    from pipeline.contracts import Http, Ledger, Target
    from pipeline.feed import Feed
    from pipeline.model import Batch, Decision
    from pipeline.pace import Pace
    from pipeline.settings import Limits, Retry

BACKLOG_BATCHES = 64  # full batches' worth of items that may wait to go out again
ALIKE_REFUSALS = 8  # single items refused in the same words, with nothing ever accepted: the trouble is ours

log = structlog.get_logger(__name__)


class WorkerPool:
    """Sends everything the feed gives, as often as it takes, and settles every item.

    `run` returns how the run ended: finished, stopped (with `stop_reason`) or interrupted. Raises what the
    ledger raises.
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
        rng: random.Random,
    ) -> None:
        self._feed, self._target, self._http = feed, target, http
        self._ledger, self._pace, self._policy, self._rng = ledger, pace, policy, rng
        self._concurrency = limits.concurrency
        self._backlog = Backlog(
            batch_items=batch_items,
            batch_bytes=limits.batch_bytes,
            most_items=BACKLOG_BATCHES * batch_items,
        )
        self._changed = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._refused_alone: Counter[str] = Counter()
        self._unanswered = 0
        self._accepted = False
        self.in_flight = self.claimed = 0
        self.settled: Counter[Status] = Counter()
        self.state = State.RUNNING
        self.stop_reason = ""

    async def run(self) -> State:
        """Work until every item is final, or until stopped."""
        async with asyncio.TaskGroup() as group:
            self._workers = [
                group.create_task(self._work(), name=f"worker-{number}")
                for number in range(self._concurrency)
            ]
        if self.state is State.RUNNING:
            self.state = State.STOPPED if self.stop_reason else State.FINISHED
        return self.state

    @property
    def waiting(self) -> int:
        """Count the items that wait to go out again."""
        return self._backlog.items

    def stop(self, state: State, reason: str) -> None:
        """Take no new batch; those in flight are still answered and settled. The first reason stays."""
        if self.state is State.RUNNING:
            self.state, self.stop_reason = state, self.stop_reason or reason
            log.warning("stopping", state=str(state), reason=reason)
        self._pace.close()
        self._pulse()

    def abandon(self) -> None:
        """Wait for nothing any more: what is in flight stays claimed, and so in doubt for a later resume."""
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while (batch := await self._take()) is not None:
            try:
                await self._handle(batch)
            finally:
                self.in_flight -= 1
                self._pulse()

    async def _take(self) -> Batch | None:
        """Give the next batch to send: ready ones of the backlog before fresh ones."""
        loop = asyncio.get_running_loop()
        while self.state is State.RUNNING:
            eager = self._feed.exhausted or self._backlog.full
            batch = self._backlog.take(loop.time(), eager=eager)
            if batch is None and not eager:
                batch = await self._fresh()
            if batch is not None and self.state is State.RUNNING:
                self.in_flight += 1
                return batch
            if self._feed.exhausted and not self._backlog.items and not self.in_flight:
                self._pulse()
                return None
            if eager:
                await self._change(self._backlog.next_ready())
        return None

    async def _fresh(self) -> Batch | None:
        try:
            return await self._feed.take()
        except InventoryError as error:
            # What was read before is whole: it is sent to its end, and only then the run stops.
            self.stop_reason = str(error)
            log.warning("the inventory breaks off", reason=self.stop_reason)
            return None

    async def _handle(self, batch: Batch) -> None:
        batch = await self._ledger.claim(batch)
        self.claimed += 1
        outcome = await self._send(batch)
        decision = decide(
            batch,
            outcome,
            self._policy,
            chance=self._rng.random(),
            vendor_away=self._unanswered >= self._policy.attempts,
        )
        settlement = settlement_of(batch, decision)
        await asyncio.shield(self._ledger.settle(settlement))
        final = Counter(row.status for row in settlement.exceptional if row.status is not None)
        if not settlement.void:
            final[Status.SUCCEEDED] += len(batch) - len(settlement.exceptional)
        self.settled.update(final)
        self._act(batch, decision)

    async def _send(self, batch: Batch) -> Verdicts | Fault:
        try:
            reply = await self._target.send(batch, self._http)
        except NoReply as error:
            reply = error.fault
        if isinstance(reply, Fault):
            self._note_fault(batch, reply)
            return reply
        self._unanswered = 0
        verdicts = reconcile(batch.keys(), reply)
        if verdicts.evidence:
            log.warning("odd reply", batch=batch.id, sends=batch.sends + 1, evidence=verdicts.evidence)
        return verdicts

    def _note_fault(self, batch: Batch, fault: Fault) -> None:
        """Count what could mean that nothing will ever be answered, or that no item will ever be taken."""
        log.warning(
            "no answer for the items",
            batch=batch.id,
            items=len(batch),
            sends=batch.sends + 1,
            kind=str(fault.kind),
            code=fault.code,
            reason=fault.reason,
        )
        if fault.kind in (FaultKind.NOT_CARRIED_OUT, FaultKind.LOST):
            self._unanswered += 1
            if self._unanswered >= BACKLOG_BATCHES + self._policy.attempts * self._concurrency:
                self.stop(
                    State.STOPPED,
                    f"the vendor gave no usable answer to {self._unanswered} requests in a row, "
                    f"last {fault.code}: {fault.reason}",
                )
            return
        self._unanswered = 0
        if fault.kind is FaultKind.REFUSED and len(batch) == 1 and not self._accepted:
            self._refused_alone[fault.code] += 1
            if self._refused_alone[fault.code] >= ALIKE_REFUSALS:
                self.stop(State.STOPPED, f"the vendor refuses every item alike, {fault.code}: {fault.reason}")

    def _act(self, batch: Batch, decision: Decision) -> None:
        now = asyncio.get_running_loop().time()
        self._accepted = self._accepted or any(self.settled[status] for status in Status if status.good)
        for again in decision.again:
            self._backlog.add(batch, again, now)
        if decision.hold_s > 0:
            self._pace.hold(decision.hold_s, "the vendor pushed back")
        if decision.stop is not None:
            self.stop(State.STOPPED, f"{decision.stop.code}: {decision.stop.reason}")

    async def _change(self, until: float) -> None:
        """Sleep until something may have changed, or until the given loop time."""
        try:
            async with asyncio.timeout_at(None if math.isinf(until) else until):
                await self._changed.wait()
        except TimeoutError:
            return

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
