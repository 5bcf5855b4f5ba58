"""A few bits that say of most keys that they are not among these: a Bloom filter.

Where keys are in no order every batch reaches from the least to the greatest: without it a search for one
key would unpack them all. Ten bits and three places a key let one batch in sixty through for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS_A_KEY = 10
_PLACES = 2**16  # what a piece of the hash can tell apart
_WORDS = 4  # of eight bytes: so much of a key is looked at
_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)
_WIDEST = 64  # numbers a key, on average


def lie_apart(low: str, high: str, keys: int) -> bool:
    """Tell whether other batches may have many keys between the least and the greatest of these.

    Of keys that count upwards, were it in steps of ten for a check digit, no more than a few can.
    """
    if low == high:
        return False
    shared = next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), 0)
    least, greatest = low[shared:], high[shared:]
    if len(least) != len(greatest) or not (least + greatest).isdecimal():
        return True
    return int(greatest) - int(least) > _WIDEST * keys


def filter_of(keys: pa.StringArray) -> bytes:
    """Give the filter of these keys."""
    size = -(-min(_BITS_A_KEY * len(keys), _PLACES) // 8)
    bits = np.zeros(8 * size, np.bool_)
    places = _pieces(keys).astype(np.intp)
    places *= 8 * size
    places >>= 16
    bits[places] = True
    return np.packbits(bits).tobytes()


class Sought:
    """One key, to be held against many filters."""

    def __init__(self, key: str) -> None:
        self._pieces: tuple[int, ...] = tuple(_pieces(pa.array([key], pa.string())).ravel().tolist())

    def may_be_in(self, bits: bytes) -> bool:
        """Tell whether the key may be among those of a filter; if not, it surely is not."""
        size = 8 * len(bits)
        for piece in self._pieces:
            place = piece * size >> 16
            if not bits[place >> 3] & 128 >> (place & 7):
                return False
        return True


def _pieces(keys: pa.StringArray) -> NDArray[np.uint16]:
    """Give three numbers of each key that tell nothing of one another."""
    words = _words(keys)
    mixed: NDArray[np.uint64] = words @ _FACTORS[: words.shape[1]]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _FACTORS[0]
    return mixed.view(np.uint16).reshape(-1, 4)[:, 1:]  # the lowest bits are the least mixed


def _words(keys: pa.StringArray) -> NDArray[np.uint64]:
    """Give the beginning of each key as numbers, zeros behind its end."""
    count = len(keys)
    _, offset_buffer, text_buffer = keys.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, count + 1, 4 * keys.offset)
    text = np.frombuffer(text_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.diff(offsets)
    longest = int(lengths.max())
    width = min(longest, 8 * _WORDS)
    words = np.zeros((count, max(1, -(-width // 8))), np.uint64)
    letters = words.view(np.uint8)
    if longest == width == int(lengths.min()):
        letters[:, :width] = text.reshape(count, width)
        return words
    places = np.arange(width)
    there = places < lengths[:, None]
    letters[:, :width][there] = text[(offsets[:-1, None] - offsets[0] + places)[there]]
    return words
