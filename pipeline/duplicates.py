"""The exact set of keys seen so far, small enough for 100 million of them.

A key that ends in digits is kept as a number in a compressed bitmap (about 1.3 bytes each for a SIM
factory's sequence), one bitmap per shape: length, type prefix, digits beyond the last 19. Leading zeros
count, so does the last digit. Any other text goes to a plain set.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap64

from pipeline.identifiers import by_width

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

_TAIL_DIGITS = 19  # the most that always fit in 64 bits


class SeenKeys:
    """Every key claimed so far in this inventory. Not safe to share between threads."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, bytes], BitMap64] = {}
        self._texts: set[bytes] = set()

    def first_seen(self, keys: pa.StringArray) -> NDArray[np.bool_]:
        """Claim the keys; True where a key stood neither in an earlier call nor earlier in this array.

        Raises ValueError for a null key: every accepted row has one.
        """
        first = np.zeros(len(keys), dtype=np.bool_)
        for rows, shape, part in _by_shape(keys):
            if shape is None:
                for row, key in zip(rows, _texts(part), strict=True):
                    first[row] = key not in self._texts
                    self._texts.add(key)
            else:
                first[rows] = self._first_numbers(shape, _numbers(part))
        return first

    def known(self, keys: pa.StringArray) -> NDArray[np.bool_]:
        """Say which keys stood in an earlier call of `first_seen`; claims nothing. ValueError for a null."""
        known = np.zeros(len(keys), dtype=np.bool_)
        for rows, shape, part in _by_shape(keys):
            if shape is None:
                known[rows] = [key in self._texts for key in _texts(part)]
            elif (seen := self._numbers.get(shape)) is not None:
                known[rows] = _among(seen, _numbers(part))
        return known

    def _first_numbers(self, shape: tuple[int, bytes], numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Claim numbers of one shape."""
        seen = self._numbers.setdefault(shape, BitMap64())
        ascending = array("Q", np.sort(numbers).tobytes())
        arriving = BitMap64(ascending)
        if len(arriving) == len(numbers) and not seen.intersect(arriving):
            first = np.ones(len(numbers), dtype=np.bool_)
        else:
            first = np.zeros(len(numbers), dtype=np.bool_)
            first[np.unique(numbers, return_index=True)[1]] = True
            known = np.array((seen & arriving).to_array(), dtype=np.uint64)
            first &= ~np.isin(numbers, known)
        # Not `seen |= arriving`: that walks through all that was ever seen, at every call.
        seen.update(ascending)
        return first


def _among(seen: BitMap64, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    met = seen & BitMap64(array("Q", np.sort(numbers).tobytes()))
    return np.isin(numbers, np.array(met.to_array(), dtype=np.uint64))


def _by_shape(
    keys: pa.StringArray,
) -> Iterator[tuple[NDArray[np.intp], tuple[int, bytes] | None, NDArray[np.uint8]]]:
    """Yield (rows, shape, bytes): the last digits of the keys of one shape; without a shape, whole keys."""
    if keys.null_count:
        raise ValueError("a row without a key cannot be told from its duplicates")
    everyone = np.arange(len(keys))
    for of_width, text in by_width(keys):
        rows = everyone[of_width]
        for lines, prefix in _by_prefix(text):
            digits = text[lines, prefix:]
            numeric = ((digits - ord("0")) < 10).all(axis=1)  # noqa: PLR2004 - uint8: below "0" wraps round
            head = max(prefix, text.shape[1] - _TAIL_DIGITS)
            for part in _by_head(text, lines[numeric], head):
                yield rows[part], (text.shape[1], text[part[0], :head].tobytes()), text[part, head:]
            if not numeric.all():
                yield rows[lines[~numeric]], None, text[lines[~numeric]]


def _texts(keys: NDArray[np.uint8]) -> Iterator[bytes]:
    return (key.tobytes() for key in keys)


def _by_prefix(text: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield (rows, width of their prefix): a prefix ends with the last colon, most keys have none."""
    colons = text == ord(":")
    left = np.arange(len(text))
    for place in np.flatnonzero(colons.any(axis=0))[::-1]:
        here = colons[left, place]
        yield left[here], int(place) + 1
        left = left[~here]
    yield left, 0


def _by_head(text: NDArray[np.uint8], rows: NDArray[np.intp], head: int) -> Iterator[NDArray[np.intp]]:
    """Yield the rows that share their first `head` bytes, in their order."""
    if not len(rows):
        return
    heads = text[rows, :head]
    if (heads == heads[0]).all():
        yield rows
        return
    _, group = np.unique(np.ascontiguousarray(heads).view(f"S{head}").ravel(), return_inverse=True)
    order = np.argsort(group, kind="stable")
    yield from np.split(rows[order], np.flatnonzero(np.diff(group[order])) + 1)


def _numbers(digits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Read each line of at most 19 digits as one number."""
    numbers = np.zeros(len(digits), dtype=np.uint64)
    for place in digits.T:
        numbers *= np.uint64(10)
        numbers += place - np.uint8(ord("0"))
    return numbers
