from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from ledger_making import RECORD, batch_of, key_of, promised, row

from pipeline.errors import LedgerError
from pipeline.ledgers import outcomes
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import (
    OUTCOME_COLUMNS,
    Completion,
    Exceptional,
    OpenRow,
    Settlement,
    State,
    Status,
    Tally,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger.create(tmp_path / "nightly", RECORD)
    yield ledger
    ledger.close()


def told(ledger: SqliteLedger) -> list[tuple[Any, ...]]:
    """Give all outcomes as tuples."""
    return [tuple(record.values()) for part in ledger.outcomes() for record in part.to_pylist()]


async def test_batches_are_numbered_from_one_and_keep_their_content(ledger: SqliteLedger) -> None:
    first = await ledger.claim(batch_of([1, 2, 3]))
    second = await ledger.claim(batch_of([4, 9], sends=2))
    assert (first.id, second.id, second.sends, second.keys()) == (1, 2, 2, [key_of(4), key_of(9)])
    assert ledger.batches() == 2


async def test_a_hundred_claims_at_once_share_a_few_commits(ledger: SqliteLedger) -> None:
    reached, opened = threading.Event(), threading.Event()
    commits: list[str] = []

    def hold_the_thread(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        reached.set()
        assert opened.wait(30)

    assert ledger._writer
    busy = asyncio.ensure_future(ledger._writer.write(hold_the_thread))
    await asyncio.to_thread(reached.wait, 30)
    claims = [asyncio.ensure_future(ledger.claim(batch_of([n]))) for n in range(1, 101)]
    await asyncio.sleep(0)
    opened.set()
    await busy
    assert sorted(batch.id for batch in await asyncio.gather(*claims)) == list(range(1, 101))
    assert len(commits) == 2


async def test_every_commit_is_synced_to_the_disk(ledger: SqliteLedger) -> None:
    assert ledger._writer

    def pragmas(connection: sqlite3.Connection) -> list[Any]:
        return [
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]

    assert await ledger._writer.write(pragmas) == ["wal", 2]  # 2 is FULL


async def test_plain_successes_need_no_row_and_appear_in_the_outcomes(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1, 2, 4]))
    await ledger.settle(Settlement(batch.id))
    assert told(ledger) == [(n, key_of(n), "succeeded", "", "", 1, 1) for n in (1, 2, 4)]
    assert ledger.counts() == {**dict.fromkeys(Status, 0), Status.SUCCEEDED: 3}
    assert list(ledger.exceptional(*Status)) == []


async def test_outcomes_have_the_columns_of_the_contract(ledger: SqliteLedger) -> None:
    await ledger.record([row(1, Status.REJECTED)])
    (part,) = ledger.outcomes()
    assert tuple(part.schema.names) == OUTCOME_COLUMNS
    types = ["int64", "string", "string", "string", "string", "int64", "int64"]
    assert [str(kind) for kind in part.schema.types] == types


async def test_interleaved_batches_and_rows_come_in_inventory_order(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "WINDOW_POSITIONS", 4)
    wide = await ledger.claim(batch_of([1, 7, 30, 31]))
    narrow = await ledger.claim(batch_of([2, 3, 8]))
    await ledger.settle(Settlement(narrow.id))
    await ledger.settle(Settlement(wide.id, (row(7, Status.REFUSED, cells=("x",)), row(31, None))))
    await ledger.record([row(5, Status.DUPLICATE), row(900, Status.REJECTED)])
    assert [(position, status, number) for position, _, status, *_, number in told(ledger)] == [
        (1, "succeeded", 1),
        (2, "succeeded", 2),
        (3, "succeeded", 2),
        (5, "duplicate", 0),
        (7, "refused", 1),
        (8, "succeeded", 2),
        (30, "succeeded", 1),
        (900, "rejected", 0),
    ]


