"""Rows on their way from a source to a batch: columns, and an object for those with a word of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from pipeline.model.ends import Status


# ---------------------------------------------------------------- source → producer


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that has no cells to screen: ragged or undecodable.

    `reason` says what is wrong, without the row's number. `cells` holds the source cells where they could
    be told apart (else empty), `raw` the line as it stood, undecodable bytes in hexadecimal escapes.
    """

    position: int
    reason: str
    raw: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of the inventory, in its order.

    `rows` has one string column per source column, named "0", "1", … (headers may repeat; Arrow names
    may not), cells exactly as they stood. `positions` is an int64 array: where each of these rows
    stands in its file, from 1. Broken rows count too, so positions may have gaps. `rows_read` is how many
    rows of the file end with this chunk, `bytes_read` how far the source has read. `numbers` tells for a
    column, by its index, which of its cells were numbers in the file and not text: their digits cannot be
    trusted, however well they print.
    """

    rows: pa.RecordBatch
    positions: pa.Int64Array
    broken: tuple[BrokenRow, ...]
    rows_read: int
    bytes_read: int
    numbers: Mapping[int, pa.BooleanArray] = field(default_factory=dict)


# ---------------------------------------------------------------- rows with a word of their own


class Exceptional(Struct, frozen=True, gc=False):
    """A row that is not a plain success, as the ledger keeps it.

    `status` is None while the row is still open (to be sent again); `in_doubt` says that an earlier
    send of it had no trustworthy answer. `cells` are its source cells, `raw` only for a broken row.
    `ticket` is the vendor's promise for it that is still to be kept, `call` names the call it came from.
    """

    position: int
    key: str
    status: Status | None
    code: str
    reason: str
    sends: int
    batch: int = 0
    in_doubt: bool = False
    cells: tuple[str, ...] = ()
    raw: str = ""
    ticket: str = ""
    call: str = ""


# ---------------------------------------------------------------- producer → worker pool

#: Columns of Batch.items: position int64 · key string · payload string (the item as the target encodes
#: it, separator included) · cells struct of strings (the source row as it stood).
ITEM_COLUMNS = ("position", "key", "payload", "cells")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a vendor gave for items it will finish later: a ticket each, in item order.

    `call` asks after all of them at once; empty where the vendor has no such question.
    """

    tickets: pa.StringArray
    call: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """At most `batch_items` items that are sent together.

    `items` is a RecordBatch with ITEM_COLUMNS, in ascending position. `id` is 0 until the ledger has
    claimed the batch. `sends` is how often these items were sent before, `tries` how many of those
    count against `attempts`; `in_doubt` says that an earlier send may have been carried out;
    `most_items` bounds how many of them may travel together (0: no bound of its own); `recorded` says that
    they have rows of their own in the ledger, which must hear of a success too; `forgotten` that the vendor
    did not know their last tickets any more. With a `promise` the items are not sent but asked after.
    """

    items: pa.RecordBatch
    id: int = 0
    sends: int = 0
    tries: int = 0
    in_doubt: bool = False
    most_items: int = 0
    recorded: bool = False
    forgotten: bool = False
    promise: Promise | None = None

    def __len__(self) -> int:
        return int(self.items.num_rows)

    def keys(self) -> list[str]:
        """Give the keys in item order."""
        keys: list[str] = self.items.column("key").to_pylist()
        return keys

    def of_items(self, name: str, indices: Sequence[int]) -> pa.Array:
        """Give a column of some items; of all of them as they stand it is no copy."""
        column = self.items.column(name)
        if list(indices) == list(range(len(self))):
            return column
        return column.take(np.asarray(indices, np.int64))

    def source_rows(self, indices: Sequence[int]) -> list[tuple[str, ...]]:
        """Give the source rows of some items, cells as they stood in the inventory."""
        columns = [column.to_pylist() for column in self.of_items("cells", indices).flatten()]
        return list(zip(*columns, strict=True)) if columns else [()] * len(indices)

    def payload(self) -> memoryview:
        """Give all items as the target encoded them, separators included: one slice of memory, no copy."""
        column: Any = self.items.column("payload")
        _, offsets, data = column.buffers()
        ends = memoryview(offsets).cast("i")
        return memoryview(data)[ends[column.offset] : ends[column.offset + len(column)]]


class Finding(Struct, frozen=True, gc=False):
    """Something odd about an accepted row that only other rows show: a code, and words for the operator."""

    position: int
    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Portion:
    """What the producer makes of one chunk: batches to send, and rows that never will be.

    `rows_read` and `bytes_read` are totals so far, `starts` counts for each file begun so far the rows of
    those before it; `check_digits` counts (passed, failed) by field in this portion.
    """

    batches: tuple[Batch, ...]
    exceptional: tuple[Exceptional, ...]
    rows_read: int
    bytes_read: int
    check_digits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    starts: tuple[int, ...] = ()
