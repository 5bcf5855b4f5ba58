"""What a target's author says of the target and its vendor, and what the contract makes of it."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

import pyarrow as pa
from hypothesis import HealthCheck, settings

from pipeline.model import PLAIN_SUCCESS, Batch, Chunk, Fault
from pipeline.reconciler import reconcile
from pipeline.rules import rules_of
from pipeline.screening import Screen
from pipeline.settings import Endpoint, Input, read_table
from simlift_contract.vendor import Vendor, json_in, without_entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pipeline.contracts import Http
    from pipeline.model import Reply, Verdict
    from pipeline.wire import Request, Response
    from simlift_contract.vendor import Play

#: For all property tests here. Every subclass runs the same function: hypothesis would take that for a slip.
MODERATE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
_SHORTEST_SECRET = 6


class TargetUnderTest:
    """The hooks. A class that sets them is a whole test; nothing leaves this machine."""

    kind: ClassVar[Any]
    """The target's class, as it is registered."""

    table: ClassVar[Mapping[str, Any]]
    """A [target] table of a job file that is right, secrets by reference ("env:ACME_TOKEN")."""

    environment: ClassVar[Mapping[str, str]] = {}
    """What stands in the environment for them: secrets of at least 6 characters, found nowhere else."""

    rows: ClassVar[Mapping[str, Sequence[str]]]
    """At least three rows of an inventory as columns by header; all good, no two with one key."""

    completes: ClassVar[bool] = False
    """True in CompletingTargetContract: the vendor accepts now and finishes later."""

    def answer(self, request: Request) -> Response:
        """Play the vendor when all is good, for whatever items stand in the request.

        What comes before a batch (a login) is asked here too; the last exchange of a send carries the batch.
        """
        raise NotImplementedError

    def refusal(self, request: Request, words: str) -> Response:
        """Play the vendor when it refuses a batch or every item of it for good, in these words."""
        raise NotImplementedError

    def without_entry(self, response: Response, index: int, entries: int) -> Response:
        """Give the vendor's good answer without one of its entries. As it stands, for answers in JSON."""
        body = json_in(response.body)
        less = without_entry(body, index, entries)
        assert less != body, f"no list of {entries} entries in the answer: define without_entry for it"
        return replace(response, body=json.dumps(less).encode())

    # ------------------------------------------------------------ made of the hooks

    def settings(self, **changes: Any) -> Endpoint:
        """Read the [target] table, with changes. Raises UsageError."""
        with mock.patch.dict(os.environ, self.environment):
            model: type[Endpoint] = self.kind.settings
            return read_table(model, {**self.table, **changes}, where="job.toml", table="target")

    @property
    def _contract(self) -> Any:  # for mypy a class with protocols in it is not Hashable
        return type(self)

    def target(self) -> Any:
        """Make a target of its own: what one has learnt, another does not know."""
        return self.kind(_settings_of(self._contract))

    def fields(self) -> pa.RecordBatch:
        """Screen the rows as the program does, and give what a target is given."""
        return _fields_of(self._contract)

    def batch(self, fields: pa.RecordBatch | None = None) -> Batch:
        """Make a batch of screened rows, as the producer does."""
        fields = self.fields() if fields is None else fields
        target = self.target()
        columns = {
            "position": pa.array(range(1, fields.num_rows + 1), pa.int64()),
            "key": target.key(fields),
            "payload": target.encode(fields),
            "cells": pa.array([{"0": ""}] * fields.num_rows),
        }
        return Batch(pa.record_batch(columns))

    def send(self, vendor: Vendor, batch: Batch | None = None) -> Reply | Fault:
        """Send a batch by a target of its own. Raises NoReply where the vendor does."""
        sent: Reply | Fault = asyncio.run(self.target().send(batch or self.batch(), vendor))
        return sent

    def exchanges(self, ask: Callable[[Http], Awaitable[object]]) -> int:
        """Count the exchanges of a question that is answered well; the last one carries the question."""
        vendor = Vendor(self.answer)

        async def asked() -> None:
            await ask(vendor)

        asyncio.run(asked())
        assert vendor.sent, "nothing was sent: every request goes through http.exchange"
        return len(vendor.sent)

    def exchanges_of_a_send(self) -> int:
        """Count the exchanges of a send that goes well."""
        return self.exchanges(lambda http: self.target().send(self.batch(), http))

    def refusing(self, words: str, status: int = 0) -> Play:
        """Play a vendor that refuses the batch in these words, and answers well what comes before it."""
        well = Vendor(self.answer)
        self.send(well)
        carrying = (well.sent[-1].method, well.sent[-1].path)

        def play(request: Request) -> Response:
            if (request.method, request.path) != carrying:
                return self.answer(request)
            said = self.refusal(request, words)
            return replace(said, status=status or said.status)

        return play

    def secrets(self) -> list[str]:
        """List what must never be shown: credentials, and the cells of Confidential fields."""
        fields = self.fields()
        hidden = [rule.name for rule in rules_of(self.kind.rules) if rule.confidential]
        cells = [cell for name in hidden for cell in fields.column(name).to_pylist() if cell]
        matching_ids = [cell.rpartition("$")[2] for cell in cells if "$" in cell]
        assert all(len(value) >= _SHORTEST_SECRET for value in self.environment.values()), "longer secrets"
        return [*self.environment.values(), *cells, *matching_ids]


@cache
def _settings_of(contract: type[TargetUnderTest]) -> Endpoint:
    return contract().settings()


@cache
def _fields_of(contract: type[TargetUnderTest]) -> pa.RecordBatch:
    header, columns = list(contract.rows), list(contract.rows.values())
    count = len(columns[0])
    cells = pa.record_batch({str(at): pa.array(column, pa.string()) for at, column in enumerate(columns)})
    screened = Screen(contract.kind.rules, header, Input())(
        Chunk(cells, pa.array(range(1, count + 1), pa.int64()), (), count, 0)
    )
    assert not screened.rejected, f"the rows are to be good: {screened.rejected[0].reason}"
    assert count > 2, "give at least three rows"
    return screened.fields


def verdicts_of(found: Reply | Fault, batch: Batch) -> list[Verdict]:
    """Give what simlift concludes for each item of a batch; nothing of a fault."""
    if isinstance(found, Fault):
        return []
    verdicts = reconcile(batch.keys(), found)
    return [verdicts.exceptions.get(index, PLAIN_SUCCESS) for index in range(len(batch))]


def shown_in(found: Reply | Fault, batch: Batch) -> str:
    """Give all words of a reply or fault that reach a ledger, a report or a log."""
    if isinstance(found, Fault):
        return f"{found.code} {found.reason}"
    answers = [answer.verdict for answer in found.answers] + ([found.rest] if found.rest else [])
    return " ".join(f"{verdict.code} {verdict.reason}" for verdict in [*answers, *verdicts_of(found, batch)])