async def test_a_later_settlement_replaces_an_open_row_but_keeps_its_cells(ledger: SqliteLedger) -> None:
    first = await ledger.claim(batch_of([5, 6]))
    await ledger.settle(Settlement(first.id, (row(5, None, cells=("a", "b"), raw="a;b", in_doubt=True),)))
    again = await ledger.claim(batch_of([5], sends=1, in_doubt=True))
    await ledger.settle(Settlement(again.id, (row(5, Status.CONFIRMED, sends=2),)))
    (found,) = ledger.exceptional(Status.CONFIRMED)
    assert (found.cells, found.raw, found.sends, found.batch, found.in_doubt) == (
        ("a", "b"),
        "a;b",
        2,
        2,
        False,
    )
    assert ledger.counts()[Status.CONFIRMED] == ledger.counts()[Status.SUCCEEDED] == 1


async def test_a_void_batch_leaves_its_items_as_they_were(ledger: SqliteLedger) -> None:
    first = await ledger.claim(batch_of([1, 2]))
    await ledger.settle(Settlement(first.id, (row(2, None),)))
    void = await ledger.claim(batch_of([2, 3]))
    await ledger.settle(Settlement(void.id, void=True))
    assert [position for position, *_ in told(ledger)] == [1]
    assert ledger.batches() == 2
    resume = ledger.take_over()
    assert (list(resume.done), resume.open) == ([1], {2: OpenRow(1, in_doubt=False)})


async def test_recording_a_position_again_changes_nothing(ledger: SqliteLedger) -> None:
    await ledger.record([row(1, Status.REJECTED, reason="first")])
    await ledger.record([row(1, Status.DUPLICATE, reason="second"), row(2, Status.DUPLICATE)])
    assert [(found.status, found.reason) for found in ledger.exceptional(*Status)] == [
        (Status.REJECTED, "first"),
        (Status.DUPLICATE, "r"),
    ]


async def test_settling_what_is_not_claimed_fails_alone(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1]))
    await ledger.settle(Settlement(batch.id))
    for number in (batch.id, 77):
        with pytest.raises(LedgerError, match=f"batch {number} is not claimed"):
            await ledger.settle(Settlement(number, (row(1, Status.REFUSED),)))
    await ledger.claim(batch_of([2]))
    assert ledger.counts()[Status.SUCCEEDED] == 1


async def test_taking_over_opens_what_was_claimed_and_leaves_what_is_final(ledger: SqliteLedger) -> None:
    settled = await ledger.claim(batch_of([1, 2]))
    await ledger.settle(Settlement(settled.id, (row(2, None, sends=1, cells=("kept",)),)))
    await ledger.record([row(3, Status.REJECTED)])
    await ledger.claim(batch_of([2], sends=1))
    await ledger.claim(batch_of([4, 6], sends=0))
    resume = ledger.take_over()
    assert list(resume.done) == [1, 3]
    assert resume.open == {2: OpenRow(2, True), 4: OpenRow(1, True), 6: OpenRow(1, True)}
    assert ledger.take_over() == resume
    (two,) = ledger.trace(key_of(2))
    assert (two.status, two.cells, two.batch, two.key) == (None, ("kept",), 2, key_of(2))
    with pytest.raises(LedgerError, match="not claimed"):
        await ledger.settle(Settlement(3))


async def test_taking_over_never_reopens_a_plain_success(ledger: SqliteLedger) -> None:
    settled = await ledger.claim(batch_of([1, 2]))
    await ledger.claim(batch_of([2, 3]))
    await ledger.settle(Settlement(settled.id))
    resume = ledger.take_over()
    assert (list(resume.done), list(resume.open)) == ([1, 2], [3])


