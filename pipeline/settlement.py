"""Decision → Settlement or Completion: which rows need a word of their own in the ledger. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import astuple

from pipeline.model import (
    Completion,
    Exceptional,
    Fault,
    FaultKind,
    Final,
    Setback,
    Settlement,
    Status,
    Verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.model import Batch, Decision, Verdict

_PLAIN = Final(Status.SUCCEEDED)


def settlement_of(
    batch: Batch, decision: Decision, outcome: Verdicts | Fault | None = None, request_id: str = ""
) -> Settlement:
    """Write a decision as the ledger keeps it, with what the outcome said of a call or an item sent again.

    Items in neither `final` nor `again` succeeded: plainly when this was their first send and they have no
    row yet, else with a record of their own.
    """
    fault = outcome if isinstance(outcome, Fault) else None
    if decision.void:
        return Settlement(batch.id, void=True, request_id=request_id, fault=fault)
    if _lost(batch, decision):
        if outcome is not None and fault is None:  # there was an answer, and it said this of every item
            fault = Fault(FaultKind.LOST, decision.again[0].code, decision.again[0].reason)
        return Settlement(batch.id, lost=True, request_id=request_id, fault=fault)
    said = outcome.exceptions if isinstance(outcome, Verdicts) else {}
    spoken_of = {*decision.final, *decision.promised}.union(*(again.indices for again in decision.again))
    indices = sorted(spoken_of) if _plain(batch) else list(range(len(batch)))
    rows, setbacks = _rows(batch, decision, indices), _setbacks(batch, decision, said)
    return Settlement(batch.id, rows, request_id=request_id, fault=fault, setbacks=setbacks)


def completion_of(
    batch: Batch, decision: Decision, outcome: Mapping[int, Verdict] | Fault | None = None
) -> Completion:
    """Write what became of promised items as the ledger keeps it; what the decision leaves out stays open."""
    said = {} if outcome is None or isinstance(outcome, Fault) else outcome
    plain = [index for index, final in decision.final.items() if final == _PLAIN] if _plain(batch) else []
    others = {*decision.final}.union(*(again.indices for again in decision.again)).difference(plain)
    positions = batch.of_items("position", plain).to_pylist()
    rows, setbacks = _rows(batch, decision, sorted(others)), _setbacks(batch, decision, said)
    return Completion(batch.id, tuple(positions), rows, setbacks)


def _setbacks(batch: Batch, decision: Decision, said: Mapping[int, Verdict]) -> tuple[Setback, ...]:
    """Gather what was said of items that are sent again, once for all of which the same was said."""
    alike: dict[Verdict, list[int]] = {}
    for again in decision.again:
        for index in again.indices:
            if index in said:
                alike.setdefault(said[index], []).append(index)
    if not alike:
        return ()
    return tuple(
        Setback(tuple(batch.of_items("position", indices).to_pylist()), *astuple(verdict)[:3])
        for verdict, indices in alike.items()
    )


def _lost(batch: Batch, decision: Decision) -> bool:
    """Tell whether the whole batch is in doubt at its first send, and is a stretch of the inventory."""
    if not (_plain(batch) and [(a.in_doubt, len(a.indices)) for a in decision.again] == [(True, len(batch))]):
        return False
    first, last = batch.of_items("position", [0, len(batch) - 1]).to_pylist()
    return bool(last - first + 1 == len(batch))


def _plain(batch: Batch) -> bool:
    """Tell whether a success of these items needs no row: it is their first send, and they have none yet."""
    return batch.sends == 0 and not batch.recorded


def _rows(batch: Batch, decision: Decision, indices: Sequence[int]) -> tuple[Exceptional, ...]:
    if not indices:
        return ()
    going_on = {index: again for again in decision.again for index in again.indices}
    positions, keys = (batch.of_items(name, indices).to_pylist() for name in ("position", "key"))
    bad = [i for i in indices if (final := decision.final.get(i)) and not final.status.good]
    cells = dict(zip(bad, batch.source_rows(bad), strict=True))
    rows = []
    for index, position, key in zip(indices, positions, keys, strict=True):
        final, again = decision.final.get(index), going_on.get(index)
        ticket = decision.promised.get(index, "")
        rows.append(
            Exceptional(
                position,
                key,
                status=final.status if final else None if again or ticket else Status.SUCCEEDED,
                code=final.code if final else again.code if again else "",
                reason=final.reason if final else again.reason if again else "",
                sends=batch.sends + decision.sent,
                batch=batch.id,
                in_doubt=again.in_doubt if again else batch.in_doubt,
                cells=cells.get(index, ()),
                ticket=ticket,
                call=decision.call if ticket else "",
            )
        )
    return tuple(rows)
