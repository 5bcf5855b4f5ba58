"""One call to the vendor and what it told: a batch sent, or a question asked after promised items.

What goes wrong on the way comes back as a Fault; what is odd about an answer goes to the log.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from pipeline.contracts import CompletingTarget
from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind, Ruling, Verdict
from pipeline.reconciler import reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.contracts import Target
    from pipeline.model import Batch, Reply, Verdicts
    from pipeline.open_tickets import Question
    from pipeline.timed_http import TimedHttp

_STRANGE = Verdict(Ruling.OPEN, "ticket_strange", "the ticket for this item bears our own credentials")

log = structlog.get_logger(__name__)


class Hide(Protocol):
    """Takes out of a vendor's words the secrets that are known, and `more` of them."""

    def __call__(self, text: str, *more: str) -> str:
        """Give the text without them."""
        ...


def show(text: str, *_more: str) -> str:
    """Hide nothing."""
    return text


async def send(target: Target, batch: Batch, http: TimedHttp, hide: Hide = show) -> Verdicts | Fault:
    """Send a batch; give a verdict for each of its items, in words without secrets."""
    reply: Reply | Fault
    try:
        reply = await target.send(batch, http)
    except NoReply as error:
        reply = error.fault
    if isinstance(reply, Fault):
        fault = _hidden_in(reply, http, hide)
        never_left = fault.kind is FaultKind.WITHDRAWN
        log.log(
            logging.INFO if never_left else logging.WARNING,
            "not sent" if never_left else "no answer for the items",
            items=len(batch),
            kind=str(fault.kind),
            code=fault.code,
            reason=fault.reason,
        )
        return fault
    verdicts = reconcile(batch.keys(), reply)
    if verdicts.evidence:
        odd = [hide(evidence, *http.secrets) for evidence in verdicts.evidence]
        log.warning("odd reply", evidence=odd)
    if not verdicts.exceptions:
        return verdicts
    call = "" if _bears(verdicts.call, http.secrets) else verdicts.call
    return replace(verdicts, exceptions=_all_hidden_in(verdicts.exceptions, http, hide), call=call)


async def ask(
    target: Target, question: Question, http: TimedHttp, hide: Hide = show, *, shared: Callable[[str], bool]
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
        fault = _hidden_in(said, http, hide)
        log.warning("no answer to a question", kind=str(fault.kind), code=fault.code, reason=fault.reason)
        return fault
    ambiguous = {index for index, ticket in question.tickets.items() if shared(ticket)}
    if ambiguous:
        log.warning("tickets given to several items", items=len(ambiguous))
    found = {
        index: said[ticket]
        for index, ticket in question.tickets.items()
        if ticket in said and index not in ambiguous
    }
    return _all_hidden_in(found, http, hide)


def _bears(name: str, secrets: Sequence[str]) -> bool:
    """Tell whether what a vendor calls a ticket is what it knows us by: nothing to keep, or to ask after."""
    return any(secret in name for secret in secrets)


def _hidden_in(fault: Fault, http: TimedHttp, hide: Hide) -> Fault:
    return replace(fault, code=hide(fault.code, *http.secrets), reason=hide(fault.reason, *http.secrets))


def _all_hidden_in(verdicts: Mapping[int, Verdict], http: TimedHttp, hide: Hide) -> dict[int, Verdict]:
    """Hide secrets in the words of verdicts, once where many are the same."""
    seen: dict[Verdict, Verdict] = {}
    hidden = {}
    for index, verdict in verdicts.items():
        if verdict not in seen:
            code, reason = (hide(words, *http.secrets) for words in (verdict.code, verdict.reason))
            told = msgspec.structs.replace(verdict, code=code, reason=reason)
            seen[verdict] = _STRANGE if _bears(verdict.ticket, http.secrets) else told
        hidden[index] = seen[verdict]
    return hidden
