"""What only several rows together show: repeated keys, shared values, one SIM under two names.

Exact, in inventory order, whatever the chunks. Every row asks whether its marks were claimed by an earlier
row, and claims them if it will be sent. Whole columns are asked at once; a row gets Python's attention only
if it, or another row of its chunk, met something. What only warns can wait until all rows are known.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from pipeline.errors import InventoryError
from pipeline.headers import require_known
from pipeline.marks import DUPLICATE, Marks
from pipeline.model import Finding, Status
from pipeline.repeats import Repeats
from pipeline.sightings import MOST_POSITIONS, Sightings
from pipeline.sorted_runs import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.contracts import Target
    from pipeline.marks import Kind, Mark
    from pipeline.screening import Screened
    from pipeline.settings import Input

_AT_A_TIME = 10_000


class Fate(Struct, frozen=True, gc=False):
    """A row that is not sent, by its index among the screened rows."""

    row: int
    status: Status
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which of the screened rows are sent, the fates of those dropped here, what is odd about the others."""

    sent: NDArray[np.bool_]
    fates: Sequence[Fate] = ()
    findings: Sequence[Finding] = ()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """All marks of a chunk, of whatever kind; `new` as each Mark has it, None where one does not know."""

    kinds: NDArray[np.intp]
    rows: NDArray[np.intp]
    prints: NDArray[np.uint64]
    tags: NDArray[np.uint64]
    new: NDArray[np.bool_] | None


