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
_HALF = np.uint64(32)


class Fingerprints:
    """Makes fingerprints. Those of two instances, or of two spaces, have nothing in common."""

    def __init__(self) -> None:
        drawn = np.frombuffer(os.urandom((_LONGEST // 4 + 3) * _LANES * 8), np.uint64).reshape(-1, _LANES)
        self._constant, self._space, self._width, self._words = drawn[0], drawn[1], drawn[2], drawn[3:]
        self._secret = os.urandom(32)
        masks = np.frombuffer(os.urandom(4 * 8), np.uint64).reshape(2, 2, 1)
        self._added, self._factors = masks[0], masks[1] | np.uint64(1)

    def __call__(self, texts: pa.StringArray, space: int = 0) -> Prints:
        """Give the fingerprints of texts without nulls, as two rows of 64-bit numbers.

        `space` (below 2^32) keeps texts of different meaning apart.
        """
        prints = np.empty((2, len(texts)), np.uint64)
        for rows, text in by_width(texts):
            width = text.shape[1]
            lanes = self._constant + self._space * np.uint64(space) + self._width * np.uint64(width)
            prints[:, rows] = self._of_words(_words(self._short(text)), lanes)
        return prints

    def _short(self, text: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if text.shape[1] <= _LONGEST:
            return text
        digests = [hashlib.blake2b(line.tobytes(), key=self._secret).digest() for line in text]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(len(text), -1)

    def _of_words(self, words: NDArray[np.uint64], lanes: NDArray[np.uint64]) -> Prints:
        sums = (words @ self._words[: words.shape[1]] + lanes).T >> _HALF
        prints: Prints = (sums[::2] << _HALF) | sums[1::2]
        # One to one, so that no two come to meet here. It takes away what is linear: without the keys
        # no known text helps to find another one.
        prints += self._added
        for _ in range(2):
            prints ^= prints >> _HALF
            prints *= self._factors
        return prints ^ (prints >> _HALF)


def _words(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Read each line as 32-bit words, the last one filled up with zeros; its width tells it apart."""
    lines, width = text.shape
    whole = -(-width // 4) * 4
    if whole > width:
        padded = np.zeros((lines, whole), np.uint8)
        padded[:, :width] = text
        text = padded
    return np.ascontiguousarray(text).view(np.uint32).astype(np.uint64)
