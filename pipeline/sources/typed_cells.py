"""The cells of an Arrow column of any type, as text.

A number becomes its printed text and is marked as one, what is nested becomes JSON, bytes become text if they
are UTF-8.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.headers import is_key_material

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIXED_BYTES = 24  # about what a number or a date takes as text, and any cell at least


def texts_of(array: pa.Array) -> tuple[pa.StringArray, pa.BooleanArray | None, list[int]]:
    """Give cells as text, null as "": with it which of them were numbers (None: none), and which no UTF-8.

    Bytes that are no UTF-8 stand in the text in hexadecimal escapes.
    """
    array = _plain(array)
    kind = array.type
    numbers = array.is_valid() if _is_number(kind) else None
    wrong: list[int] = []
    if is_bytes(kind):
        texts, wrong = _decoded(array)
    elif types.is_nested(kind):
        texts = pa.array([None if text == "null" else text for text in _as_json(array)], pa.string())
    else:
        texts = _printed(array)
    return pc.fill_null(texts, ""), numbers, wrong


def weight(array: pa.Array) -> int:
    """Give about how many bytes the cells take as text, without writing them out; never much too few."""
    kind, rows = array.type, len(array)
    if isinstance(kind, pa.BaseExtensionType):
        return weight(array.storage)
    least = _FIXED_BYTES * rows
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        values = array.dictionary if types.is_dictionary(kind) else array.values
        if not is_bytes(values.type):
            return least + (rows * weight(values) if types.is_nested(values.type) else 0)
        if types.is_dictionary(kind):
            return least + _total(pc.take(_lengths(values), array.indices))
        return least + rows * int(pc.max(_lengths(values)).as_py() or 0)
    if types.is_map(kind):
        array = _list_of_pairs(array)
    if _is_list(array.type):
        return least + weight(array.flatten())
    if types.is_struct(kind):
        return least + sum(map(weight, array.flatten()))
    return least + (_total(_lengths(array)) if is_bytes(kind) else 0)


def _lengths(array: pa.Array) -> pa.Array:
    if not _is_view(array.type):
        return pc.binary_length(array)
    lengths = _views(array)[array.offset : array.offset + len(array), 0]  # not known to pyarrow
    return pa.array(lengths, mask=np.asarray(array.is_null()))


def _views(array: pa.Array) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Give the views of a column of them: four numbers each, of which the first is the length."""
    whole = np.frombuffer(array.buffers()[1] or b"", np.uint8)
    return whole[: len(whole) // 16 * 16].view(np.int32).reshape(-1, 4)


def _total(lengths: pa.Array) -> int:
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)


def _plain(array: pa.Array) -> pa.Array:
    """Write out what is encoded as a dictionary or as runs, and look beneath extension types."""
    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            if array.type.extension_name == "arrow.uuid":
                return pa.array(
                    [None if cell is None else str(cell) for cell in array.to_pylist()], pa.string()
                )
            array = array.storage
        elif types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        else:
            return array


def _decoded(array: pa.Array) -> tuple[pa.StringArray, list[int]]:
    raw = _without_null_views(array).view(AS_BYTES.get(array.type, array.type))
    try:
        return raw.cast(pa.string()), []  # this way pyarrow does look at the encoding
    except pa.ArrowInvalid:
        cells = raw.to_pylist()
    texts = [None if cell is None else cell.decode("utf-8", "backslashreplace") for cell in cells]
    wrong = [row for row, cell in enumerate(cells) if cell is not None and not _is_utf8(cell)]
    return pa.array(texts, pa.string()), wrong


def _without_null_views(array: pa.Array) -> pa.Array:
    """Blank the views of nulls: they may say anything, and a cast of pyarrow's believes them and dies."""
    if not _is_view(array.type) or not array.null_count:
        return array
    valid, _, *data = array.buffers()
    blanked = _views(array).copy()
    blanked[array.offset : array.offset + len(array)][np.asarray(array.is_null())] = 0
    buffers = [valid, pa.py_buffer(blanked), *data]
    return pa.Array.from_buffers(array.type, len(array), buffers, offset=array.offset)


