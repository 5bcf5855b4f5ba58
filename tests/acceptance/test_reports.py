"""The files of a run folder: contracts that scripts and people rely on."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import inventories
import pytest
from books import compare
from program import Program
from vendors import Vendor, vendor_process

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN, BUSY, LOST, REFUSED, FORMULA = (inventories.iccid(number) for number in (101, 102, 103, 104, 105))
FAULTS = f"""
fault = [
  {{ kind = "refuse_items", iccids = ["{BUSY}"], reason = "system busy" }},
  {{ kind = "refuse_items", iccids = ["{LOST}"], reason = "server error" }},
  {{ kind = "refuse_items", iccids = ["{REFUSED}"], reason = 'blacklisted, see "terms", iccid:[{{iccid}}]' }},
  {{ kind = "refuse_items", iccids = ["{FORMULA}"], reason = '=HYPERLINK("http://evil.example","click")' }},
  {{ kind = "cut_after_commit", requests = [1] }},
]
"""
HEADER = ("ICC ID", *inventories.HEADER[1:], "Remark")
LINES: list[tuple[str, ...]] = [
    *((*line, "=1+1") for line in inventories.rows(10)),  # the first batch: its answer gets lost
    *((*line, 'says "hi", twice\nover') for line in inventories.rows(5, first=101)),
    (*inventories.row(106, iccid="=cmd|' /C calc'!A0"), "-1"),
    (*inventories.row(107, iccid="8.93571E+18"), "+1"),
    (*inventories.row(108, apn=""), "@x"),
    (*inventories.row(1), "again"),
    ("8935711000000000109", "ragged"),
    *((*line, "") for line in inventories.rows(5, first=110)),
]
KEYS = [line[0] for line in LINES]
KEYS[15] = "'" + KEYS[15]  # guarded
KEYS[19] = ""


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    with vendor_process(folder=tmp_path_factory.mktemp("vendor"), faults=FAULTS) as vendor:
        yield vendor


@pytest.fixture(scope="module")
def simlift(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Program:
    """Give the program after a run in which rows came to every end there is."""
    program = Program(tmp_path_factory.mktemp("reports"))
    vendor.plant([KNOWN])
    inventory = inventories.write(program.folder / "delivery.csv", LINES, HEADER)
    job = program.job(vendor.url, attempts=2, batch_items=10, concurrency=1)
    ended = program("run", inventory, "--job", job, "--run-id", "mixed")
    assert ended.code == 1, ended
    return program


def test_every_row_came_to_its_end_and_both_books_agree(simlift: Program, vendor: Vendor) -> None:
    counts = compare(simlift, "mixed", vendor, KEYS, known=[KNOWN])
    assert counts == {
        "succeeded": 5, "confirmed": 10, "refused": 3, "gave_up": 1, "in_doubt": 1, "rejected": 4,
        "duplicate": 1,
    }  # fmt: skip


def test_the_summary_has_exactly_the_documented_keys_and_true_figures(
    simlift: Program, vendor: Vendor
) -> None:
    summary = simlift.summary("mixed")
    assert list(summary) == [
        "run_id", "state", "target", "inventory", "counts", "rows_read", "balanced", "batches", "requests",
        "duration_s", "rows_per_s", "exit_code",
    ]  # fmt: skip
    assert list(summary["counts"]) == [
        "succeeded", "confirmed", "refused", "gave_up", "in_doubt", "rejected", "duplicate"
    ]  # fmt: skip
    assert (summary["run_id"], summary["state"], summary["target"]) == ("mixed", "finished", "sim-express")
    assert summary["inventory"] == [str(simlift.folder / "delivery.csv")]
    assert (summary["rows_read"], summary["balanced"], summary["exit_code"]) == (len(LINES), True, 1)
    assert summary["requests"] == vendor.requests
    assert summary["batches"] == vendor.requests
    assert summary["duration_s"] > 0
    assert summary["rows_per_s"] == pytest.approx(len(LINES) / summary["duration_s"], rel=0.05)


def test_outcomes_have_a_line_for_every_row_with_guarded_cells_and_no_codes(simlift: Program) -> None:
    text = (simlift.runs / "mixed" / "outcomes.csv").read_text("utf-8")
    assert text.splitlines()[0] == "position,key,status,code,reason,attempts,batch"
    outcomes = simlift.outcomes("mixed")
    reasons = {outcome["key"]: outcome["reason"] for outcome in outcomes}
    assert reasons[FORMULA] == '\'=HYPERLINK("http://evil.example","click")'
    assert reasons[REFUSED] == f'blacklisted, see "terms", iccid:[{REFUSED}]'
    for outcome in outcomes:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in outcome.values()), outcome
    assert not re.search(f"{inventories.AC_MARK}|{inventories.CC_MARK}", text)
    attempts = [int(outcome["attempts"]) for outcome in outcomes]
    assert attempts == [2] * 10 + [1, 2, 3, 1, 1] + [0] * 5 + [1] * 5
    assert "the same key stood in row 1" in outcomes[18]["reason"]
    assert "has 2 cells where the header has 7" in outcomes[19]["reason"]


def test_failures_hold_each_bad_row_as_it_stood_with_its_reason(simlift: Program) -> None:
    failures = simlift.failures("mixed")
    assert list(failures[0]) == [
        *HEADER, "simlift_status", "simlift_code", "simlift_reason", "simlift_raw"
    ]  # fmt: skip
    as_they_stood = [tuple(failure[name] for name in HEADER) for failure in failures]
    ragged = as_they_stood.pop(-1)
    assert as_they_stood == LINES[10:19], "source cells are changed"
    assert set(ragged) == {""}
    assert failures[-1]["simlift_raw"] == "8935711000000000109,ragged"
    assert [failure["simlift_code"] for failure in failures] == [
        "exists", "busy", "server_error", "failed", "failed",
        "iccid_format", "iccid_damaged", "apn_missing", "duplicate", "unreadable",
    ]  # fmt: skip
    assert failures[4]["simlift_reason"].startswith("'=")


def test_failures_can_be_run_as_they_are_and_mended(simlift: Program, vendor: Vendor) -> None:
    before, job = vendor.held, simlift.folder / "job.toml"
    failures = simlift.runs / "mixed" / "failures.csv"
    as_it_is = simlift("run", failures, "--job", job, "--run-id", "again")
    assert (as_it_is.code, vendor.held) == (1, before)
    again = Counter(outcome["status"] for outcome in simlift.outcomes("again"))
    # the duplicate has lost the row it repeated: the vendor knows it, so it is refused now
    assert again == {"refused": 4, "gave_up": 1, "in_doubt": 1, "rejected": 4}
    assert [failure["Remark"] for failure in simlift.failures("again")] == [
        failure["Remark"] for failure in simlift.failures("mixed")
    ]

    lines = simlift.failures("again")
    lines[7]["apn"] = "iot.example"
    mended = simlift.folder / "mended.csv"
    with mended.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    simlift("run", mended, "--job", job, "--run-id", "mended")
    assert simlift.summary("mended")["counts"]["succeeded"] == 1
    profile = vendor.profile(inventories.iccid(108)) or {}
    assert profile["ac"] == inventories.row(108)[3]


def test_the_page_is_one_file_that_says_why_and_masks_what_it_says(simlift: Program) -> None:
    page = (simlift.runs / "mixed" / "report.html").read_text("utf-8")
    assert "15 of 25 rows are good; 10 need a look: " in page
    assert "blacklisted" in page
    for private in (REFUSED, inventories.AC_MARK, inventories.CC_MARK):
        assert private not in page
    assert "<script" not in page.lower()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?http""", page)


def test_every_line_of_the_log_is_an_object_with_a_time_and_an_event(simlift: Program) -> None:
    lines = (simlift.runs / "mixed" / "log.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert all(entry.keys() >= {"event", "level", "timestamp"} for entry in entries)
    assert (entries[0]["event"], entries[-1]["event"]) == ("run", "run ended")
    assert not re.search(r"8935711\d{12}", "".join(lines))
