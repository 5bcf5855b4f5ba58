"""Source → screened, deduplicated, encoded, bounded batches: one stretch of the inventory at a time.

A plain iterator: it reads on only when the next portion is asked for, which is what bounds memory.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from pipeline.cross_rows import CrossRows, Fate
from pipeline.errors import InventoryError
from pipeline.headers import listed
from pipeline.model import Batch, Exceptional, Portion, Promise, Status
from pipeline.row_names import RowNames
from pipeline.screening import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.contracts import Source, Target
    from pipeline.model import BrokenRow, Chunk, OpenRow, ResumePoint
    from pipeline.settings import Input

_TELLING_DIGITS = 10
ENVELOPE_BYTES = 64  # room for what a target puts around the items


class Producer:
    """Turns sources into Portions.

    The batches of a fresh run depend on the inventory and the job alone. A resumed run leaves out what is
    `done` and cuts what is still open into batches of their own, because those carry their history. What
    does not fit into memory goes to files in the folder `spill` (None: the system's for such).
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
        row_names: RowNames | None = None,
        spill: Path | None = None,
    ) -> None:
        self._sources = sources
        self._row_names = row_names or RowNames()
        self._target = target
        self._screens = [self._screen(index, source, settings) for index, source in enumerate(sources)]
        self._cross_rows = CrossRows(target, settings, self._row_names, folder=spill)
        self._cutters: dict[OpenRow | None, Cutter] = {}
        self._bounds = (batch_items, batch_bytes - ENVELOPE_BYTES)
        self._most_bytes = batch_bytes - ENVELOPE_BYTES
        self._done = resume.done if resume else None
        self._open = resume.open if resume else {}
        self._open_positions = np.fromiter(sorted(self._open), np.int64, len(self._open))

    def _screen(self, index: int, source: Source, settings: Input) -> Screen:
        try:
            return Screen(self._target.rules, source.header, settings)
        except InventoryError as error:
            file = self._row_names.file(index)
            left_out: Sequence[str] = getattr(source, "left_out", ())
            others = f"; and under no known name: {listed(left_out)}" if left_out else ""
            raise InventoryError(f"{file}: {error}{others}" if file else f"{error}{others}") from None

    def portions(self) -> Iterator[Portion]:
        """Yield a portion per chunk, and a last one with what was left over.

        The first one carries what is odd about the files as a whole; before the last one come those with
        findings that show only when all rows are known. Raises InventoryError, LedgerError.
        """
        with closing(self._cross_rows):
            yield from self._portions()

    def _portions(self) -> Iterator[Portion]:
        rows = size = 0
        of_files = tuple(finding for source in self._sources for finding in source.findings)
        for source, screen in zip(self._sources, self._screens, strict=True):
            rows_before, bytes_before = rows, size
            self._row_names.begin_file(rows_before)
            for chunk in source.chunks():
                rows, size = rows_before + chunk.rows_read, bytes_before + chunk.bytes_read
                portion = self._portion(chunk, screen, rows, size)
                yield replace(portion, findings=of_files + portion.findings, starts=self._row_names.starts)
                of_files = ()
        for findings in self._cross_rows.rest():
            yield Portion((), (), rows, size, findings=tuple(findings))
        leftover = tuple(batch for cutter in self._cutters.values() for batch in cutter.rest())
        yield Portion(leftover, (), rows, size)

    def _portion(self, chunk: Chunk, screen: Screen, rows: int, size: int) -> Portion:
        names = self._row_names
        screened = screen(chunk, names)
        begun = self._cross_rows.begin(screened)
        positions = np.asarray(chunk.positions) + names.rows_before
        exceptional = [_broken(row, names) for row in chunk.broken]
        indices = np.array([no.index for no in screened.rejected], np.int64)
        exceptional += [
            Exceptional(position, no.key, Status.REJECTED, no.code, no.reason, sends=0, cells=cells)
            for no, position, cells in zip(
                screened.rejected, positions[indices].tolist(), _cells(chunk, indices), strict=True
            )
        ]
        accepted = positions[np.asarray(screened.rows)]
        items = pa.record_batch(
            {
                "position": pa.array(accepted),
                "key": self._target.key(screened.fields),
                "payload": self._target.encode(screened.fields),
                "cells": _structs(chunk.rows, screened.rows),
            }
        )
        # Only a row that is sent claims anything: what fits no batch goes before rows are compared.
        fits = np.asarray(pc.binary_length(items.column("payload"))) <= self._most_bytes
        oversized = np.flatnonzero(~fits).tolist()
        exceptional += _dropped(items, [_too_long(row, int(accepted[row]), names) for row in oversized])
        judged = self._cross_rows.finish(begun, accepted, fits)
        exceptional += _dropped(items, judged.fates)
        exceptional.sort(key=attrgetter("position"))
        if not judged.sent.all():
            items = items.filter(pa.array(judged.sent))
        batches = tuple(self._cut(items))
        findings = tuple(judged.findings)
        return Portion(batches, tuple(exceptional), rows, size, screened.check_digits, findings)

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


def _broken(row: BrokenRow, names: RowNames) -> Exceptional:
    position = row.position + names.rows_before
    return Exceptional(
        position,
        "",
        Status.REJECTED,
        "unreadable",
        f"{names(position)}: {row.reason}",
        sends=0,
        cells=row.cells,
        raw=row.raw,
    )


def _too_long(row: int, position: int, names: RowNames) -> Fate:
    words = f"{names(position)}: encoded, it exceeds [limits] batch_bytes"
    return Fate(row, Status.REJECTED, "too_long", words)


def _dropped(items: pa.RecordBatch, fates: Sequence[Fate]) -> list[Exceptional]:
    """Give the items that are never sent, with the reason of each."""
    if not fates:
        return []
    taken = items.take(pa.array([fate.row for fate in fates], pa.int64()))
    return [
        Exceptional(position, key, fate.status, fate.code, fate.reason, sends=0, cells=row)
        for position, key, fate, row in zip(
            taken.column("position").to_pylist(),
            taken.column("key").to_pylist(),
            fates,
            Batch(taken).source_rows(range(len(fates))),
            strict=True,
        )
    ]


def _structs(rows: pa.RecordBatch, wanted: pa.Int64Array) -> pa.StructArray:
    """Give the wanted source rows as structs, so that an item carries its row as it stood."""
    if len(wanted) < rows.num_rows:
        rows = rows.take(wanted)
    return rows.to_struct_array()


def _cells(chunk: Chunk, indices: NDArray[np.int64]) -> Iterator[tuple[str, ...]]:
    """Give the cells of rows for the record; a number that could pass for an identifier shows what it was.

    Fed in again from a failures file it would be text, and its digits, which nobody vouches for, believed.
    """
    if not len(indices):
        return iter(())
    rows = chunk.rows.take(pa.array(indices))
    columns = []
    for number, column in enumerate(rows.columns):
        cells = column.fill_null("")
        if (numbers := chunk.numbers.get(number)) is not None:
            telling = pc.match_substring_regex(cells, f"^[0-9]{{{_TELLING_DIGITS},}}$")
            shown = pc.and_(numbers.take(pa.array(indices)), telling)
            cells = pc.if_else(shown, pc.binary_join_element_wise(cells, ".0", ""), cells)
        columns.append(cells.to_pylist())
    return zip(*columns, strict=True)
