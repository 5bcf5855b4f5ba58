"""Random histories of a ledger against the plainest model: a dict of what is known of each position."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import RECORD, batch_of, key_of, row

from pipeline.ledgers import outcomes
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import Batch, Exceptional, OpenRow, Settlement, Status

POSITIONS = range(1, 41)
ENDINGS = (Status.CONFIRMED, Status.REFUSED, Status.GAVE_UP, Status.IN_DOUBT, Status.SUCCEEDED, None)
STEPS = st.sampled_from(["claim"] * 3 + ["settle"] * 3 + ["void", "record", "take over", "reopen"])
MEMORY = Path("/dev/shm")  # noqa: S108 - only where it exists, to spare the disk thousands of syncs


@dataclass
class Known:
    """The model: plain successes by position, rows by position, batches under way by id."""

    plain: dict[int, int] = field(default_factory=dict)
    rows: dict[int, Exceptional] = field(default_factory=dict)
    under_way: dict[int, Batch] = field(default_factory=dict)
    claimed: int = 0

    def free(self) -> dict[int, list[int]]:
        """Give the positions that may be claimed, by how often they were sent."""
        flying = {position for batch in self.under_way.values() for position in places(batch)}
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
                self.rows[p] = replace(before, sends=batch.sends + 1, batch=number, in_doubt=True)
        self.under_way.clear()

    def open(self) -> dict[int, OpenRow]:
        return {p: OpenRow(r.sends, r.in_doubt) for p, r in self.rows.items() if r.status is None}


def places(batch: Batch) -> list[int]:
    return list(batch.items.column("position").to_pylist())


async def claim(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    free = known.free()
    if free:
        sends = data.draw(st.sampled_from(sorted(free)))
        chosen = data.draw(st.sets(st.sampled_from(free[sends]), min_size=1, max_size=12))
        batch = await ledger.claim(batch_of(sorted(chosen), sends=sends))
        known.claimed += 1
        assert batch.id == known.claimed
        known.under_way[batch.id] = batch


async def settle(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    if not known.under_way:
        return
    number = data.draw(st.sampled_from(sorted(known.under_way)))
    batch = known.under_way.pop(number)
    exceptional = []
    for position in places(batch):
        before = known.rows.get(position)
        if before is None and data.draw(st.booleans()):
            known.plain[position] = number
            continue
        status = data.draw(st.sampled_from(ENDINGS))
        cells = data.draw(st.sampled_from([(), ("a",), ('"', "")]))
        facts = {"sends": batch.sends + 1, "in_doubt": data.draw(st.booleans()), "cells": cells}
        exceptional.append(row(position, status, **facts))
        kept = cells or (before.cells if before else ())
        known.rows[position] = replace(exceptional[-1], batch=number, cells=kept)
    await ledger.settle(Settlement(number, tuple(exceptional)))


async def void(ledger: SqliteLedger, known: Known, data: st.DataObject) -> None:
    if known.under_way:
        number = data.draw(st.sampled_from(sorted(known.under_way)))
        del known.under_way[number]
        await ledger.settle(Settlement(number, void=True))


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
    for position in POSITIONS:
        expected = final[position][2:] if position in final else None
        found = [
            (t.status, t.code, t.reason, t.sends, t.batch) for t in ledger.trace(key_of(position)) if t.status
        ]
        assert found == ([expected] if expected else [])


async def live(folder: Path, data: st.DataObject) -> None:
    """Live through a history, and compare at its end and at every taking over."""
    known = Known()
    ledger = SqliteLedger.create(folder, RECORD, inline=True)
    steps = {"claim": claim, "settle": settle, "void": void, "record": record}
    for step in [*data.draw(st.lists(STEPS, max_size=30)), "compare", "take over"]:
        if step in steps:
            await steps[step](ledger, known, data)
        elif step == "reopen":
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
