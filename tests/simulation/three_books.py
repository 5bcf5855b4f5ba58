"""The three books compared: what the inventory holds, what the vendor holds, what the ledger says.

Shares no code with the pipeline beyond reading the ledger; statuses are compared as the words of DESIGN.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from drawn_inventory import REJECT, REPEAT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drawn_inventory import DrawnInventory, Row
    from world import World


def outcomes_in(ledger: Any) -> list[dict[str, Any]]:
    """Read the ledger's rows that have an end."""
    return [line for piece in ledger.outcomes() for line in piece.to_pylist()]


def compare(
    inventory: DrawnInventory,
    world: World,
    outcomes: list[dict[str, Any]],
    counts: Mapping[Any, int],
    *,
    finished: bool,
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
    yield from world.odd_entries()
    for line in outcomes:
        if not 1 <= line["position"] <= len(inventory.rows):
            yield f"row {line['position']} is in no inventory"
            continue
        row = inventory.rows[line["position"] - 1]
        for words in _row(row, line, world):
            yield f"row {row.position} {row.key} ({line['status']} {line['code']}): {words}"


def _row(row: Row, line: Mapping[str, Any], world: World) -> Iterable[str]:
    status = line["status"]
    expected = {REJECT: "rejected", REPEAT: "duplicate"}.get(row.fate)
    if expected is not None:
        if status != expected:
            yield f"must be {expected}"
        return
    if status in ("rejected", "duplicate"):
        yield "must be sent"
        return
    if line["key"] != row.key:
        yield f"bears the key {line['key']}"
    if line["attempts"] < (2 if status == "confirmed" else 0 if status == "gave_up" else 1):
        yield f"sent {line['attempts']} times"
    yield from world.judge(row, line)
