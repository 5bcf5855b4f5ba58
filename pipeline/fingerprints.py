"""Texts as 128-bit numbers that stand for them: equal texts give equal ones, different texts different ones.

Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014) in four lanes with
keys drawn anew for every run: two different texts meet with probability 2^-128, whatever they are. Among
the 2 * 10^8 texts of 100 million rows any two meet with less than 10^-22. The keys never leave memory, so a
fingerprint on disk tells nothing of an activation code.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np

from pipeline.identifiers import by_width

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Prints = NDArray[np.uint64]  # of shape (2, texts)

_LANES = 4
_LONGEST = 1024  # bytes; a longer text is hashed by BLAKE2 first
_HALF, _UPPER_HALF = np.uint64(32), np.uint64(0xFFFFFFFF00000000)


class Fingerprints:
    """Makes fingerprints. Those of two instances, or of two spaces, have nothing in common.

    Not safe to share between threads.
    """

    def __init__(self) -> None:
        drawn = np.frombuffer(os.urandom((_LONGEST // 4 + 3) * _LANES * 8), np.uint64).reshape(-1, _LANES)
        self._constant, self._space, self._width, self._words = drawn[0], drawn[1], drawn[2], drawn[3:]
        self._secret = os.urandom(32)
        masks = np.frombuffer(os.urandom(6 * 8), np.uint64).reshape(3, 2, 1)
        self._room = np.empty(0, np.uint64)
        self._added, self._factors = masks[0], masks[1:] | np.uint64(1)

    def __call__(self, texts: pa.StringArray, space: int = 0) -> Prints:
        """Give the fingerprints of texts without nulls, as two rows of 64-bit numbers.

        `space` (below 2^32) keeps texts of different meaning apart.
        """
        prints = np.empty((2, len(texts)), np.uint64)
        for rows, text in by_width(texts):
            width = text.shape[1]
            lanes = self._constant + self._space * np.uint64(space) + self._width * np.uint64(width)
            found = self._of_words(self._read(self._short(text)), lanes)
            if len(text) == len(texts):
                return found
            prints[:, rows] = found
        return prints

    def _short(self, text: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if text.shape[1] <= _LONGEST:
            return text
        digests = [hashlib.blake2b(line.tobytes(), key=self._secret).digest() for line in text]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(len(text), -1)

    def _read(self, text: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Read each line as 32-bit words, the last one filled up with zeros; its width tells it apart."""
        lines, width = text.shape
        count = -(-width // 4)
        if count * 4 > width:
            padded = np.zeros((lines, count * 4), np.uint8)
            padded[:, :width] = text
            text = padded
        if lines * count > len(self._room):
            # Kept from chunk to chunk: fresh memory costs more than the reading.
            self._room = np.empty(lines * count, np.uint64)
        words = self._room[: lines * count].reshape(lines, count)
        words[:] = np.ascontiguousarray(text).view(np.uint32)
        return words

    def _of_words(self, words: NDArray[np.uint64], lanes: NDArray[np.uint64]) -> Prints:
        sums = words @ self._words[: words.shape[1]]
        sums += lanes
        sums = np.ascontiguousarray(sums.T)
        prints: Prints = sums[::2] & _UPPER_HALF
        shifted = sums[1::2] >> _HALF
        prints |= shifted
        # One to one, so that no two come to meet here. It takes away what is linear: without the keys
        # no known text helps to find another one.
        prints += self._added
        for factors in self._factors:
            np.right_shift(prints, _HALF, out=shifted)
            prints ^= shifted
            prints *= factors
        np.right_shift(prints, _HALF, out=shifted)
        prints ^= shifted
        return prints
