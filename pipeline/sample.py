"""Sample inventories: sequential SIMs with right check digits, and a seeded share of real-life damage.

A row is a function of seed and position alone, so a file of any length is written block by block in flat
memory, and a repeated row can be rendered again from the position where it stood first.
"""

from __future__ import annotations

import gzip
import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]
    Noise = npt.NDArray[np.uint64]
    Bytes = npt.NDArray[np.uint8]

HEADER = "iccid,eid,imei,ac,cc,apn"

_BLOCK_ROWS = 32_768
_CONFIRMED_ONE_IN = 64  # rows that carry a confirmation code
_ORIGINS_KEPT = 65_536

# One clean row; the zeros of iccid, eid, imei and matching id are overwritten. The EID begins as the
# test cards of the GSMA do.
_ICCID_STEM, _EID_STEM, _IMEI_STEM, _AC_STEM = (
    "8935711",
    "890490321234512345",
    "352030",
    "LPA:1$smdp.example.com$",
)
_SERIAL_DIGITS, _IMEI_SERIAL_DIGITS, _MATCHING_CHARACTERS = 12, 8, 16
_ROW = (
    f"{_ICCID_STEM.ljust(20, '0')},{_EID_STEM.ljust(32, '0')},{_IMEI_STEM.ljust(15, '0')},"
    f"{_AC_STEM}{'0' * _MATCHING_CHARACTERS},,iot.example\n"
).encode("ascii")
_ICCID, _EID, _IMEI = slice(0, 20), slice(21, 53), slice(54, 69)
_MATCHING = slice(70 + len(_AC_STEM), 70 + len(_AC_STEM) + _MATCHING_CHARACTERS)

_ZERO = np.uint8(ord("0"))
_HEX_PAIRS = np.frombuffer(bytes(range(256)).hex().upper().encode("ascii"), np.uint8).reshape(256, 2)

_GOOD, _DUPLICATE = -1, -2  # what a row is, where it is not the index of a defect

Cells = list[str]


def _scientific(digits: str) -> str:
    return f"{int(digits):.5E}"


