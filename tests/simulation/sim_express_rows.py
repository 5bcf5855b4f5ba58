"""Rows for SIM Express: ICCIDs that look alike, good and bad, in the spellings that occur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drawn_inventory import badge, line_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class SimExpressRows:
    """drawn_inventory.Rows. A row's activation code bears its position: it is the row's mark."""

    header = "iccid,eid,imei,ac,cc,apn"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._stem = "89357" + "".join(rng.choices("123456789", k=10))
        self._next = rng.randint(111, 555)
        self._taken: set[str] = set()
        self.given: list[str] = []
        self.job: dict[str, dict[str, Any]] = {}

    def fresh(self) -> str:
        """Give a new ICCID: neighbours differ in the last digit, some are others' beginnings."""
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

    def good(self, position: int, key: str) -> tuple[bytes, str]:
        """Spell a row that must be accepted."""
        cells = self._cells(position, key)
        return line_of([self._rng.choice(SPELLINGS)(key), *cells[1:]]), cells[3]

    def bad(self, position: int, key: str, batch_bytes: int) -> bytes:
        """Draw one of the ways in which a row must be rejected; its ICCID may be right."""
        cells = self._cells(position, key)
        match self._rng.randrange(8):
            case 0:
                return line_of([key[:-3], *cells[1:]])
            case 1:
                return line_of([f"{key[:8]}O{key[9:]}", *cells[1:]])
            case 2:
                return line_of([cells[0], cells[1][:-1], *cells[2:]])
            case 3:
                return line_of([*cells[:5], ""])
            case 4:
                return line_of(cells[:5])
            case 5:
                return line_of([*cells, "1"])
            case 6:
                return line_of(cells[:5]) + b",iot.ex\xe4mple"
            case _:
                return line_of([*cells[:3], cells[3] + "x" * batch_bytes, *cells[4:]])

    def _cells(self, position: int, iccid: str) -> list[str]:
        rng = self._rng
        return [
            iccid,
            f"8904903212345123451234567{rng.randint(1000000, 9999999)}",
            f"35203000{rng.randint(1000000, 9999999)}",
            f"LPA:1$smdp.example.com{badge(position)}{rng.randint(0, 0xFFFF):04X}",
            rng.choice(["", "", "4711"]),
            rng.choice(["iot.example", "iot.example", 'a "b" c', "back\\slash", "größer"]),
        ]


SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda iccid: iccid,
    lambda iccid: iccid,
    lambda iccid: iccid,
    lambda iccid: f" {iccid} ",
    lambda iccid: iccid + "F" if len(iccid) == 19 else iccid,
    lambda iccid: f"{iccid[:4]} {iccid[4:8]} {iccid[8:]}",
    lambda iccid: f"{iccid[:6]}-{iccid[6:]}",
)
