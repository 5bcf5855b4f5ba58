"""What becomes of promised items when the vendor is asked: done, refused, again, or still to wait for.

Pure: no clock, no sleep, no I/O; chance comes in as a number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.model import STILL_OPEN, Decision, Fault, FaultKind, Final, Ruling, Status
from pipeline.retry import Settle, Vendor, all_final, backoff_s, going_on, passing, settled

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pipeline.model import Batch, Verdict
    from pipeline.settings import Retry

_ENDS = {Ruling.SUCCEEDED: Status.SUCCEEDED, Ruling.REFUSED: Status.REFUSED}
_STILL_OPEN = Final(
    Status.IN_DOUBT,
    STILL_OPEN,
    "the vendor accepted it and did not say within give_up_s how it ended; `simlift resume` asks again",
)


def to_ask_singly(
    tickets: Collection[int], outcome: Mapping[int, Verdict] | Fault, *, call: str, last: bool
) -> set[int]:
    """Give the items (by index) that a question for their whole call told nothing of, and never will.

    None before its time (`last`) where the call had no answer at all: that says nothing of the question.
    """
    if not call:
        return set()
    if not isinstance(outcome, Fault):
        return set(tickets).difference(outcome)
    refused = outcome.kind in (FaultKind.REFUSED, FaultKind.TOO_LARGE)
    return set(tickets) if refused or (last and outcome.kind is FaultKind.LOST) else set()


def decide_promised(
    batch: Batch,
    outcome: Mapping[int, Verdict] | Fault,
    policy: Retry,
    *,
    tickets: Mapping[int, str],
    call: str = "",
    chance: float,
    vendor: Vendor = Vendor.THERE,
    last: bool = False,
) -> Decision:
    """Turn the answer to a question after promised items into a Decision; what it leaves out stays promised.

    `tickets` are those the answer is about, by index, `call` is kept with them; `last` says that the time for
    waiting is over: what is still not done is in doubt then, and its ticket is kept.
    """
    if isinstance(outcome, Fault):
        fault, outcome = outcome, {}
        pushed_back = fault.kind is FaultKind.NOT_CARRIED_OUT
        if fault.kind is FaultKind.STOP or (pushed_back and vendor is Vendor.AWAY):
            return Decision(stop=fault)
        if pushed_back or fault.kind is FaultKind.WITHDRAWN or not last:
            # A question is no try: it may be asked for as long as there is time.
            hold_s = max(backoff_s(policy, 0, chance) if pushed_back else 0.0, fault.retry_after_s or 0.0)
            return Decision(hold_s=hold_s, pushed_back=pushed_back)
    final: dict[int, Final] = {}
    kinds: dict[Settle, list[int]] = {passing: [], _forgotten: []}
    for index, verdict in outcome.items():
        match verdict.ruling:
            case Ruling.SUCCEEDED | Ruling.REFUSED:
                final[index] = Final(_ENDS[verdict.ruling], verdict.code, verdict.reason)
            case Ruling.PASSING:
                kinds[passing].append(index)
            case Ruling.UNKNOWN:
                kinds[_forgotten].append(index)
    decided = settled(batch, outcome, kinds, policy, chance)
    final |= dict(decided.final)
    kept: dict[int, str] = {}
    if last:
        ended = {*final}.union(*(again.indices for again in decided.again))
        kept = {index: ticket for index, ticket in tickets.items() if index not in ended}
        final |= all_final(list(kept), _STILL_OPEN)
    return replace(decided, final=final, promised=kept, call=call)


def _forgotten(
    batch: Batch, indices: Sequence[int], policy: Retry, chance: float, *, code: str, reason: str
) -> Decision:
    """Send once more what the vendor forgot that it promised, but not for ever."""
    if batch.forgotten:
        return Decision(final=all_final(indices, Final(Status.IN_DOUBT, code, reason)))
    wait_s = policy.settle_s + backoff_s(policy, batch.tries, chance)
    again = going_on(batch, indices, wait_s, in_doubt=True, code=code, reason=reason, forgotten=True)
    return Decision(again=(again,))