def _printed(array: pa.Array) -> pa.StringArray:
    if types.is_timestamp(array.type) and array.type.tz is not None:
        naive = array.view(pa.timestamp(array.type.unit))  # in UTC: the zone may be one that nobody knows
        return pc.binary_join_element_wise(naive.cast(pa.string()), "Z", "")
    if types.is_interval(array.type):
        return pa.array(
            [None if cell is None else str(tuple(cell)) for cell in array.to_pylist()], pa.string()
        )
    return array.cast(pa.string())


def _as_json(array: pa.Array) -> list[str]:
    """Write cells as JSON without blanks; key material within them is left out (DESIGN invariant 8)."""
    if types.is_map(array.type):
        return _maps_as_json(array)
    array = _plain(array)
    kind = array.type
    if _is_list(kind):
        return _joined(_as_json(array.flatten()), pc.list_value_length(array))
    if types.is_struct(kind):
        return _structs_as_json(array)
    texts, numbers, _ = texts_of(array)
    bare = numbers is not None or types.is_boolean(kind)
    return [
        "null" if null else text if bare else json.dumps(text, ensure_ascii=False)
        for text, null in zip(texts.to_pylist(), array.is_null().to_pylist(), strict=True)
    ]


def _joined(items: Iterable[str], lengths: pa.Array) -> list[str]:
    """Put items into brackets, so many to each; "" is left out."""
    left = iter(items)
    return [
        "null" if n is None else f"[{','.join(filter(None, islice(left, n)))}]" for n in lengths.to_pylist()
    ]


def _maps_as_json(array: pa.Array) -> list[str]:
    pairs = _list_of_pairs(array)
    names, values = map(_as_json, pairs.flatten().flatten())
    items = [
        "" if is_key_material(name) else f'{{"key":{name},"value":{value}}}'
        for name, value in zip(names, values, strict=True)
    ]
    return _joined(items, pc.list_value_length(pairs))


def _structs_as_json(array: pa.Array) -> list[str]:
    fields = zip(array.type, array.flatten(), strict=True)
    members = [
        [f"{json.dumps(field.name, ensure_ascii=False)}:{text}" for text in _as_json(values)]
        for field, values in fields
        if not is_key_material(field.name)
    ]
    whole = zip(*members, strict=True) if members else [()] * len(array)
    nulls = array.is_null().to_pylist()
    return ["null" if null else f"{{{','.join(row)}}}" for row, null in zip(whole, nulls, strict=True)]


def _list_of_pairs(array: pa.Array) -> pa.Array:
    kind = array.type
    return array.view(pa.list_(pa.struct([kind.key_field, kind.item_field])))


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


AS_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def is_bytes(kind: Any) -> bool:
    """Tell whether a type holds text or bytes, neither nested nor encoded."""
    return bool(kind in AS_BYTES or kind in AS_BYTES.values() or types.is_fixed_size_binary(kind))


def _is_view(kind: Any) -> bool:
    return bool(types.is_string_view(kind) or types.is_binary_view(kind))


def _is_number(kind: Any) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_list(kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_readable(kind: Any) -> bool:
    """Tell whether a type is read: all but unions, views of lists, and what is made of them.

    Raises UnicodeDecodeError for a name within, or a time zone, that is no text.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return is_readable(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return is_readable(kind.value_type)
    if types.is_map(kind):
        return is_readable(kind.key_type) and is_readable(kind.item_type)
    if _is_list(kind):
        return is_readable(kind.value_type)
    if types.is_struct(kind):
        return all(field.name is not None and is_readable(field.type) for field in kind)
    _ = kind.tz if types.is_timestamp(kind) else None
    return not types.is_nested(kind)
