"""`check` from the files to the exit code: findings, plan, window, failures.csv. It sends nothing."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

JOB = """
[target]
kind = "sim-express"
base_url = "https://vendor.example"
access_code = "env:NOWHERE"
secret_code = "env:NOWHERE"
[limits]
batch_items = 2
requests_per_second = 0.1
"""
HEADER = "iccid,eid,imei,ac,cc,apn"
EID = "89049032000001000000128594834117"


def line(number: int, ac: str = "", eid: str = EID, iccid: str = "") -> str:
    ac = ac or f"LPA:1$smdp.example$SECRET-{number}"
    return f"{iccid or f'893571100100{number:07d}'},{eid},352030010010{number:03d},{ac},,iot.example"


def check(tmp_path: Path, *lines: str, options: tuple[str, ...] = (), job: str = JOB) -> tuple[int, str]:
    (tmp_path / "job.toml").write_text(job, "utf-8")
    (tmp_path / "in.csv").write_text("\n".join((HEADER, *lines, "")), "utf-8")
    names = [str(tmp_path / "in.csv"), "--job", str(tmp_path / "job.toml")]
    ended = CliRunner().invoke(app, ["check", *names, *options])
    if isinstance(ended.exception, UsageError):
        raise ended.exception
    return ended.exit_code, ended.stdout


def checked(tmp_path: Path, *lines: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check(tmp_path, *lines, options=("--json",), **more)[1])
    return found


def test_a_clean_inventory_ends_with_0_and_its_plan(tmp_path: Path) -> None:
    code, shown = check(tmp_path, line(1), line(2), line(3))
    assert code == 0
    assert "3 rows read, 3 would be sent" in shown
    assert "plan: 2 batches in as many calls: 20s at 0.1 requests/s" in shown


def test_a_shared_activation_code_is_a_finding_and_leaves_the_inventory_clean(tmp_path: Path) -> None:
    found = checked(tmp_path, line(1, ac="same"), line(2), line(3, ac="same"))
    assert found["clean"]
    assert found["findings"] == [
        {
            "code": "shared_ac",
            "rows": 1,
            "examples": ["row 3 has the ac of row 1, whose key is another one"],
        }
    ]


def test_the_job_file_makes_a_finding_a_rejection(tmp_path: Path) -> None:
    job = f'{JOB}[input]\nfindings = {{ shared_ac = "reject" }}\n'
    found = checked(tmp_path, line(1, ac="same"), line(2, ac="same"), job=job)
    assert not found["clean"]
    assert [(p["status"], p["code"]) for p in found["problems"]] == [("rejected", "shared_ac")]


def test_duplicates_are_told_apart_by_their_eid(tmp_path: Path) -> None:
    other = line(1, eid=EID[::-1])
    found = checked(tmp_path, line(1), line(2), line(1), other)
    assert {(p["code"], p["examples"][0]) for p in found["problems"]} == {
        ("duplicate", "row 3: the same key stood in row 1"),
        ("eid_differs", "row 4: the same key stood in row 1, with another eid"),
    }


def test_an_unknown_finding_in_the_job_file_stops_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean shared_ac"):
        check(tmp_path, line(1), job=f'{JOB}[input]\nfindings = {{ shared_acs = "warn" }}\n')


@pytest.mark.parametrize(("within", "code", "word"), [("10s", 0, "yes"), ("9s", 1, "no, by 1s")])
def test_a_plan_that_does_not_fit_its_window_ends_with_1(
    tmp_path: Path, within: str, code: int, word: str
) -> None:
    ended, shown = check(tmp_path, line(1), line(2), options=("--within", within))
    assert (ended, f"fits in {within}: {word}" in shown) == (code, True)


def test_the_plan_counts_the_jobs_window_in(tmp_path: Path) -> None:
    job = f'{JOB}[window]\nshares = {{ "00:00-24:00" = 0.5 }}\n'
    ended, shown = check(tmp_path, line(1), line(2), options=("--within", "15s"), job=job)
    assert (ended, "fits in 15s: no, by 5s" in shown, "begun now it ends" in shown) == (1, True, True)
    plan = checked(tmp_path, line(1), line(2), job=job)["plan"]
    assert (plan["duration_s"], plan["takes_s"], plan["windows"]) == (10, 20, 1)
    assert plan["ends_at"].endswith("+00:00")


def test_what_is_no_window_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2h30m"):
        check(tmp_path, line(1), options=("--within", "soon"))


def test_failures_are_written_as_a_run_would_write_them_and_can_be_checked_again(tmp_path: Path) -> None:
    out = tmp_path / "out" / "deep"
    code, _ = check(tmp_path, line(1), line(1), line(2, iccid="x"), options=("--out", str(out)))
    assert code == 1
    failures = out / "failures.csv"
    assert failures.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(failures.read_text("utf-8").splitlines()))
    assert [(row["simlift_status"], row["simlift_code"]) for row in rows] == [
        ("duplicate", "duplicate"),
        ("rejected", "iccid_format"),
    ]
    assert rows[0]["ac"] == "LPA:1$smdp.example$SECRET-1"
    again = CliRunner().invoke(app, ["check", str(failures), "--job", str(tmp_path / "job.toml"), "--json"])
    assert json.loads(again.stdout)["rows"] == 2


def test_failures_are_written_in_the_inventorys_own_format_too(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB, "utf-8")
    rows = [
        dict(zip(HEADER.split(","), line(n, iccid="123" * (n == 2)).split(","), strict=True)) for n in (1, 2)
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    words = ["check", str(tmp_path / "in.jsonl"), "--job", str(tmp_path / "job.toml")]

    ended = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])

    assert ended.exit_code == 1
    (failure,) = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text("utf-8").splitlines())
    assert (failure["iccid"], failure["simlift_code"]) == ("123", "iccid_format")
    assert len((tmp_path / "out" / "failures.csv").read_text("utf-8").splitlines()) == 2
