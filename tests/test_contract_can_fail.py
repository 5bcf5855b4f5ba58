"""The contract itself: each way of breaking it is noticed, by the sentence that speaks of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import test_contract_sources
import test_contract_targets

from pipeline.errors import NoReply
from pipeline.model import PLAIN_SUCCESS, Answer, Batch, Fault, FaultKind, Reply
from pipeline.sources.csv_file import CsvSource
from pipeline.targets.bulk_subscriber import BulkSubscriber
from pipeline.targets.sim_express import SimExpress
from pipeline.wire import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.contracts import Http
    from pipeline.model import Chunk


class Believing(SimExpress):
    """Takes any 200 for a success of everything."""

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        found = await super().send(batch, http)
        said_nothing = isinstance(found, Fault) and found.code.startswith("reply_")
        return Reply([Answer(PLAIN_SUCCESS)] * len(batch)) if said_nothing else found


class Hasty(SimExpress):
    """Takes a lost answer for one that was not carried out, and silence for an answer."""

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        try:
            found = await super().send(batch, http)
        except NoReply as error:
            return error.fault
        lost = isinstance(found, Fault) and found.kind is FaultKind.LOST
        return Fault(FaultKind.NOT_CARRIED_OUT, "again", "again") if lost else found


class Talkative(SimExpress):
    """Shows the vendor's words as they are."""

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        heard = []

        class Listening:
            requests = 0

            async def exchange(self, make_request: Any) -> Any:
                heard.append(await http.exchange(make_request))
                return heard[-1]

        found = await super().send(batch, Listening())
        shown = heard[-1].body.decode("utf-8", "replace")
        return Fault(found.kind, found.code, shown) if isinstance(found, Fault) else found


class Fragile(SimExpress):
    """Raises what JSON raises."""

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        response = await http.exchange(lambda: Request("POST", "/", body=bytes(batch.payload())))
        return Reply([Answer(PLAIN_SUCCESS) for _ in json.loads(response.body)["resultList"]])


class Unescaped(SimExpress):
    """Builds JSON without escaping."""

    def encode(self, fields: pa.RecordBatch) -> pa.StringArray:
        rows = [",".join(f'"{name}":"{cell}"' for name, cell in row.items()) for row in fields.to_pylist()]
        return pa.array(["{" + row + "}," for row in rows])


class Counting(SimExpress):
    """Numbers the rows of a chunk."""

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        return pa.array([str(at) for at in range(fields.num_rows)])


class Whole(SimExpress):
    """Sends the whole buffer behind a slice."""

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        column: Any = batch.items.column("payload")
        whole = pa.Array.from_buffers(pa.string(), len(column) + column.offset, column.buffers())
        return await super().send(Batch(pa.record_batch({"payload": whole})), http)


class Trusting(BulkSubscriber):
    """Takes any answer after tickets for a success."""

    async def poll(self, call: str, tickets: Any, http: Http) -> Any:
        found = await super().poll(call, tickets, http)
        return found if found and not isinstance(found, Fault) else dict.fromkeys(tickets, PLAIN_SUCCESS)


@pytest.mark.parametrize(
    ("kind", "sentence", "arguments"),
    [
        (Believing, "test_a_200_without_a_word_is_a_lost_answer", (b"",)),
        (Believing, "test_an_answer_cut_off_makes_nothing_good", ()),
        (Believing, "test_garbage_makes_nothing_good_and_raises_nothing", ()),
        (Hasty, "test_a_status_means_what_http_says", (500, b"")),
        (Hasty, "test_a_missing_reply_passes_as_it_is", (FaultKind.LOST,)),
        (Hasty, "test_a_status_is_believed_before_a_good_body", (502,)),
        (Talkative, "test_no_secret_is_shown_when_the_vendor_repeats_it", (400,)),
        (Talkative, "test_no_secret_is_shown_when_the_vendor_echoes_the_request", (500,)),
        (Fragile, "test_a_200_without_a_word_is_a_lost_answer", (b"{}",)),
        (Fragile, "test_a_good_answer_with_strange_values_raises_nothing", ()),
        (Unescaped, "test_any_text_arrives_as_it_is", ()),
        (Counting, "test_a_row_s_key_and_piece_do_not_depend_on_its_neighbours", ()),
        (Whole, "test_a_body_is_built_from_its_own_items_alone", ()),
        (SimExpress, "test_it_is_registered_under_its_name", ()),
    ],
)
def test_a_target_that_breaks_a_rule_is_noticed(kind: Any, sentence: str, arguments: tuple[Any, ...]) -> None:
    class Contract(test_contract_targets.TestSimExpress):
        pass

    Contract.kind = kind
    if kind is SimExpress:
        Contract.table = {**Contract.table, "kind": "another"}
    with pytest.raises(BaseException) as noticed:  # noqa: PT011 - whatever pytest would show as a failure
        getattr(Contract(), sentence)(*arguments)
    assert not isinstance(noticed.value, NotImplementedError | AttributeError | KeyboardInterrupt)


@pytest.mark.parametrize(
    ("sentence", "arguments"),
    [
        ("test_garbage_after_tickets_says_nothing", ()),
        ("test_a_200_after_tickets_without_a_word_says_nothing", (b"{}",)),
        ("test_a_status_after_tickets_means_what_http_says", (500, b"")),
        ("test_an_answer_after_tickets_cut_off_is_no_word_on_all", ()),
    ],
)
def test_a_target_that_trusts_answers_after_tickets_is_noticed(
    sentence: str, arguments: tuple[Any, ...]
) -> None:
    class Contract(test_contract_targets.TestBulkSubscriber):
        kind = Trusting

    contract = Contract()
    contract.setup_method()
    with pytest.raises(AssertionError):
        getattr(contract, sentence)(*arguments)


class Forgetful(CsvSource):
    """Loses the last row of a file."""

    def chunks(self) -> Iterator[Chunk]:
        for chunk in super().chunks():
            rows = max(0, chunk.rows.num_rows - 1)
            yield type(chunk)(
                chunk.rows.slice(0, rows),
                chunk.positions.slice(0, rows),
                (),
                chunk.rows_read,
                chunk.bytes_read,
            )


class Converting(CsvSource):
    """Takes what looks like a number for one."""

    def chunks(self) -> Iterator[Chunk]:
        for chunk in super().chunks():
            cells = [[cell.lstrip("0") for cell in column.to_pylist()] for column in chunk.rows.columns]
            rows = pa.record_batch(
                {str(at): pa.array(column, pa.string()) for at, column in enumerate(cells)}
            )
            yield type(chunk)(rows, chunk.positions, chunk.broken, chunk.rows_read, chunk.bytes_read)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Forgetful, "test_every_row_is_read_once_with_its_cells_as_they_stood"),
        (Converting, "test_what_looks_like_a_number_stays_text"),
    ],
)
def test_a_source_that_breaks_a_rule_is_noticed(kind: Any, sentence: str) -> None:
    class Contract(test_contract_sources.TestCsv):
        pass

    Contract.kind = kind
    with pytest.raises(AssertionError):
        getattr(Contract(), sentence)()
