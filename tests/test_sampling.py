"""A run is sampled often at first and rarely later, from its beginning to its end, and never in its way."""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ledger_making import RECORD
from virtual_clock import run

from pipeline.chronicle import Sample
from pipeline.errors import LedgerError
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import Snapshot, Status
from pipeline.sampling import sample

if TYPE_CHECKING:
    from pathlib import Path


class Written:
    """A ledger that keeps samples, and fails from the `fails_from`th on."""

    def __init__(self, fails_from: int = 1_000_000) -> None:
        self.samples: list[Sample] = []
        self.asked = 0
        self._fails_from = fails_from

    async def write_sample(self, sample: Sample) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.asked >= self._fails_from:
            raise LedgerError("the disk is full")
        self.samples.append(sample)


class Run:
    """An import of which 10 rows a second come to their end."""

    def __init__(self, ledger: Written | SqliteLedger) -> None:
        self.ledger = ledger

    def tempo(self) -> tuple[float, int]:
        return 0.25, 3

    def snapshot(self) -> Snapshot:
        rows = round(asyncio.get_running_loop().time() * 10)
        return Snapshot(
            {Status.SUCCEEDED: rows, Status.REJECTED: 1}, rows, 0, 0, reading_done=False, batches=0,
            requests=rows, in_flight=2, waiting=0, elapsed_s=0, holding="held by anna", open_tickets=5,
            rate_per_s=8.0, concurrency=4, ceiling=16,
        )  # fmt: skip


async def sampled(seconds: float, ledger: Written | SqliteLedger, since: float = 0.0) -> asyncio.Task[None]:
    """Sample for so many seconds, then cancel."""
    work: Any = Run(ledger)
    task = asyncio.create_task(sample(work, lambda: since + round(asyncio.get_running_loop().time(), 3)))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])
    return task


def test_a_sample_says_how_the_run_stands() -> None:
    ledger = Written()
    run(sampled(0.5, ledger))
    assert ledger.samples[0] == Sample(
        at=0.0, rows=1, requests=0, in_flight=2, concurrency=4, rate_per_s=8.0, round_trip_s=0.25,
        pushed_back=3, open_tickets=5, holding="held by anna",
    )  # fmt: skip


def test_there_is_one_at_the_beginning_each_second_and_one_at_the_end() -> None:
    ledger = Written()
    task = run(sampled(3.5, ledger))
    assert [one.at for one in ledger.samples] == [0, 1, 2, 3, 3.5]
    assert task.cancelled()


def test_ten_hours_make_fewer_than_two_thousand_and_never_a_pause_of_minutes() -> None:
    ledger = Written()
    run(sampled(36_000, ledger))
    pauses = [later.at - earlier.at for earlier, later in pairwise(ledger.samples)]
    assert 1_000 < len(ledger.samples) < 2_000
    assert max(pauses) <= 121
    assert ledger.samples[-1].at >= 36_000


def test_a_ledger_that_fails_ends_the_sampling_quietly_and_at_once() -> None:
    ledger = Written(fails_from=3)
    task = run(sampled(100, ledger))
    assert (ledger.asked, len(ledger.samples)) == (3, 2)
    assert not task.cancelled()
    assert task.exception() is None


def test_a_ledger_that_fails_at_the_end_leaves_the_cancellation_as_it_is() -> None:
    ledger = Written(fails_from=3)
    task = run(sampled(1.5, ledger))
    assert (ledger.asked, len(ledger.samples)) == (3, 2)
    assert task.cancelled()


def test_a_run_that_is_taken_up_again_is_sampled_on(tmp_path: Path) -> None:
    with closing(SqliteLedger.create(tmp_path, RECORD, inline=True)) as ledger:
        run(sampled(1.5, ledger))
    with closing(SqliteLedger.open(tmp_path, inline=True)) as ledger:
        run(sampled(1.5, ledger, since=86_400.0))
        assert [one.at for one in ledger.samples()] == [0, 1, 1.5, 86_400, 86_401, 86_401.5]
