"""Writing down at intervals how a run stands, so that its report can draw how it went.

Every second at first and ever more rarely, so that a night takes no more room than an hour and a half of it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.chronicle import Sample
from pipeline.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.importer import Import

FINEST_S = 1.0
#: The pause between two samples as a share of the time so far: 300 samples in the first five minutes, and
#: 300 more each time the run gets 2.7 times as long; ten hours make 1,740.
COARSENING = 1 / 300


async def sample(work: Import, wall: Callable[[], float] = time.time) -> None:
    """Write samples into the run's ledger until cancelled: one at once, one at the end.

    Ends quietly when the ledger fails: the run meets that failure itself, and says so.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        while True:
            await work.ledger.write_sample(_as_it_stands(work, wall()))
            await asyncio.sleep(max(FINEST_S, (loop.time() - began) * COARSENING))
    except LedgerError:
        return
    except asyncio.CancelledError:
        with suppress(LedgerError):
            await work.ledger.write_sample(_as_it_stands(work, wall()))
        raise


def _as_it_stands(work: Import, at: float) -> Sample:
    now = work.snapshot()
    round_trip_s, pushed_back = work.tempo()
    return Sample(
        at=at,
        rows=now.settled,
        requests=now.requests,
        in_flight=now.in_flight,
        concurrency=now.concurrency,
        rate_per_s=now.rate_per_s,
        round_trip_s=round_trip_s,
        pushed_back=pushed_back,
        open_tickets=now.open_tickets,
        holding=now.holding,
    )
