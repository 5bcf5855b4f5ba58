"""The producer: screened, deduplicated, bounded batches out of any source."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from pyroaring import BitMap

from pipeline.errors import InventoryError
from pipeline.model import BrokenRow, Chunk, Finding, OpenRow, Portion, ResumePoint, Status
from pipeline.producer import ENVELOPE_BYTES, Producer
from pipeline.row_names import RowNames
from pipeline.settings import Input
from pipeline.targets import bulk_subscriber
from pipeline.targets.sim_express import Settings, SimExpress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.model import Batch

HEADER = ("iccid", "eid", "imei", "ac", "cc", "apn")
Row = tuple[str, ...]


def profile(number: int, **changes: str) -> Row:
    cells = {
        "iccid": f"{8935711001000000101 + number}",
        "eid": "35203000100100000000000000287435",
        "imei": "861111111111115",
        "ac": "1",
        "cc": "",
        "apn": "iot",
    }
    return tuple((cells | changes).values())


@dataclass
class ListSource:
    """A source of given rows, in chunks of given sizes; None stands for a broken row."""

    rows: Sequence[Row | None]
    chunk_rows: int = 1000
    header: tuple[str, ...] = HEADER
    bytes_total: int = 1000
    findings: tuple[Finding, ...] = ()

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self.rows), self.chunk_rows):
            part = self.rows[start : start + self.chunk_rows]
            whole = [(start + i + 1, row) for i, row in enumerate(part) if row is not None]
            columns = {
                str(c): pa.array([row[c] for _, row in whole], pa.string()) for c in range(len(self.header))
            }
            yield Chunk(
                pa.record_batch(columns),
                pa.array([position for position, _ in whole], pa.int64()),
                tuple(
                    BrokenRow(start + i + 1, "has 2 cells", "a,b")
                    for i, row in enumerate(part)
                    if row is None
                ),
                rows_read=start + len(part),
                bytes_read=start + len(part),
            )


def target(monkeypatch: pytest.MonkeyPatch) -> SimExpress:
    monkeypatch.setenv("CODE", "x")
    return SimExpress(Settings(kind="sim-express", access_code="env:CODE", secret_code="env:CODE"))


@pytest.fixture
def sim_express(monkeypatch: pytest.MonkeyPatch) -> SimExpress:
    return target(monkeypatch)


def produce(
    sim_express: SimExpress,
    *sources: ListSource,
    batch_items: int = 1000,
    batch_bytes: int = 8_000_000,
    resume: ResumePoint | None = None,
) -> list[Portion]:
    producer = Producer(
        sources, sim_express, Input(), batch_items=batch_items, batch_bytes=batch_bytes, resume=resume
    )
    return list(producer.portions())


def batches_of(portions: list[Portion]) -> list[Batch]:
    return [batch for portion in portions for batch in portion.batches]


def positions_of(batch: Batch) -> list[int]:
    return list(batch.items.column("position").to_pylist())


def test_every_batch_but_the_last_is_full(sim_express: SimExpress) -> None:
    portions = produce(sim_express, ListSource([profile(i) for i in range(2500)], chunk_rows=700))
    assert [len(batch) for batch in batches_of(portions)] == [1000, 1000, 500]


def test_items_keep_the_order_and_the_text_of_the_inventory(sim_express: SimExpress) -> None:
    (batch,) = batches_of(produce(sim_express, ListSource([profile(2), profile(1)])))
    assert positions_of(batch) == [1, 2]
    assert batch.keys() == ["8935711001000000103", "8935711001000000102"]
    sent = json.loads(bytes(batch.payload()).split(b"},")[0] + b"}")
    assert sent == dict(zip(HEADER, profile(2), strict=True))
    assert batch.source_rows([1]) == [profile(1)]


@settings(max_examples=40, deadline=None)
@given(
    chunk_rows=st.integers(1, 60),
    batch_items=st.integers(1, 50),
    batch_bytes=st.integers(400, 4000),
    seed=st.integers(0, 2**32),
)
def test_the_same_rows_are_cut_into_the_same_batches_whatever_the_chunks(
    chunk_rows: int, batch_items: int, batch_bytes: int, seed: int
) -> None:
    rng = random.Random(seed)
    rows = [profile(i, apn="x" * rng.randint(1, 60)) for i in range(100)]
    with pytest.MonkeyPatch.context() as patch:
        express = target(patch)
        bounds = {"batch_items": batch_items, "batch_bytes": batch_bytes}
        whole = batches_of(produce(express, ListSource(rows), **bounds))
        pieces = batches_of(produce(express, ListSource(rows, chunk_rows), **bounds))
    assert [positions_of(b) for b in pieces] == [positions_of(b) for b in whole]
    assert [p for b in whole for p in positions_of(b)] == list(range(1, 101))
    for batch in whole:
        assert len(batch) <= batch_items
        assert len(batch.payload()) + ENVELOPE_BYTES <= batch_bytes


def test_a_batch_is_cut_only_where_the_next_item_would_not_fit(sim_express: SimExpress) -> None:
    rows = [profile(i) for i in range(20)]
    size = produce(sim_express, ListSource(rows))[-1].batches[0].payload().nbytes // 20
    cut = batches_of(produce(sim_express, ListSource(rows), batch_bytes=5 * size + ENVELOPE_BYTES))
    assert [len(batch) for batch in cut] == [5, 5, 5, 5]


def test_an_item_too_large_for_any_batch_is_rejected(sim_express: SimExpress) -> None:
    portions = produce(sim_express, ListSource([profile(1, ac="x" * 2000), profile(2)]), batch_bytes=1000)
    (rejected,) = portions[0].exceptional
    assert (rejected.position, rejected.status, rejected.code) == (1, Status.REJECTED, "too_long")
    assert "x" * 20 not in rejected.reason
    assert [positions_of(b) for b in batches_of(portions)] == [[2]]


def test_a_repeated_key_is_a_duplicate_and_the_first_one_is_sent(sim_express: SimExpress) -> None:
    portions = produce(sim_express, ListSource([profile(1), profile(2), profile(1)], chunk_rows=1))
    (repeated,) = [row for portion in portions for row in portion.exceptional]
    assert (repeated.position, repeated.status, repeated.key) == (3, Status.DUPLICATE, "8935711001000000102")
    assert repeated.cells == profile(1)


def test_a_rejected_row_makes_no_later_row_a_duplicate(sim_express: SimExpress) -> None:
    portions = produce(sim_express, ListSource([profile(1, apn=""), profile(1)]))
    assert [row.status for row in portions[0].exceptional] == [Status.REJECTED]
    assert [positions_of(b) for b in batches_of(portions)] == [[2]]


def test_keys_that_differ_in_the_last_digit_alone_are_three_profiles(sim_express: SimExpress) -> None:
    rows = [profile(0, iccid=f"1234567891234567891{digit}") for digit in "925"]
    (batch,) = batches_of(produce(sim_express, ListSource(rows)))
    assert len(batch) == 3


def test_a_broken_row_is_rejected_at_its_place_with_its_raw_text(sim_express: SimExpress) -> None:
    portions = produce(sim_express, ListSource([profile(1), None, profile(2)]))
    (rejected,) = portions[0].exceptional
    assert (rejected.position, rejected.status, rejected.raw) == (2, Status.REJECTED, "a,b")
    assert [positions_of(b) for b in batches_of(portions)] == [[1, 3]]


def test_every_row_is_either_sent_or_has_a_record(sim_express: SimExpress) -> None:
    rng = random.Random(5)
    rows = [
        rng.choice([None, profile(rng.randint(1, 50)), profile(i, imei="1"), profile(i)]) for i in range(500)
    ]
    portions = produce(sim_express, ListSource(rows, chunk_rows=37), batch_items=10)
    recorded = [row.position for portion in portions for row in portion.exceptional]
    sent = [p for batch in batches_of(portions) for p in positions_of(batch)]
    assert sorted(recorded + sent) == list(range(1, 501))
    assert portions[-1].rows_read == 500


def test_several_files_are_one_inventory_with_running_positions(sim_express: SimExpress) -> None:
    portions = produce(
        sim_express, ListSource([profile(1), profile(2)]), ListSource([profile(2), profile(3)])
    )
    assert [positions_of(b) for b in batches_of(portions)] == [[1, 2, 4]]
    assert [row.position for p in portions for row in p.exceptional] == [3]
    assert portions[-1].rows_read == 4


@pytest.mark.parametrize(
    ("left_out", "more"), [((), ""), (("odd name",), '; and under no known name: "odd name"')]
)
def test_a_header_that_will_not_do_is_told_with_its_file(
    sim_express: SimExpress, left_out: tuple[str, ...], more: str
) -> None:
    good, bad = ListSource([profile(1)]), ListSource([("x",)], header=("note",))
    bad.left_out = left_out  # type: ignore[attr-defined]
    names = RowNames(["/in/a.csv", "/in/b.csv"])
    with pytest.raises(InventoryError) as raised:
        Producer([good, bad], sim_express, Input(), batch_items=9, batch_bytes=8_000_000, row_names=names)
    assert str(raised.value).startswith("b.csv: no column for iccid")
    assert str(raised.value).endswith(f'The file has: "note"{more}')


def test_a_resumed_run_leaves_out_what_is_done_but_still_knows_its_keys(sim_express: SimExpress) -> None:
    rows = [profile(1), profile(2), profile(3), profile(1)]
    portions = produce(sim_express, ListSource(rows), resume=ResumePoint(BitMap([1, 3])))
    assert [positions_of(b) for b in batches_of(portions)] == [[2]]
    assert [row.status for p in portions for row in p.exceptional] == [Status.DUPLICATE]


def test_rows_left_open_travel_with_their_own_history_and_never_with_fresh_ones(
    sim_express: SimExpress,
) -> None:
    left_open = {2: OpenRow(3, in_doubt=True), 4: OpenRow(3, in_doubt=True), 5: OpenRow(1, in_doubt=False)}
    resume = ResumePoint(BitMap([1]), left_open)
    portions = produce(sim_express, ListSource([profile(i) for i in range(6)], chunk_rows=2), resume=resume)
    found = {(b.sends, b.in_doubt): positions_of(b) for b in batches_of(portions)}
    assert found == {(3, True): [2, 4], (1, False): [5], (0, False): [3, 6]}


def test_a_source_is_read_no_further_than_portions_are_asked_for(sim_express: SimExpress) -> None:
    read: list[int] = []

    class Watched(ListSource):
        def chunks(self) -> Iterator[Chunk]:
            for chunk in super().chunks():
                read.append(chunk.rows_read)
                yield chunk

    source = Watched([profile(i) for i in range(100)], chunk_rows=10)
    portions = Producer([source], sim_express, Input(), batch_items=5, batch_bytes=10_000).portions()
    next(portions)
    next(portions)
    assert read == [10, 20]


# ---------------------------------------------------------------- one SIM under two names


@pytest.fixture
def bulk(monkeypatch: pytest.MonkeyPatch) -> bulk_subscriber.BulkSubscriber:
    monkeypatch.setenv("CODE", "x")
    return bulk_subscriber.BulkSubscriber(
        bulk_subscriber.Settings(kind="bulk-subscriber", base_url="https://vendor.example", token="env:CODE")
    )


TYPED = ("type", "value", "alias", "imsi")
ICCID = "8935711001000000101"
IMSI = "262010000000001"


def findings_of(
    target: bulk_subscriber.BulkSubscriber, *sources: ListSource, resume: ResumePoint | None = None
) -> list[str]:
    producer = Producer(sources, target, Input(), batch_items=200, batch_bytes=8_000_000, resume=resume)
    return [finding.words for portion in producer.portions() for finding in portion.findings]


@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
def test_a_sim_that_the_file_shows_to_be_named_twice_is_found(
    bulk: bulk_subscriber.BulkSubscriber, chunk_rows: int
) -> None:
    rows: list[Row | None] = [
        ("SUPI", IMSI, "a", ""),
        ("iccid", ICCID, "a", f" {IMSI} "),
        None,
        ("ICCID", f"{int(ICCID) + 1}", "b", "x"),
        ("IMSI", IMSI, "c", IMSI),
    ]
    words = "row 5 names by IMSI a SIM that row 2 names by ICCID"
    assert findings_of(bulk, ListSource(rows, chunk_rows, TYPED)) == [words]


def test_rows_that_are_never_sent_name_no_sim(bulk: bulk_subscriber.BulkSubscriber) -> None:
    rows: list[Row] = [
        ("ICCID", ICCID, "", IMSI),
        ("ICCID", f"{int(ICCID) + 1}", "b", ""),
        ("ICCID", f"{int(ICCID) + 1}", "b", IMSI),
        ("IMSI", IMSI, "c", ""),
    ]
    assert findings_of(bulk, ListSource(rows, 1000, TYPED)) == []


def test_what_one_file_shows_holds_for_the_files_after_it(bulk: bulk_subscriber.BulkSubscriber) -> None:
    first = ListSource([("ICCID", ICCID, "a", IMSI)], 1000, TYPED)
    second = ListSource([("IMSI", IMSI, "a", "")], 1000, TYPED)
    assert findings_of(bulk, first, second) == ["row 2 names by IMSI a SIM that row 1 names by ICCID"]


def test_a_resumed_run_finds_the_same(bulk: bulk_subscriber.BulkSubscriber) -> None:
    source = ListSource([("ICCID", ICCID, "a", IMSI), ("IMSI", IMSI, "c", "")], 1000, TYPED)
    assert findings_of(bulk, source, resume=ResumePoint(BitMap([1]))) == findings_of(bulk, source) != []


def test_files_without_further_identifiers_show_nothing(bulk: bulk_subscriber.BulkSubscriber) -> None:
    rows: list[Row] = [("ICCID", ICCID, "a"), ("IMSI", IMSI, "c")]
    assert findings_of(bulk, ListSource(rows, 1000, TYPED[:3])) == []


def test_the_first_portion_says_what_is_odd_about_the_files(bulk: bulk_subscriber.BulkSubscriber) -> None:
    odd = [Finding(0, "quantity", f"{name}: says another number of rows") for name in ("a", "b")]
    sources = [ListSource([("ICCID", ICCID, "a", "")] * 3, 1, TYPED, findings=(finding,)) for finding in odd]
    producer = Producer(sources, bulk, Input(), batch_items=200, batch_bytes=8_000_000)
    first, *others = [portion.findings for portion in producer.portions()]
    assert first == tuple(odd)
    assert others == [()] * 6


def test_a_number_that_could_pass_for_an_identifier_is_kept_as_the_number_it_was(
    sim_express: SimExpress,
) -> None:
    @dataclass
    class Numbers(ListSource):
        def chunks(self) -> Iterator[Chunk]:
            for chunk in super().chunks():
                yield replace(chunk, numbers={0: pa.array([True]), 5: pa.array([True])})

    row = profile(1, apn="12345")
    (rejected,) = produce(sim_express, Numbers([row]))[0].exceptional
    assert rejected.code == "iccid_damaged"
    assert rejected.cells == (f"{row[0]}.0", *row[1:])
    again = produce(sim_express, ListSource([rejected.cells]))[0].exceptional
    assert [found.code for found in again] == ["iccid_damaged"]
