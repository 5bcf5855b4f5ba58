"""One call to the vendor and what it told: a batch sent, or a question asked after promised items.

What goes wrong on the way comes back as a Fault; what is odd about an answer goes to the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipeline.contracts import CompletingTarget
from pipeline.errors import NoReply
from pipeline.model import Fault
from pipeline.reconciler import reconcile

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts import Http, Target
    from pipeline.model import Batch, Verdict, Verdicts
    from pipeline.open_tickets import Question

log = structlog.get_logger(__name__)


async def send(target: Target, batch: Batch, http: Http) -> Verdicts | Fault:
    """Send a batch; give a verdict for each of its items."""
    try:
        reply = await target.send(batch, http)
    except NoReply as error:
        reply = error.fault
    if isinstance(reply, Fault):
        log.warning(
            "no answer for the items",
            batch=batch.id,
            items=len(batch),
            sends=batch.sends + 1,
            kind=str(reply.kind),
            code=reply.code,
            reason=reply.reason,
        )
        return reply
    verdicts = reconcile(batch.keys(), reply)
    if verdicts.evidence:
        log.warning("odd reply", batch=batch.id, sends=batch.sends + 1, evidence=verdicts.evidence)
    return verdicts


async def ask(
    target: Target, question: Question, http: Http, *, shared: Callable[[str], bool]
) -> dict[int, Verdict] | Fault:
    """Put one question to the vendor; give verdicts by index of the item, none for what it has no word on.

    `shared` tells of a ticket that several items hold: a word on it is believed for none of them.
    """
    if not isinstance(target, CompletingTarget):
        raise TypeError(f"target {target.name} gives tickets and has no poll to ask after them")
    try:
        said = await target.poll(question.call, tuple(question.tickets.values()), http)
    except NoReply as error:
        said = error.fault
    if isinstance(said, Fault):
        log.warning(
            "no answer to a question",
            batch=question.batch.id,
            kind=str(said.kind),
            code=said.code,
            reason=said.reason,
        )
        return said
    ambiguous = {index for index, ticket in question.tickets.items() if shared(ticket)}
    if ambiguous:
        log.warning("tickets given to several items", batch=question.batch.id, items=len(ambiguous))
    return {
        index: said[ticket]
        for index, ticket in question.tickets.items()
        if ticket in said and index not in ambiguous
    }
