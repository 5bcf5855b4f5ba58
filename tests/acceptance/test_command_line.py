"""The command line as its users meet it: commands, exit codes, what is printed where, what stays private."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import inventories
import pytest
from books import compare
from vendors import ACCESS_CODE, SECRET_CODE
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Program
    from vendors import Vendor

COMMANDS = (
    "demo", "check", "run", "resume", "retry", "status", "report", "trace", "targets", "simulate", "sample"
)  # fmt: skip
SECRETS = (SECRET_CODE, inventories.AC_MARK, inventories.CC_MARK)


@pytest.fixture
def simlift(simlift: Program) -> Program:
    """Start the installed command anew each time, as its users do."""
    simlift.warm = False
    return simlift


def test_the_help_of_every_command_shows_an_example(simlift: Program) -> None:
    pages = simlift.together(*((command, "--help") for command in COMMANDS))
    for command, page in zip(COMMANDS, pages, strict=True):
        assert (page.code, page.err) == (0, "")
        assert f"Example: simlift {command} " in " ".join(page.out.split())


def test_the_module_is_the_program_and_its_help_names_every_command(simlift: Program) -> None:
    ended = simlift("--help", command=(sys.executable, "-m", "pipeline"))
    assert ended.code == 0
    assert all(re.search(rf"\b{command}\b", ended.out) for command in COMMANDS)


def test_wrong_usage_ends_with_2_and_words_on_standard_error(simlift: Program, quiet_vendor: Vendor) -> None:
    inventories.write(simlift.folder / "delivery.csv", inventories.rows(1))
    simlift.job(quiet_vendor.url)
    wrong = [
        ("run", "delivery.csv"),
        ("run", "delivery.csv", "--job", "job.toml", "--run-id", "../elsewhere"),
        ("resume", "no-such-run"),
        ("frobnicate",),
        ("demo", "--items", "10", "--runs", "delivery.csv"),
    ]
    for arguments, ended in zip(wrong, simlift.together(*wrong), strict=True):
        assert (ended.code, ended.out) == (2, ""), arguments
        assert ended.err, arguments
        assert "Traceback" not in ended.err, arguments
    assert (quiet_vendor.requests, simlift.runs.exists()) == (0, False)


def test_repeating_a_run_by_its_id_only_reports_and_other_inventories_are_turned_away(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    lines = inventories.rows(50)
    inventory = inventories.write(simlift.folder / "delivery.csv", lines)
    other = inventories.write(simlift.folder / "other.csv", inventories.rows(50, first=100))
    job = simlift.job(vendor.url)

    first = simlift("run", inventory, "--job", job, "--run-id", "nightly")
    sent = vendor.requests
    (simlift.runs / "nightly" / "outcomes.csv").unlink()
    wrong = simlift("run", other, "--job", job, "--run-id", "nightly")
    again = simlift("run", inventory, "--job", job, "--run-id", "nightly")

    assert [first.code, again.code, wrong.code] == [0, 0, 2]
    assert first.out == again.out
    assert "another inventory" in wrong.err
    assert vendor.requests == sent
    assert compare(simlift, "nightly", vendor, [line[0] for line in lines]) == {"succeeded": 50}


def test_status_report_and_trace_tell_the_same_story(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    vendor.plant([inventories.iccid(2)])
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(3))
    job = simlift.job(vendor.url)
    ended = simlift("run", inventory, "--job", job, "--run-id", "one")
    summary = simlift.summary("one")
    assert ended.code == summary["exit_code"] == 1

    (simlift.runs / "one" / "summary.json").unlink()
    one, every, written, refused, succeeded, nowhere = simlift.together(
        ("status", "one", "--json"),
        ("status",),
        ("report", "one"),
        ("trace", inventories.iccid(2)),
        ("trace", inventories.iccid(3), "--json"),
        ("trace", inventories.iccid(4)),
    )
    codes = [each.code for each in (one, every, written, refused, succeeded, nowhere)]
    assert codes == [0, 0, 0, 0, 0, 1]
    assert json.loads(one.out) == summary
    assert every.out == written.out == ended.out
    assert simlift.summary("one") == summary
    assert inventories.iccid(2) in refused.out, "trace shows identifiers whole"
    assert "exist in db" in refused.out
    (entry,) = json.loads(succeeded.out)
    assert (entry["status"], entry["position"], entry["attempts"]) == ("succeeded", 3, 1)


def test_a_file_with_defects_is_told_by_check_with_1_and_nothing_is_sent(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    lines = [inventories.row(1), inventories.row(2, iccid="8.93571E+18"), inventories.row(1)]
    inventory = inventories.write(simlift.folder / "delivery.csv", lines)
    # `check` needs no secret, only where one would lie
    job = simlift.job(quiet_vendor.url)
    job.write_text(job.read_text("utf-8").replace("SIM_EXPRESS_SECRET_CODE", "NOT_SET_HERE"), "utf-8")
    ended = simlift("check", inventory, "--job", job)
    assert (ended.code, ended.err, quiet_vendor.requests) == (1, "", 0)
    assert "rejected: 1 x iccid_damaged" in ended.out
    assert "duplicate: 1 x duplicate" in ended.out


def test_the_run_folder_is_private_and_secrets_show_nowhere(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    # the vendor repeats codes in its own words, for an item and for a whole batch
    codes = f"code LPA:1$smdp.example.com${inventories.AC_MARK}-000001 and {inventories.CC_MARK}-000001"
    vendor = start_vendor(
        faults=f"""