async def test_fifty_million_done_rows_are_taken_over_as_a_set(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1]))
    await ledger.settle(Settlement(batch.id))

    def stretch(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE batch SET last = 50000000, items = 50000000, plain = 50000000")

    assert ledger._writer
    ledger._writer.write_now(stretch)
    assert len(ledger.take_over().done) == 50_000_000


async def test_a_tally_counts_by_status_and_code_the_largest_first(ledger: SqliteLedger) -> None:
    await ledger.record([row(n, Status.REJECTED, code="eid", reason=f"at {n}") for n in (9, 4, 7)])
    await ledger.record([row(2, Status.DUPLICATE, code="", reason="as 1")])
    batch = await ledger.claim(batch_of([1, 3]))
    await ledger.settle(Settlement(batch.id, (row(3, None),)))
    assert ledger.tally() == [
        Tally(Status.REJECTED, "eid", 3, 4, "at 4"),
        Tally(Status.DUPLICATE, "", 1, 2, "as 1"),
    ]


async def test_a_key_is_traced_through_rows_batches_and_flight(ledger: SqliteLedger) -> None:
    settled = await ledger.claim(batch_of(range(1, 50)))
    await ledger.settle(Settlement(settled.id, (row(9, Status.REFUSED),)))
    await ledger.record([row(70, Status.DUPLICATE, key=key_of(8))])
    await ledger.claim(batch_of([60, 61]))
    plain = Exceptional(8, key_of(8), Status.SUCCEEDED, "", "", 1, 1)
    assert ledger.trace(key_of(8)) == [plain, row(70, Status.DUPLICATE, key=key_of(8))]
    assert [found.status for found in ledger.trace(key_of(9))] == [Status.REFUSED]
    assert ledger.trace(key_of(61)) == [Exceptional(61, key_of(61), None, "", "", 1, 2, in_doubt=True)]
    assert ledger.trace(key_of(55)) == []


async def test_any_text_comes_back_as_it_was(ledger: SqliteLedger) -> None:
    odd = ("", 'a"b', "c\\d", "e\nf", "g,h", "\u2028", "ü€𝄞", '","', "],[", "\x00")
    keys = ["ICCID:ü", "", "IMSI:1\x002"]
    rows = [
        row(n, Status.REJECTED, key="", cells=cells, raw=raw)
        for n, (cells, raw) in enumerate(
            [(odd, "x\\xff"), (("",), ""), ((), ""), (("a", "b"), "é")], start=10
        )
    ]
    await ledger.record(rows)
    assert list(ledger.exceptional(Status.REJECTED)) == rows
    batch = await ledger.claim(batch_of([1, 2, 3], keys=keys))
    await ledger.settle(Settlement(batch.id))
    assert [key for _, key, status, *_ in told(ledger) if status == "succeeded"] == keys


async def test_a_lone_surrogate_in_the_vendors_words_does_not_stop_the_run(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1]))
    refused = row(1, Status.REFUSED, reason="bad \ud800 item", cells=("\udcff",))
    await ledger.settle(Settlement(batch.id, (refused,)))
    ledger.update_run(stop_reason="bad \ud800 item")
    (found,) = ledger.exceptional(Status.REFUSED)
    assert (found.reason, found.cells, ledger.run().stop_reason) == ("bad ? item", ("\udcff",), "bad ? item")
    assert ledger.trace("\udcff") == []


def test_the_facts_of_a_run_change_by_name_and_survive(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "r", RECORD)
    assert ledger.run() == RECORD
    ledger.update_run(state=State.FINISHED, rows_read=5, exit_code=0, finished_at=2.5)
    with pytest.raises(TypeError, match="colour"):
        ledger.update_run(colour="red")
    ledger.close()
    reader = SqliteLedger.open(tmp_path / "r", read_only=True)
    facts = reader.run()
    assert (facts.state, facts.rows_read, facts.exit_code, facts.finished_at) == (State.FINISHED, 5, 0, 2.5)
    assert (facts.inventory, facts.header, facts.job) == (RECORD.inventory, RECORD.header, RECORD.job)


async def test_a_reader_sees_one_state_while_the_writer_goes_on(
    ledger: SqliteLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "WINDOW_POSITIONS", 2)
    await ledger.record([row(n, Status.REJECTED) for n in range(1, 6)])
    reader = SqliteLedger.open(tmp_path / "nightly", read_only=True)
    reading = reader.outcomes()
    seen = next(reading).num_rows
    await ledger.record([row(n, Status.REJECTED) for n in range(6, 9)])
    seen += await asyncio.to_thread(lambda: sum(part.num_rows for part in reading))
    assert seen == 5
    assert reader.counts()[Status.REJECTED] == 8


async def test_a_reader_writes_nothing(ledger: SqliteLedger, tmp_path: Path) -> None:
    reader = SqliteLedger.open(tmp_path / "nightly", read_only=True)
    with pytest.raises(LedgerError, match="reading only"):
        await reader.claim(batch_of([1]))
    with pytest.raises(LedgerError, match="reading only"):
        reader.take_over()


