"""Clocks that jump, begin anew or stand still: a wrong one stops the run in plain words, none costs a row."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import inventories
import pytest
from books import GOOD, compare
from program import SIMLIFT
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from program import Process, Program
    from vendors import Vendor

QUICK = {"concurrency": 2, "batch_items": 10}
STEADY = "latency = { mean_s = 0.05, jitter_s = 0.02 }"

#: The program on a machine whose wall clock is off by what stands in a file, from one call to the next.
#: Only its own time.time() is moved: the machine's clock belongs to everyone on it.
BY_ANOTHER_CLOCK = """
import sys, time
from pathlib import Path
off_s, right = Path(sys.argv.pop(1)), time.time
time.time = lambda: right() + float(off_s.read_text() or 0)
from pipeline.cli import main
main()
"""


def delivery(simlift: Program, count: int) -> tuple[Path, list[str]]:
    lines = inventories.rows(count)
    return inventories.write(simlift.folder / "delivery.csv", lines), [line[0] for line in lines]


class Clock:
    """The wall clock of the programs started by it."""

    def __init__(self, simlift: Program) -> None:
        self._simlift = simlift
        self._file = simlift.folder / "off_s"
        self.jump(0)

    def jump(self, to_s: float) -> None:
        """Be off by so much from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(str(to_s))
        new.rename(self._file)

    def start(self, *arguments: str | Path) -> Process:
        command = (sys.executable, "-c", BY_ANOTHER_CLOCK, str(self._file))
        return self._simlift.start(*arguments, command=command)


@pytest.mark.parametrize(("jump_s", "side"), [(1200, "ahead of"), (-1200, "behind")])
def test_a_clock_that_jumps_out_of_bounds_stops_the_run_and_it_goes_on_once_set(
    simlift: Program, start_vendor: Callable[..., Vendor], jump_s: int, side: str
) -> None:
    vendor = start_vendor(faults=STEADY)
    inventory, keys = delivery(simlift, 300)
    job = simlift.job(vendor.url, **QUICK)
    clock = Clock(simlift)
    process = clock.start("run", inventory, "--job", job, "--run-id", "jump")
    until(lambda: vendor.requests, lambda seen: seen >= 6, "requests")
    clock.jump(jump_s)
    ended = process.end()

    assert ended.code == 3, ended
    assert "101001" in ended.out
    assert re.search(rf"this machine's clock is (1199|1200|1201) s {side} the vendor's: set it", ended.out)
    counts = compare(simlift, "jump", vendor, keys, whole=False)
    assert counts == {"succeeded": vendor.held}
    assert simlift.failures("jump") == []
    assert vendor.traffic["rejected_signatures"] <= QUICK["concurrency"], "it went on asking"

    assert simlift("resume", "jump").code == 0
    assert compare(simlift, "jump", vendor, keys) == {"succeeded": 300}


def test_a_clock_that_jumps_to_and_fro_within_bounds_is_of_no_consequence(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults=STEADY)
    inventory, keys = delivery(simlift, 200)
    clock = Clock(simlift)
    job = simlift.job(vendor.url, **QUICK, requests_per_second=20)
    process = clock.start("run", inventory, "--job", job, "--run-id", "jumps")
    for requests, off_s in ((3, -590), (6, 590), (9, -590), (12, 0), (15, 400)):
        until(lambda: vendor.requests, lambda seen, enough=requests: seen >= enough, "requests")
        clock.jump(off_s)
    ended = process.end()

    assert ended.code == 0, ended
    assert compare(simlift, "jumps", vendor, keys) == {"succeeded": 200}
    assert vendor.traffic["peak_requests_in_one_second"] <= 20
    assert 0.9 < simlift.summary("jumps")["duration_s"] < 60


# ---------------------------------------------------------------- a clock that stands still


def test_an_importer_that_is_frozen_beyond_its_timeouts_loses_nothing(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults=STEADY)
    inventory, keys = delivery(simlift, 200)
    job = simlift.job(vendor.url, **QUICK, reply_timeout_s=0.2)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "frozen")
    for requests in (3, 9):
        until(lambda: vendor.requests, lambda seen, enough=requests: seen >= enough, "requests")
        process.signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.signal(signal.SIGCONT)
    ended = process.end()
    assert ended.code == 0, ended
    assert set(compare(simlift, "frozen", vendor, keys)) <= GOOD


def test_a_vendor_that_freezes_and_carries_out_late_holds_every_row_once(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults=STEADY)
    inventory, keys = delivery(simlift, 200)
    job = simlift.job(vendor.url, **QUICK, reply_timeout_s=0.2, attempts=20)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "late")
    for requests in (3, 9):
        until(lambda: vendor.requests, lambda seen, enough=requests: seen >= enough, "requests")
        os.kill(vendor.process.pid, signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
        os.kill(vendor.process.pid, signal.SIGCONT)
    ended = process.end()
    assert ended.code == 0, ended
    counts = compare(simlift, "late", vendor, keys)
    assert set(counts) <= GOOD
    assert counts["confirmed"] > 0, "nothing was carried out late"


# ---------------------------------------------------------------- a clock that begins anew


AFTER_DAYS = ("unshare", "-r", "--time", "--monotonic", "9000000")


def _moves_the_monotonic_clock() -> bool:
    look = [*AFTER_DAYS, sys.executable, "-S", "-c", "import time; assert time.monotonic() > 9_000_000"]
    return shutil.which("unshare") is not None and not subprocess.call(look, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(not _moves_the_monotonic_clock(), reason="the monotonic clock cannot be moved here")
def test_a_run_goes_on_after_a_reboot_with_another_monotonic_clock(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults=STEADY)
    inventory, keys = delivery(simlift, 200)
    job = simlift.job(vendor.url, **QUICK)
    process = simlift.start(
        "run", inventory, "--job", job, "--run-id", "reboot", command=(*AFTER_DAYS, SIMLIFT)
    )
    until(lambda: vendor.requests, lambda seen: seen >= 5, "requests")
    process.kill()
    assert simlift("resume", "reboot").code == 0
    assert set(compare(simlift, "reboot", vendor, keys)) <= GOOD
    assert 0 < simlift.summary("reboot")["duration_s"] < 60
