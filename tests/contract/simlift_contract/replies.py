"""What a target makes of what its vendor says, whatever it is: nothing is good without the vendor's word."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given, strategies as st

from pipeline.contracts import CompletingTarget
from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind, Reply, Ruling
from pipeline.wire import Response, fault_of
from simlift_contract.hooks import MODERATE, TargetUnderTest, shown_in, verdicts_of
from simlift_contract.vendor import HTML, Vendor, json_in, repeating, saying

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.wire import Request

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
GARBAGE = st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode())
SILENT = (b"", b" \r\n", HTML, b"null", b"{}", b"[]", b'""', b"[" * 50_000, b"\xff\xfe")
STATUSES = (302, 400, 401, 403, 404, 405, 408, 413, 422, 425, 429, 500, 502, 503, 504)

_ODD: tuple[Any, ...] = (None, 0, 1, -1, True, "", " ", "x", [], {}, [None], [[]], {"": None}, 1e300)
_DONE = (Ruling.SUCCEEDED, Ruling.PROMISED)
_AS_IF_THERE = (*_DONE, Ruling.EXISTS)


class RepliesContract(TargetUnderTest):
    """Replies, faults and silence; most of it at every exchange of a send, a login included."""

    def test_a_good_answer_makes_every_item_good(self) -> None:
        batch, target = self.batch(), self.target()
        found = self.send(Vendor(self.answer), batch)
        assert isinstance(found, Reply), found
        verdicts = verdicts_of(found, batch)
        assert [verdict for verdict in verdicts if verdict.ruling not in _DONE] == []
        assert all(verdict.ticket for verdict in verdicts if verdict.ruling is Ruling.PROMISED)
        promised = any(verdict.ruling is Ruling.PROMISED for verdict in verdicts)
        assert isinstance(target, CompletingTarget) == promised == self.completes, (
            "a vendor that promises takes a target with `poll` and the CompletingTargetContract"
        )

    @MODERATE
    @given(data=st.data())
    def test_a_good_answer_is_understood_for_any_items_in_any_order(self, data: st.DataObject) -> None:
        fields = self.fields()
        chosen = data.draw(st.lists(st.integers(0, fields.num_rows - 1), min_size=1, unique=True))
        batch = self.batch(fields.take(chosen))
        verdicts = verdicts_of(self.send(Vendor(self.answer), batch), batch)
        assert len(verdicts) == len(chosen)
        assert {verdict.ruling for verdict in verdicts} <= set(_DONE)

    def test_an_item_the_answer_leaves_out_is_not_made_good(self) -> None:
        batch = self.batch()
        last = self.exchanges_of_a_send() - 1
        for index in range(len(batch)):

            def short(request: Request, index: int = index) -> Response:
                return self.without_entry(self.answer(request), index, len(batch))

            verdicts = verdicts_of(self.send(Vendor(self.answer, short, since=last), batch), batch)
            assert not verdicts or verdicts[index].ruling not in _AS_IF_THERE

    def test_an_answer_about_other_items_is_not_believed(self) -> None:
        """Where entries or an echo name items: an answer that names none cannot contradict itself."""
        ours, others = (self.batch(self.fields().slice(at, 1)) for at in (0, 1))
        theirs = Vendor(self.answer)
        told = self.send(theirs, others)
        last = self.exchanges_of_a_send() - 1
        found = self.send(Vendor(self.answer, repeating(theirs.last), since=last), ours)
        assert isinstance(told, Reply)
        names_items = told.echo is not None or all(answer.names is not None for answer in told.answers)
        assert not names_items or {verdict.ruling for verdict in verdicts_of(found, ours)} <= {Ruling.OPEN}

    def test_a_refusal_is_told_in_the_vendor_s_words(self) -> None:
        batch = self.batch()
        found = self.send(Vendor(self.refusing("value out of range")), batch)
        assert "value out of range" in shown_in(found, batch)
        assert not isinstance(found, Fault) or found.kind is FaultKind.REFUSED
        assert {verdict.ruling for verdict in verdicts_of(found, batch)} <= {Ruling.REFUSED}

    # ------------------------------------------------------------ silence and HTTP

    @pytest.mark.parametrize("kind", [FaultKind.LOST, FaultKind.NOT_CARRIED_OUT, FaultKind.WITHDRAWN])
    def test_a_missing_reply_passes_as_it_is(self, kind: FaultKind) -> None:
        silence = NoReply(Fault(kind, "silence", "no answer"))
        last = self.exchanges_of_a_send() - 1
        with pytest.raises(NoReply) as error:
            self.send(Vendor(self.answer, _raising(silence), since=last))
        assert error.value is silence

    def test_a_missing_reply_before_the_batch_makes_nothing_good(self) -> None:
        silence = NoReply(Fault(FaultKind.LOST, "silence", "no answer"))
        for since in range(self.exchanges_of_a_send() - 1):
            try:
                found = self.send(Vendor(self.answer, _raising(silence), since=since))
            except NoReply as error:
                found = error.fault
            assert isinstance(found, Fault)

    @pytest.mark.parametrize("status", STATUSES)
    @pytest.mark.parametrize("body", [b"", HTML], ids=["empty", "html"])
    def test_a_status_means_what_http_says(self, status: int, body: bytes) -> None:
        """Before the batch nothing of it has left: "not carried out" is then as right, or to stop."""
        meant = fault_of(Response(status, {}, b""))
        assert meant is not None
        last = self.exchanges_of_a_send() - 1
        plain = meant.kind in (FaultKind.STOP, FaultKind.NOT_CARRIED_OUT)
        said = saying(body, status, retry_after="7", location="https://elsewhere.example/")
        for since in range(last + 1):
            found = self.send(Vendor(self.answer, said, since=since))
            assert isinstance(found, Fault)
            right = set() if plain or since == last else {FaultKind.NOT_CARRIED_OUT, FaultKind.STOP}
            assert found.kind in {meant.kind, *right}
            if meant.kind is FaultKind.NOT_CARRIED_OUT:
                assert found.retry_after_s == 7

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_a_status_is_believed_before_a_good_body(self, status: int) -> None:
        def contradict(request: Request) -> Response:
            return replace(self.answer(request), status=status)

        meant = fault_of(Response(status, {}, b""))
        found = self.send(Vendor(self.answer, contradict, since=self.exchanges_of_a_send() - 1))
        assert isinstance(found, Fault)
        assert meant is not None
        assert found.kind is meant.kind

    # ------------------------------------------------------------ a 200 that says nothing

    @pytest.mark.parametrize("body", SILENT)
    def test_a_200_without_a_word_is_a_lost_answer(self, body: bytes) -> None:
        batch, last = self.batch(), self.exchanges_of_a_send() - 1
        for since in range(last + 1):
            found = self.send(Vendor(self.answer, saying(body), since=since), batch)
            assert {verdict.ruling for verdict in verdicts_of(found, batch)} <= {Ruling.OPEN}
            assert not isinstance(found, Fault) or since < last or found.kind is FaultKind.LOST

    @MODERATE
    @given(data=st.data())
    def test_an_answer_cut_off_makes_nothing_good(self, data: st.DataObject) -> None:
        """Not every item, where the lines before a cut can be whole; no item where the answer is JSON."""
        batch = self.batch()
        since = data.draw(st.integers(0, self.exchanges_of_a_send() - 1))
        whole: list[bytes] = []

        def cut(request: Request) -> Response:
            said = self.answer(request)
            whole.append(said.body)
            return replace(said, body=said.body[: data.draw(st.integers(0, len(said.body.rstrip()) - 1))])

        found = self.send(Vendor(self.answer, cut, since=since), batch)
        good = [verdict.ruling in _AS_IF_THERE for verdict in verdicts_of(found, batch)]
        assert not good or not all(good)
        assert not any(good) or json_in(whole[-1]) is None

    @MODERATE
    @given(data=st.data(), body=GARBAGE)
    def test_garbage_makes_nothing_good_and_raises_nothing(self, data: st.DataObject, body: bytes) -> None:
        batch = self.batch()
        since = data.draw(st.integers(0, self.exchanges_of_a_send() - 1))
        found = self.send(Vendor(self.answer, saying(body), since=since), batch)
        assert {verdict.ruling for verdict in verdicts_of(found, batch)}.isdisjoint(_AS_IF_THERE)

    @MODERATE
    @given(data=st.data())
    def test_a_good_answer_with_strange_values_raises_nothing(self, data: st.DataObject) -> None:
        batch = self.batch()
        since = data.draw(st.integers(0, self.exchanges_of_a_send() - 1))

        def strange(request: Request) -> Response:
            whole = self.answer(request)
            body = json_in(whole.body)
            return whole if body is None else replace(whole, body=_disturbed(data, body))

        verdicts_of(self.send(Vendor(self.answer, strange, since=since), batch), batch)

    # ------------------------------------------------------------ secrets

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 413, 422, 429, 500, 503])
    def test_no_secret_is_shown_when_the_vendor_repeats_it(self, status: int) -> None:
        batch, last = self.batch(), self.exchanges_of_a_send() - 1
        for secret in self.secrets():
            words = f"cannot take {secret} here"
            bodies = (words, json.dumps({"message": words, "code": secret}))
            vendors = [
                Vendor(self.answer, saying(body, status), since=since)
                for body in bodies
                for since in range(last + 1)
            ]
            for vendor in (*vendors, Vendor(self.refusing(words, status))):
                assert secret not in shown_in(self.send(vendor, batch), batch)

    @pytest.mark.parametrize("status", [200, 400, 401, 500])
    def test_no_secret_is_shown_when_the_vendor_echoes_the_request(self, status: int) -> None:
        def echo(request: Request) -> Response:
            return Response(status, {}, f"{dict(request.headers)} ".encode() + request.body)

        batch = self.batch()
        for since in range(self.exchanges_of_a_send()):
            shown = shown_in(self.send(Vendor(self.answer, echo, since=since), batch), batch)
            assert [secret for secret in self.secrets() if secret in shown] == []


def _raising(silence: NoReply) -> Callable[[Request], NoReturn]:
    def raise_it(_: Request) -> NoReturn:
        raise silence

    return raise_it


def _disturbed(data: st.DataObject, body: Any) -> bytes:
    """Put something odd in the place of some values."""

    def of(value: Any) -> Any:
        if data.draw(st.integers(0, 5)) == 0:
            return data.draw(st.sampled_from(_ODD))
        if isinstance(value, dict):
            return {name: of(inner) for name, inner in value.items()}
        return [of(inner) for inner in value] if isinstance(value, list) else value

    return json.dumps(of(body)).encode()