async def test_a_succeeded_row_takes_less_than_a_byte_in_the_file(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "big", RECORD)
    empty = (tmp_path / "big" / "ledger.sqlite").stat().st_size
    batches = [await ledger.claim(batch_of(range(n, n + 1_000))) for n in range(1, 100_000, 1_000)]
    settled = (Settlement(batch.id, request_id=f"{batch.id:032x}") for batch in batches)
    await asyncio.gather(*map(ledger.settle, settled))
    ledger.close()
    assert sorted(path.name for path in (tmp_path / "big").iterdir()) == ["ledger.sqlite", "lock"]
    assert (tmp_path / "big" / "ledger.sqlite").stat().st_size - empty < 50_000
    assert sum(SqliteLedger.open(tmp_path / "big", read_only=True).counts().values()) == 100_000


async def test_rows_that_may_yet_succeed_are_opened_again_and_doubt_stays(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "run", RECORD, inline=True)
    ends = [
        row(1, Status.GAVE_UP),
        row(2, Status.IN_DOUBT),
        row(3, Status.REFUSED, code="000106"),
        row(4, Status.REFUSED, code="exists"),
        row(5, Status.REJECTED),
    ]
    await ledger.record(ends)
    assert ledger.open_rows() == 0
    assert ledger.reopen(["000106"]) == 3
    await ledger.claim(batch_of([7, 8]))
    assert ledger.open_rows() == 5
    doubts = {position: left.in_doubt for position, left in ledger.take_over().open.items()}
    assert doubts == {1: False, 2: True, 3: False, 7: True, 8: True}
    counts = ledger.counts()
    assert (counts[Status.REFUSED], counts[Status.REJECTED], sum(counts.values())) == (1, 1, 2)
    assert ledger.reopen() == 0
    ledger.close()


async def test_a_finished_run_with_rows_opened_again_is_no_longer_finished(tmp_path: Path) -> None:
    """Found by seed 138: killed between the two, the run had open rows that no resume would have sent."""
    ledger = SqliteLedger.create(tmp_path / "run", RECORD, inline=True)
    await ledger.record([row(1, Status.GAVE_UP)])
    ledger.update_run(state=State.FINISHED)
    ledger.reopen()
    assert ledger.run().state is State.STOPPED
    ledger.close()


# ---------------------------------------------------------------- promises


async def promise(ledger: SqliteLedger, positions: range, *others: Exceptional, sends: int = 0) -> int:
    """Have a batch accepted whose items are promised, but for `others`; give its id."""
    batch = await ledger.claim(batch_of(positions, sends=sends))
    told = {p: promised(p, sends=sends + 1) for p in positions} | {row.position: row for row in others}
    await ledger.settle(Settlement(batch.id, tuple(told.values())))
    return batch.id


async def test_a_promised_item_has_no_outcome_until_its_promise_is_kept(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1, 2, 3]))
    await ledger.settle(Settlement(batch.id, (promised(2), promised(3))))
    assert [position for position, *_ in told(ledger)] == [1]
    assert (ledger.counts()[Status.SUCCEEDED], ledger.open_rows(), ledger.open_tickets()) == (1, 2, 2)
    assert ledger.trace(key_of(3)) == [promised(3, batch=1)]
    await ledger.complete(Completion(batch.id, plain=(3,)))
    assert [(position, status) for position, _, status, *_ in told(ledger)] == [
        (1, "succeeded"),
        (3, "succeeded"),
    ]
    assert (ledger.counts()[Status.SUCCEEDED], ledger.open_rows(), ledger.open_tickets()) == (2, 1, 1)
    assert ledger.trace(key_of(3)) == [Exceptional(3, key_of(3), Status.SUCCEEDED, "", "", 1, 1)]


async def test_a_promise_plainly_kept_leaves_nothing_of_its_own(ledger: SqliteLedger) -> None:
    batch = await promise(ledger, range(1, 4))
    assert told(ledger) == []
    await ledger.complete(Completion(batch, plain=(1, 2, 3)))
    assert ledger._writer
    rows = ledger._writer.write_now(lambda connection: connection.execute("SELECT * FROM row").fetchall())
    assert rows == []
    assert told(ledger) == [(n, key_of(n), "succeeded", "", "", 1, batch) for n in (1, 2, 3)]
    assert list(ledger.take_over().done) == [1, 2, 3]


