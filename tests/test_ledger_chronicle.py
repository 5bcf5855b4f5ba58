"""Events, wishes, samples and findings of a run in its SQLite ledger."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from ledger_making import RECORD, batch_of, row

from pipeline.chronicle import Event, EventKind, Sample
from pipeline.errors import LedgerError
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import FindingTally, Settlement, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TUNE = Event(5.5, EventKind.TUNE, "tuned", "maria", {"requests_per_second": 5.0})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger.create(tmp_path / "run", RECORD)
    yield ledger
    ledger.close()


async def test_events_come_back_in_the_order_they_were_noted(ledger: SqliteLedger) -> None:
    started = Event(1.25, EventKind.STARTED, "begun, ü€", taken_at=1.25)
    await ledger.note(started)
    ledger.wish(TUNE)
    first, second = ledger.events()
    assert (first.at, first.words, first.taken_at, first.id) == (1.25, "begun, ü€", 1.25, 1)
    assert (second.kind, second.by, dict(second.data), second.taken_at, second.id) == (
        EventKind.TUNE,
        "maria",
        {"requests_per_second": 5.0},
        None,
        2,
    )


async def test_a_wish_is_told_until_it_is_taken(ledger: SqliteLedger) -> None:
    ledger.wish(TUNE)
    ledger.wish(Event(6.0, EventKind.HOLD, "lunch"))
    assert [wish.kind for wish in ledger.wishes()] == [EventKind.TUNE, EventKind.HOLD]
    tune, hold = ledger.wishes()
    await ledger.take(tune, 7.0)
    await ledger.take(tune, 9.0)  # once taken it stays so
    assert ledger.wishes() == [hold]
    assert [event.taken_at for event in ledger.events()] == [7.0, None]


async def test_an_event_that_was_noted_as_done_is_no_wish(ledger: SqliteLedger) -> None:
    await ledger.note(Event(1.0, EventKind.GUARD, "tripped", taken_at=1.0))
    assert ledger.wishes() == []


async def test_a_wish_of_another_process_goes_through_while_the_owner_writes_busily(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    done = asyncio.Event()

    async def work(first: int) -> int:
        batches = 0
        while not done.is_set():
            batch = await ledger.claim(batch_of(range(first, first + 50)))
            await ledger.settle(Settlement(batch.id, (row(first, Status.REFUSED),)))
            first, batches = first + 200, batches + 1
        return batches

    other = SqliteLedger.open(tmp_path / "run", read_only=True)
    workers = [asyncio.create_task(work(first)) for first in (1, 51, 101, 151)]
    for number in range(20):
        await asyncio.to_thread(other.wish, Event(float(number), EventKind.HOLD, f"wish {number}"))
        assert ledger.wishes()[-1].words == f"wish {number}"
    done.set()
    batches = sum(await asyncio.gather(*workers))
    assert [wish.words for wish in ledger.wishes()] == [f"wish {number}" for number in range(20)]
    assert ledger.counts()[Status.REFUSED] == batches == ledger.batches()


async def test_who_only_reads_may_wish_but_not_note(ledger: SqliteLedger, tmp_path: Path) -> None:
    reader = SqliteLedger.open(tmp_path / "run", read_only=True)
    reader.wish(TUNE)
    with pytest.raises(LedgerError, match="reading only"):
        await reader.note(TUNE)
    assert len(ledger.wishes()) == 1


async def test_samples_come_back_by_time_and_of_one_moment_the_last(ledger: SqliteLedger) -> None:
    early = Sample(1.0, 10, 1, 1, 4, 10.0, 0.25, 0)
    late = Sample(2.0, 20, 2, 1, 4, 10.0, 0.0, 3, open_tickets=7, holding="outside its hours")
    for sample in (late, early, Sample(1.0, 1, 1, 1, 1, 1.0, 1.0, 1), early):
        await ledger.write_sample(sample)
    assert ledger.samples() == [early, late]


def test_findings_replace_those_before_the_largest_first(ledger: SqliteLedger) -> None:
    ledger.write_findings([FindingTally("old", 1, "w")])
    few, many = FindingTally("few", 2, "row 1: \ud800"), FindingTally("many", 9, "row 2")
    ledger.write_findings([few, many])
    assert ledger.findings() == [many, FindingTally("few", 2, "row 1: ?")]


@pytest.mark.parametrize(
    "data", ['{"at": 1.0}', '{"at": 1.0, "snapshot": {"counts": {"lost": 1}}}', "[1]", "no"]
)
def test_a_standing_that_another_version_wrote_in_another_way_is_none(
    ledger: SqliteLedger, tmp_path: Path, data: str
) -> None:
    with closing(sqlite3.connect(next(tmp_path.rglob("ledger.sqlite")))) as connection, connection:
        connection.execute("INSERT INTO standing VALUES (1, ?)", (data,))
    assert ledger.standing() is None