class CrossRows:
    """Meets the rows of one inventory, a chunk at a time. Not safe to share between threads.

    `place` names a row by its position. `folder` takes what does not fit into memory, `in_memory` is how
    many marks do. Marks are made and filed by a thread of its own. Raises UsageError for an unknown code in
    [input] findings.
    """

    def __init__(
        self,
        target: Target,
        settings: Input,
        place: Callable[[int], str] = "row {}".format,
        *,
        folder: Path | None = None,
        in_memory: int = IN_MEMORY,
    ) -> None:
        self._marks, self._place = Marks(target), place
        self._kinds = self._marks.kinds
        self._rejecting = {code for code, mode in settings.findings.items() if mode == "reject"}
        self._differs = f"{self._marks.with_key}_differs"
        self._asks = np.array([kind.asks for kind in self._kinds])
        self._claims = np.array([kind.claims for kind in self._kinds])
        codes = {kind.code for kind in self._kinds} - {DUPLICATE}
        codes |= {self._differs} if self._marks.with_key else set()
        require_known(settings.findings, sorted(codes), table="findings")
        self._sightings = Sightings(folder, in_memory=in_memory)
        # What only warns, and meets nothing but its like, has no say in what becomes of a row.
        self._repeats = {
            number: Repeats(folder, in_memory=in_memory)
            for number, kind in enumerate(self._kinds)
            if kind.asks and kind.claims and not self._drops(kind.code)
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cross-rows")
        self._filing: Future[None] | None = None

    def begin(self, screened: Screened) -> Future[list[Mark]]:
        """Start on the marks of a chunk's screened rows."""
        return self._thread.submit(self._marks, screened)

    def finish(
        self, begun: Future[list[Mark]], positions: NDArray[np.int64], eligible: NDArray[np.bool_]
    ) -> Judgement:
        """Judge the screened rows that are `eligible`. Positions ascend, from chunk to chunk too.

        Raises LedgerError when the disk is full, InventoryError for too many rows.
        """
        marks = begun.result()
        if self._filing is not None:
            self._filing.result()
        if len(positions) and positions[-1] >= MOST_POSITIONS:
            raise InventoryError(f"more than {MOST_POSITIONS:,} rows; split the inventory")
        chunk = _joined([mark for mark in marks if mark.kind not in self._repeats], eligible)
        known = self._sightings.find(chunk.prints, chunk.new)
        claimed = (known[0] < 0) & self._claims[chunk.kinds]
        judgement = Judgement(eligible)
        involved = self._involved(chunk, known[0] >= 0, len(positions))
        if involved.any():
            judgement, repeated = self._one_by_one(_in_order(chunk, involved, *known), positions, eligible)
            claimed &= judgement.sent[chunk.rows]
            claimed[repeated] = False
        self._filing = self._thread.submit(self._file, chunk, claimed, marks, positions, judgement.sent)
        return judgement

    def rest(self) -> Iterator[list[Finding]]:
        """Yield what is found only when all rows are known, some thousands at a time; then let go of all.

        Raises LedgerError when the disk is full.
        """
        if self._filing is not None:
            self._filing.result()
        for number, repeats in self._repeats.items():
            kind = self._kinds[number]
            for positions, first in repeats.found():
                for start in range(0, len(positions), _AT_A_TIME):
                    some = slice(start, start + _AT_A_TIME)
                    yield [
                        Finding(position, *self._said(kind, position, earlier, 0, 0))
                        for position, earlier in zip(
                            positions[some].tolist(), first[some].tolist(), strict=True
                        )
                    ]

    def _file(
        self,
        chunk: _Chunk,
        claimed: NDArray[np.bool_],
        marks: Sequence[Mark],
        positions: NDArray[np.int64],
        sent: NDArray[np.bool_],
    ) -> None:
        """File what the rows that are sent claim; `claimed` says which marks of the chunk that is."""
        which = slice(None) if claimed.all() else np.flatnonzero(claimed)
        self._sightings.add(chunk.prints[:, which], positions[chunk.rows[which]], chunk.tags[which])
        for mark in marks:
            if mark.kind in self._repeats:
                kept = slice(None) if sent.all() else np.flatnonzero(sent[mark.rows])
                self._repeats[mark.kind].add(mark.prints[:, kept], positions[mark.rows[kept]])

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown()

    def _involved(self, chunk: _Chunk, known: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
        """Say which rows may have met: an earlier chunk's, or one another."""
        involved = np.zeros(rows, np.bool_)
        if chunk.new is not None and chunk.new.all():
            return involved
        order = np.argsort(chunk.prints[0])
        involved[chunk.rows[known & self._asks[chunk.kinds]]] = True
        ascending = chunk.prints[0, order]
        twice = np.flatnonzero(ascending[1:] == ascending[:-1])
        involved[chunk.rows[order[twice]]] = True
        involved[chunk.rows[order[twice + 1]]] = True
        return involved

    def _one_by_one(
        self,
        marks: Iterator[tuple[int, ...]],
        positions: NDArray[np.int64],
        eligible: NDArray[np.bool_],
    ) -> tuple[Judgement, list[int]]:
        """Judge rows in their order; say too which marks of theirs are claimed already, by their index."""
        sent, fates, findings = eligible.copy(), list[Fate](), list[Finding]()
        claimed: dict[tuple[int, int], tuple[int, int]] = {}
        repeated: list[int] = []
        for row, own in groupby(marks, itemgetter(0)):
            position = int(positions[row])
            odd: dict[str, tuple[int, str]] = {}
            claims: list[tuple[tuple[int, int], int]] = []
            for _, number, index, high, low, ours, at, tag in own:
                if at < 0:
                    at, tag = claimed.get((high, low), (-1, 0))  # noqa: PLW2901 - what this chunk knows
                kind = self._kinds[number]
                if at >= 0 and kind.asks:
                    code, words = self._said(kind, position, at, tag, ours)
                    odd[code] = min(odd.get(code, (at, words)), (at, words))
                if kind.claims and at >= 0:
                    repeated.append(index)
                elif kind.claims:
                    claims.append(((high, low), ours))
            if (dropped := next(filter(self._drops, odd), None)) is not None:
                sent[row] = False
                status = Status.REJECTED if dropped in self._rejecting else Status.DUPLICATE
                fates.append(Fate(row, status, dropped, odd[dropped][1]))
            else:
                findings += [Finding(position, code, words) for code, (_, words) in odd.items()]
                claimed.update((print_, (position, tag)) for print_, tag in claims)
        return Judgement(sent, fates, findings), repeated

    def _said(self, kind: Kind, position: int, there: int, theirs: int, ours: int) -> tuple[str, str]:
        """Give the code of a meeting, and words for the operator."""
        here, place = self._place(position), self._place(there)
        if kind.code != DUPLICATE:
            return kind.code, f"{here} {kind.words(place, theirs, ours)}"
        words = f"{here}: the same key stood in {place}"
        if theirs and ours and theirs != ours:
            return self._differs, f"{words}, with another {self._marks.with_key}"
        return DUPLICATE, words

    def _drops(self, code: str) -> bool:
        return code in (DUPLICATE, self._differs) or code in self._rejecting


def _joined(marks: Sequence[Mark], eligible: NDArray[np.bool_]) -> _Chunk:
    """Put all marks of a chunk together, without those of rows that are not sent anyway."""
    if len(marks) == 1:
        (mark,) = marks
        kinds = np.full(len(mark.rows), mark.kind)
        chunk = _Chunk(kinds, mark.rows, mark.prints, mark.tags, mark.new)
    else:
        of_each = [mark.new for mark in marks if mark.new is not None]
        chunk = _Chunk(
            np.repeat([mark.kind for mark in marks], [len(mark.rows) for mark in marks]),
            np.concatenate([mark.rows for mark in marks]),
            np.concatenate([mark.prints for mark in marks], axis=1),
            np.concatenate([mark.tags for mark in marks]),
            np.concatenate(of_each) if len(of_each) == len(marks) else None,
        )
    if eligible.all():
        return chunk
    kept = eligible[chunk.rows]
    new = None if chunk.new is None else chunk.new[kept]
    return _Chunk(chunk.kinds[kept], chunk.rows[kept], chunk.prints[:, kept], chunk.tags[kept], new)


def _in_order(
    chunk: _Chunk, rows: NDArray[np.bool_], there: NDArray[np.int64], theirs: NDArray[np.uint64]
) -> Iterator[tuple[int, ...]]:
    """Yield the marks of some rows: row, kind, index, fingerprint, tag, what earlier chunks know of it."""
    marks = np.flatnonzero(rows[chunk.rows])
    marks = marks[np.lexsort((chunk.kinds[marks], chunk.rows[marks]))]
    columns = (chunk.rows, chunk.kinds, np.arange(len(chunk.rows)), *chunk.prints, chunk.tags, there, theirs)
    return zip(*(column[marks].tolist() for column in columns), strict=True)