async def test_a_broken_promise_is_an_end_with_words_and_its_cells_are_kept(ledger: SqliteLedger) -> None:
    batch = await promise(ledger, range(1, 4), promised(2, cells=("b",)))
    ends = (row(1, Status.REFUSED, cells=("a",)), row(2, Status.REFUSED), row(3, None, in_doubt=True))
    await ledger.complete(Completion(batch, exceptional=ends))
    assert list(ledger.exceptional(Status.REFUSED)) == [
        row(1, Status.REFUSED, cells=("a",), batch=batch),
        row(2, Status.REFUSED, cells=("b",), batch=batch),
    ]
    assert ledger.open_tickets() == 0
    assert ledger.take_over().open == {3: OpenRow(1, in_doubt=True)}


@pytest.mark.parametrize(
    "completion",
    [
        Completion(1, plain=(1, 77)),
        Completion(1, plain=(1, 4)),
        Completion(1, plain=(1, 5)),
        Completion(1, plain=(1, 6)),
        Completion(1, plain=(1, 7)),
        Completion(1, plain=(1, 1)),
        Completion(1, plain=(1,), exceptional=(row(1, Status.REFUSED),)),
        Completion(1, plain=(1,), exceptional=(row(4, Status.REFUSED),)),
        Completion(2, plain=(1,)),
        Completion(9, plain=(1,)),
        Completion(3, plain=(11,)),
    ],
    ids=[
        "not claimed",
        "a plain success",
        "open without a ticket",
        "ended",
        "ended with its ticket kept",
        "twice",
        "both ways",
        "a plain success refused",
        "of another batch",
        "of no batch",
        "sent twice",
    ],
)
async def test_completing_what_holds_no_fitting_ticket_changes_nothing(
    ledger: SqliteLedger, completion: Completion
) -> None:
    batch = await ledger.claim(batch_of(range(1, 8)))
    kept = (*map(promised, (1, 2, 3)), row(5, None), row(6, Status.REFUSED))
    kept += (promised(7, status=Status.IN_DOUBT),)
    await ledger.settle(Settlement(batch.id, kept))
    await promise(ledger, range(8, 10))
    await promise(ledger, range(11, 12), sends=1)
    before = (told(ledger), ledger.counts(), ledger.take_over())
    with pytest.raises(LedgerError, match=f"batch {completion.batch} has no open tickets for"):
        await ledger.complete(completion)
    assert (told(ledger), ledger.counts(), ledger.take_over()) == before
    await ledger.complete(Completion(1, plain=(1,), exceptional=(row(3, Status.REFUSED),)))
    await ledger.complete(Completion(3, exceptional=(row(11, Status.SUCCEEDED, sends=2),)))
    assert ledger.counts()[Status.SUCCEEDED] == 3


async def test_tickets_are_told_to_the_process_that_takes_over(ledger: SqliteLedger) -> None:
    call = "ü-call"
    batch = await ledger.claim(batch_of([1, 2, 3, 4]))
    kept = (
        promised(1, call=call),
        promised(2, call=call, in_doubt=True),
        promised(3, call=""),
        row(4, None),
    )
    await ledger.settle(Settlement(batch.id, kept))
    resume = ledger.take_over()
    assert list(resume.done) == []
    assert resume.open == {
        1: OpenRow(1, False, "t1", call, batch.id),
        2: OpenRow(1, True, "t2", call, batch.id),
        3: OpenRow(1, False, "t3", "", batch.id),
        4: OpenRow(1, False),
    }
    assert resume.open[1].call is resume.open[2].call
    assert ledger.take_over() == resume


async def test_a_row_that_is_sent_again_loses_its_ticket(ledger: SqliteLedger) -> None:
    await promise(ledger, range(1, 4))
    again = await ledger.claim(batch_of([1], sends=1))
    await ledger.settle(Settlement(again.id, (row(1, None, sends=2),)))
    void = await ledger.claim(batch_of([3], sends=1))
    await ledger.settle(Settlement(void.id, void=True))
    await ledger.claim(batch_of([2], sends=1))
    assert ledger.take_over().open == {
        1: OpenRow(2, in_doubt=False),
        2: OpenRow(2, in_doubt=True),
        3: OpenRow(1, in_doubt=False, ticket="t3", call="call", batch=1),
    }
    assert ledger.open_tickets() == 1


