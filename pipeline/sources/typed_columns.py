"""From record batches with columns of any Arrow type to chunks of text, for formats whose cells have types.

Few bytes can stand for many cells or long ones (a dictionary, a run), so nothing is written out before it
is known to be of bounded size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import types

from pipeline.errors import InventoryError
from pipeline.headers import kept_columns, quoted
from pipeline.model import BrokenRow, Chunk
from pipeline.sources.typed_cells import AS_BYTES, is_bytes, is_readable, texts_of, weight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHUNK_ROWS = 65_536  # what a record batch usually has
_MOST_COLUMNS = 10_000
_CHUNK_BYTES = 64_000_000
_RAW_SHOWN = 1_000


#: What pyarrow raises for damage: besides its own errors, those of the Python types it maps some to.
DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, EOFError, MemoryError)


def kept_of(name: str, schema: pa.Schema) -> tuple[list[int], tuple[str, ...]]:
    """Give the indices and the names of the columns that are kept.

    Raises InventoryError when there are none or too many, or one cannot be read as text.
    """
    if len(schema) > _MOST_COLUMNS:
        raise InventoryError(f"{name}: has {len(schema):,} columns; at most {_MOST_COLUMNS:,} are read")
    try:
        names: list[str] = schema.names
        kept = kept_columns(names)
        odd = next((schema.field(index) for index in kept if not is_readable(schema.field(index).type)), None)
    except UnicodeDecodeError:
        raise InventoryError(f"{name}: a name in its schema is not UTF-8 text; write it anew") from None
    if odd is not None:
        raise InventoryError(
            f"{name}: column {quoted(odd.name)} is of a type that is not read ({quoted(str(odd.type))}); "
            "write it as text"
        )
    if not kept:
        raise InventoryError(f"{name}: has no columns but such as are never kept (keys); add the others")
    return kept, tuple(names[index] for index in kept)


def sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give a batch whose offsets, indices and runs were looked at. Raises one of DAMAGE."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        # Text that is not UTF-8 breaks its rows alone: as bytes it is sound.
        columns = [_as_bytes(column) for column in batch.columns]
        batch = pa.record_batch(columns, names=[str(index) for index in range(len(columns))])
        batch.validate(full=True)
    return batch


def _as_bytes(column: pa.Array) -> pa.Array:
    if types.is_dictionary(column.type):
        values = _as_bytes(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, values, safe=False)
    return column.view(AS_BYTES.get(column.type, column.type)) if is_bytes(column.type) else column


def chunks_of(
    batch: pa.RecordBatch, names: Sequence[str], *, rows_before: int, bytes_read: int
) -> Iterator[Chunk]:
    """Turn a batch of the kept columns, called `names`, into chunks of bounded size.

    `rows_before` stood before it. A row that is not UTF-8 text, or too long, is broken.
    """
    for start in range(0, batch.num_rows, CHUNK_ROWS):
        for part in _bounded(batch.slice(start, CHUNK_ROWS)):
            chunk = _chunk(part, names, rows_before, bytes_read)
            rows_before = chunk.rows_read
            yield chunk


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch into parts of bounded weight; a single row may be heavier."""
    if batch.num_rows <= 1 or sum(map(weight, batch.columns)) <= _CHUNK_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _bounded(batch.slice(0, half))
    yield from _bounded(batch.slice(half))


def _chunk(part: pa.RecordBatch, names: Sequence[str], before: int, bytes_read: int) -> Chunk:
    columns, numbers, broken = [], {}, {}
    if part.num_rows == 1 and sum(map(weight, part.columns)) > _CHUNK_BYTES:
        broken[0] = BrokenRow(before + 1, f"longer than {_CHUNK_BYTES:,} bytes", "")
        columns = [pa.array([""]) for _ in names]
    else:
        for index, array in enumerate(part.columns):
            texts, were_numbers, wrong = texts_of(array)
            columns.append(texts)
            if were_numbers is not None:
                numbers[index] = were_numbers
            for row in wrong:
                reason = f"column {quoted(names[index])}: not UTF-8 text"
                broken.setdefault(row, BrokenRow(before + row + 1, reason, texts[row].as_py()[:_RAW_SHOWN]))
    rows = pa.record_batch(columns, names=[str(index) for index in range(len(columns))])
    positions = pa.array(np.arange(before + 1, before + 1 + part.num_rows))
    if broken:
        intact = np.ones(part.num_rows, np.bool_)
        intact[list(broken)] = False
        intact = pa.array(intact)
        broken = {row: _with_cells(broken[row], rows, row) for row in broken}
        rows, positions = rows.filter(intact), positions.filter(intact)
        numbers = {index: flags.filter(intact) for index, flags in numbers.items()}
    in_order = tuple(broken[row] for row in sorted(broken))
    return Chunk(rows, positions, in_order, before + part.num_rows, bytes_read, numbers)


def _with_cells(broken: BrokenRow, rows: pa.RecordBatch, row: int) -> BrokenRow:
    cells = tuple(column[row].as_py() for column in rows.columns) if broken.raw else ()
    return BrokenRow(broken.position, broken.reason, broken.raw, cells)
