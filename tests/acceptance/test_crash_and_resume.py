"""Runs that end before their end: kill -9, signals, a full disk, a vendor that is away. Nothing gets lost."""

from __future__ import annotations

import resource
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import inventories
import pytest
from books import GOOD, compare
from program import SIMLIFT
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Program
    from vendors import Vendor

STEADY = "latency = { mean_s = 0.05, jitter_s = 0.04 }\n"
CONCURRENCY, BATCH_ITEMS = 4, 10
QUICK = {"concurrency": CONCURRENCY, "batch_items": BATCH_ITEMS}


def delivery(simlift: Program, count: int) -> tuple[Path, list[str]]:
    lines = inventories.rows(count)
    return inventories.write(simlift.folder / "delivery.csv", lines), [line[0] for line in lines]


def hold_port() -> socket.socket:
    """Take a port where nobody listens, so that nobody else gets it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


# ---------------------------------------------------------------- kill -9


def test_a_resumed_run_leaves_alone_what_was_settled_and_confirms_what_was_in_flight(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    # the fourth request is carried out, but its answer is on the way for an hour
    vendor = start_vendor(
        faults='fault = [{ kind = "hang", commit = true, seconds = 3600.0, requests = [4] }]'
    )
    inventory, keys = delivery(simlift, 60)
    job = simlift.job(vendor.url, batch_items=10, concurrency=1)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "killed")
    until(lambda: vendor.held, lambda held: held == 40, "four batches at the vendor")
    process.kill()
    assert simlift("report", "killed").code == 0
    before = simlift.outcomes("killed")
    assert [outcome["key"] for outcome in before] == keys[:30]
    assert simlift.summary("killed")["state"] == "running"

    ended = simlift("resume", "killed")

    assert ended.code == 0
    assert compare(simlift, "killed", vendor, keys) == {"succeeded": 50, "confirmed": 10}
    after = simlift.outcomes("killed")
    assert after[:30] == before
    assert {outcome["status"] for outcome in after[30:40]} == {"confirmed"}
    assert [outcome["attempts"] for outcome in after] == ["1"] * 30 + ["2"] * 10 + ["1"] * 20
    assert vendor.requests == 7


def test_an_inventory_that_has_changed_is_not_resumed_until_it_is_back(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "status", status = 401, requests = [3] }]')
    inventory, keys = delivery(simlift, 60)
    job = simlift.job(vendor.url, batch_items=10, concurrency=1)
    assert simlift("run", inventory, "--job", job, "--run-id", "stopped").code == 3
    sent, content = vendor.requests, inventory.read_bytes()

    inventory.write_bytes(content.replace(b"iot.example", b"iot.exampel"))  # of the same length
    changed = simlift("resume", "stopped")
    assert (changed.code, vendor.requests) == (2, sent)
    assert "another inventory" in changed.err
    inventory.write_bytes(content)
    assert simlift("resume", "stopped").code == 0
    assert compare(simlift, "stopped", vendor, keys) == {"succeeded": 60}


# ---------------------------------------------------------------- signals


def test_a_first_signal_lets_the_answers_come_in_and_the_run_goes_on_later(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults="latency = { mean_s = 0.2 }")
    inventory, keys = delivery(simlift, 400)
    process = simlift.start(
        "run", inventory, "--job", simlift.job(vendor.url, **QUICK), "--run-id", "drained"
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before = vendor.requests
        until(lambda: vendor.requests, lambda seen, before=before: seen >= before + 2, "requests in flight")
        process.signal(number)
        ended = process.end()

        assert ended.code == 128 + number
        assert "Traceback" not in ended.err
        assert "interrupted" in ended.out
        summary = simlift.summary("drained")
        assert (summary["state"], summary["exit_code"]) == ("interrupted", 128 + number)
        settled = vendor.requests * BATCH_ITEMS
        assert settled < len(keys)
        assert compare(simlift, "drained", vendor, keys, whole=False) == {"succeeded": settled}
        assert vendor.held == settled
        process = simlift.start("resume", "drained")
    assert process.end().code == 0
    assert compare(simlift, "drained", vendor, keys) == {"succeeded": 400}
    assert vendor.requests == 40, "a drained run has nothing to repeat"


def test_a_second_signal_ends_at_once_and_loses_nothing(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(
        faults='fault = [{ kind = "hang", commit = true, seconds = 3600.0, requests = [2, 3] }]'
    )
    inventory, keys = delivery(simlift, 50)
    job = simlift.job(vendor.url, batch_items=10, concurrency=2)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "twice")
    until(lambda: vendor.held, lambda held: held == 30, "three batches at the vendor")
    process.signal(signal.SIGTERM)
    log = simlift.runs / "twice" / "log.jsonl"
    until(lambda: log.read_text("utf-8"), lambda text: '"stopping"' in text, "the first signal in the log")
    process.signal(signal.SIGTERM)
    ended = process.end()

    assert ended.code == 143
    assert compare(simlift, "twice", vendor, keys, whole=False) == {"succeeded": 10}
    assert simlift("resume", "twice").code == 0
    assert compare(simlift, "twice", vendor, keys) == {"succeeded": 30, "confirmed": 20}


def test_a_run_that_waits_for_a_vendor_who_pushed_back_can_be_interrupted(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(
        faults='fault = [{ kind = "status", status = 429, retry_after_s = 3600.0, requests = [3] }]'
    )
    inventory, keys = delivery(simlift, 50)
    job = simlift.job(vendor.url, batch_items=10, concurrency=2)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "held")
    log = simlift.runs / "held" / "log.jsonl"
    until(
        lambda: log.exists() and log.read_text("utf-8"), lambda text: text and "http_429" in text, "the 429"
    )
    process.signal(signal.SIGINT)
    ended = process.end()

    assert ended.code == 130
    counts = compare(simlift, "held", vendor, keys, whole=False)
    assert counts == {"succeeded": vendor.held}


# ---------------------------------------------------------------- one owner


def test_a_second_importer_on_the_same_run_is_turned_away_and_sends_nothing(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "hang", commit = true, requests = [1] }]')
    inventory, keys = delivery(simlift, 20)
    job = simlift.job(vendor.url, batch_items=10, concurrency=1)
    command = ("run", inventory, "--job", job, "--run-id", "owned")
    first = simlift.start(*command)
    until(lambda: vendor.requests, lambda seen: seen == 1, "the first request")
    again, resumed, looking_on = simlift.together(command, ("resume", "owned"), ("status", "owned"))

    assert (again.code, resumed.code) == (2, 2)
    assert f"in use by process {first.pid}" in again.err
    assert f"in use by process {first.pid}" in resumed.err
    assert (looking_on.code, "running" in looking_on.out) == (0, True)
    assert vendor.requests == 1
    first.kill()
    assert simlift(*command).code == 0
    assert compare(simlift, "owned", vendor, keys) == {"confirmed": 10, "succeeded": 10}


# ---------------------------------------------------------------- a full disk


def _no_file_beyond_80_kb() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))


def test_a_ledger_that_cannot_grow_stops_the_run_and_loses_nothing_that_was_settled(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults="latency = { mean_s = 0.01 }")
    inventory, keys = delivery(simlift, 200)
    job = simlift.job(vendor.url, batch_items=4, concurrency=2)

    ended = simlift("run", inventory, "--job", job, "--run-id", "full", before=_no_file_beyond_80_kb)

    assert ended.code == 3, ended
    assert "ledger" in ended.out + ended.err
    assert "Traceback" not in ended.err
    assert simlift("report", "full").code == 0
    before = {outcome["key"]: outcome for outcome in simlift.outcomes("full")}
    assert 0 < len(before) <= vendor.held < 200
    compare(simlift, "full", vendor, keys, whole=False)
    assert simlift("resume", "full").code == 0
    assert set(compare(simlift, "full", vendor, keys)) <= GOOD
    after = {outcome["key"]: outcome for outcome in simlift.outcomes("full")}
    assert {key: after[key] for key in before} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that can be opened, not written")
def test_a_log_that_cannot_be_written_costs_no_row_and_no_traceback(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    inventory, keys = delivery(simlift, 30)
    log = simlift.runs / "full" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    ended = simlift("run", inventory, "--job", simlift.job(vendor.url), "--run-id", "full")
    assert "Traceback" not in ended.err
    assert ended.code in (0, 3), "1 would say that the run has finished"
    log.unlink()
    assert simlift("resume", "full").code == 0
    assert set(compare(simlift, "full", vendor, keys)) <= GOOD


FILL_UP = """
mount -t tmpfs -o size=200k,mode=0755 tmpfs "$RUNS" || exit 99
"$SIMLIFT" run "$INVENTORY" --job "$JOB" --run-id full --runs "$RUNS"
echo "code $?"
mount -o remount,size=50m "$RUNS"
"$SIMLIFT" resume full --runs "$RUNS"
echo "code $?"
cp -a "$RUNS/full" "$KEPT/full"
"""


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.call(
        [unshare, "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], stderr=subprocess.DEVNULL
    )


@pytest.mark.skipif(not _may_mount(), reason="a disk to fill up cannot be mounted here")
def test_a_disk_that_runs_full_under_everything_stops_the_run_with_3_and_it_resumes_with_room(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults="latency = { mean_s = 0.01 }")
    inventory, keys = delivery(simlift, 200)
    job = simlift.job(vendor.url, batch_items=4, concurrency=2)
    small_disk = simlift.folder / "small-disk"
    small_disk.mkdir()
    simlift.runs.mkdir()
    places = {
        "SIMLIFT": SIMLIFT, "INVENTORY": str(inventory), "JOB": str(job), "RUNS": str(small_disk),
        "KEPT": str(simlift.runs),
    }  # fmt: skip
    ended = simlift(command=("unshare", "-rm", "sh", "-c", FILL_UP), environment=places)

    assert ended.code == 0, ended
    codes = [line for line in ended.out.splitlines() if line.startswith("code ")]
    assert "Traceback" not in ended.err, ended.err
    assert codes == ["code 3", "code 0"], ended
    assert set(compare(simlift, "full", vendor, keys)) <= GOOD


# ---------------------------------------------------------------- the vendor is away


def test_a_vendor_that_is_down_from_the_start_stops_the_run_and_resume_succeeds_when_it_is_up(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    inventory, keys = delivery(simlift, 100)
    with hold_port() as held:
        port = held.getsockname()[1]
        job = simlift.job(f"http://127.0.0.1:{port}", **QUICK)
        ended = simlift("run", inventory, "--job", job, "--run-id", "down")

    assert ended.code == 3
    assert f"127.0.0.1:{port}" in ended.out
    summary = simlift.summary("down")
    assert (summary["state"], summary["exit_code"], sum(summary["counts"].values())) == ("stopped", 3, 0)
    assert simlift.failures("down") == []
    vendor = start_vendor(port=port)
    assert simlift("resume", "down").code == 0
    assert compare(simlift, "down", vendor, keys) == {"succeeded": 100}
    assert {outcome["attempts"] for outcome in simlift.outcomes("down")} == {"1"}


def test_a_vendor_that_goes_away_in_the_middle_stops_the_run_and_no_row_is_given_up(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    store = simlift.folder / "vendor.sqlite"
    vendor = start_vendor("--store", str(store), faults=STEADY)
    inventory, keys = delivery(simlift, 400)
    job = simlift.job(vendor.url, **QUICK)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "away")
    until(lambda: vendor.requests, lambda seen: seen >= 8, "requests")
    vendor.kill()
    ended = process.end()

    assert ended.code == 3
    vendor = start_vendor("--store", str(store), port=vendor.port)
    assert set(compare(simlift, "away", vendor, keys, whole=False)) <= GOOD
    assert simlift("resume", "away").code == 0
    assert set(compare(simlift, "away", vendor, keys)) <= GOOD


def test_a_vendor_that_answers_nothing_but_server_errors_leaves_a_small_inventory_in_doubt(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "status", status = 500, commit = true }]')
    inventory, keys = delivery(simlift, 20)
    job = simlift.job(vendor.url, attempts=3, batch_items=1, concurrency=4)
    ended = simlift("run", inventory, "--job", job, "--run-id", "errors")
    assert ended.code == 1, ended
    assert compare(simlift, "errors", vendor, keys) == {"in_doubt": 20}
    assert vendor.held == 20
    outcomes = simlift.outcomes("errors")
    assert {(end["code"], end["attempts"]) for end in outcomes} == {("http_500", "3")}
    assert all(end["reason"].startswith("HTTP 500") for end in outcomes)
