"""Inventories and job files that cannot be used: one clear line, exit code 2, and nothing was sent."""

from __future__ import annotations

import ctypes
import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import inventories
from books import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Ended, Program
    from vendors import Vendor

LINE = ",".join(inventories.row(1))
HEADER = ",".join(inventories.HEADER)

BAD_FILES = {
    "empty": (b"", "is empty"),
    "header-only": (f"{HEADER}\n".encode(), "no rows"),
    "no-iccid-column": (f"{HEADER.replace('iccid', 'serial')}\n{LINE}\n".encode(), "no column for iccid"),
    "two-iccid-columns": (
        f"{HEADER},ICC ID\n{LINE},{inventories.iccid(2)}\n".encode(),
        "claimed by 2 columns",
    ),
    "binary-junk": (bytes(range(256)) * 40, "not a text table"),
    "cut-gzip": (gzip.compress(f"{HEADER}\n{LINE}\n".encode())[:60], "cut off"),
}


def assert_refused(ended: Ended, words: str) -> None:
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("simlift: "), ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert words in ended.err
    assert inventories.AC_MARK not in ended.err


def assert_nothing_happened(simlift: Program, vendor: Vendor) -> None:
    assert vendor.requests == 0
    assert not simlift.runs.exists(), "a run folder was left behind"


def test_a_file_that_is_no_inventory_is_refused_and_nothing_is_sent(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    job = simlift.job(quiet_vendor.url)
    empty = simlift.folder / "of-nothing"
    empty.mkdir()
    expected: dict[Path, str] = {empty: "the folder holds no inventory files"}
    if (unreadable := Path("/proc/self/mem")).exists():
        expected[unreadable] = "cannot be read: Input/output error"
    for kind, (content, words) in BAD_FILES.items():
        path = simlift.folder / f"{kind}.csv"
        path.write_bytes(content)
        expected[path] = words
    endings = simlift.together(*(("run", path, "--job", job) for path in expected))
    for ended, words in zip(endings, expected.values(), strict=True):
        assert_refused(ended, words)
    assert_nothing_happened(simlift, quiet_vendor)


def _without_roots_rights() -> None:
    """Give up the right to read any file, which root has; every other user lacks it anyway."""
    drop_from_bounding_set, overrides = 24, (1, 2)  # prctl(2), capabilities(7)
    for right in overrides:
        ctypes.CDLL(None).prctl(drop_from_bounding_set, right, 0, 0, 0)


def test_a_file_without_permission_is_refused(simlift: Program, quiet_vendor: Vendor) -> None:
    path = inventories.write(simlift.folder / "locked.csv", inventories.rows(1))
    path.chmod(0)
    job = simlift.job(quiet_vendor.url)
    ended = simlift("run", path, "--job", job, before=_without_roots_rights)
    assert (ended.code, ended.out, quiet_vendor.requests) == (2, "", 0)
    assert "Traceback" not in ended.err
    assert re.search(r"locked\.csv\W.*(not readable|Permission denied)", ended.err)


# ---------------------------------------------------------------- job files

BAD_JOBS: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown-key": (
        lambda job: job.replace("concurrency", "concurency"),
        "limits.concurency: unknown key; did you mean concurrency?",
    ),
    "missing-secret": (
        lambda job: job.replace("env:SIM_EXPRESS_SECRET_CODE", "env:SIMLIFT_NOT_SET"),
        "target.secret_code: the environment variable SIMLIFT_NOT_SET is not set",
    ),
    "literal-secret": (
        lambda job: job.replace("env:SIM_EXPRESS_SECRET_CODE", "hunter2-literal"),
        "target.secret_code: must be a reference",
    ),
    "unknown-vendor": (lambda job: job.replace('"sim-express"', '"sim-expres"'), "did you mean sim-express?"),
    "unknown-field": (lambda job: f'{job}[input]\ndefaults = {{ apm = "x" }}\n', "did you mean apn?"),
}


def test_a_wrong_job_file_is_refused_and_nothing_is_sent(simlift: Program, quiet_vendor: Vendor) -> None:
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(1))
    right = simlift.job(quiet_vendor.url).read_text("utf-8")
    for kind, (mistake, _) in BAD_JOBS.items():
        (simlift.folder / f"{kind}.toml").write_text(mistake(right), "utf-8")
    endings = simlift.together(*(("run", inventory, "--job", f"{kind}.toml") for kind in BAD_JOBS))
    for kind, ended in zip(BAD_JOBS, endings, strict=True):
        assert_refused(ended, BAD_JOBS[kind][1])
        assert "hunter2" not in ended.err
    assert_nothing_happened(simlift, quiet_vendor)


# ---------------------------------------------------------------- size


def megabytes_of_zeros(count: int) -> bytes:
    """Compress so many, a gzip member for each: a file of several members is one stream."""
    return gzip.compress(bytes(1_000_000)) * count


def test_an_endless_line_costs_one_row_and_little_memory(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    megabytes = 400
    vendor = start_vendor()
    path = simlift.folder / "endless.csv.gz"
    before = gzip.compress(f"{HEADER}\n{LINE}\n".encode())
    after = gzip.compress(f"\n{','.join(inventories.row(2))}\n".encode())
    path.write_bytes(before + megabytes_of_zeros(megabytes) + after)
    job = simlift.job(vendor.url)

    ended, peak_bytes = simlift.start(
        "run", path, "--job", job, "--run-id", "endless", warm=False
    ).end_measured()

    assert ended.code == 1
    keys = [inventories.iccid(1), "", inventories.iccid(2)]
    assert compare(simlift, "endless", vendor, keys) == {"succeeded": 2, "rejected": 1}
    assert "longer than" in simlift.outcomes("endless")[1]["reason"]
    assert peak_bytes < megabytes * 1_000_000, f"{peak_bytes:,} bytes for one line"


def test_a_compressed_flood_of_zeros_is_no_inventory(simlift: Program, quiet_vendor: Vendor) -> None:
    path = simlift.folder / "zeros.csv.gz"
    path.write_bytes(megabytes_of_zeros(400))
    job = simlift.job(quiet_vendor.url)
    ended, peak_bytes = simlift.start("run", path, "--job", job, warm=False).end_measured()
    assert_refused(ended, "not a text table")
    assert peak_bytes < 400_000_000
    assert_nothing_happened(simlift, quiet_vendor)


def test_a_row_too_large_for_a_call_is_rejected_and_does_not_claim_its_key(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    lines = [inventories.row(1, apn="x" * 2000), inventories.row(1)]
    inventory = inventories.write(simlift.folder / "delivery.csv", lines)
    ended = simlift("run", inventory, "--job", simlift.job(vendor.url, batch_bytes=1000), "--run-id", "large")
    assert ended.code == 1
    ends = [(outcome["status"], outcome["code"]) for outcome in simlift.outcomes("large")]
    assert ends == [("rejected", "too_long"), ("succeeded", "")]
    assert vendor.held == 1


def test_a_file_cut_off_in_the_middle_stops_the_run_after_its_last_whole_row(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    lines = inventories.rows(3000)
    whole = inventories.write(simlift.folder / "whole.csv", lines).read_bytes()
    path = simlift.folder / "cut.csv.gz"
    packed = gzip.compress(whole)
    path.write_bytes(packed[: len(packed) // 2])

    ended = simlift("run", path, "--job", simlift.job(vendor.url, batch_items=500), "--run-id", "cut")

    assert ended.code in (2, 3)
    assert "cut off" in ended.out + ended.err
    assert ended.code == 3 or vendor.requests == 0
