"""Rows read from the SQLite ledger a column at a time: the same as one by one, whatever stands in them."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import RECORD, batch_of, row

from pipeline.check import outcomes_of
from pipeline.errors import LedgerError
from pipeline.ledgers import outcomes
from pipeline.ledgers.run_folder import connect_writer
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import OUTCOME_COLUMNS, SOURCE_COLUMNS, Exceptional, Settlement, Status

BAD = [status for status in Status if not status.good]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['a"b', "c\\d", "\\ud800 in so many letters", '","', "],[", "\x00", "\u2028", "𝄞", "null"]
)
CELLS = st.lists(TEXT | st.just("half \ud800"), max_size=4).map(tuple)


def read(ledger: SqliteLedger, *, with_source: bool = True) -> list[dict[str, Any]]:
    return [line for part in ledger.outcomes(with_source=with_source) for line in part.to_pylist()]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(BAD), TEXT, TEXT, TEXT, CELLS, TEXT), max_size=7),
    at_a_time=st.integers(1, 4),
)
def test_rows_in_columns_are_the_rows_one_by_one(rows: list[Any], at_a_time: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "WINDOW_ROWS", at_a_time)
        ledger = SqliteLedger.create(Path(folder, "nightly"), RECORD, inline=True)
        recorded = [
            Exceptional(position * 3, key, status, code, reason, 0, cells=cells, raw=raw)
            for position, (status, key, code, reason, cells, raw) in enumerate(rows, start=1)
        ]
        asyncio.run(ledger.record(recorded))
        one_by_one = list(ledger.exceptional(*Status))
        assert len(one_by_one) == len(rows)
        assert read(ledger) == (outcomes_of(one_by_one).to_pylist() if rows else [])
        ledger.close()


async def test_the_source_is_read_on_request_and_for_rows_that_are_not_good(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "nightly", RECORD)
    batch = await ledger.claim(batch_of([1, 2, 3]))
    bad = row(2, Status.REFUSED, cells=("a", "b"), raw="a;b")
    good = row(3, Status.CONFIRMED, cells=("c", "d"), sends=2)
    await ledger.settle(Settlement(batch.id, (bad, good)))
    assert [(line["cells"] or [], line["raw"]) for line in read(ledger)] == [
        ([], ""),
        (["a", "b"], "a;b"),
        ([], ""),
    ]
    assert [tuple(line) for line in read(ledger, with_source=False)] == [OUTCOME_COLUMNS] * 3
    assert tuple(read(ledger)[0]) == (*OUTCOME_COLUMNS, *SOURCE_COLUMNS)
    ledger.close()


async def test_no_more_rows_than_a_window_holds_are_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "WINDOW_ROWS", 2)
    ledger = SqliteLedger.create(tmp_path / "nightly", RECORD)
    batch = await ledger.claim(batch_of(range(1, 8)))
    await ledger.settle(Settlement(batch.id, tuple(row(at, Status.REFUSED) for at in (2, 3, 5, 6, 7))))
    parts = [part.column("position").to_pylist() for part in ledger.outcomes(with_source=True)]
    assert parts == [[1, 2, 3, 4], [5, 6], [7]]
    ledger.close()


async def test_cells_that_are_no_list_of_texts_are_damage_in_one_line(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "nightly", RECORD)
    await ledger.record([row(1, Status.REJECTED, cells=("a",))])
    ledger.close()
    with connect_writer(tmp_path / "nightly" / "ledger.sqlite") as connection:
        connection.execute("UPDATE row SET cells = '[1]'")
    connection.close()
    with pytest.raises(LedgerError, match=r"nightly/ledger\.sqlite: "):
        read(SqliteLedger.open(tmp_path / "nightly", read_only=True))
