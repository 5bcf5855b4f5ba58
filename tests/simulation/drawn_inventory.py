"""An inventory drawn from a seed, and what must become of each of its rows: the first of the three books.

Knows the rules from DESIGN and DOMAIN, not from the pipeline. A row's activation code bears its position, so
that a request tells which rows it carries even where two rows share an ICCID.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

HEADER = "iccid,eid,imei,ac,cc,apn"
SEND, REJECT, REPEAT = "send", "reject", "repeat"

_BADGE = re.compile(r"\$M(\d{6})")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in the file, its true ICCID ("" where it has none), and what must become of it."""

    position: int
    line: bytes
    iccid: str
    ac: str
    fate: str


@dataclass(frozen=True, slots=True)
class DrawnInventory:
    """All rows in order; `parts` says where each file ends, `planted` what the vendor held before we came."""

    rows: tuple[Row, ...]
    parts: tuple[int, ...]
    planted: frozenset[str]

    def files(self) -> list[bytes]:
        """Give the content of each file."""
        starts = (0, *self.parts[:-1])
        return [
            b"\n".join([HEADER.encode(), *(row.line for row in self.rows[start:end]), b""])
            for start, end in zip(starts, self.parts, strict=True)
        ]

    @property
    def to_send(self) -> dict[int, Row]:
        """The rows that are to reach the vendor, by position."""
        return {row.position: row for row in self.rows if row.fate == SEND}


def position_in(ac: str) -> int:
    """Read the position off an activation code."""
    found = _BADGE.search(ac)
    return int(found[1]) if found else 0


def draw_inventory(rng: random.Random, rows: int, batch_bytes: int) -> DrawnInventory:
    """Draw rows good, bad and repeated, and a few ICCIDs that the vendor holds already."""
    bad_share, repeat_share = rng.choice([0, 0.03, 0.2]), rng.choice([0, 0.05, 0.3])
    iccids = _Iccids(rng)
    drawn: list[Row] = []
    for position in range(1, rows + 1):
        chance = rng.random()
        if chance < bad_share:
            drawn.append(_bad(rng, position, iccids, batch_bytes))
        elif chance < bad_share + repeat_share and iccids.given:
            drawn.append(_good(rng, position, iccids, rng.choice(iccids.given)))
        else:
            drawn.append(_good(rng, position, iccids, iccids.fresh()))
    accepted = [row.iccid for row in drawn if row.fate == SEND]
    planted = rng.sample(accepted, int(len(accepted) * rng.choice([0, 0, 0.05, 0.3])))
    parts = (rows,) if rows < 2 or rng.random() < 0.8 else (rng.randint(1, rows - 1), rows)
    return DrawnInventory(tuple(drawn), parts, frozenset(planted))


class _Iccids:
    """Different ICCIDs that look alike: neighbours differ in the last digit, some are others' beginnings."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._stem = "89357" + "".join(rng.choices("123456789", k=10))
        self._next = rng.randint(111, 555)
        self._taken: set[str] = set()
        self.given: list[str] = []  # also by rows that were rejected
        self.accepted: set[str] = set()

    def fresh(self) -> str:
        """Give one that no row has borne yet."""
        while True:
            if self.given and self._rng.random() < 0.05:
                iccid = self.given[-1] + "7" if len(self.given[-1]) == 19 else self.given[-1][:19]
            else:
                self._next += 1
                iccid = f"{self._stem}{self._next:04d}" + self._rng.choice(["", str(self._rng.randint(1, 9))])
            if iccid not in self._taken and not iccid.endswith("0000"):
                self._taken.add(iccid)
                self.given.append(iccid)
                return iccid


def _line(cells: Sequence[str]) -> bytes:
    quoted = [f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & set('",') else cell for cell in cells]
    return ",".join(quoted).encode()


def _cells(rng: random.Random, position: int, iccid: str) -> list[str]:
    return [
        iccid,
        f"8904903212345123451234567{rng.randint(1000000, 9999999)}",
        f"35203000{rng.randint(1000000, 9999999)}",
        f"LPA:1$smdp.example.com$M{position:06d}{rng.randint(0, 0xFFFF):04X}",
        rng.choice(["", "", "4711"]),
        rng.choice(["iot.example", "iot.example", 'a "b" c', "back\\slash", "größer"]),
    ]


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda iccid: iccid,
    lambda iccid: iccid,
    lambda iccid: iccid,
    lambda iccid: f" {iccid} ",
    lambda iccid: iccid + "F" if len(iccid) == 19 else iccid,
    lambda iccid: f"{iccid[:4]} {iccid[4:8]} {iccid[8:]}",
    lambda iccid: f"{iccid[:6]}-{iccid[6:]}",
)


def _good(rng: random.Random, position: int, iccids: _Iccids, iccid: str) -> Row:
    cells = _cells(rng, position, iccid)
    fate = REPEAT if iccid in iccids.accepted else SEND
    iccids.accepted.add(iccid)
    return Row(position, _line([rng.choice(_SPELLINGS)(iccid), *cells[1:]]), iccid, cells[3], fate)


def _bad(rng: random.Random, position: int, iccids: _Iccids, batch_bytes: int) -> Row:
    """Draw a row that must be rejected; its ICCID may be right, and a later good row may bear it too."""
    iccid = iccids.fresh()
    cells = _cells(rng, position, iccid)
    match rng.randrange(8):
        case 0:
            line = _line([iccid[:-3], *cells[1:]])
        case 1:
            line = _line([f"{iccid[:8]}O{iccid[9:]}", *cells[1:]])
        case 2:
            line = _line([cells[0], cells[1][:-1], *cells[2:]])
        case 3:
            line = _line([*cells[:5], ""])
        case 4:
            line = _line(cells[:5])
        case 5:
            line = _line([*cells, "1"])
        case 6:
            line = _line(cells[:5]) + b",iot.ex\xe4mple"
        case _:
            line = _line([*cells[:3], cells[3] + "x" * batch_bytes, *cells[4:]])
    return Row(position, line, iccid, cells[3], REJECT)
