"""Repeatable randomness: noise by position, without state, so that any row can be drawn again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]
    Noise = npt.NDArray[np.uint64]


def stream(seed: int, purpose: str) -> int:
    """Give the 64 bits that keep the noise of one purpose apart from that of another."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest(), "big")


def noise(positions: Integers, seed: int, purpose: str) -> Noise:
    """Give 64 random bits per position: SplitMix64 (Steele, Lea, Flood 2014), which needs no state."""
    bits = positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(stream(seed, purpose))
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def shares(positions: Integers, seed: int, purpose: str) -> npt.NDArray[np.float64]:
    """Give a number from 0 to below 1 per position."""
    # Of 64 bits a float keeps 53: rounded up, the largest would be 1 and no chance of 1 would meet it.
    return (noise(positions, seed, purpose) >> np.uint64(11)) / 2.0**53
