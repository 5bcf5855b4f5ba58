"""Mistakes that importers are known for, planted one at a time: the checker must find each of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiolimiter import AsyncLimiter
from story import tell
from worlds import target_of

from pipeline import calls, completion, worker_pool
from pipeline.guards import Guards
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import (
    PLAIN_SUCCESS,
    Decision,
    Fault,
    FaultKind,
    Final,
    Reply,
    Ruling,
    Status,
    Verdict,
    Verdicts,
)
from pipeline.targets import bulk_subscriber, bulk_subscriber_reply
from pipeline.targets.bulk_subscriber import BulkSubscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.contracts import Http
    from pipeline.model import Answer, Batch, ResumePoint, Settlement


def unchecked_zip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go to the items in the order they come, however many there are."""

    def pair(keys: Sequence[str], reply: Reply) -> Verdicts:
        pairs = enumerate(zip(keys, reply.answers, strict=False))
        return Verdicts(len(keys), {i: a.verdict for i, (_, a) in pairs if a.verdict != PLAIN_SUCCESS})

    monkeypatch.setattr(calls, "reconcile", pair)


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


def accepted_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a request id need not wait for its end."""
    verdict = bulk_subscriber_reply._verdict

    def done(*node: Any) -> Verdict:
        found = verdict(*node)
        return PLAIN_SUCCESS if found.ruling is Ruling.PROMISED else found

    monkeypatch.setattr(bulk_subscriber_reply, "_verdict", done)


def tickets_are_lost_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run sends again what it could ask after."""
    take_over = SqliteLedger.take_over

    def without_tickets(ledger: SqliteLedger) -> ResumePoint:
        point = take_over(ledger)
        rows = {position: replace(row, ticket="", call="") for position, row in point.open.items()}
        return replace(point, open=rows)

    monkeypatch.setattr(SqliteLedger, "take_over", without_tickets)


def asked_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket is asked after as soon as it is there, before the ledger has it."""
    send = BulkSubscriber.send

    async def send_and_ask(target: BulkSubscriber, batch: Batch, http: Http) -> Reply | Fault:
        reply = await send(target, batch, http)
        if isinstance(reply, Reply) and (ticket := reply.answers[0].verdict.ticket):
            await target.poll("", [ticket], http)
        return reply

    monkeypatch.setattr(BulkSubscriber, "send", send_and_ask)


def not_named_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom a refusal does not list must have succeeded."""
    rest_of = bulk_subscriber_reply.rest_of

    def done(answers: Sequence[Answer]) -> Verdict:
        rest = rest_of(answers)
        return PLAIN_SUCCESS if rest.ruling is Ruling.UNTOUCHED else rest

    monkeypatch.setattr(bulk_subscriber, "rest_of", done)


def states_by_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """The states of a call belong to its tickets in the order they come."""

    def in_order(
        envelope: dict[str, Any], _call: str, tickets: Sequence[str], words: Any
    ) -> dict[str, Verdict]:
        content = envelope.get("content") or []
        pairs = zip(tickets, content, strict=False)
        return {ticket: bulk_subscriber_reply._state(entry, ticket, "", words) for ticket, entry in pairs}

    monkeypatch.setattr(bulk_subscriber_reply, "_states", in_order)


def long_open_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was accepted so long ago will have been carried out."""
    monkeypatch.setattr(completion, "_STILL_OPEN", Final(Status.SUCCEEDED))


def forgotten_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the vendor does not know any more it must have finished."""
    poll = BulkSubscriber.poll

    async def done(*asked: Any) -> Any:
        said = await poll(*asked)
        if isinstance(said, Fault):
            return said
        return {at: PLAIN_SUCCESS if it.ruling is Ruling.UNKNOWN else it for at, it in said.items()}

    monkeypatch.setattr(BulkSubscriber, "poll", done)


def the_canary_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the canary is out, the rest follows."""
    admit = Guards.admit

    def admit_more(guards: Guards, batch: Batch) -> int:
        return admit(guards, batch) or len(batch)

    monkeypatch.setattr(Guards, "admit", admit_more)
    monkeypatch.setattr(Guards, "waiting", False)


def a_tripped_guard_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards may say what they like."""

    async def go_on(_pool: worker_pool.WorkerPool, _trip: object) -> None:
        return

    monkeypatch.setattr(worker_pool.WorkerPool, "_heed", go_on)


@pytest.mark.parametrize(
    ("target", "plant", "words"),
    [
        ("sim-express", unchecked_zip, ("does not hold it", "never said it succeeded", "holds it")),
        ("sim-express", claim_after_send, ("holds it", "it was not there before we came")),
        ("sim-express", in_doubt_is_failed, ("holds it",)),
        ("sim-express", whole_batch_again, ("plainly said what became",)),
        ("sim-express", burst_in_the_first_second, ("requests within a second",)),
        ("sim-express", the_canary_is_not_waited_for, ("were out",)),
        ("sim-express", a_tripped_guard_is_ignored, ("of the canary are bad",)),
        ("bulk-subscriber", accepted_is_done, ("ends as succeeded",)),
        ("bulk-subscriber", tickets_are_lost_with_the_process, ("the ledger keeps a ticket for them",)),
        ("bulk-subscriber", asked_before_it_is_written, ("which the ledger does not keep",)),
        ("bulk-subscriber", not_named_is_done, ("ends as succeeded",)),
        ("bulk-subscriber", states_by_position, ("ends as",)),
        ("bulk-subscriber", long_open_is_done, ("ends as succeeded", "its ticket changed")),
        ("bulk-subscriber", forgotten_is_done, ("ends as succeeded",)),
        ("bulk-subscriber", in_doubt_is_failed, ("carried it out",)),
        ("bulk-subscriber", burst_in_the_first_second, ("requests within a second",)),
    ],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
)
def test_a_planted_mistake_is_caught_within_a_hundred_stories(
    target: str,
    plant: Callable[[pytest.MonkeyPatch], None],
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    for seed in [seed for seed in range(1, 300) if target_of(seed) == target][:100]:
        breaches = tell(seed).breaches
        if any(word in breach for breach in breaches for word in words):
            print(f"{plant.__name__}: caught by seed {seed}: {breaches[0]}")
            return
    pytest.fail(f"{plant.__name__} was not caught")
