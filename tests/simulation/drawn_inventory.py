"""An inventory drawn from a seed, and what must become of each of its rows: the first of the three books.

Knows the rules from DESIGN and DOMAIN, not from the pipeline. What a vendor's rows look like is told by its
own Rows; a row bears its position somewhere, so that a request tells which rows it carries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

SEND, REJECT, REPEAT = "send", "reject", "repeat"

_BADGE = re.compile(r"\$M(\d{6})")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in the file, its true key ("" where it has none), and what must become of it.

    `mark` is what the vendor is to hold of this row and of no other.
    """

    position: int
    line: bytes
    key: str
    mark: str
    fate: str


@dataclass(frozen=True, slots=True)
class DrawnInventory:
    """All rows in order; `parts` says where each file ends, `planted` which keys the vendor knew before.

    `job` are the tables of the job file without which these files could not be read.
    """

    rows: tuple[Row, ...]
    parts: tuple[int, ...]
    planted: frozenset[str]
    header: str
    job: dict[str, dict[str, Any]] = field(default_factory=dict)

    def files(self) -> list[bytes]:
        """Give the content of each file."""
        starts = (0, *self.parts[:-1])
        return [
            b"\n".join([self.header.encode(), *(row.line for row in self.rows[start:end]), b""])
            for start, end in zip(starts, self.parts, strict=True)
        ]

    @property
    def to_send(self) -> dict[int, Row]:
        """The rows that are to reach the vendor, by position."""
        return {row.position: row for row in self.rows if row.fate == SEND}


class Rows(Protocol):
    """How the rows of one vendor are drawn. `given` are the keys drawn so far, also by rows rejected."""

    header: str
    job: dict[str, dict[str, Any]]
    given: list[str]

    def fresh(self) -> str:
        """Give a key that no row has borne yet."""
        ...

    def good(self, position: int, key: str) -> tuple[bytes, str]:
        """Give the line of a row that must be accepted, and its mark."""
        ...

    def bad(self, position: int, key: str, batch_bytes: int) -> bytes:
        """Give the line of a row that must be rejected; a later good row may bear its key too."""
        ...


def badge(position: int) -> str:
    """Give what tells a row's position wherever it stands."""
    return f"$M{position:06d}"


def position_in(text: str) -> int:
    """Read the position off a text that bears a badge; 0 where there is none."""
    found = _BADGE.search(text)
    return int(found[1]) if found else 0


def draw_inventory(
    rng: random.Random, begin: Callable[[random.Random], Rows], rows: int, batch_bytes: int
) -> DrawnInventory:
    """Draw rows good, bad and repeated, and a few keys that the vendor knows already."""
    bad_share, repeat_share = rng.choice([0, 0.03, 0.2]), rng.choice([0, 0.05, 0.3])
    drawing = begin(rng)
    drawn: list[Row] = []
    accepted: set[str] = set()
    for position in range(1, rows + 1):
        chance = rng.random()
        if chance < bad_share:
            key = drawing.fresh()
            drawn.append(Row(position, drawing.bad(position, key, batch_bytes), key, "", REJECT))
            continue
        repeats = chance < bad_share + repeat_share and drawing.given
        key = rng.choice(drawing.given) if repeats else drawing.fresh()
        line, mark = drawing.good(position, key)
        drawn.append(Row(position, line, key, mark, REPEAT if key in accepted else SEND))
        accepted.add(key)
    sent = [row.key for row in drawn if row.fate == SEND]
    planted = rng.sample(sent, int(len(sent) * rng.choice([0, 0, 0.05, 0.3])))
    parts = (rows,) if rows < 2 or rng.random() < 0.8 else (rng.randint(1, rows - 1), rows)
    return DrawnInventory(tuple(drawn), parts, frozenset(planted), drawing.header, drawing.job)


def line_of(cells: Sequence[str]) -> bytes:
    """Write cells as a line of CSV."""
    quoted = [f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & set('",') else cell for cell in cells]
    return ",".join(quoted).encode()
