"""Decision → Settlement: which rows of a sent batch need a word of their own in the ledger. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.model import Exceptional, Settlement, Status

if TYPE_CHECKING:
    from pipeline.model import Batch, Decision


def settlement_of(batch: Batch, decision: Decision) -> Settlement:
    """Write a decision as the ledger keeps it.

    Items in neither `final` nor `again` succeeded: plainly when this was their first send and they have no
    row yet, else with a record of their own.
    """
    if decision.void:
        return Settlement(batch.id, void=True)
    plain = batch.sends == 0 and not batch.recorded
    going_on = {index: again for again in decision.again for index in again.indices}
    indices = sorted({*decision.final, *going_on}) if plain else list(range(len(batch)))
    if not indices:
        return Settlement(batch.id)
    taken = batch.items.take(np.asarray(indices, np.int64))
    positions, keys = taken.column("position").to_pylist(), taken.column("key").to_pylist()
    bad = [i for i in indices if i in decision.final and not decision.final[i].status.good]
    cells = dict(zip(bad, batch.source_rows(bad), strict=True))
    rows = []
    for index, position, key in zip(indices, positions, keys, strict=True):
        final, again = decision.final.get(index), going_on.get(index)
        rows.append(
            Exceptional(
                position,
                key,
                status=final.status if final else None if again else Status.SUCCEEDED,
                code=final.code if final else again.code if again else "",
                reason=final.reason if final else again.reason if again else "",
                sends=batch.sends + decision.sent,
                batch=batch.id,
                in_doubt=again.in_doubt if again else batch.in_doubt,
                cells=cells.get(index, ()),
            )
        )
    return Settlement(batch.id, tuple(rows))
