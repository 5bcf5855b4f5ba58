"""Keys in order, as factories number them: most stand where no key stood before, which saves a search.

Of every stretch of keys that differ in their last characters alone only what they share is kept, and the
greatest of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.identifiers import by_width

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]
    Tails = NDArray[np.int64]

_TAIL_BYTES = 4  # a check digit and three digits before it
_LEAST_ROWS = 16  # of a stretch, on average: with fewer it is no order
_MOST_STRETCHES = 250_000  # 4 MB, and more than 100 million keys in order


class KeyOrder:
    """Tells of the keys of one inventory, chunk by chunk, which are surely new; gives up without order."""

    def __init__(self) -> None:
        self._stems = np.empty(0, np.int64)  # ascending
        self._greatest = np.empty(0, np.int64)
        self._lost = False

    def new(self, keys: pa.StringArray) -> Flags | None:
        """Say which of these keys cannot have stood before, in this chunk or an earlier one.

        None: it cannot be told any more.
        """
        new = np.zeros(len(keys), np.bool_)
        for rows, text in () if self._lost else by_width(keys):
            begins = _stretches(text)
            if len(begins) * _LEAST_ROWS > len(text) + _LEAST_ROWS**2:
                self._lost = True
                break
            new[rows] = self._beyond(text, begins)
        self._lost = self._lost or len(self._stems) > _MOST_STRETCHES
        return None if self._lost else new

    def _beyond(self, text: NDArray[np.uint8], begins: NDArray[np.intp]) -> Flags:
        """Say which keys are greater than all before them that begin alike, and see them."""
        tails = _tails(text)
        stems = np.array([hash(stem.tobytes()) for stem in text[begins, :-_TAIL_BYTES]], np.int64)
        stems, at = np.unique(stems, return_inverse=True)
        places = np.searchsorted(self._stems, stems)
        known = np.append(self._stems, 0)[places] == stems
        known[places == len(self._stems)] = False
        greatest = np.where(known, np.append(self._greatest, 0)[places], -1)
        lengths = np.diff(begins, append=len(text))
        beyond: Flags = tails > np.repeat(greatest[at], lengths)
        ascending = tails[1:] > tails[:-1]
        ascending[begins[1:] - 1] = True
        if len(stems) < len(begins) or not ascending.all():
            beyond &= _above_all_before(tails, np.repeat(at, lengths))
        np.maximum.at(greatest, at, np.maximum.reduceat(tails, begins))
        self._greatest[places[known]] = greatest[known]
        self._stems = np.insert(self._stems, places[~known], stems[~known])
        self._greatest = np.insert(self._greatest, places[~known], greatest[~known])
        return beyond


def _above_all_before(tails: Tails, groups: NDArray[np.intp]) -> Flags:
    """Say which tails are greater than all before them in their group."""
    order = np.argsort(groups, kind="stable")
    numbers = (groups[order] << 8 * _TAIL_BYTES) + tails[order]
    above = np.ones(len(tails), np.bool_)
    above[order[1:]] = numbers[1:] > np.maximum.accumulate(numbers)[:-1]
    return above


def _tails(text: NDArray[np.uint8]) -> Tails:
    """Read how each line ends as a number; shorter lines as if they went on with zero bytes."""
    tails = np.zeros((len(text), _TAIL_BYTES), np.uint8)
    tails[:, : text.shape[1]] = text[:, -_TAIL_BYTES:]
    return tails.view(">u4")[:, 0].astype(np.int64)


def _stretches(text: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Give the lines that do not begin as the line before them does."""
    lines, width = text.shape
    stem = max(0, width - _TAIL_BYTES)
    begins = text[:, :stem]
    if stem % 8:
        begins = np.zeros((lines, -(-stem // 8) * 8), np.uint8)
        begins[:, :stem] = text[:, :stem]
    changes = np.zeros(lines, np.bool_)
    changes[:1] = True
    for words in begins.view(np.uint64).T if stem else ():
        changes[1:] |= words[1:] != words[:-1]
    return np.flatnonzero(changes)
