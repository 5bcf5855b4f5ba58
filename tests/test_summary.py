"""summary.json holds exactly the agreed figures, and all four reports are private and whole."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from ledger_in_memory import LedgerInMemory, row

from pipeline.errors import LedgerError, SimliftError
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import Batch, Settlement, State, Status
from pipeline.reports import summary, write_all, write_outcomes, write_summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def one_of_each() -> LedgerInMemory:
    return LedgerInMemory(
        *(row(position, status) for position, status in enumerate(Status, start=1)), exit_code=1
    )


def test_a_summary_has_exactly_the_documented_keys(tmp_path: Path) -> None:
    write_summary(tmp_path, summary(one_of_each()))
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == {
        "run_id": "nightly",
        "state": "finished",
        "target": "sim-express",
        "inventory": ["profiles.csv"],
        "counts": dict.fromkeys(
            ["succeeded", "confirmed", "refused", "gave_up", "in_doubt", "rejected", "duplicate"], 1
        ),
        "rows_read": 7,
        "balanced": True,
        "batches": 1,
        "requests": 3,
        "duration_s": 10.0,
        "rows_per_s": 0.7,
        "exit_code": 1,
    }


def test_a_row_without_a_status_unbalances_the_run() -> None:
    whole = summary(LedgerInMemory(row(1), row(2, None)))
    assert (whole.rows_read, whole.settled, whole.balanced) == (2, 1, False)


def test_a_row_too_many_unbalances_the_run() -> None:
    assert not summary(LedgerInMemory(row(1), row(2), rows_read=1)).balanced


def test_an_empty_inventory_balances() -> None:
    assert summary(LedgerInMemory()).balanced


def test_a_run_that_is_still_reading_has_no_rows_read_and_does_not_balance() -> None:
    ledger = LedgerInMemory(rows_read=None, state=State.RUNNING, duration_s=0.0, exit_code=None)
    data = summary(ledger).data()
    assert (data["rows_read"], data["balanced"], data["exit_code"]) == (None, False, None)
    assert data["rows_per_s"] == 0.0


def test_all_four_reports_are_for_the_owner_only_and_nothing_else_is_left(tmp_path: Path) -> None:
    whole = write_all(one_of_each(), tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["summary.json", "outcomes.csv", "failures.csv", "report.html"], 0o600)
    assert whole == summary(one_of_each())


def test_writing_again_takes_the_place_of_the_earlier_reports(tmp_path: Path) -> None:
    write_all(LedgerInMemory(row(1), row(2, None)), tmp_path)
    write_all(LedgerInMemory(row(1), row(2)), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text("utf-8"))["balanced"] is True
    assert len((tmp_path / "outcomes.csv").read_text("utf-8").splitlines()) == 3


class DamagedLedger(LedgerInMemory):
    def outcomes(self, *, with_source: bool = False) -> Iterator[pa.RecordBatch]:
        yield from super().outcomes(with_source=with_source)
        raise LedgerError("ledger: damaged")


def test_a_report_that_fails_halfway_leaves_the_earlier_one_as_it_was(tmp_path: Path) -> None:
    write_all(LedgerInMemory(row(1, Status.REFUSED)), tmp_path)
    before = (tmp_path / "failures.csv").read_bytes()
    with pytest.raises(LedgerError, match="damaged"):
        write_all(DamagedLedger(row(1, Status.REFUSED), row(2, Status.REFUSED)), tmp_path)
    assert (tmp_path / "failures.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_that_is_gone_is_one_line_that_names_file_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(SimliftError) as caught:
        write_summary(tmp_path / "nightly", summary(LedgerInMemory()))
    text = str(caught.value)
    assert "summary.json" in text
    assert "simlift report nightly" in text
    assert "\n" not in text


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(SimliftError, match=r"outcomes\.csv: cannot be written: File too large"):
            write_outcomes(LedgerInMemory(*map(row, range(1, 1_000))), tmp_path / "outcomes.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


async def test_the_reports_of_the_sqlite_ledger_say_the_same_byte_for_byte(tmp_path: Path) -> None:
    spoken = [
        row(2, Status.REJECTED, key="", cells=("", "x"), reason="iccid: is empty"),
        row(4, Status.REFUSED, cells=("894", '=a "b"\r\n'), code="E7", reason="@no"),
        row(5, Status.REJECTED, key="", raw="8935,x,\\xff", reason="ragged"),
        row(6, Status.CONFIRMED, code="exists", sends=2),
    ]
    expected = LedgerInMemory(row(1), row(3), *spoken, exit_code=1)
    sent = [found for found in expected.rows if found.batch]
    items = {"position": [found.position for found in sent], "key": [found.key for found in sent]}
    whole, inside = tmp_path / "expected", tmp_path / "nightly"
    whole.mkdir()
    ledger = SqliteLedger.create(inside, expected.run())
    try:
        batch = await ledger.claim(Batch(pa.RecordBatch.from_pydict(items)))
        await ledger.record([found for found in spoken if not found.batch])
        await ledger.settle(Settlement(batch.id, tuple(found for found in spoken if found.batch)))
        assert write_all(ledger, inside) == write_all(expected, whole)
    finally:
        ledger.close()
    for path in whole.iterdir():
        assert (inside / path.name).read_bytes() == path.read_bytes()
