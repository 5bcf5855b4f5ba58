"""Guards in the program: they stop or hold it before damage spreads, say why, and lose nothing."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import inventories
import pytest
from books import compare, compare_fleet
from waiting import until

from pipeline.chronicle import EventKind
from pipeline.ledgers.sqlite import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from program import Program
    from vendors import Vendor

    from pipeline.chronicle import Event

    StartVendor = Callable[..., Vendor]

ALL_REFUSED = 'fault = [{ kind = "refuse_items", item_share = 1.0 }]\n'


def delivery(simlift: Program, count: int) -> tuple[Path, list[str]]:
    path = inventories.write(simlift.folder / "delivery.csv", inventories.rows(count))
    return path, [inventories.iccid(number) for number in range(1, count + 1)]


def guards(**table: object) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in table.items())
    return f"[guards]\n{lines}"


def events(simlift: Program, run_id: str, *kinds: EventKind) -> list[Event]:
    with closing(SqliteLedger.open(simlift.runs / run_id, read_only=True)) as ledger:
        return [event for event in ledger.events() if event.kind in kinds]


def tripped(simlift: Program, run_id: str) -> list[Mapping[str, Any]]:
    return [event.data for event in events(simlift, run_id, EventKind.GUARD)]


def test_a_canary_of_a_thousand_that_is_refused_is_all_that_is_ever_sent(
    simlift: Program, start_vendor: StartVendor
) -> None:
    vendor = start_vendor(faults=ALL_REFUSED)
    inventory, keys = delivery(simlift, 5000)
    job = simlift.job(vendor.url, batch_items=1000, rest=guards(canary_items=1000))

    ended = simlift("run", inventory, "--job", job, "--run-id", "canary")

    assert ended.code == 3, ended
    because = next(line for line in ended.out.splitlines() if "because" in line)
    assert (
        "1,000 of the first 1,000 items were not good, [guards] canary_share allows 5 % of 1,000" in because
    )
    assert "most often failed: " in because
    assert "look at failures.csv; then `simlift resume` goes on" in because
    assert inventories.iccid(1) not in because
    assert vendor.requests == 1
    assert compare(simlift, "canary", vendor, keys, whole=False) == {"refused": 1000}
    summary = simlift.summary("canary")
    assert (summary["state"], summary["exit_code"]) == ("stopped", 3)
    (trip,) = tripped(simlift, "canary")
    assert trip == {
        "guard": "canary", "bad": 1000, "of": 1000, "allowed": 50, "codes": {"failed": 1000}
    }  # fmt: skip


def test_a_resumed_run_begins_with_another_canary_and_more_may_be_allowed_by_the_job_file(
    simlift: Program, start_vendor: StartVendor
) -> None:
    vendor = start_vendor(faults=ALL_REFUSED)
    inventory, keys = delivery(simlift, 200)
    job = simlift.job(vendor.url, rest=guards(canary_items=20))
    command = ("run", inventory, "--job", job, "--run-id", "again")
    assert simlift(*command).code == 3
    assert simlift("resume", "again").code == 3
    assert compare(simlift, "again", vendor, keys, whole=False) == {"refused": 40}
    assert [trip["of"] for trip in tripped(simlift, "again")] == [20, 20]

    simlift.job(vendor.url, rest=guards(canary_items=20, canary_share=1.0))
    assert simlift(*command).code == 1
    assert compare(simlift, "again", vendor, keys) == {"refused": 200}


def test_the_error_budget_stops_a_run_that_turns_bad_and_resume_finishes_it(
    simlift: Program, start_vendor: StartVendor
) -> None:
    inventory, keys = delivery(simlift, 600)
    bad = f"{keys[299][:16]}3[0-9]{{2}}"  # rows 300 to 399
    vendor = start_vendor(
        faults=f"""latency = {{ mean_s = 0.01 }}
