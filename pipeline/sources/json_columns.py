"""From JSON objects to columns of text: a run of alike objects at once, any others one by one.

Both ways give the same cells: text as it was meant, numbers as they stood, the rest as compact JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from pipeline.headers import is_key_material, kept_columns, quoted
from pipeline.sources.json_decoder import Number
from pipeline.sources.json_run import flat_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.sources.json_decoder import Pairs

    Row = dict[str, Any]
    Numbers = dict[int, pa.BooleanArray]

_MOST_CELLS_BYTES = 80_000_000
_PLAIN = (str, Number, type(None))


class JsonColumns:
    """Makes columns named "0", "1", … of objects whose keys are `names`; only the kept ones come out.

    Learns from the objects it reads one by one which columns are numbers or true and false throughout.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._known = frozenset(names)
        self._kept = [self._names[i] for i in kept_columns(self._names)]
        #: An object may lack most keys, so few bytes can mean many cells: at most so many bytes at once.
        self.block_bytes = _MOST_CELLS_BYTES // max(1, len(names))
        self._types = dict.fromkeys(self._names, pa.string())

    def of_run(self, text: bytes, *, row_bytes: int) -> tuple[int, pa.RecordBatch, Numbers] | None:
        """Read the objects that a text begins with; None if any needs a look of its own.

        Gives how many bytes they are, too; none of them has more than `row_bytes`.
        """
        run, count = flat_run(text[: self.block_bytes], row_bytes)
        has_numbers = pa.int64() in self._types.values()
        if not count or (has_numbers and b"-0" in run) or not _is_utf8(run):
            return None  # pyarrow makes a 0 of -0, and does not look at the encoding
        try:
            table = pa_json.read_json(
                pa.BufferReader(run),
                pa_json.ReadOptions(use_threads=False, block_size=len(run) + 1),
                pa_json.ParseOptions(
                    explicit_schema=pa.schema(list(self._types.items())), unexpected_field_behavior="error"
                ),
            )
        except pa.ArrowException:
            return None
        if table.num_rows != count:
            return None  # white space between braces, but in quotes
        columns = [table.column(name).combine_chunks() for name in self._kept]
        numbers = {
            index: column.is_valid()
            for index, column in enumerate(columns)
            if pa.types.is_integer(column.type)
        }
        texts = [pc.fill_null(column.cast(pa.string()), "") for column in columns]
        return len(run), _batch(texts), numbers

    def of_rows(self, rows: Sequence[Row]) -> tuple[pa.RecordBatch, Numbers]:
        """Put rows, each made by `row_of`, into columns."""
        columns: list[pa.StringArray] = []
        numbers: Numbers = {}
        for name in self._names:
            cells = [row.get(name) for row in rows]
            kinds = self._learn(name, cells)
            if name in self._kept:
                if Number in kinds:
                    numbers[len(columns)] = pa.array([type(cell) is Number for cell in cells], pa.bool_())
                columns.append(_texts(cells, plain=kinds.issubset(_PLAIN)))
        return _batch(columns), numbers

    def learn(self, rows: Sequence[Row]) -> None:
        """Learn from rows without making columns of them."""
        for name in self._names:
            self._learn(name, [row.get(name) for row in rows])

    def _learn(self, name: str, cells: Sequence[Any]) -> set[type]:
        kinds = set(map(type, cells)) - {type(None)}
        if kinds:
            self._types[name] = _type_of(kinds, cells)
        return kinds

    def row_of(self, pairs: Pairs, *, may_hold_surrogates: bool) -> Row | str:
        """Give an object as a row, or in words why it is none."""
        row = dict(pairs)
        if len(row) < len(pairs):
            names = [name for name, _ in pairs]
            return f"has the key {quoted(next(n for n in names if names.count(n) > 1))} twice"
        if not self._known.issuperset(row):
            for name in [name for name in row if name not in self._known]:
                if kept_columns([name]):
                    return (
                        f"has a key that no object at the beginning of the file has, {quoted(name)}; "
                        f"give the first object that key too, or name it in [input] columns"
                    )
                del row[name]
        if may_hold_surrogates:
            try:
                _texts(list(row.values()), plain=False)
            except UnicodeEncodeError:
                return "not Unicode text: holds half of a surrogate pair"
        return row


def _batch(columns: Sequence[pa.StringArray]) -> pa.RecordBatch:
    return pa.record_batch(list(columns), names=[str(index) for index in range(len(columns))])


def _type_of(kinds: set[type], cells: Sequence[Any]) -> pa.DataType:
    """Give the type by which pyarrow can read such cells exactly, else that of text."""
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {Number} and next(cell for cell in cells if cell is not None).lstrip("-").isdigit():
        return pa.int64()
    return pa.string()


def _texts(cells: Sequence[Any], *, plain: bool) -> pa.StringArray:
    if not plain:
        cells = [cell if isinstance(cell, str) or cell is None else compact(cell) for cell in cells]
    return pc.fill_null(pa.array(cells, pa.string()), "")


def compact(content: Any) -> str:
    """Write a value as JSON without blanks; key material within it is left out (DESIGN invariant 8)."""
    match content:
        case Number():
            return str(content)
        case tuple():
            members = ((name, value) for name, value in content if not is_key_material(name))
            return f"{{{','.join(f'{_quoted(name)}:{compact(value)}' for name, value in members)}}}"
        case list():
            return f"[{','.join(map(compact, content))}]"
        case _:
            return _quoted(content)


def _quoted(content: str | bool | None) -> str:  # noqa: FBT001 - it is a value of JSON
    return json.dumps(content, ensure_ascii=False)


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False
