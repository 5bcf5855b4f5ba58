"""Texts as 96-bit numbers that stand for them: equal texts give equal ones, different texts different ones.

Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014) in three lanes with
keys drawn anew for every run: two different texts meet with probability 2^-96, whatever they are. Among
the 2 * 10^8 texts of 100 million rows any two meet once in 10^12 runs. The keys never leave memory, so a
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

    Numbers = NDArray[np.uint64]
    Prints = NDArray[np.uint64]  # of shape (2, texts)

_LANES = 3  # two make the first number, one the second
_LONGEST = 1024  # bytes; a longer text is hashed by BLAKE2 first
_HALF, _UPPER_HALF = np.uint64(32), np.uint64(0xFFFFFFFF00000000)
_MASKS = np.uint64(2**64 - 1), _UPPER_HALF  # the bits that each row of fingerprints has
_SHIFTS = _HALF, np.uint64(16)  # half as many


class Fingerprints:
    """Makes fingerprints. Those of two instances, or of two spaces, have nothing in common.

    Not safe to share between threads.
    """

    def __init__(self) -> None:
        drawn = np.frombuffer(os.urandom((_LONGEST // 4 + 3) * _LANES * 8), np.uint64).reshape(-1, _LANES)
        self._constant, self._space, self._width, self._words = drawn[0], drawn[1], drawn[2], drawn[3:]
        self._secret = os.urandom(32)
        self._added, *factors = np.frombuffer(os.urandom(3 * 8), np.uint64)
        self._factors = [factor | np.uint64(1) for factor in factors]

    def __call__(self, texts: pa.StringArray, space: int = 0) -> Prints:
        """Give the fingerprints of texts without nulls, as two rows of numbers: 64 bits, and 32 upper ones.

        `space` (below 2^32) keeps texts of different meaning apart.
        """
        return self._of(texts, space, 2)

    def short(self, texts: pa.StringArray, space: int = 0) -> Numbers:
        """Give the first row alone: enough where two texts at a time are compared."""
        first: Numbers = self._of(texts, space, 1)[0]
        return first

    def _of(self, texts: pa.StringArray, space: int, rows: int) -> Prints:
        found, places = [np.empty((rows, 0), np.uint64)], np.empty(len(texts), np.intp)
        done = 0
        for which, text in by_width(texts):
            found.append(self._of_lines(self._shortened(text), space, text.shape[1], rows))
            places[which] = np.arange(done, done + len(text))
            done += len(text)
        if len(found) == 2:  # noqa: PLR2004 - nothing, and texts of one width
            return found[1]
        return np.take(np.concatenate(found, axis=1), places, axis=1)

    def _shortened(self, text: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if text.shape[1] <= _LONGEST:
            return text
        digests = [hashlib.blake2b(line.tobytes(), key=self._secret).digest() for line in text]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(len(text), -1)

    def _of_lines(self, text: NDArray[np.uint8], space: int, width: int, rows: int) -> Prints:
        lanes = self._constant + self._space * np.uint64(space) + self._width * np.uint64(width)
        sums = np.empty((rows + 1, len(text)), np.uint64)
        sums[:] = lanes[: rows + 1, np.newaxis]
        product = np.empty(len(text), np.uint64)
        for words, factors in zip(_words(text).T, self._words, strict=False):
            # Factories number their SIMs: how the numbers begin is the same.
            if words[0] == words[-1] and (words == words[0]).all():
                sums += (words[:1].astype(np.uint64) * factors[: rows + 1])[:, np.newaxis]
                continue
            wide = words.astype(np.uint64)
            for lane, factor in zip(sums, factors, strict=False):
                np.add(lane, np.multiply(wide, factor, out=product), out=lane)
        sums[0] &= _UPPER_HALF
        sums[0] |= np.right_shift(sums[1], _HALF, out=product)
        prints = sums[::2]
        for numbers, shift, mask in zip(prints, _SHIFTS, _MASKS, strict=False):
            self._mix(numbers, shift, mask, room=product)
        return prints

    def _mix(self, numbers: Numbers, shift: np.uint64, mask: np.uint64, room: Numbers) -> None:
        """Change the bits of numbers that `mask` has, one to one, so that no two come to meet here.

        It takes away what is linear: without the keys no known text helps to find another one.
        """
        numbers += self._added & mask
        for factor in self._factors:
            numbers ^= np.bitwise_and(np.right_shift(numbers, shift, out=room), mask, out=room)
            numbers *= factor
        numbers ^= np.bitwise_and(np.right_shift(numbers, shift, out=room), mask, out=room)


def _words(text: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Read each line as 32-bit words, the last one filled up with zeros; its width tells it apart."""
    lines, width = text.shape
    if width % 4:
        padded = np.zeros((lines, -(-width // 4) * 4), np.uint8)
        padded[:, :width] = text
        text = padded
    return np.ascontiguousarray(text).view(np.uint32)
