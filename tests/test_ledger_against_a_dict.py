"""Random histories of a ledger against the plainest model: a dict of what is known of each position."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import RECORD, batch_of, key_of, promised, row
from msgspec.structs import replace

from pipeline.ledgers import outcomes
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import (
    Batch,
    Completion,
    Exceptional,
    Fault,
    FaultKind,
    OpenRow,
    Settlement,
    State,
    Status,
)

POSITIONS = range(1, 41)
CELLS = st.sampled_from([(), ("a",), ('"', "")])
AGAIN = (Status.GAVE_UP, Status.IN_DOUBT, Status.REFUSED)
ENDINGS = (Status.CONFIRMED, Status.REFUSED, Status.GAVE_UP, Status.IN_DOUBT, Status.SUCCEEDED, None)
STEPS = st.sampled_from(
    ["claim"] * 4
    + ["settle"] * 4
    + ["complete"] * 3
    + ["lose the answer"] * 2
    + ["void", "record", "take over", "open the file again", "try again", "ask again"]
)
MEMORY = Path("/dev/shm")  # noqa: S108 - only where it exists, to spare the disk thousands of syncs


@dataclass
class Known:
    """The model: plain successes by position, rows by position, batches under way by id."""

    plain: dict[int, int] = field(default_factory=dict)
    rows: dict[int, Exceptional] = field(default_factory=dict)
    under_way: dict[int, Batch] = field(default_factory=dict)
    claimed: int = 0
    sends: dict[int, dict[int, str]] = field(default_factory=dict)  # how they ended, by position and batch

    def flying(self) -> set[int]:
        return {position for batch in self.under_way.values() for position in places(batch)}

    def free(self) -> dict[int, list[int]]:
        """Give the positions that may be claimed, by how often they were sent."""
        flying = self.flying()
        free: dict[int, list[int]] = {}
        for position in POSITIONS:
            known = self.rows.get(position)
            if (
                position not in self.plain
                and position not in flying
                and (known is None or known.status is None)
            ):
                free.setdefault(known.sends if known else 0, []).append(position)
        return free

    def final(self) -> dict[int, tuple[object, ...]]:
        ended = {p: (p, key_of(p), "succeeded", "", "", 1, batch) for p, batch in self.plain.items()}
        for p, known in self.rows.items():
            if known.status:
                ended[p] = (p, known.key, known.status, known.code, known.reason, known.sends, known.batch)
        return ended

    def lose_claims(self) -> None:
        for number, batch in sorted(self.under_way.items()):
            for p in places(batch):
                before = self.rows.get(p, Exceptional(p, key_of(p), None, "", "", 0))
                self.rows[p] = replace(
                    before, sends=batch.sends + 1, batch=number, in_doubt=True, ticket="", call=""
                )
                self.sends[p][number] = "died"
        self.under_way.clear()

    def open(self) -> dict[int, OpenRow]:
        left = {p: r for p, r in self.rows.items() if r.status is None}
        return {
            p: OpenRow(r.sends, r.in_doubt, r.ticket, r.call, r.batch if r.ticket else 0)
            for p, r in left.items()
        }

    def tickets(self) -> dict[int, list[Exceptional]]:
        """Give the rows that hold an open ticket, by batch."""
        found: dict[int, list[Exceptional]] = {}
        for p in sorted(self.rows.keys() - self.flying()):
            if self.rows[p].status is None and self.rows[p].ticket:
                found.setdefault(self.rows[p].batch, []).append(self.rows[p])
        return found

    def put(self, changed: Exceptional, batch: int) -> None:
        before = self.rows.get(changed.position)
        kept = changed.cells or (before.cells if before else ())
        self.rows[changed.position] = replace(changed, batch=batch, cells=kept)


def places(batch: Batch) -> list[int]:
    return list(batch.items.column("position").to_pylist())


async def claim(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    free = known.free()
    if free:
        sends = data.draw(st.sampled_from(sorted(free)))
        some = st.sets(st.sampled_from(free[sends]), min_size=1, max_size=12)
        stretch = st.sampled_from(range(len(free[sends]))).map(lambda at: free[sends][at : at + 12])
        chosen = data.draw(st.one_of(some, stretch))
        batch = await ledger.claim(batch_of(sorted(chosen), sends=sends))
        known.claimed += 1
        assert batch.id == known.claimed
        known.under_way[batch.id] = batch
        for position in places(batch):
            known.sends.setdefault(position, {})[batch.id] = "under_way"


async def settle(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    if not known.under_way:
        return
    number = data.draw(st.sampled_from(sorted(known.under_way)))
    batch = known.under_way.pop(number)
    exceptional = []
    for position in places(batch):
        known.sends[position][number] = "answered"
        fate = data.draw(st.sampled_from(["plain", "promised", "ended"]))
        if fate == "plain" and position not in known.rows:
            known.plain[position] = number
            continue
        facts = {"sends": batch.sends + 1, "in_doubt": data.draw(st.booleans()), "cells": data.draw(CELLS)}
        if fate == "promised":
            exceptional.append(promised(position, call=data.draw(st.sampled_from(["", "call"])), **facts))
        else:
            exceptional.append(row(position, data.draw(st.sampled_from(ENDINGS)), **facts))
        known.put(exceptional[-1], number)
    await ledger.settle(Settlement(number, tuple(exceptional)))


async def complete(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    tickets = known.tickets()
    if not tickets:
        return
    number = data.draw(st.sampled_from(sorted(tickets)))
    plain, exceptional = [], []
    for asked in data.draw(st.lists(st.sampled_from(tickets[number]), min_size=1, unique=True)):
        fate = data.draw(st.sampled_from(["plain", "in doubt, ticket kept", "ended"]))
        if fate == "plain" and asked.sends == 1:
            plain.append(asked.position)
            del known.rows[asked.position]
            known.plain[asked.position] = number
            continue
        if fate == "in doubt, ticket kept":
            told = replace(asked, status=Status.IN_DOUBT, cells=data.draw(CELLS))
        else:
            status, cells = data.draw(st.sampled_from(ENDINGS)), data.draw(CELLS)
            told = replace(asked, status=status, cells=cells, ticket="", call="")
        exceptional.append(told)
        known.put(told, number)
    await ledger.complete(Completion(number, tuple(plain), tuple(exceptional)))


def try_again(ledger: SqliteLedger, known: Known) -> None:
    ended = {p: r for p, r in known.rows.items() if r.status in AGAIN}
    assert ledger.reopen(["c"]) == len(ended)
    for p, r in ended.items():
        in_doubt = r.in_doubt or r.status is Status.IN_DOUBT
        known.rows[p] = replace(r, status=None, in_doubt=in_doubt, ticket="", call="")
        known.sends[p][r.batch] = str(r.status)  # what was said of it is kept


def ask_again(ledger: SqliteLedger, known: Known) -> None:
    kept = {p: r for p, r in known.rows.items() if r.status is Status.IN_DOUBT and r.ticket}
    ledger.update_run(state=State.FINISHED)
    assert ledger.ask_again() == len(kept)
    assert ledger.run().state is (State.STOPPED if kept else State.FINISHED)
    known.rows |= {p: replace(r, status=None) for p, r in kept.items()}


async def void(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    if known.under_way:
        number = data.draw(st.sampled_from(sorted(known.under_way)))
        for position in places(known.under_way.pop(number)):
            known.sends[position][number] = "void"
        await ledger.settle(Settlement(number, void=True))


async def lose_the_answer(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    """Lose the answer for a batch without gaps, none of whose items was sent before."""
    whole = [
        number
        for number, batch in sorted(known.under_way.items())
        if places(batch) == list(range(places(batch)[0], places(batch)[-1] + 1))
        and known.rows.keys().isdisjoint(places(batch))
    ]
    if whole:
        number = data.draw(st.sampled_from(whole))
        for p in places(known.under_way.pop(number)):
            known.rows[p] = Exceptional(p, key_of(p), None, "", "", 1, number, in_doubt=True)
            known.sends[p][number] = "lost"
        fault = Fault(FaultKind.LOST, "timeout", "no answer")
        await ledger.settle(Settlement(number, lost=True, fault=fault))


async def record(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    untouched = [p for p in known.free().get(0, []) if p not in known.rows]
    candidates = untouched + [p for p, r in known.rows.items() if r.status]
    if candidates:
        chosen = data.draw(st.lists(st.sampled_from(candidates), min_size=1, max_size=5))
        never_sent = [row(p, data.draw(st.sampled_from([Status.REJECTED, Status.DUPLICATE]))) for p in chosen]
        await ledger.record(never_sent)
        for each in never_sent:
            known.rows.setdefault(each.position, each)


def compare(ledger: SqliteLedger, known: Known) -> None:
    final = known.final()
    told = [tuple(each.values()) for part in ledger.outcomes() for each in part.to_pylist()]
    assert told == [final[position] for position in sorted(final)]
    assert ledger.counts() == {status: Counter(f[2] for f in final.values())[status] for status in Status}
    assert list(ledger.exceptional(*Status)) == [r for _, r in sorted(known.rows.items()) if r.status]
    tallied = Counter((r.status, r.code) for r in known.rows.values() if r.status)
    assert {(t.status, t.code): t.rows for t in ledger.tally()} == tallied
    assert ledger.batches() == known.claimed
    left = known.open()
    assert ledger.open_tickets() == sum(each.ticket != "" for each in left.values())
    assert ledger.open_rows() == len(left) + sum(len(batch) for batch in known.under_way.values())
    for position in POSITIONS:
        expected = final[position][2:] if position in final else None
        traced = ledger.trace(key_of(position))
        found = [(t.status, t.code, t.reason, t.sends, t.batch) for t in traced if t.status]
        assert found == ([expected] if expected else [])
        known_row = known.rows.get(position)
        assert len(traced) == (position in known.sends or known_row is not None)
        assert {a.batch: a.ended for a in ledger.attempts(position)} == known.sends.get(position, {})
        assert [t for t in traced if t.ticket] == ([known_row] if known_row and known_row.ticket else [])


async def live(folder: Path, data: st.DataObject) -> None:
    """Live through a history, and compare at its end and at every taking over."""
    known = Known()
    ledger = SqliteLedger.create(folder, RECORD, inline=True)
    steps = {
        "claim": claim,
        "settle": settle,
        "void": void,
        "record": record,
        "complete": complete,
        "lose the answer": lose_the_answer,
    }
    openings = {"try again": try_again, "ask again": ask_again}
    for step in [*data.draw(st.lists(STEPS, min_size=20, max_size=40)), "compare", "take over"]:
        if step in steps:
            await steps[step](ledger, known, data)
        elif step in openings:
            openings[step](ledger, known)
        elif step == "open the file again":
            ledger.close()
            ledger = SqliteLedger.open(folder, inline=True)
        elif step == "compare":
            compare(ledger, known)
        else:
            known.lose_claims()
            resume = ledger.take_over()
            assert list(resume.done) == sorted(known.final())
            assert resume.open == known.open()
            compare(ledger, known)
    ledger.close()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_history_ends_as_a_plain_dict_would_have_it(data: st.DataObject) -> None:
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "WINDOW_POSITIONS", 7)
        asyncio.run(live(Path(folder) / "run", data))
