"""The composition root: which run it is, and how its books are closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from ledger_making import row

from pipeline.errors import InventoryError, UsageError
from pipeline.inventory import open_inventory
from pipeline.model import State, Status
from pipeline.plugins import installed
from pipeline.runs import existing_run, go_on, has_ledger, new_run_id, run_folder, run_ids, start
from pipeline.settings import Input, Job, job_from
from pipeline.work import batch_items_of, open_target

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "iccid,eid,imei,ac,apn"
CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_CODE", "x")


def job(**tables: Any) -> Job:
    target = {"kind": "sim-express", "base_url": CLOSED_PORT, "access_code": "env:SIM_CODE"}
    data: dict[str, Any] = {
        "target": target | {"secret_code": "env:SIM_CODE"},
        "retry": {"attempts": 2, "first_wait_s": 0.0, "settle_s": 0.0},
        "limits": {"requests_per_second": 1000.0},
    }
    return job_from(data | tables, where="job file test.toml")


def delivery(folder: Path, name: str = "delivery.csv", *, rows: int = 3, header: str = HEADER) -> Path:
    eid, imei = "35203000100100000000000000287435", "861111111111115"
    lines = [f"{8935711001000000101 + row},{eid},{imei},1,iot" for row in range(rows)]
    path = folder / name
    path.write_text("\n".join([header, *lines, ""]), "utf-8")
    return path


def run_once(path: Path, runs: Path, run_id: str = "one", **tables: Any) -> State:
    work = start([str(path)], job(**tables), runs, run_id)
    try:
        return asyncio.run(work.run()).state
    finally:
        work.ledger.close()


def test_a_run_whose_vendor_is_away_is_stopped_and_can_be_gone_on_with(tmp_path: Path) -> None:
    path = delivery(tmp_path)
    assert run_once(path, tmp_path / "runs") is State.STOPPED
    work = go_on(existing_run(tmp_path / "runs", "one"))
    assert not sum(work.ledger.counts().values())
    assert asyncio.run(work.run()).exit_code == 3
    work.ledger.close()


def test_no_more_rows_are_good_than_were_read_where_an_earlier_process_had_come_further(
    tmp_path: Path,
) -> None:
    path = delivery(tmp_path)
    assert run_once(path, tmp_path / "runs") is State.STOPPED
    work = go_on(existing_run(tmp_path / "runs", "one"))
    asyncio.run(work.ledger.record([row(1, Status.REJECTED), row(2, Status.REJECTED)]))
    work.ledger.update_run(rows_read=None)  # as a killed process leaves it
    work.ledger.close()
    work = go_on(existing_run(tmp_path / "runs", "one"))
    work.stop(2)
    record = asyncio.run(work.run())
    assert record.state is State.INTERRUPTED
    assert record.rows_read is not None
    assert record.rows_read >= sum(work.ledger.counts().values())
    work.ledger.close()


def test_an_inventory_of_rejected_rows_alone_is_finished_without_a_call(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEADER}\n1,2,3,4,5\n", "utf-8")
    work = start([str(path)], job(), tmp_path / "runs", "one")
    record = asyncio.run(work.run())
    assert (record.state, record.exit_code, record.rows_read, record.requests) == (State.FINISHED, 1, 1, 0)
    assert work.ledger.counts()[Status.REJECTED] == 1
    work.ledger.close()


def test_nothing_is_written_for_a_hopeless_inventory(tmp_path: Path) -> None:
    path = delivery(tmp_path, rows=0)
    with pytest.raises(InventoryError, match="no rows"):
        start([str(path)], job(), tmp_path / "runs", "one")
    assert not (tmp_path / "runs").exists()


def test_another_inventory_under_the_same_id_is_refused(tmp_path: Path) -> None:
    run_once(delivery(tmp_path), tmp_path / "runs")
    with pytest.raises(UsageError, match="belongs to another inventory"):
        start([str(delivery(tmp_path, "other.csv", rows=4))], job(), tmp_path / "runs", "one")


def test_a_file_changed_in_its_middle_is_another_inventory(tmp_path: Path) -> None:
    path = delivery(tmp_path)
    run_once(path, tmp_path / "runs")
    path.write_text(path.read_text("utf-8").replace("861111111111115", "861111111111116", 1), "utf-8")
    with pytest.raises(UsageError, match="belongs to another inventory"):
        go_on(existing_run(tmp_path / "runs", "one"))


def test_other_input_settings_under_the_same_id_are_refused(tmp_path: Path) -> None:
    path = delivery(tmp_path)
    run_once(path, tmp_path / "runs")
    with pytest.raises(UsageError, match=r"\[input\]"):
        start([str(path)], job(input={"check_digits": {"iccid": "reject"}}), tmp_path / "runs", "one")


def test_a_job_may_change_its_pace_between_two_goes_at_a_run(tmp_path: Path) -> None:
    path = delivery(tmp_path)
    run_once(path, tmp_path / "runs")
    assert run_once(path, tmp_path / "runs", limits={"concurrency": 2}) is State.STOPPED


def test_files_of_one_run_share_one_header(tmp_path: Path) -> None:
    first = delivery(tmp_path)
    second = delivery(tmp_path, "second.csv", header=HEADER.upper())
    with pytest.raises(InventoryError, match=r"second.csv: its columns differ"):
        open_inventory([str(first), str(second)], Input())


def test_the_fingerprint_tells_where_one_file_ends_and_the_next_begins(tmp_path: Path) -> None:
    whole, halves = delivery(tmp_path, rows=4), []
    for name, rows in (("a.csv", 1), ("b.csv", 3)):
        halves.append(delivery(tmp_path, name, rows=rows))
    prints = {
        open_inventory([*map(str, paths)], Input()).fingerprint() for paths in ([whole], halves, halves[::-1])
    }
    assert len(prints) == 3


def test_a_target_that_is_not_installed_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="no target is called 'sim-expres'; did you mean sim-express"):
        installed("targets", "sim-expres")


def test_a_check_needs_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIM_CODE")
    open_target(job(), resolve_secrets=False)
    with pytest.raises(UsageError, match=r"target.access_code: the environment variable SIM_CODE is not set"):
        open_target(job())


@pytest.mark.parametrize(("wanted", "given"), [(None, 1000), (10, 10), (1000, 1000)])
def test_the_targets_own_bound_holds_unless_the_job_asks_for_less(wanted: int | None, given: int) -> None:
    limited = job(limits={} if wanted is None else {"batch_items": wanted})
    target, _ = open_target(limited)
    assert batch_items_of(limited, target) == given


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 101, "a b", "-dash"])
def test_a_run_id_that_is_no_plain_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="run id"):
        run_folder(tmp_path, name)


def test_a_run_id_made_here_is_a_plain_name(tmp_path: Path) -> None:
    assert run_folder(tmp_path, new_run_id()).parent == tmp_path


def test_a_run_that_is_not_there_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    run_once(delivery(tmp_path), tmp_path / "runs", "factory-7")
    assert run_ids(tmp_path / "runs") == ["factory-7"]
    assert has_ledger(tmp_path / "runs" / "factory-7")
    with pytest.raises(UsageError, match="did you mean factory-7"):
        existing_run(tmp_path / "runs", "factory7")


def test_a_run_whose_books_do_not_balance_is_not_called_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEADER}\n1,2,3,4,5\n", "utf-8")
    work = start([str(path)], job(), tmp_path / "runs", "one")
    monkeypatch.setattr(type(work.ledger), "open_rows", lambda _self: 1)
    record = asyncio.run(work.run())
    assert (record.state, record.exit_code) == (State.STOPPED, 3)
    assert "the books do not balance: 1 rows read, 1 accounted for, 1 still open" in record.stop_reason
    work.ledger.close()


def test_a_run_that_is_stopped_before_its_workers_stand_sends_nothing(tmp_path: Path) -> None:
    work = start([str(delivery(tmp_path))], job(), tmp_path / "runs", "one")
    work.stop(2)
    record = asyncio.run(work.run())
    work.ledger.close()
    assert (record.state, record.exit_code, work.ledger.batches()) == (State.INTERRUPTED, 130, 0)


def test_a_run_folder_that_cannot_be_looked_into_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"run folder .* cannot be read: File name too long; check its rights"
    ):
        has_ledger(tmp_path / ("x" * 300))  # as one of another user is, which root would not notice