#: What can be wrong with a row: the defect's name and what it makes of the row's six clean cells.
_DEFECTS: Mapping[str, Callable[[Cells], Cells]] = {
    "short_iccid": lambda cells: [cells[0][:-2], *cells[1:]],
    "letters_in_iccid": lambda cells: [f"{cells[0][:-6]}O{cells[0][-5:]}", *cells[1:]],
    "scientific_iccid": lambda cells: [_scientific(cells[0]), *cells[1:]],
    "short_eid": lambda cells: [cells[0], cells[1][:-1], *cells[2:]],
    "scientific_imei": lambda cells: [*cells[:2], _scientific(cells[2]), *cells[3:]],
    "missing_apn": lambda cells: [*cells[:5], ""],
    "missing_cell": lambda cells: cells[:5],
    "extra_cell": lambda cells: [*cells, "1"],
    "undecodable_byte": lambda cells: [*cells[:5], "iot.ex\xe4mple"],  # Latin-1 in a UTF-8 file
}
KINDS = tuple(_DEFECTS)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a sample holds. Positions count its rows from 1, the header excluded, and ascend.

    rows = good + duplicates + all of `bad`. `known` are the ICCIDs of the seeded share of good rows that
    a demonstration plants in the vendor beforehand.
    """

    rows: int
    bad_positions: Mapping[str, tuple[int, ...]]
    duplicate_positions: tuple[int, ...]
    known: tuple[str, ...]

    @property
    def bad(self) -> dict[str, int]:
        """How many rows have each defect; every kind is present."""
        return {kind: len(positions) for kind, positions in self.bad_positions.items()}

    @property
    def duplicates(self) -> int:
        """How many rows repeat an earlier good one, to the byte."""
        return len(self.duplicate_positions)

    @property
    def good(self) -> int:
        """How many rows have nothing wrong with them."""
        return self.rows - self.duplicates - sum(self.bad.values())


def write_sample(
    path: Path,
    *,
    items: int,
    seed: int,
    bad_share: float,
    duplicate_share: float = 0.0,
    known_share: float = 0.0,
) -> Manifest:
    """Write an inventory of `items` rows as CSV, gzipped where the name ends in .gz, and say what is in it.

    The shares (0 to 1) are chances per row: of a defect, of repeating an earlier good row, and, for a good
    row, of being among the known. Defects take turns, so a handful of bad rows shows every kind. The same
    arguments always give the same bytes. Raises UsageError for shares that make no sense, OSError where
    the file cannot be written.
    """
    _refuse_nonsense(items, bad_share, duplicate_share, known_share)
    bad: dict[str, list[int]] = {kind: [] for kind in KINDS}
    duplicates: list[int] = []
    known: list[str] = []
    origins, stride = np.empty(0, np.int64), 1
    bad_rows = 0
    with opened(path) as file:
        file.write(f"{HEADER}\n".encode("ascii"))
        for first in range(1, items + 1, _BLOCK_ROWS):
            positions = np.arange(first, min(first + _BLOCK_ROWS, items + 1), dtype=np.int64)
            fates = _fates(positions, seed, bad_share, duplicate_share, bad_rows)
            if not len(origins):
                fates[np.flatnonzero(fates < 0)[:1]] = _GOOD  # there must be a row to repeat
            good = fates == _GOOD
            origins = np.concatenate([origins, positions[good][::stride]])
            rendered = _rendered_from(positions, fates, origins, seed)
            rows = _clean_rows(rendered, seed)
            file.write(_with_exceptions(rows, rendered, fates, seed))

            bad_rows += int(np.count_nonzero(fates >= 0))
            for index in np.unique(fates[fates >= 0]):
                bad[KINDS[index]] += positions[fates == index].tolist()
            duplicates += positions[fates == _DUPLICATE].tolist()
            if known_share:
                planted = good & _chance(positions, seed, "known", known_share)
                known += [row.tobytes().decode("ascii") for row in rows[planted, _ICCID]]
            if len(origins) > _ORIGINS_KEPT:
                origins, stride = origins[::2], 2 * stride  # thinned evenly: any row may be repeated
    return Manifest(
        rows=items,
        bad_positions={kind: tuple(positions) for kind, positions in bad.items()},
        duplicate_positions=tuple(duplicates),
        known=tuple(known),
    )


def _refuse_nonsense(items: int, bad_share: float, duplicate_share: float, known_share: float) -> None:
    if items < 0:
        raise UsageError(f"sample: {items} rows cannot be written; give 0 or more")
    for share in (bad_share, duplicate_share, known_share, bad_share + duplicate_share):
        if not 0 <= share <= 1:
            raise UsageError(
                f"sample: a share of {share:g} makes no sense; give 0 to 1, bad and duplicate together"
            )


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written, gzipped where its name ends in .gz."""
    with path.open("wb") as file:
        if path.suffix != ".gz":
            yield file
            return
        # Neither name nor time in the gzip header: the same arguments give the same bytes.
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
            yield cast("BinaryIO", compressed)


# ---------------------------------------------------------------- what each row is


