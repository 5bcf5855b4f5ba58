"""Hundreds of drawn stories told to their end; and that the simulation itself can be relied upon."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from journal import Bounds, Journal
from life import Life
from plan import Ending, draw_plan
from story import tell, tell_plan
from worlds import WORLDS, target_of

from pipeline.simulator import bulk_subscriber_faults, fault_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plan import Plan

SOAK = Path(__file__).with_name("soak.py")
SEEDS = 500
ENDINGS = (
    "permit", "sent", "answered", "ledger-before", "ledger-after", "time", "step",
    "signal", "two-signals", "disk-full", "asked", "told", "login-sent", "login-answered",
    "complete-before", "complete-after",
)  # fmt: skip


def seeds_of(target: str, most: int) -> Iterator[int]:
    return (seed for seed in range(1, most) if target_of(seed) == target)


def soak(*options: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SOAK), *options],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_no_story_of_five_hundred_ends_in_a_breach_and_together_they_meet_everything() -> None:
    told = soak("--seeds", str(SEEDS), "--jobs", str(os.cpu_count() or 2))
    assert told.returncode == 0, told.stdout + told.stderr
    met = told.stdout.splitlines()[-1]
    models = {*get_args(fault_kinds.AnyFault), *get_args(bulk_subscriber_faults.AnyFault)}
    kinds = [get_args(model.model_fields["kind"].annotation)[0] for model in models]
    wanted = [f"fault {kind} " for kind in kinds] + [f"ending {kind} " for kind in ENDINGS]
    wanted += [
        "fault away refused ",
        "fault away silent ",
        "killed ",
        "interrupted ",
        "disk full ",
        "retries ",
        "asked again ",
        "resumed when finished ",
        "turned away ",
        "guard canary ",
        "guard budget ",
        "guard new_code ",
        "hold new_code ",
    ]
    wanted += ["succeeded ", "confirmed ", "refused ", "gave_up ", "in_doubt ", "rejected ", "duplicate "]
    assert [name for name in wanted if name not in met] == []


@pytest.mark.parametrize("target", WORLDS)
def test_a_seed_always_tells_the_same_story(target: str) -> None:
    seed = next(str(seed) for seed in seeds_of(target, 100) if tell(seed).seen["killed"])
    stories = {soak("--seed", seed, "--trace", hash_seed=hash_seed).stdout for hash_seed in ("1", "2")}
    assert len(stories) == 1
    assert "killed" in stories.pop()


@pytest.mark.parametrize("target", WORLDS)
def test_a_run_killed_at_every_third_of_its_steps_goes_on_and_balances(target: str) -> None:
    plan = _a_small_plan(target)
    assert tell_plan(plan).seen["killed"] == 0
    breaches, killed = [], 0
    for step in range(1, 1000, 3):
        ended = tell_plan(replace(plan, endings=(Ending("step", step),)))
        breaches += [f"step {step}: {words}" for words in ended.breaches]
        killed += ended.seen["killed"]
        if not ended.seen["killed"]:
            break
    assert breaches == []
    assert killed > 20


def _a_small_plan(target: str) -> Plan:
    """Find a story of a few batches with a lost answer, and let it have no ending of its own."""
    for seed in seeds_of(target, 2000):
        plan = draw_plan(seed)
        faults = {fault["kind"] for fault in plan.vendor.faults["fault"]}
        few = 6 <= len(plan.inventory.rows) <= 20 and plan.job["limits"]["batch_items"] > 1
        if few and faults == {"cut_after_commit"} and not plan.vendor.away:
            return replace(plan, endings=(), retry=False)
    raise AssertionError("no such seed")


def test_a_killed_process_neither_writes_nor_sends_any_more() -> None:
    plan = draw_plan(1)
    journal = Journal(plan.inventory, Bounds())
    life = Life(journal, Ending("sent", 2), 0.0, disk_s=0.0, read_s=0.0)
    done: list[str] = []

    async def work() -> None:
        try:
            for number in range(1, 5):
                await life.point("sent")
                done.append(f"sent {number}")
        finally:
            await life.point("ledger-before")
            done.append("written")

    assert life._run(work()) is None
    assert done == ["sent 1"]


def test_what_never_ends_is_a_breach() -> None:
    plan = draw_plan(1)
    journal = Journal(plan.inventory, Bounds())
    life = Life(journal, None, 0.0, disk_s=0.0, read_s=0.0)

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - this one is to spin
            await asyncio.sleep(0)

    life.most_steps = 1000
    assert life._run(spin()) is None
    assert "does not end" in journal.breaches[0]


@pytest.mark.parametrize(
    ("target", "change", "words"),
    [
        ("sim-express", {"status": "gave_up"}, "the vendor holds it"),
        ("sim-express", {"status": "rejected"}, "must be sent"),
        ("sim-express", {"key": "8935700000000000001"}, "bears the key"),
        ("sim-express", {"reason": "no, iccid:[8935700000000000001]"}, "its reason names another"),
        ("sim-express", {"position": 100_000}, "is in no inventory"),
        ("bulk-subscriber", {"status": "gave_up"}, "the vendor carried it out"),
        ("bulk-subscriber", {"status": "refused", "code": "FAILURE"}, "the vendor did not let it fail"),
        ("bulk-subscriber", {"status": "confirmed"}, "never says that anything is there already"),
        ("bulk-subscriber", {"status": "duplicate"}, "must be sent"),
    ],
)
def test_a_forged_entry_in_the_ledger_is_found(
    target: str, change: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forged(ledger: Any) -> list[dict[str, Any]]:
        lines = [line for piece in ledger.outcomes() for line in piece.to_pylist()]
        if lines and lines[0]["status"] == "succeeded":
            lines[0] |= change
        return lines

    monkeypatch.setattr("story.outcomes_in", forged)
    assert any(words in breach for seed in seeds_of(target, 40) for breach in tell(seed).breaches)