async def test_what_ended_in_doubt_with_its_ticket_is_asked_after_again(ledger: SqliteLedger) -> None:
    batch = await promise(ledger, range(1, 4))
    ends = (
        promised(1, status=Status.IN_DOUBT),
        promised(2, status=Status.IN_DOUBT, in_doubt=True),
        row(3, Status.IN_DOUBT),
    )
    await ledger.complete(Completion(batch, exceptional=ends))
    ledger.update_run(state=State.FINISHED, exit_code=1)
    assert (ledger.open_tickets(), ledger.counts()[Status.IN_DOUBT]) == (0, 3)
    assert [found.ticket for found in ledger.exceptional(Status.IN_DOUBT)] == ["t1", "t2", ""]
    assert ledger.ask_again() == 2
    assert (ledger.open_tickets(), ledger.counts()[Status.IN_DOUBT]) == (2, 1)
    assert ledger.take_over().open == {
        1: OpenRow(1, False, "t1", "call", batch),
        2: OpenRow(1, True, "t2", "call", batch),
    }
    run = ledger.run()
    assert (run.state, run.exit_code, run.stop_reason) == (
        State.STOPPED,
        None,
        "tickets are asked after again",
    )
    await ledger.complete(Completion(batch, plain=(1, 2)))
    assert ledger.counts()[Status.SUCCEEDED] == 2


async def test_a_finished_run_without_a_kept_ticket_stays_finished(ledger: SqliteLedger) -> None:
    await ledger.record([row(1, Status.IN_DOUBT), row(2, Status.GAVE_UP)])
    ledger.update_run(state=State.FINISHED)
    assert ledger.ask_again() == 0
    assert ledger.run().state is State.FINISHED


async def test_rows_that_are_opened_to_be_sent_again_give_their_tickets_up(ledger: SqliteLedger) -> None:
    batch = await promise(ledger, range(1, 3))
    await ledger.complete(Completion(batch, exceptional=(promised(1, status=Status.IN_DOUBT),)))
    assert ledger.reopen() == 1
    assert ledger.take_over().open == {
        1: OpenRow(1, in_doubt=True),
        2: OpenRow(1, in_doubt=False, ticket="t2", call="call", batch=batch),
    }
    assert ledger.ask_again() == 0


async def test_promises_kept_in_time_do_not_let_the_file_grow(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "run", RECORD, inline=True)
    pages = []
    for first in range(1, 20_000, 1_000):
        batch = await promise(ledger, range(first, first + 1_000))
        await ledger.complete(Completion(batch, plain=tuple(range(first, first + 1_000))))
        assert ledger._writer
        pages.append(ledger._writer.write_now(_pages))
    assert pages[-1] <= pages[0] + 5  # of 4,096 bytes; a thousand promised rows take some thirty
    assert ledger.counts()[Status.SUCCEEDED] == 20_000
    ledger.close()


def _pages(connection: sqlite3.Connection) -> int:
    ((pages,),) = connection.execute("PRAGMA page_count")
    return int(pages)


async def test_rows_whose_answer_was_lost_are_open_and_in_doubt_without_a_record(
    ledger: SqliteLedger,
) -> None:
    lost = await ledger.claim(batch_of(range(1, 6)))
    await ledger.settle(Settlement(lost.id, lost=True))
    again = await ledger.claim(batch_of([2, 3], sends=1))
    await ledger.settle(Settlement(again.id, (row(2, Status.CONFIRMED, sends=2), row(3, None, sends=2))))
    assert (ledger.open_rows(), ledger.counts()[Status.SUCCEEDED]) == (4, 0)
    left = ledger.take_over()
    assert list(left.done) == [2]
    assert {at: (found.sends, found.in_doubt) for at, found in left.open.items()} == {
        1: (1, True),
        3: (2, False),
        4: (1, True),
        5: (1, True),
    }
    assert ledger.open_rows() == 4


async def test_a_batch_with_gaps_cannot_be_lost_without_rows(ledger: SqliteLedger) -> None:
    batch = await ledger.claim(batch_of([1, 3]))
    with pytest.raises(LedgerError, match="cannot be settled"):
        await ledger.settle(Settlement(batch.id, lost=True))
