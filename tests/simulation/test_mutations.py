"""Five mistakes that importers are known for, planted one at a time: the checker must find each of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiolimiter import AsyncLimiter
from story import tell

from pipeline import worker_pool
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import PLAIN_SUCCESS, Decision, Fault, FaultKind, Final, Status, Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.model import Batch, Reply, Settlement


def unchecked_zip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go to the items in the order they come, however many there are."""

    def pair(keys: Sequence[str], reply: Reply) -> Verdicts:
        pairs = enumerate(zip(keys, reply.answers, strict=False))
        return Verdicts(len(keys), {i: a.verdict for i, (_, a) in pairs if a.verdict != PLAIN_SUCCESS})

    monkeypatch.setattr(worker_pool, "reconcile", pair)


def claim_after_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger learns of a batch only when its answer is there."""
    claim, settle = SqliteLedger.claim, SqliteLedger.settle
    sent: dict[int, Batch] = {}

    async def promise(_ledger: SqliteLedger, batch: Batch) -> Batch:
        number = 1_000_000 + len(sent)
        sent[number] = batch
        return replace(batch, id=number)

    async def claim_and_settle(ledger: SqliteLedger, settlement: Settlement) -> None:
        claimed = await claim(ledger, sent[settlement.batch])
        await settle(ledger, replace(settlement, batch=claimed.id))

    monkeypatch.setattr(SqliteLedger, "claim", promise)
    monkeypatch.setattr(SqliteLedger, "settle", claim_and_settle)


def in_doubt_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost answer is taken for a no."""
    decide = worker_pool.decide

    def fail(batch: Batch, outcome: Verdicts | Fault, *rest: Any, **more: Any) -> Decision:
        if isinstance(outcome, Fault) and outcome.kind is FaultKind.LOST:
            end = Final(Status.GAVE_UP, outcome.code, outcome.reason)
            return Decision(final=dict.fromkeys(range(len(batch)), end))
        return decide(batch, outcome, *rest, **more)

    monkeypatch.setattr(worker_pool, "decide", fail)


def whole_batch_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one item must go out again, all of its batch do."""
    decide = worker_pool.decide

    def repeat(batch: Batch, *rest: Any, **more: Any) -> Decision:
        decision = decide(batch, *rest, **more)
        if not decision.again:
            return decision
        everything = replace(decision.again[0], indices=tuple(range(len(batch))))
        return replace(decision, final={}, again=(everything,))

    monkeypatch.setattr(worker_pool, "decide", repeat)


def burst_in_the_first_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate is given to the limiter as it stands, which lets a whole second's worth through at once."""

    def bare(burst: float, period_s: float) -> AsyncLimiter:
        return AsyncLimiter(max(1, round(burst / period_s + burst - 1)), 1)

    monkeypatch.setattr("pipeline.pace.AsyncLimiter", bare)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (unchecked_zip, ("does not hold it", "never said it succeeded", "holds it")),
        (claim_after_send, ("holds it", "it was not there before we came")),
        (in_doubt_is_failed, ("holds it",)),
        (whole_batch_again, ("plainly said what became",)),
        (burst_in_the_first_second, ("requests within a second",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_mistake_is_caught_within_a_hundred_seeds(
    plant: Callable[[pytest.MonkeyPatch], None], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    for seed in range(1, 101):
        breaches = tell(seed).breaches
        if any(word in breach for breach in breaches for word in words):
            print(f"{plant.__name__}: caught by seed {seed}: {breaches[0]}")
            return
    pytest.fail(f"{plant.__name__} was not caught")
