"""The real ledger as a mortal process has it: the process may die before or after any of its operations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from journal import Kept
from world import Ended

from pipeline.chronicle import EventKind
from pipeline.errors import LedgerError
from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Collection

    from life import Life
    from world import World

    from pipeline.chronicle import Event
    from pipeline.ledgers.sqlite import SqliteLedger
    from pipeline.model import Batch, Completion, Exceptional, ResumePoint, Settlement


class MortalLedger:
    """contracts.Ledger around a SqliteLedger; reading goes straight through.

    Whatever is written down is held against the vendor's books as they stand at that moment.
    """

    def __init__(self, ledger: SqliteLedger, life: Life, world: World) -> None:
        self._ledger = ledger
        self._life = life
        self._world = world

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
        life, rows, now = self._life, settlement.exceptional, self._life.loop.now
        kept = {row.position: Kept(row.ticket, row.call, now) for row in rows if row.ticket}
        plain = set() if settlement.void else set(life.record.claims.get(settlement.batch, ()))
        ended = dict.fromkeys(plain, Ended("succeeded", "", ""))
        ended |= {row.position: Ended(str(row.status), row.code, "") for row in rows}
        left_open = plain if settlement.lost else {row.position for row in rows if row.status is None}
        self._hold_against_books({at: end for at, end in ended.items() if at not in left_open}, kept)
        life.journal.ended_badly(life.record, [row.position for row in rows if _is_bad(row)])
        life.journal.settled(life.record, settlement.batch, left_open, kept, void=settlement.void)
        await self._after()

    async def complete(self, completion: Completion) -> None:
        await self._before("complete-before")
        await self._ledger.complete(completion)
        journal, rows = self._life.journal, completion.exceptional
        tickets = {position: kept.ticket for position, kept in journal.kept.items()}
        ended = {at: Ended("succeeded", "", tickets.get(at, "")) for at in completion.plain}
        ended |= {
            row.position: Ended(str(row.status), row.code, tickets.get(row.position, ""))
            for row in rows
            if row.status is not None and not row.ticket
        }
        again = [row.position for row in rows if row.status is None]
        still_open = {row.position: row for row in rows if row.status is not None and row.ticket}
        self._hold_against_books(ended, {})
        journal.ended_badly(self._life.record, [row.position for row in rows if _is_bad(row)])
        for position, row in still_open.items():
            if row.ticket != tickets.get(position) or row.status is not Status.IN_DOUBT:
                journal.breach(f"row {position} ends as {row.status}, its ticket changed")
        now = self._life.loop.now
        journal.completed(self._life.record, now, ended=ended, again=again, still_open=still_open)
        await self._after("complete-after")

    async def record(self, rows: Any) -> None:
        await self._before()
        await self._ledger.record(rows)
        await self._after()

    async def note(self, event: Event) -> None:
        await self._before()
        await self._ledger.note(event)
        self._life.journal.seen[f"{event.kind} {event.data.get('guard', '')}".strip()] += 1
        if event.kind is EventKind.HOLD:
            self._life.release_later()
        await self._after()

    def take_over(self) -> ResumePoint:
        self._reaches("ledger-before")
        point = self._ledger.take_over()
        self._life.reaches("ledger-after")
        return point

    def reopen(self, codes: Collection[str] = ()) -> int:
        self._reaches("ledger-before")
        opened = list(self._ledger.exceptional(Status.GAVE_UP, Status.IN_DOUBT, Status.REFUSED))
        rows = self._ledger.reopen(codes)
        self._life.journal.reopened(
            [row.position for row in opened if row.status is not Status.REFUSED or row.code in codes]
        )
        self._life.journal.seen["reopened"] += rows
        self._life.reaches("ledger-after")
        return rows

    def ask_again(self) -> int:
        self._reaches("ledger-before")
        kept = {row.position for row in self._ledger.exceptional(Status.IN_DOUBT) if row.ticket}
        rows = self._ledger.ask_again()
        self._life.journal.final -= kept
        self._life.journal.seen["asked again"] += rows
        self._life.reaches("ledger-after")
        return rows

    def update_run(self, **facts: Any) -> None:
        self._reaches("ledger-before")
        self._ledger.update_run(**facts)
        self._life.reaches("ledger-after")

    def _hold_against_books(self, ended: dict[int, Ended], kept: dict[int, Kept]) -> None:
        now = self._life.loop.now
        for words in self._world.unfounded(now, ended):
            self._life.journal.breach(words)
        if kept:
            promised = {position: (it.ticket, it.call) for position, it in kept.items()}
            for words in self._world.strangers(promised):
                self._life.journal.breach(words)

    def _reaches(self, kind: str) -> None:
        self._life.reaches(kind)
        if not self._life.may_write():
            raise LedgerError("no space left on the disk")

    async def _before(self, *kinds: str) -> None:
        for kind in ("ledger-before", *kinds):
            await self._life.point(kind)
        if not self._life.may_write():
            raise LedgerError("no space left on the disk")

    async def _after(self, *kinds: str) -> None:
        """What is written is durable before its writer learns of it."""
        for kind in ("ledger-after", *kinds):
            await self._life.point(kind)
        await asyncio.sleep(self._life.disk_s)
        await self._life.point("ledger-told")


def _is_bad(row: Exceptional) -> bool:
    return row.status is not None and not row.status.good