def _stream(seed: int, purpose: str) -> int:
    """Give the 64 bits that keep the noise of one purpose apart from that of another."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest(), "big")


def _noise(positions: Integers, seed: int, purpose: str) -> Noise:
    """Give 64 random bits per position: SplitMix64 (Steele, Lea, Flood 2014), which needs no state."""
    bits = positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(_stream(seed, purpose))
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _chance(positions: Integers, seed: int, purpose: str, share: float) -> npt.NDArray[np.bool_]:
    return _noise(positions, seed, purpose) / 2.0**64 < share


def _fates(
    positions: Integers, seed: int, bad_share: float, duplicate_share: float, bad_before: int
) -> Integers:
    """Say for each row whether it is good, to be a duplicate, or which defect it has."""
    drawn = _noise(positions, seed, "fate") / 2.0**64
    fates = np.full(len(positions), _GOOD, np.int64)
    fates[drawn < bad_share + duplicate_share] = _DUPLICATE
    bad = drawn < bad_share
    fates[bad] = (bad_before + np.arange(np.count_nonzero(bad))) % len(KINDS)
    return fates


def _rendered_from(positions: Integers, fates: Integers, origins: Integers, seed: int) -> Integers:
    """Give the position each row is rendered from: its own, or that of an earlier good row."""
    repeats = fates == _DUPLICATE
    earlier = np.searchsorted(origins, positions[repeats]).astype(np.uint64)
    chosen = _noise(positions[repeats], seed, "origin") % earlier
    rendered = positions.copy()
    rendered[repeats] = origins[chosen.astype(np.int64)]
    return rendered


# ---------------------------------------------------------------- what each row says


def _clean_rows(positions: Integers, seed: int) -> Bytes:
    """Give each row as a line of the same width, shape (rows, width), without any defect."""
    serials = _stream(seed, "serial") % (9 * 10 ** (_SERIAL_DIGITS - 1)) + positions
    digits = _digits(serials, _SERIAL_DIGITS) + _ZERO
    rows = np.tile(np.frombuffer(_ROW, np.uint8), (len(positions), 1))

    iccid = rows[:, _ICCID]
    iccid[:, -1 - _SERIAL_DIGITS : -1] = digits
    iccid[:, -1] = _luhn_digits(iccid[:, :-1] - _ZERO) + _ZERO

    eid = rows[:, _EID]
    eid[:, -2 - _SERIAL_DIGITS : -2] = digits
    stem = int(_EID_STEM) * 10**_SERIAL_DIGITS % 97
    eid[:, -2:] = _digits(98 - (stem + serials) * 100 % 97, 2) + _ZERO  # so that the whole mod 97 is 1

    imei = rows[:, _IMEI]
    imei[:, -1 - _IMEI_SERIAL_DIGITS : -1] = digits[:, -_IMEI_SERIAL_DIGITS:]
    imei[:, -1] = _luhn_digits(imei[:, :-1] - _ZERO) + _ZERO

    matching = _noise(positions, seed, "matching").astype("<u8").view(np.uint8).reshape(-1, 8)
    rows[:, _MATCHING] = _HEX_PAIRS[matching].reshape(-1, _MATCHING_CHARACTERS)
    return rows


def _digits(numbers: Integers, width: int) -> Bytes:
    """Give the decimal digits of each number, shape (numbers, width), values 0 to 9."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (numbers[:, None] // powers % 10).astype(np.uint8)


def _luhn_digits(digits: Bytes) -> Bytes:
    """Give the check digit that belongs behind each row of digits (ISO/IEC 7812-1, annex B)."""
    doubled = digits[:, ::-2] * np.uint8(2)
    doubled -= np.uint8(9) * (doubled > 9)  # noqa: PLR2004 - the sum of two digits
    total: Integers = (doubled.sum(axis=1) + digits[:, -2::-2].sum(axis=1)).astype(np.int64)
    return (-total % 10).astype(np.uint8)


def _with_exceptions(rows: Bytes, positions: Integers, fates: Integers, seed: int) -> bytes:
    """Join the lines, those with a confirmation code or a defect rewritten one by one."""
    noise = _noise(positions, seed, "confirmation")
    confirmed = noise % np.uint64(_CONFIRMED_ONE_IN) == 0
    width = rows.shape[1]
    clean = rows.tobytes()
    pieces: list[bytes] = []
    done = 0
    for row in np.flatnonzero(confirmed | (fates >= 0)).tolist():
        cells = clean[row * width : (row + 1) * width - 1].decode("ascii").split(",")
        if confirmed[row]:
            cells[3] += "$$1"  # no object id, and: a confirmation code is required (SGP.22 §4.1)
            cells[4] = f"{int(noise[row]) // _CONFIRMED_ONE_IN % 10_000:04d}"
        if fates[row] >= 0:
            cells = _DEFECTS[KINDS[fates[row]]](cells)
        pieces += clean[done : row * width], f"{','.join(cells)}\n".encode("latin-1")
        done = (row + 1) * width
    pieces.append(clean[done:])
    return b"".join(pieces)
