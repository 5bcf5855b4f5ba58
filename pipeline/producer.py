"""Source → screened, deduplicated, encoded, bounded batches: one stretch of the inventory at a time.

A plain iterator: it reads on only when the next portion is asked for, which is what bounds memory.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from pipeline.duplicates import SeenKeys
from pipeline.model import Batch, Exceptional, Portion, Promise, Status
from pipeline.same_sim import Named, SameSim, Shown
from pipeline.screening import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.contracts import Source, Target
    from pipeline.model import BrokenRow, Chunk, Finding, OpenRow, ResumePoint
    from pipeline.screening import Names
    from pipeline.settings import Input

ENVELOPE_BYTES = 64  # room for what a target puts around the items


class Producer:
    """Turns sources into Portions.

    The batches of a fresh run depend on the inventory and the job alone. A resumed run leaves out what is
    `done` and cuts what is still open into batches of their own, because those carry their history.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        target: Target,
        settings: Input,
        *,
        batch_items: int,
        batch_bytes: int,
        resume: ResumePoint | None = None,
    ) -> None:
        self._sources = sources
        self._target = target
        self._screens = [Screen(target.rules, source.header, settings) for source in sources]
        self._seen = SeenKeys()
        self._same_sim = SameSim()
        self._cutters: dict[OpenRow | None, Cutter] = {}
        self._bounds = (batch_items, batch_bytes - ENVELOPE_BYTES)
        self._most_bytes = batch_bytes - ENVELOPE_BYTES
        self._done = resume.done if resume else None
        self._open = resume.open if resume else {}
        self._open_positions = np.fromiter(sorted(self._open), np.int64, len(self._open))

    def portions(self) -> Iterator[Portion]:
        """Yield a portion per chunk and a last one with what was left over. Raises InventoryError."""
        rows = size = 0
        for source, screen in zip(self._sources, self._screens, strict=True):
            rows_before, bytes_before = rows, size
            for chunk in source.chunks():
                rows, size = rows_before + chunk.rows_read, bytes_before + chunk.bytes_read
                yield self._portion(chunk, screen, rows_before, rows, size)
        leftover = tuple(batch for cutter in self._cutters.values() for batch in cutter.rest())
        yield Portion(leftover, (), rows, size)

    def _portion(self, chunk: Chunk, screen: Screen, offset: int, rows: int, size: int) -> Portion:
        screened = screen(chunk, rows_before=offset)
        positions = np.asarray(chunk.positions) + offset
        exceptional = [_broken(row, offset) for row in chunk.broken]
        exceptional += [
            Exceptional(
                int(positions[no.index]),
                no.key,
                Status.REJECTED,
                no.code,
                no.reason,
                sends=0,
                cells=_cells(chunk.rows, no.index),
            )
            for no in screened.rejected
        ]
        items = pa.record_batch(
            {
                "position": pa.array(positions[np.asarray(screened.rows)]),
                "key": self._target.key(screened.fields),
                "payload": self._target.encode(screened.fields),
                "cells": _structs(chunk.rows, screened.rows),
            }
        )
        # Only an accepted row claims its key: what fits no batch goes before duplicates are looked for.
        fits = np.asarray(pc.binary_length(items.column("payload"))) <= self._most_bytes
        items, oversized = _split(items, fits)
        exceptional += _never_sent(
            oversized, Status.REJECTED, "too_long", "row {row}: encoded, it exceeds [limits] batch_bytes"
        )
        items, repeated = _split(items, self._seen.first_seen(items.column("key")))
        exceptional += _never_sent(
            repeated, Status.DUPLICATE, "duplicate", "row {row}: the same key stood in an earlier row"
        )
        exceptional.sort(key=lambda row: row.position)
        findings = self._findings(screened.names, positions[np.asarray(screened.rows)], items)
        batches = tuple(self._cut(items))
        return Portion(batches, tuple(exceptional), rows, size, screened.check_digits, findings)

    def _findings(
        self, names: Names | None, accepted: npt.NDArray[np.int64], items: pa.RecordBatch
    ) -> tuple[Finding, ...]:
        """Look for SIMs named twice among the items; `accepted` are the positions of the screened rows."""
        if names is None:
            return ()
        positions = np.asarray(items.column("position"))
        forms = names.forms.take(pa.array(np.searchsorted(accepted, positions)))
        shown = [
            Shown(other.form, accepted[np.asarray(other.rows)], self._target.key(other.fields))
            for other in names.others
        ]
        return self._same_sim(Named(positions, items.column("key"), forms), shown)

    def _cut(self, items: pa.RecordBatch) -> Iterator[Batch]:
        """Leave out what is done, and cut rows of the same history into batches of their own."""
        positions = np.asarray(items.column("position"))
        if self._done is not None and len(positions):
            span = self._done & BitMap(range(int(positions[0]), int(positions[-1]) + 1))
            if span:
                items = items.filter(pa.array(~np.isin(positions, span.to_array())))
                positions = np.asarray(items.column("position"))
        if len(self._open_positions) and len(positions):
            reopened = np.isin(positions, self._open_positions)
            yield from self._cut_reopened(items.filter(pa.array(reopened)))
            items = items.filter(pa.array(~reopened))
        yield from self._cutter(None).add(items)

    def _cut_reopened(self, items: pa.RecordBatch) -> Iterator[Batch]:
        """Cut rows that are sent again by their history, and gather those that hold tickets by their call."""
        promised: defaultdict[OpenRow, list[tuple[int, str]]] = defaultdict(list)
        for index, position in enumerate(items.column("position").to_pylist()):
            history = self._open[position]
            if history.ticket:
                promised[replace(history, ticket="")].append((index, history.ticket))
            else:
                yield from self._cutter(history).add(items.slice(index, 1))
        for history, held in promised.items():
            indices, tickets = zip(*held, strict=True)
            yield Batch(
                items.take(pa.array(indices)),
                id=history.batch,
                sends=history.sends - 1,
                in_doubt=history.in_doubt,
                recorded=history.sends > 1,
                promise=Promise(pa.array(tickets), history.call),
            )

    def _cutter(self, history: OpenRow | None) -> Cutter:
        return self._cutters.setdefault(history, Cutter(history, *self._bounds))


