"""What becomes of a batch after a send: final, again, or the end of the run.

Pure: no clock, no sleep, no I/O; chance comes in as a number. The rules are DESIGN's invariants 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from pipeline.model import Again, Decision, Fault, FaultKind, Final, Ruling, Status, Verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.model import Batch, Verdict
    from pipeline.settings import Retry


Settle = Callable[..., Decision]


class Vendor(Enum):
    """How the vendor as a whole is doing; one batch's fault means less while all fail alike."""

    THERE = auto()
    FAILING = auto()  # everything fails in a passing way: no attempts are used up
    AWAY = auto()  # and has for too long: the run stops with its rows unsent, instead of giving them up


def decide(
    batch: Batch,
    outcome: Verdicts | Fault,
    policy: Retry,
    *,
    chance: float,
    vendor: Vendor = Vendor.THERE,
    most_items: int = 0,
    exists_is_good: bool = False,
) -> Decision:
    """Turn the outcome of one send into a Decision.

    `chance` in [0, 1) draws the waits (full jitter); `most_items` is how many the vendor is known to take.
    `exists_is_good`: an item that is already there succeeded (repeated loads); else it is refused.
    """
    if isinstance(outcome, Fault):
        if outcome.kind is FaultKind.TOO_LARGE and len(batch) > 1:
            return _smaller(batch, most_items if 0 < most_items < len(batch) else _half(batch))
        return _decide_fault(batch, outcome, policy, chance=chance, vendor=vendor)
    return _decide_verdicts(batch, outcome, policy, chance=chance, exists_is_good=exists_is_good)


def backoff_s(policy: Retry, tries: int, chance: float) -> float:
    """Give a wait in seconds that doubles with each try up to `longest_wait_s`, drawn with full jitter."""
    return chance * min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** min(tries, 60))


def going_on(batch: Batch, indices: Iterable[int], wait_s: float, **changes: Any) -> Again:
    """Send items again after `wait_s`, with the history they have after this send, but for `changes`."""
    again = Again(
        tuple(indices),
        wait_s,
        in_doubt=batch.in_doubt,
        sends=batch.sends + 1,
        tries=batch.tries,
        most_items=batch.most_items,
        forgotten=batch.forgotten,
    )
    return replace(again, **changes)


def _decide_fault(batch: Batch, fault: Fault, policy: Retry, *, chance: float, vendor: Vendor) -> Decision:
    everything = range(len(batch))
    match fault.kind:
        case FaultKind.STOP:
            return Decision(void=True, stop=fault)
        case FaultKind.WITHDRAWN:
            again = going_on(batch, everything, 0.0, sends=batch.sends)
            return Decision(again=(again,), void=True, sent=False)
        case FaultKind.NOT_CARRIED_OUT:
            if vendor is Vendor.AWAY:
                return Decision(void=True, stop=fault)
            tries = batch.tries + (vendor is Vendor.THERE)
            if tries < policy.attempts:
                return _try_all_again(batch, fault, policy, chance, tries)
            final = all_final(everything, _given_up(batch, fault.code, fault.reason))
            hold_s = fault.retry_after_s or 0.0
            return Decision(final=final, hold_s=hold_s, pushed_back=True, sent=fault.reached)
        case FaultKind.LOST:
            doubt = _in_doubt(batch, everything, policy, chance, code=fault.code, reason=fault.reason)
            return replace(
                doubt, hold_s=fault.retry_after_s or 0.0, pushed_back=fault.retry_after_s is not None
            )
        case FaultKind.REFUSED | FaultKind.TOO_LARGE:
            if len(batch) > 1:
                return _smaller(batch, _half(batch))
            # The envelope speaks of this call; what an earlier, unanswered call did it does not tell.
            status = Status.IN_DOUBT if batch.in_doubt else Status.REFUSED
            return Decision(final={0: Final(status, fault.code, fault.reason)})


def _smaller(batch: Batch, most_items: int) -> Decision:
    """Refused as a whole: all goes out again in smaller batches, which is progress and no try."""
    again = going_on(batch, range(len(batch)), 0.0, most_items=most_items)
    return Decision(again=(again,), void=True)


def _try_all_again(batch: Batch, fault: Fault, policy: Retry, chance: float, tries: int) -> Decision:
    """Nothing was carried out: the claim is void, the shared pace waits, all goes out again as it was."""
    wait_s = max(backoff_s(policy, batch.tries, chance), fault.retry_after_s or 0.0)
    again = going_on(batch, range(len(batch)), wait_s, sends=batch.sends + fault.reached, tries=tries)
    return Decision(again=(again,), void=True, hold_s=wait_s, pushed_back=True)