fault = [
  {{ kind = "error_envelope", code = "000001", message = "server error: {codes} {SECRET_CODE}", first = 1 }},
  {{ kind = "refuse_items", iccids = ["{inventories.iccid(1)}"], reason = "no {codes}" }},
  {{ kind = "slow", seconds = 0.3 }},
]
"""
    )
    old = os.umask(0)
    try:
        inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(30))
        job = simlift.job(vendor.url, batch_items=15, concurrency=1)
        process = simlift.start("run", inventory, "--job", job, "--run-id", "private")
        until(lambda: vendor.requests, lambda count: count >= 2, "requests at the vendor")
        command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
        ended = process.end()
    finally:
        os.umask(old)

    assert ended.code == 1
    folder = simlift.runs / "private"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes.keys() >= {
        "ledger.sqlite", "summary.json", "outcomes.csv", "failures.csv", "report.html", "log.jsonl"
    }  # fmt: skip
    assert set(modes.values()) == {0o600}, modes
    public = {
        name: (folder / name).read_text("utf-8")
        for name in ("log.jsonl", "report.html", "summary.json", "outcomes.csv")
    }
    public |= {"stdout": ended.out, "stderr": ended.err, "process list": command_line}
    for place, text in public.items():
        for secret in SECRETS:
            assert secret not in text, f"{secret} stands in {place}"
    for place in ("log.jsonl", "report.html", "stdout", "stderr"):
        assert not re.search(r"8935711\d{12}", public[place]), f"a whole ICCID stands in {place}"
    assert ACCESS_CODE not in command_line
    ledger = (folder / "ledger.sqlite").read_bytes()
    assert SECRET_CODE.encode() not in ledger


def test_a_reason_to_stop_is_printed_without_whole_identifiers(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    number = inventories.iccid(1)
    vendor = start_vendor(
        faults='fault = [{ kind = "error_envelope", code = "101009", '
        f'message = "not yours, iccid:[{number}]" }}]'
    )
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(2))
    ended = simlift("run", inventory, "--job", simlift.job(vendor.url), "--run-id", "stop")
    assert ended.code == 3
    assert "not yours" in ended.out + ended.err
    told = simlift("status", "stop")
    assert "  because: 101009: not yours" in told.out
    assert number not in ended.out + ended.err + told.out


def test_results_go_to_standard_output_and_progress_to_the_terminal_on_standard_error(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults="latency = { mean_s = 0.6 }")
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(1))
    terminal, standard_error = os.openpty()
    try:
        process = simlift.start(
            "run", inventory, "--job", simlift.job(vendor.url), "--run-id", "slow", stderr=standard_error
        )
        ended = process.end()
        shown = os.read(terminal, 100_000).decode()
    finally:
        os.close(terminal)
        os.close(standard_error)
    assert ended.code == 0
    assert ended.out.startswith("run slow: finished, 1 of 1 rows read are good\n")
    assert "1 in flight" in shown
    assert "in flight" not in ended.out


def test_a_simulator_a_sample_and_a_job_file_of_config_make_a_run(simlift: Program) -> None:
    config = Path(__file__).parents[2] / "config"
    sample = simlift.folder / "sample.csv.gz"
    written = simlift("sample", "--items", "300", "--bad", "0.05", "--out", sample)
    assert written.code == 0
    simulator = simlift.start("simulate", "sim-express", "--faults", config / "faults.toml")
    try:
        listening = re.search(r"http://127\.0\.0\.1:\d+", simulator.first_line())
        assert listening
        job = (config / "demo.toml").read_text("utf-8").replace("http://127.0.0.1:8765", listening[0])
        (simlift.folder / "demo.toml").write_text(job, "utf-8")
        ended = simlift("run", sample, "--job", "demo.toml", "--run-id", "demo")
    finally:
        simulator.signal(signal.SIGTERM)
    assert simulator.end().code == 0
    assert ended.code == 1
    assert simlift.summary("demo")["balanced"]


def test_the_demo_compares_both_sides_books_and_keeps_its_run(simlift: Program) -> None:
    ended = simlift("demo", "--items", "3000", "--seed", "7")
    assert ended.code == 0, ended
    assert "they agree" in ended.out
    (folder,) = simlift.runs.iterdir()
    assert simlift.summary(folder.name)["balanced"]
    assert f"runs/{folder.name}" in ended.out