class Cutter:
    """Cuts a stream of items into batches at fixed bounds, whatever pieces the stream comes in."""

    def __init__(self, history: OpenRow | None, batch_items: int, batch_bytes: int) -> None:
        self._history = history
        self._most_items, self._most_bytes = batch_items, batch_bytes
        self._carry: list[pa.RecordBatch] = []
        self._carried = 0
        self._carried_bytes = 0

    def add(self, items: pa.RecordBatch) -> Iterator[Batch]:
        """Take items in and yield every batch that is full."""
        sizes = np.asarray(pc.binary_length(items.column("payload"))).astype(np.int64)
        ends = np.cumsum(sizes)
        start = 0
        while start < len(sizes):
            before = int(ends[start - 1]) if start else 0
            room = self._most_bytes - self._carried_bytes
            by_bytes = int(np.searchsorted(ends, before + room, side="right"))
            stop = min(by_bytes, start + self._most_items - self._carried, len(sizes))
            if stop > start:
                self._carry.append(items.slice(start, stop - start))
                self._carried += stop - start
                self._carried_bytes += int(ends[stop - 1]) - before
            if stop < len(sizes) or self._carried == self._most_items:
                yield from self.rest()
            start = stop

    def rest(self) -> Iterator[Batch]:
        """Yield what is left over as the last batch."""
        if not self._carry:
            return
        items = self._carry[0] if len(self._carry) == 1 else pa.concat_batches(self._carry)
        self._carry, self._carried, self._carried_bytes = [], 0, 0
        if self._history is None:
            yield Batch(items)
        else:
            yield Batch(items, sends=self._history.sends, in_doubt=self._history.in_doubt, recorded=True)


def _split(items: pa.RecordBatch, keep: npt.NDArray[np.bool_]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Part the items; the usual case, that all stay, copies nothing."""
    if keep.all():
        return items, items.slice(0, 0)
    return items.filter(pa.array(keep)), items.filter(pa.array(~keep))


def _broken(row: BrokenRow, offset: int) -> Exceptional:
    position = row.position + offset
    return Exceptional(
        position,
        "",
        Status.REJECTED,
        "unreadable",
        f"row {position}: {row.reason}",
        sends=0,
        cells=row.cells,
        raw=row.raw,
    )


def _never_sent(items: pa.RecordBatch, status: Status, code: str, reason: str) -> list[Exceptional]:
    cells = Batch(items).source_rows(range(items.num_rows))
    return [
        Exceptional(position, key, status, code, reason.format(row=position), sends=0, cells=row)
        for position, key, row in zip(
            items.column("position").to_pylist(), items.column("key").to_pylist(), cells, strict=True
        )
    ]


def _structs(rows: pa.RecordBatch, wanted: pa.Int64Array) -> pa.StructArray:
    """Give the wanted source rows as structs, so that an item carries its row as it stood."""
    if len(wanted) < rows.num_rows:
        rows = rows.take(wanted)
    return rows.to_struct_array()


def _cells(rows: pa.RecordBatch, index: int) -> tuple[str, ...]:
    return tuple(column[index].as_py() or "" for column in rows.columns)