def _decide_verdicts(
    batch: Batch, verdicts: Verdicts, policy: Retry, *, chance: float, exists_is_good: bool
) -> Decision:
    final: dict[int, Final] = {}
    promised: dict[int, str] = {}
    kinds: dict[Settle, list[int]] = {passing: [], _in_doubt: [], _untouched: []}
    goes_on = {
        Ruling.PASSING: passing,
        Ruling.UNTOUCHED: _untouched,
        **dict.fromkeys((Ruling.OPEN, Ruling.UNKNOWN, Ruling.PROMISED), _in_doubt),
    }
    ends = {ruling: _end(batch, ruling, exists_is_good=exists_is_good) for ruling in Ruling}
    for index, verdict in verdicts.exceptions.items():
        if (settle := goes_on.get(verdict.ruling)) is None:
            final[index] = Final(ends[verdict.ruling], verdict.code, verdict.reason)
        elif verdict.ticket and verdict.ruling is Ruling.PROMISED:
            promised[index] = verdict.ticket
        else:  # a promise without a ticket says nothing
            kinds[settle].append(index)
    if len(kinds[_untouched]) == len(batch):  # for whose sake? A batch that does not shrink would never end
        kinds[_in_doubt], kinds[_untouched] = kinds[_untouched], []
    rest = settled(batch, verdicts.exceptions, kinds, policy, chance)
    return replace(
        rest,
        final=final | dict(rest.final),
        promised=promised,
        call=verdicts.call,
        pushed_back=bool(kinds[passing]),
    )


def settled(
    batch: Batch,
    verdicts: Mapping[int, Verdict],
    kinds: Mapping[Settle, Sequence[int]],
    policy: Retry,
    chance: float,
) -> Decision:
    """Decide for each kind of verdict as one, and give every item that ends the words said of it."""
    final: dict[int, Final] = {}
    again: list[Again] = []
    for settle, indices in kinds.items():
        if indices:
            words = verdicts[indices[0]]
            part = settle(batch, indices, policy, chance, code=words.code, reason=words.reason)
            final |= {i: _with_words(end, verdicts[i]) for i, end in part.final.items()}
            again.extend(part.again)
    return Decision(final=final, again=tuple(again))


def _end(batch: Batch, ruling: Ruling, *, exists_is_good: bool) -> Status:
    match ruling:
        case Ruling.SUCCEEDED:
            return Status.SUCCEEDED
        case Ruling.EXISTS if batch.in_doubt:
            return Status.CONFIRMED
        case Ruling.EXISTS if exists_is_good:
            return Status.SUCCEEDED
        case _:
            return Status.REFUSED


def passing(
    batch: Batch, indices: Sequence[int], policy: Retry, chance: float, *, code: str, reason: str
) -> Decision:
    """Not carried out: again after a wait, within the attempts."""
    if batch.tries + 1 >= policy.attempts:
        return Decision(final=all_final(indices, _given_up(batch, code, reason)))
    wait_s = backoff_s(policy, batch.tries, chance)
    again = going_on(batch, indices, wait_s, tries=batch.tries + 1, code=code, reason=reason)
    return Decision(again=(again,))


def _in_doubt(
    batch: Batch, indices: Sequence[int], policy: Retry, chance: float, *, code: str, reason: str
) -> Decision:
    """Send again after `settle_s` in smaller batches; it counts as a try only where none is smaller."""
    shrinks = len(batch) > 1
    tries = batch.tries if shrinks else batch.tries + 1
    if tries >= policy.attempts:
        return Decision(final=all_final(indices, Final(Status.IN_DOUBT, code, reason)))
    wait_s = policy.settle_s + backoff_s(policy, batch.tries, chance)
    more = {"in_doubt": True, "tries": tries, "most_items": _half(batch), "code": code, "reason": reason}
    return Decision(again=(going_on(batch, indices, wait_s, **more),))


def _untouched(
    batch: Batch, indices: Sequence[int], _policy: Retry, _chance: float, *, code: str, reason: str
) -> Decision:
    """Refused for the sake of others, which now stay away: progress, so at once and no try."""
    return Decision(again=(going_on(batch, indices, 0.0, code=code, reason=reason),))


def _given_up(batch: Batch, code: str, reason: str) -> Final:
    """Call no row given up that may have arrived by an earlier, unanswered send."""
    return Final(Status.IN_DOUBT if batch.in_doubt else Status.GAVE_UP, code, reason)


def all_final(indices: Sequence[int], final: Final) -> dict[int, Final]:
    """Let several items end alike."""
    return dict.fromkeys(indices, final)


def _with_words(final: Final, verdict: Verdict) -> Final:
    return Final(final.status, verdict.code or final.code, verdict.reason or final.reason)


def _half(batch: Batch) -> int:
    return max(1, (len(batch) + 1) // 2)
