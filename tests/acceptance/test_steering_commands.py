"""tune, hold, release and stop against a run of another process: in effect within two seconds, on record."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import inventories
from books import compare
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from program import Process, Program
    from vendors import Vendor

IN_EFFECT_S = 2.0


def events(simlift: Program, run_id: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(simlift.runs / run_id / "ledger.sqlite")
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute("SELECT * FROM event ORDER BY id")]
    finally:
        connection.close()


def asked(simlift: Program, run_id: str, kind: str) -> dict[str, Any]:
    (event,) = (event for event in events(simlift, run_id) if event["kind"] == kind)
    return event


def begun(simlift: Program, vendor: Vendor, *, rows: int, rate: float) -> tuple[Process, list[str]]:
    """Start a run of batches of ten and wait until the vendor has some of them."""
    lines = inventories.rows(rows)
    inventory: Path = inventories.write(simlift.folder / "delivery.csv", lines)
    job = simlift.job(vendor.url, batch_items=10, concurrency=4, requests_per_second=rate)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "night")
    until(lambda: vendor.held, lambda held: held >= 20, "two batches at the vendor")
    return process, [line[0] for line in lines]


def test_a_run_is_tuned_while_it_lasts(simlift: Program, start_vendor: Callable[..., Vendor]) -> None:
    vendor = start_vendor()
    process, keys = begun(simlift, vendor, rows=2000, rate=2.0)  # 100 s at this rate

    ended = simlift("tune", "night", "--requests-per-second", "500", "--concurrency", "8")

    assert ended.code == 0
    assert "requests_per_second 2 -> 500, concurrency 4 -> 8" in ended.out
    assert process.end().code == 0
    assert compare(simlift, "night", vendor, keys) == {"succeeded": 2000}
    event = asked(simlift, "night", "tune")
    assert event["taken_at"] - event["at"] < IN_EFFECT_S


def test_a_held_run_sends_nothing_until_it_is_released(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    process, keys = begun(simlift, vendor, rows=600, rate=20.0)
    assert simlift("hold", "night", "--because", "the vendor called").code == 0
    held = until(
        lambda: (vendor.requests, simlift("status", "night", "--json").out),
        lambda seen: seen[0] == vendor.requests,
        "no request while a command lasts",
    )[0]
    assert simlift("status", "night").code == 0  # takes its time, in which nothing is sent
    assert vendor.requests == held
    assert process.running

    assert simlift("release", "night").code == 0

    assert process.end().code == 0
    assert compare(simlift, "night", vendor, keys) == {"succeeded": 600}
    hold, release = asked(simlift, "night", "hold"), asked(simlift, "night", "release")
    assert hold["words"] == f"held by {hold['by']}: the vendor called"
    assert max(event["taken_at"] - event["at"] for event in (hold, release)) < IN_EFFECT_S


def test_a_hold_outlives_its_process(simlift: Program, start_vendor: Callable[..., Vendor]) -> None:
    vendor = start_vendor()
    process, keys = begun(simlift, vendor, rows=600, rate=20.0)
    assert simlift("hold", "night").code == 0
    process.kill()
    before = vendor.requests
    process = simlift.start("resume", "night")
    until(
        lambda: simlift.log("night"), lambda log: [line["event"] for line in log].count("run") == 2, "a start"
    )
    assert simlift("status", "night").code == 0  # takes its time, in which nothing is sent
    assert vendor.requests == before
    assert simlift("release", "night").code == 0
    assert process.end().code == 0
    assert sum(compare(simlift, "night", vendor, keys).values()) == 600


def test_a_stopped_run_ends_with_3_and_can_be_resumed(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    process, keys = begun(simlift, vendor, rows=600, rate=20.0)

    assert simlift("stop", "night", "--because", "enough for today").code == 0

    ended = process.end()
    assert ended.code == 3
    assert ": enough for today; `simlift resume` goes on from here" in ended.out
    assert simlift.summary("night")["state"] == "stopped"
    assert simlift("tune", "night", "--requests-per-second", "500").code == 0
    assert simlift("resume", "night").code == 0
    assert compare(simlift, "night", vendor, keys) == {"succeeded": 600}


def test_what_makes_no_sense_is_refused_in_one_line(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    process, _ = begun(simlift, vendor, rows=40, rate=500.0)
    assert process.end().code == 0
    for command in (
        ("tune", "night", "--concurrency", "2"),
        ("tune", "night"),
        ("tune", "nigth", "--concurrency", "2"),
        ("hold", "night"),
        ("release", "night"),
        ("stop", "night"),
    ):
        ended = simlift(*command)
        assert ended.code == 2
        assert ended.err.startswith("simlift: ")
        assert ended.err.count("\n") == 1
