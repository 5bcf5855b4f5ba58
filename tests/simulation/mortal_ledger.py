"""The real ledger as a mortal process has it: the process may die before or after any of its operations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pipeline.errors import LedgerError

if TYPE_CHECKING:
    from life import Life

    from pipeline.ledgers.sqlite import SqliteLedger
    from pipeline.model import Batch, ResumePoint, Settlement


class MortalLedger:
    """contracts.Ledger around a SqliteLedger; reading goes straight through."""

    def __init__(self, ledger: SqliteLedger, life: Life) -> None:
        self._ledger = ledger
        self._life = life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def claim(self, batch: Batch) -> Batch:
        await self._before()
        claimed = await self._ledger.claim(batch)
        positions = batch.items.column("position").to_pylist()
        self._life.journal.claimed(self._life.record, claimed.id, positions)
        await self._after()
        return claimed

    async def settle(self, settlement: Settlement) -> None:
        await self._before()
        await self._ledger.settle(settlement)
        left_open = [row.position for row in settlement.exceptional if row.status is None]
        self._life.journal.settled(self._life.record, settlement.batch, left_open, void=settlement.void)
        await self._after()

    async def record(self, rows: Any) -> None:
        await self._before()
        await self._ledger.record(rows)
        await self._after()

    def take_over(self) -> ResumePoint:
        self._reaches("ledger-before")
        point = self._ledger.take_over()
        self._life.reaches("ledger-after")
        return point

    def reopen(self, codes: Any = ()) -> int:
        self._reaches("ledger-before")
        rows = self._ledger.reopen(codes)
        self._life.journal.seen["reopened"] += rows
        self._life.reaches("ledger-after")
        return rows

    def update_run(self, **facts: Any) -> None:
        self._reaches("ledger-before")
        self._ledger.update_run(**facts)
        self._life.reaches("ledger-after")

    def _reaches(self, kind: str) -> None:
        self._life.reaches(kind)
        if not self._life.may_write():
            raise LedgerError("no space left on the disk")

    async def _before(self) -> None:
        await self._life.point("ledger-before")
        if not self._life.may_write():
            raise LedgerError("no space left on the disk")

    async def _after(self) -> None:
        """What is written is durable before its writer learns of it."""
        await self._life.point("ledger-after")
        await asyncio.sleep(self._life.disk_s)
        await self._life.point("ledger-told")
