"""What a target makes of the answers after tickets: a vendor that accepts now and finishes later."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from pipeline.contracts import CompletingTarget
from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind, Ruling
from pipeline.reconciler import reconcile
from pipeline.wire import Response, fault_of
from simlift_contract.hooks import MODERATE, TargetUnderTest
from simlift_contract.replies import GARBAGE, SILENT
from simlift_contract.vendor import HTML, Vendor, repeating, saying

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.model import Batch, Verdict
    from pipeline.wire import Request

    Question = tuple[str, list[str]]

_STATUSES = (401, 403, 425, 429, 500, 502, 503, 504)


class PollsContract(TargetUnderTest):
    """The questions after tickets: of a whole call, where there is one, and of every single ticket."""

    def not_yet(self, request: Request) -> Response:
        """Play the vendor when what is asked after is not done yet; `answer` plays it when all is done."""
        raise NotImplementedError

    # ------------------------------------------------------------ made of the hooks

    def questions(self, batch: Batch | None = None) -> list[Question]:
        """List what there is to ask after once a batch was accepted."""
        batch = batch or self.batch()
        found = self.send(Vendor(self.answer), batch)
        assert not isinstance(found, Fault), found
        tickets = [verdict.ticket for verdict in reconcile(batch.keys(), found).exceptions.values()]
        return ([(found.call, tickets)] if found.call else []) + [("", [ticket]) for ticket in tickets]

    def poll(self, question: Question, vendor: Vendor) -> Mapping[str, Verdict] | Fault:
        """Ask by a target of its own, as after a restart. Raises NoReply where the vendor does."""
        call, tickets = question
        found: Mapping[str, Verdict] | Fault = asyncio.run(self.target().poll(call, tickets, vendor))
        assert isinstance(found, Fault) or set(found) <= set(tickets), "a verdict on a ticket not asked after"
        return found

    def exchanges_of(self, question: Question) -> int:
        """Count the exchanges of a question that is answered well."""
        return self.exchanges(lambda http: self.target().poll(*question, http))

    def _answer_but_for(self, status: int, request: Request) -> Response:
        return replace(self.answer(request), status=status)

    # ------------------------------------------------------------ sentences

    def test_what_is_done_is_succeeded(self) -> None:
        assert isinstance(self.target(), CompletingTarget)
        for question in self.questions():
            found = self.poll(question, Vendor(self.answer))
            assert not isinstance(found, Fault), found
            assert set(found) == set(question[1])
            assert {verdict.ruling for verdict in found.values()} == {Ruling.SUCCEEDED}

    def test_what_is_not_done_stays_promised(self) -> None:
        for question in self.questions():
            last = self.exchanges_of(question) - 1
            found = self.poll(question, Vendor(self.answer, self.not_yet, since=last))
            assert not isinstance(found, Fault), found
            assert {verdict.ruling for verdict in found.values()} <= {Ruling.PROMISED}

    def test_a_missing_answer_after_tickets_passes_as_it_is(self) -> None:
        silence = NoReply(Fault(FaultKind.LOST, "silence", "no answer"))

        def say_nothing(_: Request) -> Response:
            raise silence

        for question in self.questions():
            last = self.exchanges_of(question) - 1
            with pytest.raises(NoReply) as error:
                self.poll(question, Vendor(self.answer, say_nothing, since=last))
            assert error.value is silence

    @pytest.mark.parametrize("status", _STATUSES)
    @pytest.mark.parametrize("body", [b"", HTML, None], ids=["empty", "html", "good"])
    def test_a_status_after_tickets_means_what_http_says(self, status: int, body: bytes | None) -> None:
        """But what is wrong with a question after a whole call may be no more than that: REFUSED."""
        meant = fault_of(Response(status, {}, b""))
        assert meant is not None
        play = partial(self._answer_but_for, status) if body is None else saying(body, status)
        for question in self.questions():
            last = self.exchanges_of(question) - 1
            found = self.poll(question, Vendor(self.answer, play, since=last))
            assert isinstance(found, Fault)
            stops = bool(question[0]) and meant.kind is FaultKind.STOP
            assert found.kind in ({meant.kind, FaultKind.REFUSED} if stops else {meant.kind})

    @pytest.mark.parametrize("body", SILENT)
    def test_a_200_after_tickets_without_a_word_says_nothing(self, body: bytes) -> None:
        for question in self.questions():
            for since in range(self.exchanges_of(question)):
                assert _said(self.poll(question, Vendor(self.answer, saying(body), since=since))) == set()

    @MODERATE
    @given(data=st.data(), body=GARBAGE)
    def test_garbage_after_tickets_says_nothing(self, data: st.DataObject, body: bytes) -> None:
        question = data.draw(st.sampled_from(self.questions()))
        since = data.draw(st.integers(0, self.exchanges_of(question) - 1))
        assert _said(self.poll(question, Vendor(self.answer, saying(body), since=since))) == set()

    @MODERATE
    @given(data=st.data())
    def test_an_answer_after_tickets_cut_off_is_no_word_on_all(self, data: st.DataObject) -> None:
        question = data.draw(st.sampled_from(self.questions()))

        def cut(request: Request) -> Response:
            said = self.answer(request)
            return replace(said, body=said.body[: data.draw(st.integers(0, len(said.body.rstrip()) - 1))])

        since = self.exchanges_of(question) - 1
        found = self.poll(question, Vendor(self.answer, cut, since=since))
        assert len(_said(found)) < len(question[1])

    def test_an_answer_after_other_tickets_says_nothing_of_ours(self) -> None:
        """Where an answer names what it is about: one after a single ticket need not."""
        ours, others = (self.questions(self.batch(self.fields().slice(at, 1))) for at in (0, 1))
        for mine, other in zip(ours, others, strict=True):
            assert set(mine[1]).isdisjoint(other[1]), "the vendor you play gives one ticket twice"
            theirs = Vendor(self.answer)
            self.poll(other, theirs)
            if any(ticket.encode() in theirs.last.body for ticket in other[1]):
                last = self.exchanges_of(mine) - 1
                found = self.poll(mine, Vendor(self.answer, repeating(theirs.last), since=last))
                assert _said(found) == set()

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
    def test_no_secret_is_shown_in_an_answer_after_tickets(self, status: int) -> None:
        for secret in self.secrets():
            words = f"cannot tell {secret} here"
            for body in (words, json.dumps({"message": words, "code": secret})):
                for question in self.questions():
                    last = self.exchanges_of(question) - 1
                    found = self.poll(question, Vendor(self.answer, saying(body, status), since=last))
                    said = [found] if isinstance(found, Fault) else list(found.values())
                    assert not any(secret in f"{one.code} {one.reason}" for one in said)


def _said(found: Mapping[str, Verdict] | Fault) -> set[str]:
    """Give the tickets that there is a word on."""
    if isinstance(found, Fault):
        return set()
    return {ticket for ticket, verdict in found.items() if verdict.ruling is not Ruling.OPEN}
