"""What `check` finds: what is wrong where, how many calls, how long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ledger_making import batch_of

from pipeline.check import EXAMPLES, Findings, examine
from pipeline.model import Exceptional, Finding, Portion, Status
from pipeline.settings import Limits

LIMITS = Limits(requests_per_second=2.5)


def portion(rows_read: int, *sizes: int, rows: tuple[Exceptional, ...] = (), **more: Any) -> Portion:
    return Portion(tuple(batch_of(range(1, size + 1)) for size in sizes), rows, rows_read, 0, **more)


def rejected(position: int, code: str = "iccid_format") -> Exceptional:
    return Exceptional(position, "", Status.REJECTED, code, f"row {position}: is wrong", sends=0)


def duplicate(position: int) -> Exceptional:
    return Exceptional(position, "k", Status.DUPLICATE, "duplicate", f"row {position}: again", sends=0)


def test_rows_items_and_calls_are_counted_over_all_portions() -> None:
    findings = examine([portion(1500, 1000, 500), portion(1600, 99, rows=(rejected(1501),))])
    assert (findings.rows, findings.items, findings.batches) == (1600, 1599, 3)


def test_an_inventory_without_a_fault_is_clean() -> None:
    assert examine([portion(5, 5)]).clean
    assert not examine([portion(6, 5, rows=(duplicate(6),))]).clean


def test_a_problem_is_counted_whole_and_shown_by_its_first_rows() -> None:
    rows = tuple(rejected(position) for position in range(1, 101))
    (problem,) = examine([portion(50, rows=rows[:50]), portion(100, rows=rows[50:])]).ranked()
    assert (problem.status, problem.code, problem.rows) == ("rejected", "iccid_format", 100)
    assert problem.examples == [f"row {position}: is wrong" for position in range(1, EXAMPLES + 1)]


def test_the_most_frequent_problem_comes_first() -> None:
    rows = (duplicate(1), rejected(2, "eid_format"), rejected(3, "eid_format"))
    assert [problem.code for problem in examine([portion(3, rows=rows)]).ranked()] == [
        "eid_format",
        "duplicate",
    ]


def test_check_digits_are_added_up() -> None:
    findings = examine(
        [
            portion(3, 3, check_digits={"iccid": (2, 1), "eid": (3, 0)}),
            portion(5, 2, check_digits={"iccid": (0, 2), "eid": (2, 0)}),
        ]
    )
    assert findings.data(LIMITS)["check_digits"] == {
        "iccid": {"passed": 2, "failed": 3},
        "eid": {"passed": 5, "failed": 0},
    }
    text = "\n".join(findings.text(LIMITS))
    assert "3 of 5 iccid" in text
    assert " eid " not in text


def same_sim(*positions: int) -> tuple[Finding, ...]:
    return tuple(Finding(position, "same_sim", f"row {position} again") for position in positions)


def test_findings_are_counted_whole_and_shown_by_their_first_rows() -> None:
    findings = examine(
        [portion(50, 50, findings=same_sim(2, 3)), portion(100, 50, findings=same_sim(*range(51, 90)))]
    )
    assert findings.data(LIMITS)["findings"] == [
        {"code": "same_sim", "rows": 41, "examples": ["row 2 again", "row 3 again", "row 51 again"]}
    ]
    lines = findings.text(LIMITS)
    assert lines[1:5] == [
        "  finding: 41 x same_sim",
        "      row 2 again",
        "      row 3 again",
        "      row 51 again",
    ]


def test_findings_alone_leave_an_inventory_clean() -> None:
    findings = examine([portion(5, 5, findings=same_sim(2))])
    assert findings.clean
    assert findings.data(LIMITS)["problems"] == []


@pytest.mark.parametrize(
    ("passed", "failed", "word"), [(100, 900, "missing"), (700, 300, "damaged"), (500, 500, "mixed")]
)
def test_the_share_of_check_digits_says_what_is_the_matter(passed: int, failed: int, word: str) -> None:
    findings = examine([portion(1000, 1000, check_digits={"iccid": (passed, failed)})])
    assert word in "\n".join(findings.text(LIMITS))


@pytest.mark.parametrize(
    ("calls", "rate", "words"), [(10, 2.5, "0h00m04s"), (1, 50, "0h00m01s"), (100_000, 10, "2h46m40s")]
)
def test_the_plan_says_how_long_it_takes_at_least(calls: int, rate: float, words: str) -> None:
    findings = Findings(rows=1, items=1, batches=calls)
    plan = findings.text(Limits(requests_per_second=rate))[-1]
    assert plan == f"plan: {calls:,} calls, at {rate:g} requests/s at least {words}"
    assert findings.calls_s(Limits(requests_per_second=rate)) == pytest.approx(calls / rate)


def test_the_data_is_all_there_and_plain() -> None:
    findings = examine([portion(7, 3, 2, rows=(rejected(6), duplicate(7)))])
    found = findings.data(LIMITS)
    assert json.loads(json.dumps(found)) == found
    assert (found["rows"], found["items"], found["clean"]) == (7, 5, False)
    assert found["plan"] == {"batches": 2, "calls": 2, "requests_per_second": 2.5, "least_duration_s": 0.8}
    assert {problem["code"] for problem in found["problems"]} == {"iccid_format", "duplicate"}


def test_the_text_says_what_is_wrong_where() -> None:
    lines = examine([portion(2000, 1000, 998, rows=(rejected(17), duplicate(18)))]).text(LIMITS)
    assert lines[0] == "2,000 rows read, 1,998 would be sent"
    assert "  rejected: 1 x iccid_format" in lines
    assert "      row 17: is wrong" in lines
    assert "  duplicate: 1 x duplicate" in lines


def test_every_portion_is_shown_to_whoever_watches() -> None:
    portions, seen = [portion(1, 1), portion(2, 1)], []
    examine(portions, seen.append)
    assert seen == portions
