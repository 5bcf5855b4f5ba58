"""The three books compared: what the inventory holds, what the vendor holds, what the ledger says.

Shares no code with the pipeline beyond reading the ledger; statuses are compared as the words of DESIGN.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from drawn_inventory import REJECT, REPEAT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drawn_inventory import DrawnInventory, Row

    from pipeline.simulator.store import Store

GOOD = frozenset({"succeeded", "confirmed"})
NOT_TAKEN = frozenset({"refused", "rejected", "gave_up"})
_NAMED = re.compile(r"iccid:\[(\d+)\]")


def profiles_in(store: Store) -> dict[str, tuple[str | None, bool]]:
    """Give what the vendor holds: by ICCID the activation code, and whether it came by an import."""
    rows = store._db.execute("SELECT iccid, ac, imports FROM profiles")
    return {iccid: (ac, bool(imports)) for iccid, ac, imports in rows}


def outcomes_in(ledger: Any) -> list[dict[str, Any]]:
    """Read the ledger's rows that have an end."""
    return [line for piece in ledger.outcomes() for line in piece.to_pylist()]


def compare(
    inventory: DrawnInventory,
    held: Mapping[str, tuple[str | None, bool]],
    outcomes: list[dict[str, Any]],
    counts: Mapping[Any, int],
    *,
    finished: bool,
    exists_is_good: bool,
) -> Iterable[str]:
    """Yield every disagreement in words. An unfinished run may lack rows, but what it says must hold."""
    positions = [line["position"] for line in outcomes]
    if len(set(positions)) != len(positions):
        yield "a row has two ends"
    if positions != sorted(positions):
        yield "the outcomes are not in inventory order"
    tally = Counter(line["status"] for line in outcomes)
    if {str(status): count for status, count in counts.items() if count} != dict(tally):
        yield f"counts() says {dict(counts)}, outcomes() {dict(tally)}"
    if finished and positions != [row.position for row in inventory.rows]:
        missing = sorted({row.position for row in inventory.rows} - set(positions))[:5]
        yield f"the books do not balance: {len(positions)} of {len(inventory.rows)} rows, missing {missing}"
    for line in outcomes:
        if not 1 <= line["position"] <= len(inventory.rows):
            yield f"row {line['position']} is in no inventory"
            continue
        row = inventory.rows[line["position"] - 1]
        planted = row.iccid in inventory.planted
        for words in _row(row, line, held, planted=planted, exists_is_good=exists_is_good):
            yield f"row {row.position} {row.iccid} ({line['status']} {line['code']}): {words}"


def _row(
    row: Row,
    line: Mapping[str, Any],
    held: Mapping[str, tuple[str | None, bool]],
    *,
    planted: bool,
    exists_is_good: bool,
) -> Iterable[str]:
    status = line["status"]
    expected = {REJECT: "rejected", REPEAT: "duplicate"}.get(row.fate)
    if expected is not None:
        if status != expected:
            yield f"must be {expected}"
        return
    if status in ("rejected", "duplicate"):
        yield "must be sent"
        return
    if line["key"] != row.iccid:
        yield f"bears the key {line['key']}"
    if any(name != row.iccid for name in _NAMED.findall(line["reason"])):
        yield f"its reason names another: {line['reason']}"
    if line["attempts"] < (2 if status == "confirmed" else 0 if status == "gave_up" else 1):
        yield f"sent {line['attempts']} times"
    if row.iccid in held:
        yield from _held(row, line, held[row.iccid][0], planted=planted, exists_is_good=exists_is_good)
    elif status in GOOD:
        yield "the vendor does not hold it"


def _held(
    row: Row, line: Mapping[str, Any], ac: str | None, *, planted: bool, exists_is_good: bool
) -> Iterable[str]:
    """Judge a row that the vendor holds: because it was sent, or because it was planted before."""
    status = line["status"]
    if planted:
        if status == "succeeded" and not exists_is_good:
            yield "the vendor held it before and never said it succeeded"
    else:
        if status in NOT_TAKEN:
            yield "the vendor holds it"
        if ac != row.ac:
            yield "the vendor holds it with another row's activation code"
    if status == "refused" and line["code"] == "exists" and (exists_is_good or not planted):
        yield "refused because it exists, though that is good here or it was not there before we came"
