"""Columns of text made fit to stand between the quotes of JSON."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def escaped(column: pa.StringArray) -> pa.StringArray:
    """Make text fit between the quotes of JSON. A clean column, the usual case, is only looked at."""
    offsets, data = column.buffers()[1:]
    if not len(column) or data is None:
        return column
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    if not text.size or not ((text == ord('"')).any() or (text == ord("\\")).any() or text.min() < ord(" ")):
        return column
    unsafe = pc.match_substring_regex(column, r'["\\\x00-\x1f]')
    cells = [json.dumps(cell, ensure_ascii=False)[1:-1] for cell in column.filter(unsafe).to_pylist()]
    return pc.replace_with_mask(column, unsafe, pa.array(cells, pa.string()))
