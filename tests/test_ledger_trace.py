"""What the SQLite ledger can tell of one key: where it stands, every send of it, and how doubts ended."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING

import pytest
from ledger_making import RECORD, batch_of, key_of, promised, row

from pipeline.ledgers import trace
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import (
    Completion,
    Doubt,
    Exceptional,
    Fault,
    FaultKind,
    Ruling,
    Setback,
    Settlement,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOST = Fault(FaultKind.LOST, "timeout", "no complete answer within reply_timeout_s")
BUSY = Fault(FaultKind.NOT_CARRIED_OUT, "http_429", "HTTP 429: slow down")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger.create(tmp_path / "nightly", RECORD, inline=True)
    yield ledger
    ledger.close()


def shuffled(count: int) -> list[str]:
    return [key_of(number) for number in random.Random(2).sample(range(10**8), count)]


# ---------------------------------------------------------------- where a key stands


async def test_a_key_is_found_in_an_inventory_without_order(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = shuffled(4_000)
    for at in range(0, 4_000, 100):
        batch = await ledger.claim(batch_of(range(at + 1, at + 101), keys=keys[at : at + 100]))
        await ledger.settle(Settlement(batch.id))
    unpacked: list[int] = []
    search = trace.places_of_key
    monkeypatch.setattr(
        trace,
        "places_of_key",
        lambda *given: unpacked.append(1) or search(*given),  # type: ignore[func-returns-value]
    )
    for position in (1, 2_345, 4_000):
        (found,) = ledger.trace(keys[position - 1])
        assert (found.position, found.batch, found.status) == (
            position,
            (position + 99) // 100,
            Status.SUCCEEDED,
        )
    assert ledger.trace(key_of(10**8 + 1)) == []
    assert len(unpacked) < 10  # of 160


async def test_several_keys_are_looked_for_at_once(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1, 2, 3]))
    await ledger.settle(Settlement(batch.id))
    await ledger.record([row(9, Status.REJECTED)])
    found = ledger.trace(key_of(9), "nobody", key_of(2))
    assert [(each.position, each.key) for each in found] == [(2, key_of(2)), (9, key_of(9))]


async def test_a_row_that_was_never_sent_is_found_among_thousands(ledger: SqliteLedger) -> None:
    keys = shuffled(9_000)
    await ledger.record([row(n, Status.REJECTED, key=key) for n, key in enumerate(keys, start=1)])
    await ledger.record([row(9_001, Status.DUPLICATE, key=keys[0]), row(9_002, Status.REJECTED, key="")])
    assert [found.position for found in ledger.trace(keys[0])] == [1, 9_001]
    assert [found.position for found in ledger.trace(keys[8_999])] == [9_000]
    assert [found.position for found in ledger.trace("")] == [9_002]
    assert ledger.trace(key_of(10**8 + 1)) == []


async def test_rows_met_again_by_a_resumed_run_leave_no_second_filter(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    rejected = [row(n, Status.REJECTED) for n in range(1, 10)]
    await ledger.record(rejected)
    await ledger.record(rejected)
    with sqlite3.connect(tmp_path / "nightly" / "ledger.sqlite") as connection:
        assert connection.execute("SELECT first, last FROM row_filter").fetchall() == [(1, 9)]
    connection.close()


async def test_a_key_whose_batch_was_not_carried_out_is_told_as_open(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1, 2]))
    await ledger.settle(Settlement(batch.id, void=True, fault=BUSY))
    assert ledger.trace(key_of(2)) == [Exceptional(2, key_of(2), None, BUSY.code, BUSY.reason, 0, 1)]
    again = await ledger.claim(batch_of([1, 2]))
    await ledger.settle(Settlement(again.id))
    assert ledger.trace(key_of(2)) == [Exceptional(2, key_of(2), Status.SUCCEEDED, "", "", 1, 2)]


# ---------------------------------------------------------------- every send


async def test_every_send_of_a_row_is_told_with_its_words_and_its_request(ledger: SqliteLedger) -> None:
    first = await ledger.claim(batch_of(range(1, 11)))
    await ledger.settle(Settlement(first.id, void=True, request_id="r1", fault=BUSY))
    second = await ledger.claim(batch_of(range(1, 11)))
    rows = tuple(row(n, None, in_doubt=True) for n in range(1, 11))
    await ledger.settle(Settlement(second.id, rows, request_id="r2", fault=LOST))
    third = await ledger.claim(batch_of([3, 5, 7], sends=1))
    setbacks = (
        Setback((5, 3), Ruling.PASSING, "busy", "system busy"),
        Setback((7,), Ruling.OPEN, "odd", "?"),
    )
    await ledger.settle(
        Settlement(third.id, (row(3, None), row(5, None), row(7, None)), request_id="r3", setbacks=setbacks)
    )
    fourth = await ledger.claim(batch_of([3, 7], sends=2))
    await ledger.settle(Settlement(fourth.id, (row(3, Status.CONFIRMED), row(7, Status.REFUSED))))
    told = [(a.batch, a.items, a.ended, a.code, a.reason, a.request_id) for a in ledger.attempts(3)]
    assert told == [
        (1, 10, "not_carried_out", BUSY.code, BUSY.reason, "r1"),
        (2, 10, "lost", LOST.code, LOST.reason, "r2"),
        (3, 3, "passing", "busy", "system busy", "r3"),
        (4, 2, "answered", "", "", ""),
    ]
    assert [a.ended for a in ledger.attempts(7)] == ["not_carried_out", "lost", "open", "answered"]
    assert [a.ended for a in ledger.attempts(4)] == ["not_carried_out", "lost"]
    assert ledger.attempts(11) == []
    times = [moment for a in ledger.attempts(3) for moment in (a.at, a.ended_at or 0)]
    assert times == sorted(times)


async def test_a_send_whose_process_died_and_one_under_way_are_told(ledger: SqliteLedger) -> None:
    await ledger.claim(batch_of([1, 2]))
    ledger.take_over()
    await ledger.claim(batch_of([1, 2], sends=1))
    told = [(a.batch, a.ended, a.ended_at) for a in ledger.attempts(2)]
    assert told == [(1, "died", None), (2, "under_way", None)]


async def test_when_promises_of_a_batch_were_kept_is_told(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1, 2, 3]))
    await ledger.settle(Settlement(batch.id, tuple(map(promised, (1, 2, 3)))))
    (accepted,) = ledger.attempts(1)
    assert accepted.completed_at is None
    forgotten = Setback((3,), Ruling.UNKNOWN, "GLOBAL_1003", "no such call")
    await ledger.complete(Completion(batch.id, (1,), (row(3, None),), (forgotten,)))
    (kept,) = ledger.attempts(1)
    assert kept.ended_at == accepted.ended_at
    assert kept.completed_at
    assert accepted.ended_at
    assert kept.completed_at >= accepted.ended_at
    assert [(a.ended, a.code) for a in ledger.attempts(3)] == [("unknown", "GLOBAL_1003")]


async def test_what_was_said_of_a_row_before_it_was_opened_again_is_kept(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1, 2]))
    await ledger.settle(Settlement(batch.id, (row(2, Status.REFUSED, code="000106", reason="bad apn"),)))
    assert ledger.reopen(["000106"]) == 1
    again = await ledger.claim(batch_of([2], sends=1))
    await ledger.settle(Settlement(again.id, (row(2, Status.SUCCEEDED),)))
    assert [(a.ended, a.code, a.reason) for a in ledger.attempts(2)] == [
        ("refused", "000106", "bad apn"),
        ("answered", "", ""),
    ]


async def test_a_thousand_items_with_words_of_their_own_are_written_down(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of(range(1, 1_201)))
    rows = tuple(row(n, None) for n in range(1, 1_201))
    setbacks = tuple(Setback((n,), Ruling.PASSING, "busy", f"iccid {n} \ud800") for n in range(1, 1_201))
    await ledger.settle(Settlement(batch.id, rows, setbacks=setbacks))
    assert [ledger.attempts(n)[0].reason for n in (1, 777, 1_200)] == [
        f"iccid {n} ?" for n in (1, 777, 1_200)
    ]


async def test_a_clean_run_has_nothing_but_its_request_ids(ledger: SqliteLedger, tmp_path: Path) -> None:
    for first in range(1, 3_000, 1_000):
        batch = await ledger.claim(batch_of(range(first, first + 1_000)))
        await ledger.settle(Settlement(batch.id, request_id="r"))
    with sqlite3.connect(tmp_path / "nightly" / "ledger.sqlite") as connection:
        for table in ("row", "setback", "key_filter", "row_filter"):
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == []  # noqa: S608 - our words
    connection.close()
    assert not ledger.doubts().batches


# ---------------------------------------------------------------- doubts


async def test_doubts_are_told_with_how_their_items_ended(ledger: SqliteLedger) -> None:
    lost = await ledger.claim(batch_of(range(1, 7)))
    await ledger.settle(
        Settlement(lost.id, tuple(row(n, None, in_doubt=True) for n in range(1, 7)), fault=LOST)
    )
    again = await ledger.claim(batch_of(range(1, 6), sends=1, in_doubt=True))
    ends = (Status.CONFIRMED, Status.CONFIRMED, Status.SUCCEEDED, Status.REFUSED, Status.IN_DOUBT)
    rows = tuple(row(n, end, in_doubt=True) for n, end in enumerate(ends, start=1))
    await ledger.settle(Settlement(again.id, rows))
    void = await ledger.claim(batch_of([20]))
    await ledger.settle(Settlement(void.id, void=True, fault=BUSY))
    odd = await ledger.claim(batch_of([30, 31]))
    setback = Setback((31,), Ruling.OPEN, "reply_short", "no word")
    await ledger.settle(Settlement(odd.id, (row(31, None, in_doubt=True),), setbacks=(setback,)))
    await ledger.claim(batch_of([40, 41]))
    ledger.take_over()
    doubts = ledger.doubts()
    ended = {Status.CONFIRMED: 2, Status.SUCCEEDED: 1, Status.REFUSED: 1, Status.IN_DOUBT: 1}
    assert (doubts.batches, doubts.items, doubts.ended, doubts.open) == (3, 9, ended, 4)
    first, second, third = doubts.first
    assert first == Doubt(1, first.at, 6, LOST.code, LOST.reason, ended, open=1)
    assert (second.batch, second.items, second.code, second.ended, second.open) == (
        odd.id,
        1,
        "reply_short",
        {},
        1,
    )
    assert (third.batch, third.items, third.code, third.open) == (5, 2, "process_ended", 2)


async def test_only_the_first_doubts_are_told_one_by_one(ledger: SqliteLedger) -> None:
    for n in range(1, 21):
        batch = await ledger.claim(batch_of([n]))
        open_row = row(n, None, in_doubt=True)
        if n % 2:
            await ledger.settle(Settlement(batch.id, (open_row,), fault=LOST))
        else:
            setback = Setback((n,), Ruling.OPEN, "odd", "")
            await ledger.settle(Settlement(batch.id, (open_row,), setbacks=(setback,)))
    doubts = ledger.doubts(5)
    assert [doubt.batch for doubt in doubts.first] == [1, 2, 3, 4, 5]
    assert (doubts.batches, doubts.items, doubts.open) == (20, 20, 20)
