"""Both sides' books: the inventory, what the vendor holds, and what the run says of every row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from program import Program
    from vendors import Vendor

GOOD = {"succeeded", "confirmed"}
SENT = {"succeeded", "confirmed", "refused", "gave_up", "in_doubt"}


def compare(
    program: Program,
    run_id: str,
    vendor: Vendor,
    keys: Sequence[str],
    *,
    known: Collection[str] = (),
    whole: bool = True,
) -> Counter[str]:
    """Compare them row by row and give the counts by status.

    `keys` are the inventory's in its order ("" for a row that cannot have one), `known` what the vendor had
    before. `whole`: the run is finished, so that every row must have its end; else some are still open.
    """
    outcomes = own_books(program, run_id, keys, whole=whole)
    profiles = {key: vendor.profile(key) for key in set(keys) if key}
    held = {key for key, profile in profiles.items() if profile is not None}
    assert vendor.held == len(held | set(known)), "the vendor holds what nobody sent"
    for outcome in outcomes:
        key, status = outcome["key"], outcome["status"]
        if status in GOOD:
            assert key in held, f"called good, but the vendor does not hold it: {outcome}"
            by_us = profiles[key]["imports"] == 1
            # What the vendor had before and what came of a lost answer read alike: confirmed is all there is.
            assert by_us or (status == "confirmed" and key in known), f"it was there before: {outcome}"
        elif status == "refused" and outcome["code"] == "exists":
            assert key in known, f"refused as existing, but it is there by our own hand: {outcome}"
        elif status in {"refused", "rejected", "gave_up"}:
            assert key not in held or key in known, f"the vendor holds what is called bad: {outcome}"
    return statuses(outcomes)


def compare_fleet(
    program: Program, run_id: str, vendor: Vendor, rows: Sequence[tuple[str, str]], *, whole: bool = True
) -> Counter[str]:
    """Compare them row by row where subscribers are changed, and give the counts by status.

    `rows` are the inventory's in its order: the key, TYPE:value, or the raw value of a row that is rejected,
    and the alias as the vendor is to store it. `whole` as in compare.
    """
    outcomes = own_books(program, run_id, [key for key, _ in rows], whole=whole)
    at_vendor = {key: vendor.subscriber(key) for key, _ in rows if ":" in key}
    changed = {key for key, subscriber in at_vendor.items() if subscriber["writes"]}
    if whole:  # else the vendor may be finishing more while it is asked
        assert vendor.changed == len(changed), "the vendor changed whom nobody sent"
    for outcome in outcomes:
        key, status = outcome["key"], outcome["status"]
        if status in SENT:
            assert at_vendor[key]["accepted"] <= int(outcome["attempts"]), f"sent more often: {outcome}"
        if status in GOOD:
            assert key in changed, f"called good, but the vendor changed nothing: {outcome}"
            wanted = rows[int(outcome["position"]) - 1][1] or None
            assert at_vendor[key]["alias"] == wanted, outcome
        elif status in {"refused", "rejected", "gave_up"}:
            assert key not in changed, f"the vendor changed what is called bad: {outcome}"
    return statuses(outcomes)


def own_books(
    program: Program, run_id: str, keys: Sequence[str], *, whole: bool = True
) -> list[dict[str, str]]:
    """Hold what the run says of its rows against itself and the inventory; give the outcomes."""
    outcomes, summary = program.outcomes(run_id), program.summary(run_id)
    counts = statuses(outcomes)
    positions = [int(outcome["position"]) for outcome in outcomes]
    assert {status: count for status, count in summary["counts"].items() if count} == counts
    assert positions == sorted(set(positions)), "a row has two ends, or they are out of order"
    if whole:
        assert (summary["state"], summary["balanced"], summary["rows_read"]) == ("finished", True, len(keys))
        assert positions == list(range(1, len(keys) + 1))
    failures = [failure["simlift_status"] for failure in program.failures(run_id)]
    assert failures == [outcome["status"] for outcome in outcomes if outcome["status"] not in GOOD]
    for outcome in outcomes:
        assert outcome["key"] == keys[int(outcome["position"]) - 1], outcome
        assert (int(outcome["attempts"]) > 0) == (outcome["status"] in SENT), outcome
    return outcomes


def statuses(outcomes: Sequence[dict[str, str]]) -> Counter[str]:
    """Count outcomes by status."""
    return Counter(outcome["status"] for outcome in outcomes)
