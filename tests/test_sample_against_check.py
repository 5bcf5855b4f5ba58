"""Samples in every format, their manifests held row by row against what `check` finds, in both directions."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.inventory import open_inventory
from pipeline.samples import write_fleet, write_sample
from pipeline.samples.defects import DEFECTS, ODDITIES
from pipeline.samples.formats import FORMATS
from pipeline.settings import job_from
from pipeline.work import open_target, produce

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENDS = {"json-array": "json", "out-bare": "out", "out-comma": "out"}
TARGETS: Mapping[str, Mapping[str, str]] = {
    "sim-express": {"access_code": "env:NOWHERE", "secret_code": "env:NOWHERE"},
    "bulk-subscriber": {"token": "env:NOWHERE"},
}
CHECKED = ("iccid", "eid", "imei")
MANY = {"items": 4_000, "bad_share": 0.3, "duplicate_share": 0.02, "odd_share": 0.1}


@dataclass
class Found:
    """What an examination says: rows that are not sent, findings, and check digits that fail."""

    rows: int = 0
    dropped: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    findings: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)

    def words(self, row: int) -> str:
        return self.dropped[row][2] if row in self.dropped else self.findings[row][0][1]


def examined(path: Path, target: str = "sim-express", **input_: Any) -> Found:
    table = {"kind": target, "base_url": "https://vendor.example", **TARGETS[target]}
    job = job_from({"target": table, "input": input_}, where="the test's job")
    found = Found()
    for portion in produce(
        open_inventory([str(path)], job.input), job, open_target(job, resolve_secrets=False)[0]
    ):
        found.rows = portion.rows_read
        for row in portion.exceptional:
            assert row.position not in found.dropped
            found.dropped[row.position] = (str(row.status), row.code, row.reason)
        for one in portion.findings:
            found.findings.setdefault(one.position, []).append((one.code, one.words))
        for name, (_, failed) in portion.check_digits.items():
            found.failed[name] += failed
    return found


def told(manifest: Path) -> list[dict[str, Any]]:
    _, *lines, _ = map(json.loads, manifest.read_text("utf-8").splitlines())
    return lines


def expected(lines: list[dict[str, Any]], *, rejecting: bool = False) -> dict[int, tuple[str, list[str]]]:
    """Say what a manifest expects of each row that is not silently sent; `rejecting`: wrong check digits."""
    hopes: dict[int, tuple[str, list[str]]] = {}
    for line in lines:
        if line["expect"] in ("rejected", "duplicate", "finding"):
            hopes[line["row"]] = (line["expect"], line["codes"])
        if rejecting and "check_digits" in line and line["expect"] != "rejected":
            hopes[line["row"]] = ("rejected", [f"{line['column']}_check_digit"])
    return hopes


def said(found: Found) -> dict[int, tuple[str, list[str]]]:
    """Say what was found of each row, in the words of a manifest."""
    findings = {row: ("finding", [code for code, _ in ones]) for row, ones in found.findings.items()}
    assert not findings.keys() & found.dropped.keys()
    return findings | {row: (status, [code]) for row, (status, code, _) in found.dropped.items()}


def held(path: Path, kind: str, seed: int, **shares: Any) -> None:
    """Write a sample and hold its manifest against an examination, row by row."""
    print(f"write_sample: kind {kind}, seed {seed}, {shares}")
    manifest = path.with_name(f"{path.name}.manifest")
    items = shares.pop("items")
    written = write_sample(path, items=items, seed=seed, kind=kind, manifest=manifest, **shares)
    found, lines = examined(path), told(manifest)
    reported = said(found)
    assert reported == expected(lines)
    assert (found.rows, found.rows - len(found.dropped)) == (items, written.sent)
    wrong = Counter(line["column"] for line in lines if "check_digits" in line)
    assert {name: found.failed[name] for name in CHECKED} == {name: wrong[name] for name in CHECKED}
    for line in (line for line in lines if line["row"] in reported):
        words = found.words(line["row"])
        assert f"row {line['row']}" in words
        if "earlier_row" in line:
            assert re.search(rf" row {line['earlier_row']}\b", words)
        elif "column" in line:
            assert f'column "{line["column"]}"' in words.lower()


@pytest.mark.parametrize("seed", [1, 20261122])
@pytest.mark.parametrize("kind", FORMATS)
def test_check_finds_what_the_manifest_says_and_nothing_else(tmp_path: Path, kind: str, seed: int) -> None:
    path = tmp_path / f"sample.{ENDS.get(kind, kind)}"
    held(path, kind, seed, **MANY)
    kinds = Counter(line["kind"] for line in told(path.with_name(f"{path.name}.manifest")))
    possible = {defect.kind for defect in (*DEFECTS, *ODDITIES) if defect.needs <= FORMATS[kind].can}
    assert possible <= kinds.keys()
    assert min(kinds[kind] for kind in possible) > 5


@pytest.mark.parametrize("kind", FORMATS)
def test_with_check_digits_that_reject_every_warning_is_a_rejection(tmp_path: Path, kind: str) -> None:
    path, manifest = tmp_path / f"sample.{ENDS.get(kind, kind)}", tmp_path / "told"
    write_sample(path, **{"seed": 3, "kind": kind, "manifest": manifest} | MANY)  # type: ignore[arg-type]
    found = examined(path, check_digits=dict.fromkeys(CHECKED, "reject"))
    hopes = expected(told(manifest), rejecting=True)
    assert said(found) == hopes
    assert {code for _, codes in hopes.values() for code in codes} > {
        f"{name}_check_digit" for name in CHECKED
    }


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(sorted(FORMATS)),
    seed=st.integers(),
    asked=st.fixed_dictionaries(
        {"items": st.integers(1, 400), "bad_share": st.floats(0, 0.6), "odd_share": st.floats(0, 0.4)}
    ),
)
def test_any_sample_holds(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, asked: dict[str, Any]
) -> None:
    held(tmp_path_factory.getbasetemp() / f"any.{ENDS.get(kind, kind)}", kind, seed, **asked)


def test_rows_of_different_blocks_and_chunks_find_one_another(tmp_path: Path) -> None:
    held(tmp_path / "long.csv", "csv", 5, items=120_000, bad_share=0.05, duplicate_share=0.01, odd_share=0.01)


@pytest.mark.parametrize("kind", ["out", "out-bare", "out-comma"])
def test_a_wrong_quantity_is_found_and_its_rows_are_not(tmp_path: Path, kind: str) -> None:
    path, manifest = tmp_path / "sample.out", tmp_path / "told"
    write_sample(path, items=10, seed=1, bad_share=0, kind=kind, manifest=manifest, wrong_quantity=True)
    assert told(manifest) == [
        {"row": 0, "kind": "wrong_quantity", "expect": "finding", "codes": ["quantity"]}
    ]
    found = examined(path)
    assert said(found) == {0: ("finding", ["quantity"])}
    assert "says Quantity 11 and has 10 rows" in found.findings[0][0][1]


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if not kind.startswith("out")])
def test_a_fleet_holds_in_every_format(tmp_path: Path, kind: str) -> None:
    path, manifest = tmp_path / f"fleet.{ENDS.get(kind, kind)}", tmp_path / "told"
    written = write_fleet(
        path, items=2_000, seed=6, bad_share=0.2, duplicate_share=0.1, kind=kind, manifest=manifest
    )
    found = examined(path, "bulk-subscriber")
    assert said(found) == expected(told(manifest))
    assert found.rows - len(found.dropped) == written.sent < 1_700


# ---------------------------------------------------------------- the command line


def run(*words: str | Path) -> tuple[int, str]:
    ended = CliRunner().invoke(app, [str(word) for word in words])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout


@pytest.mark.parametrize("name", ["delivery.csv.gz", "delivery.jsonl", "delivery.xlsx", "delivery.parquet"])
def test_the_commands_agree_on_a_file(tmp_path: Path, name: str) -> None:
    path, out = tmp_path / name, tmp_path / "checked"
    code, shown = run(
        "sample", "--items", "3000", "--bad", "0.2", "--odd", "0.1", "--seed", "9", "--out", path
    )
    assert code == 0
    manifest = tmp_path / f"{name}.manifest.jsonl"
    assert f"{path}: 3,000 rows, " in shown
    assert f"what is wrong where: {manifest}" in shown
    (tmp_path / "job.toml").write_text(
        '[target]\nkind = "sim-express"\nbase_url = "https://vendor.example"\n'
        'access_code = "env:NOWHERE"\nsecret_code = "env:NOWHERE"\n',
        "utf-8",
    )
    code, data = run("check", path, "--job", tmp_path / "job.toml", "--json", "--out", out)
    assert code == 1
    checked = json.loads(data)
    lines = told(manifest)
    rows = [line for line in lines if line["expect"] in ("rejected", "duplicate")]
    assert {(p["status"], p["code"]): p["rows"] for p in checked["problems"]} == Counter(
        (line["expect"], line["codes"][0]) for line in rows
    )
    assert {f["code"]: f["rows"] for f in checked["findings"]} == Counter(
        line["codes"][0] for line in lines if line["expect"] == "finding"
    )
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        failures = [(row["simlift_status"], row["simlift_code"]) for row in csv.DictReader(file)]
    assert failures == [(line["expect"], line["codes"][0]) for line in rows]


def test_a_clean_sample_has_no_manifest_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert run("sample", "--items", "10", "--out", tmp_path / "a.csv")[1].endswith(
        "a.csv: 10 rows, 10 would be sent\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    run("sample", "--items", "10", "--out", tmp_path / "a.csv", "--manifest", tmp_path / "told")
    assert told(tmp_path / "told") == []