fault = [{{ kind = "refuse_items", pattern = "{bad}", reason = "the plan is used up, iccid:[{{iccid}}]" }}]
"""
    )
    job = simlift.job(
        vendor.url, concurrency=2, rest=guards(canary_items=50, budget_share=0.1, budget_over_items=200)
    )
    ended = simlift("run", inventory, "--job", job, "--run-id", "budget")

    assert ended.code == 3, ended
    said = re.search(
        r"21 of the last (\d+) items were not good, \[guards\] budget_share allows 10 % of 200", ended.out
    )
    assert said, ended
    assert 21 <= int(said[1]) <= 200
    assert "most often failed: the plan is used up" in ended.out
    (trip,) = tripped(simlift, "budget")
    assert (trip["guard"], trip["bad"], trip["allowed"]) == ("budget", 21, 20)
    counts = compare(simlift, "budget", vendor, keys, whole=False)
    assert counts["succeeded"] >= 299
    assert 21 <= counts["refused"] <= 80, "what was in flight is settled, and nothing more"
    assert set(counts) == {"succeeded", "refused"}

    codes = [simlift("resume", "budget").code for _ in range(6)]
    assert codes[-1] == 1
    assert set(codes) <= {1, 3}
    assert compare(simlift, "budget", vendor, keys) == {"succeeded": 500, "refused": 100}
    assert vendor.requests <= 40, "nothing was sent twice"


def test_an_inventory_that_ends_in_its_canary_is_finished(
    simlift: Program, start_vendor: StartVendor
) -> None:
    vendor = start_vendor(faults=ALL_REFUSED)
    inventory, keys = delivery(simlift, 15)
    job = simlift.job(vendor.url, rest=guards(canary_items=1000, canary_share=0.0))
    ended = simlift("run", inventory, "--job", job, "--run-id", "small")
    assert ended.code == 1, ended
    assert compare(simlift, "small", vendor, keys) == {"refused": 15}


def test_a_code_never_seen_before_holds_the_run_until_an_operator_releases_it(
    simlift: Program, start_vendor: StartVendor
) -> None:
    inventory, keys = delivery(simlift, 200)
    vendor = start_vendor(faults=f'fault = [{{ kind = "refuse_items", iccids = ["{keys[29]}"] }}]\n')
    job = simlift.job(vendor.url, concurrency=1, rest=guards(new_code='"hold"'))
    process = simlift.start("run", inventory, "--job", job, "--run-id", "held")
    (held,) = until(lambda: _holds(simlift), lambda found: len(found) == 1, "the hold")
    assert held.by == ""
    assert held.words.startswith("a code never seen before in this run: failed: ")
    assert held.data == {"guard": "new_code", "codes": {"failed": 1}}
    assert process.running
    sent = vendor.requests
    assert sent == 2

    released = simlift("release", "held")
    assert released.code == 0, released
    ended = process.end()
    assert ended.code == 1, ended
    assert compare(simlift, "held", vendor, keys) == {"succeeded": 199, "refused": 1}
    assert vendor.requests == 10


def _holds(simlift: Program) -> list[Event]:
    if not (simlift.runs / "held" / "ledger.sqlite").exists():
        return []
    return events(simlift, "held", EventKind.HOLD)


@pytest.mark.parametrize("kills", [0, 1])
def test_a_hold_by_a_guard_is_still_there_after_a_kill_and_its_code_is_known(
    simlift: Program, start_vendor: StartVendor, kills: int
) -> None:
    inventory, keys = delivery(simlift, 100)
    vendor = start_vendor(
        faults=f'fault = [{{ kind = "refuse_items", iccids = ["{keys[29]}", "{keys[70]}"] }}]\n'
    )
    job = simlift.job(vendor.url, concurrency=1, rest=guards(new_code='"hold"'))
    command = ("run", inventory, "--job", job, "--run-id", "held")
    process = simlift.start(*command)
    until(lambda: _holds(simlift), lambda found: len(found) == 1, "the hold")
    for _ in range(kills):
        process.kill()
        process = simlift.start(*command)
    assert simlift("release", "held").code == 0
    assert process.end().code == 1
    assert len(_holds(simlift)) == 1
    assert compare(simlift, "held", vendor, keys) == {"succeeded": 98, "refused": 2}


def test_the_canary_of_a_vendor_that_finishes_later_is_waited_for(
    simlift: Program, start_vendor: StartVendor
) -> None:
    vendor = start_vendor(
        kind="bulk-subscriber",
        faults="""completion = { mean_s = 0.3, jitter_s = 0.1 }
fault = [{ kind = "fail_items", item_share = 1.0, status = "FAILURE" }]
""",
    )
    rows = [(inventories.iccid(number), f"truck {number}") for number in range(1, 201)]
    inventory = inventories.write(simlift.folder / "fleet.csv", rows, header=("iccid", "alias"))
    job = simlift.fleet_job(vendor.url)
    plain = job.read_text("utf-8")
    job.write_text(plain + guards(canary_items=20, canary_share=0.5), "utf-8")
    command = ("run", inventory, "--job", job, "--run-id", "fleet")

    ended = simlift(*command)

    assert ended.code == 3, ended
    assert re.search(
        r"of the first \d+ items were not good, \[guards\] canary_share allows 50 % of 20", ended.out
    )
    assert vendor.traffic["sends"] == 1
    fleet = [(f"ICCID:{iccid}", alias) for iccid, alias in rows]
    counts = compare_fleet(simlift, "fleet", vendor, fleet, whole=False)
    assert counts["refused"] >= 11
    assert (tripped(simlift, "fleet")[0]["guard"], simlift.summary("fleet")["state"]) == ("canary", "stopped")

    job.write_text(plain + guards(canary_items=20, canary_share=1.0), "utf-8")
    assert simlift(*command).code == 1
    assert compare_fleet(simlift, "fleet", vendor, fleet) == {"refused": 200}
