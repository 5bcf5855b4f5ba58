"""What a vendor has promised to finish: when to ask after it, and which tickets go into one question.

No I/O and no clock of its own; every time is passed in, in seconds of the event loop. Bounded: when it is
full the worker pool reads nothing new until promises are kept.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipeline.model import Batch, Promise
    from pipeline.settings import Completion


@dataclass(slots=True, eq=False)
class _Promised:
    """Items of one call; `open` are the indices of those not yet finished, `left` those to ask this round.

    `singly`: what is left of this round is asked ticket by ticket, though there is a call.
    """

    batch: Batch
    tickets: pa.StringArray
    call: str
    wait_s: float
    give_up_at: float
    open: list[int]
    left: deque[int] = field(default_factory=deque)
    asking: int = 0
    singly: bool = False
    last: bool = False

    def forget_done(self) -> None:
        """Let go of the items that are done, once they are half: one slow item must not hold a whole call."""
        if 2 * len(self.open) > len(self.batch):
            return
        still_open = pa.array(self.open, pa.int64())
        self.batch = replace(self.batch, items=self.batch.items.take(still_open))
        self.tickets = self.tickets.take(still_open)
        self.open = list(range(len(self.batch)))


@dataclass(frozen=True, slots=True)
class Question:
    """One request's worth of asking: `tickets` by the index of their item in `batch`.

    With a `call` they are all asked after at once, else there is one. `last`: their time is over.
    """

    batch: Batch
    tickets: Mapping[int, str]
    call: str
    last: bool
    promised: _Promised


class OpenTickets:
    """All open promises of a run."""

    def __init__(self, policy: Completion) -> None:
        self._policy = policy
        self._due: list[tuple[float, int, _Promised]] = []
        self._begun: deque[_Promised] = deque()
        self._number = count()
        self._held: Counter[str] = Counter()
        self.items = 0

    @property
    def full(self) -> bool:
        """True when nothing new may be read until promises are kept."""
        return self.items >= self._policy.most_open

    def add(self, batch: Batch, promised: Mapping[int, str], call: str, now: float) -> None:
        """Take in the promised items of a batch that was just sent."""
        indices = np.fromiter(promised, np.int64, len(promised))
        # A copy, so that neither the rest of the batch nor the stretch it was cut from stays in memory.
        part = replace(batch, items=batch.items.take(pa.array(indices)), promise=None)
        self._add(part, pa.array(promised.values(), pa.string()), call, now, self._policy.first_poll_s)

    def take_up(self, batch: Batch, promise: Promise, now: float) -> None:
        """Take in what an earlier process was promised: asked after at once, its time begins anew."""
        self._add(batch, promise.tickets, promise.call, now, 0.0)

    def take(self, now: float) -> Question | None:
        """Give the next question whose time has come."""
        # What is due takes its turn at once: a call asked after ticket by ticket must not hold up whole ones.
        while self._due and self._due[0][0] <= now:
            self._begin(heapq.heappop(self._due)[2], now)
        if not self._begun:
            return None
        promised = self._begun.popleft()
        promised.asking += 1
        call = "" if promised.singly else promised.call
        if call:
            asked = list(promised.left)
            promised.left.clear()
        else:
            asked = [promised.left.popleft()]
            if promised.left:
                self._begun.append(promised)
        tickets = {index: promised.tickets[index].as_py() for index in asked}
        return Question(promised.batch, tickets, call, promised.last, promised)

    def answered(
        self,
        question: Question,
        done: Collection[int],
        now: float,
        *,
        singly: Collection[int] = (),
        call_refused: bool = False,
    ) -> None:
        """Take out what is done; what is not will be asked again, later each time.

        `singly` are items that the answer for their whole call left out: they are asked after one by one in
        the same round. `call_refused`: from now on all of its items are.
        """
        promised = question.promised
        promised.asking -= 1
        self.items -= len(done)
        for ticket in (question.tickets[index] for index in done):
            if not self.shared(ticket):  # what was shared once stays so
                del self._held[ticket]
        if done:
            promised.open = [index for index in promised.open if index not in done]
        if call_refused:
            promised.call = ""
        if singly:
            promised.singly = True
            promised.left.extend(sorted(singly))
            self._begun.append(promised)
        if promised.asking or promised.left or not promised.open:
            return
        promised.forget_done()
        promised.wait_s = min(2 * promised.wait_s, self._policy.longest_poll_s)
        # Once more when the time is over, not only at the next doubling.
        at = now + promised.wait_s
        self._push(promised, min(at, promised.give_up_at) if now < promised.give_up_at else at)

    def shared(self, ticket: str) -> bool:
        """Tell whether several items held this ticket at once: a word on it is the end of none of them.

        One that is given anew after its first holder was done is not noticed: what is done is forgotten.
        """
        return self._held[ticket] > 1

    def next_due(self) -> float:
        """Give the time of the next question; infinity when there is none."""
        if self._begun:
            return -math.inf
        return self._due[0][0] if self._due else math.inf

    def _add(self, batch: Batch, tickets: pa.StringArray, call: str, now: float, wait_s: float) -> None:
        first_s = self._policy.first_poll_s
        give_up_at = now + self._policy.give_up_s
        promised = _Promised(batch, tickets, call, first_s, give_up_at, list(range(len(batch))))
        self.items += len(batch)
        self._held.update(tickets.to_pylist())
        self._push(promised, now + wait_s)

    def _push(self, promised: _Promised, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._number), promised))

    def _begin(self, promised: _Promised, now: float) -> None:
        if not promised.last:  # after a last round only what could not be put to the vendor is left
            promised.singly = False
        promised.last = now >= promised.give_up_at
        promised.left.extend(promised.open)
        self._begun.append(promised)
