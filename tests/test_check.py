"""What `check` finds: what is wrong where, how many calls, how long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ledger_making import batch_of

from pipeline.check import EXAMPLES, Findings, Unsent, counted
from pipeline.model import Exceptional, Finding, Portion, RunRecord, State, Status
from pipeline.plan import Plan
from pipeline.settings import Input, Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAN = Plan(2, Limits(requests_per_second=2.5))


def portion(rows_read: int, *sizes: int, rows: tuple[Exceptional, ...] = (), **more: Any) -> Portion:
    return Portion(tuple(batch_of(range(1, size + 1)) for size in sizes), rows, rows_read, 0, **more)


def examine(portions: Sequence[Portion], stopping: Sequence[str] = ()) -> Findings:
    findings = Findings(stopping=frozenset(stopping))
    assert len(list(counted(portions, findings))) == len(list(portions))
    return findings


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
    assert findings.data(PLAN)["check_digits"] == {
        "iccid": {"passed": 2, "failed": 3},
        "eid": {"passed": 5, "failed": 0},
    }
    text = "\n".join(findings.text(PLAN))
    assert "3 of 5 iccid" in text
    assert " eid " not in text


def same_sim(*positions: int) -> tuple[Finding, ...]:
    return tuple(Finding(position, "same_sim", f"row {position} again") for position in positions)


def test_findings_are_counted_whole_and_shown_by_their_first_rows() -> None:
    findings = examine(
        [portion(50, 50, findings=same_sim(2, 3)), portion(100, 50, findings=same_sim(*range(51, 90)))]
    )
    assert findings.data(PLAN)["findings"] == [
        {"code": "same_sim", "rows": 41, "examples": ["row 2 again", "row 3 again", "row 51 again"]}
    ]
    lines = findings.text(PLAN)
    assert lines[1:5] == [
        "  finding: 41 x same_sim",
        "      row 2 again",
        "      row 3 again",
        "      row 51 again",
    ]


def test_findings_alone_leave_an_inventory_clean() -> None:
    findings = examine([portion(5, 5, findings=same_sim(2))])
    assert findings.clean
    assert findings.data(PLAN)["problems"] == []


def test_what_stops_a_run_is_a_wrong_quantity_unless_it_only_warns_and_sheets_left_over() -> None:
    assert Input().stopping == {"quantity", "other_sheets"}
    assert Input(quantity="warn").stopping == {"other_sheets"}


def test_a_finding_that_stops_a_run_leaves_nothing_clean() -> None:
    odd = (Finding(0, "quantity", "in.out: batch 1 says 3 rows"),)
    findings = examine([portion(5, 5, findings=odd)], stopping=["quantity"])
    assert not findings.clean
    assert findings.data(PLAN)["findings"][0]["code"] == "quantity"
    assert examine([portion(5, 5, findings=odd)]).clean
    assert examine([portion(5, 5, findings=same_sim(2))], stopping=["quantity"]).clean


@pytest.mark.parametrize(
    ("passed", "failed", "word"), [(100, 900, "missing"), (700, 300, "damaged"), (500, 500, "mixed")]
)
def test_the_share_of_check_digits_says_what_is_the_matter(passed: int, failed: int, word: str) -> None:
    findings = examine([portion(1000, 1000, check_digits={"iccid": (passed, failed)})])
    assert word in "\n".join(findings.text(PLAN))


def test_check_digits_are_told_by_the_number_of_digits_where_that_is_counted() -> None:
    counts = {"iccid": (110, 90), "iccid:19": (100, 0), "iccid:20": (10, 90)}
    text = "\n".join(examine([portion(200, 200, check_digits=counts)]).text(PLAN))
    assert "90 of 100 iccid of 20 digits fail theirs, 10.0% pass" in text
    assert "of 19 digits" not in text
    assert "200 iccid" not in text


def test_the_plan_stands_behind_the_findings() -> None:
    findings = examine([portion(5, 5)])
    assert findings.text(PLAN)[-len(PLAN.text()) :] == PLAN.text()
    assert findings.data(PLAN)["plan"] == PLAN.data()


def test_what_is_never_sent_is_read_as_from_a_ledger_and_counted_on_the_way() -> None:
    record = RunRecord("check", State.FINISHED, "t", (), "", ("a",), {}, 0.0)
    findings = Findings()
    unsent = Unsent(record, counted([portion(2, rows=(rejected(1), duplicate(2)))], findings))
    assert unsent.run().header == ("a",)
    (rows,) = unsent.outcomes(with_source=True)
    assert rows.column("position").to_pylist() == [1, 2]
    assert rows.column("status").to_pylist() == ["rejected", "duplicate"]
    assert set(findings.problems) == {"iccid_format", "duplicate"}


def test_the_data_is_all_there_and_plain() -> None:
    findings = examine([portion(7, 3, 2, rows=(rejected(6), duplicate(7)))])
    found = findings.data(PLAN)
    assert json.loads(json.dumps(found)) == found
    assert (found["rows"], found["items"], found["clean"]) == (7, 5, False)
    assert {problem["code"] for problem in found["problems"]} == {"iccid_format", "duplicate"}


def test_the_text_says_what_is_wrong_where() -> None:
    lines = examine([portion(2000, 1000, 998, rows=(rejected(17), duplicate(18)))]).text(PLAN)
    assert lines[0] == "2,000 rows read, 1,998 would be sent"
    assert "  rejected: 1 x iccid_format" in lines
    assert "      row 17: is wrong" in lines
    assert "  duplicate: 1 x duplicate" in lines
