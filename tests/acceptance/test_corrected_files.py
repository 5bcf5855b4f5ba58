"""What fails is handed back in the format it came in, mended, run again and known for what it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import inventories
import pytest
from python_calamine import CalamineWorkbook

sys.path.insert(0, str(Path(__file__).parent.parent))
from workbooks import workbook

if TYPE_CHECKING:
    from program import Program
    from vendors import Vendor


def write_xlsx(path: Path, rows: list[list[Any]]) -> Path:
    path.write_bytes(workbook(("Profiles", rows)))
    return path


def read_xlsx(path: Path) -> list[list[Any]]:
    return CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()


def write_jsonl(path: Path, rows: list[list[Any]]) -> Path:
    header, *lines = rows
    path.write_text("".join(json.dumps(dict(zip(header, line, strict=True))) + "\n" for line in lines))
    return path


def read_jsonl(path: Path) -> list[list[Any]]:
    objects = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [list(objects[0]), *(list(found.values()) for found in objects)]


@pytest.mark.parametrize(
    ("suffix", "ways", "first"),
    [("xlsx", (write_xlsx, read_xlsx), 1), ("jsonl", (write_jsonl, read_jsonl), 301)],
)
def test_failures_come_back_in_their_own_format_and_lead_to_the_run_they_are_from(
    simlift: Program, quiet_vendor: Vendor, suffix: str, ways: Any, first: int
) -> None:
    write, read = ways
    lines: list[list[Any]] = [list(row) for row in inventories.rows(6, first)]
    lines[2][5] = ""  # no apn
    lines[4][0] = int(lines[4][0])  # a number where text should be
    job = simlift.job(quiet_vendor.url)
    delivery = write(simlift.folder / f"delivery.{suffix}", [list(inventories.HEADER), *lines])
    ended = simlift("run", delivery, "--job", job, "--run-id", "first")
    assert ended.code == 1, ended
    assert "corrects" not in ended.out

    failures = simlift.runs / "first" / f"failures.{suffix}"
    header, no_apn, number = read(failures)
    assert header[6:] == ["simlift_status", "simlift_code", "simlift_reason", "simlift_raw"]
    assert no_apn[:6] == lines[2]
    assert number[6] == "rejected"
    before = failures.read_bytes()
    failures.unlink()
    assert simlift("report", "first").code == 0
    assert [row[:9] for row in read(failures)] == [row[:9] for row in (header, no_apn, number)]
    assert suffix == "xlsx" or failures.read_bytes() == before  # a workbook holds the time it was made

    no_apn[5] = "iot.example"
    number[0] = inventories.iccid(first + 4)
    mended = write(simlift.folder / f"mended.{suffix}", [header, no_apn, number])
    ended = simlift("run", mended, "--job", job, "--run-id", "second")
    assert ended.code == 0, ended
    assert "  corrects run first\n" in ended.out
    assert simlift.summary("second")["corrects"] == "first"
    assert simlift.log("second")[0]["corrects"] == "first"
    assert "<th>corrects run</th><td>first</td>" in (simlift.runs / "second" / "report.html").read_text()
    assert all(quiet_vendor.profile(inventories.iccid(n)) for n in range(first, first + 6))


def test_a_csv_mended_in_a_spreadsheet_leads_to_its_run_among_others(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    job = simlift.job(quiet_vendor.url)
    for number, name in enumerate(("one", "two", "three")):
        lines = [inventories.row(600 + 10 * number + at, apn="") for at in range(number + 2)]
        delivery = inventories.write(simlift.folder / f"{name}.csv", lines)
        assert simlift("run", delivery, "--job", job, "--run-id", name).code == 1
    text = (simlift.runs / "two" / "failures.csv").read_text("utf-8")
    mended = simlift.folder / "mended.csv"
    mended.write_text(text.replace(",,rejected", ",iot.example,rejected"), "utf-8")
    ended = simlift("run", mended, "--job", job, "--run-id", "mended")
    assert ended.code == 0, ended
    assert "  corrects run two\n" in ended.out
