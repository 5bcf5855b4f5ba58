"""Rows for the bulk subscriber update: identifiers of five types, in files laid out in different ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drawn_inventory import badge, line_of
from sim_express_rows import SPELLINGS

if TYPE_CHECKING:
    import random

#: How long a value of each type is.
_LENGTHS = {
    "ICCID": (19, 19, 20),
    "IMSI": (15, 15, 15, 14, 6),
    "MSISDN": (15, 13, 7),
    "IMEI": (15,),
    "IMEISV": (16,),
}
#: Types whose values can be one another's.
_OF_15 = ("IMSI", "MSISDN", "IMEI")
#: A header, and the [input] table it needs. Without a column `type` all rows are of one type.
_LAYOUTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("type,value,alias", {}),
    ("type,value,alias", {}),
    ("label,VALUE (Required),note,Type", {}),
    ("type,value,alias,iccid", {}),
    ("iccid,alias", {}),
    ("alias,imsi", {}),
    ("msisdn,name", {}),
    ("imei,alias,note", {}),
    ("IMEISV,alias", {}),
    ("sim,alias", {"columns": {"value": "sim"}, "defaults": {"type": "ICCID"}}),
)
_ALIASES = ("cam", "cam", "cam", 'a "b" c', "back\\slash", "größer", "a, b", "日本", "<null>", "=1+1")


class BulkSubscriberRows:
    """drawn_inventory.Rows. Keys are TYPE:value; the alias is the row's mark, "" where it is to be cleared.

    No value is 104 to 200 above another's: what the vendor echoes under `other_values` was never sent.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.header, table = rng.choice(_LAYOUTS)
        self._columns = [name.partition("(")[0].strip() for name in self.header.lower().split(",")]
        self._null = rng.choice(["<null>", "<null>", "-"])
        # Check digits are drawn wrong as often as not: they warn here, or count for nothing.
        off = {"check_digits": {"iccid": "off", "imei": "off"}} if rng.random() < 0.2 else {}
        self.job: dict[str, dict[str, Any]] = {"input": table | off, "target": {"null_marker": self._null}}
        self._only = next((kind for kind in _LENGTHS if kind.lower() in self._columns), "")
        if "type" in self._columns:
            self._only = ""
        elif not self._only:
            self._only = "ICCID"
        self._stem = "89357" + "".join(rng.choices("123456789", k=15))
        self._next = rng.randint(111, 555) * 1000
        self._taken: set[str] = set()
        self.given: list[str] = []

    def fresh(self) -> str:
        """Give a new key: values that look alike, and some that another type has too."""
        while True:
            key = self._like_another() if self.given and self._rng.random() < 0.1 else self._new()
            if key not in self._taken:
                self._taken.add(key)
                self.given.append(key)
                return key

    def _new(self) -> str:
        self._next += 1 if self._next % 1000 < 99 else 902
        kind = self._only or self._rng.choice(list(_LENGTHS))
        length = self._rng.choice(_LENGTHS[kind])
        # A longer one has a stem of its own: nobody's value is another's with a digit at its end.
        stem = self._stem[: length - 6] if length != 20 else self._stem[:5] + self._stem[6:15]
        return f"{kind}:{stem}{self._next:06d}"

    def _like_another(self) -> str:
        kind, _, value = self._rng.choice(self.given).partition(":")
        if kind == "ICCID":
            return f"ICCID:{value}7" if len(value) == 19 else self._new()
        if self._only or len(value) != 15:
            return self._new()
        return f"{self._rng.choice(_OF_15)}:{value}"

    def good(self, position: int, key: str) -> tuple[bytes, str]:
        """Spell a row that must be accepted."""
        rng = self._rng
        kind = key.partition(":")[0]
        if rng.random() < 0.15:
            alias, mark = self._null, ""
        else:
            alias = mark = f"{rng.choice(_ALIASES)} {badge(position)}"
        kind = rng.choice([kind, kind, kind.lower(), kind.title(), f" {kind} "])
        alias = rng.choice([alias, alias, f" {alias}  "])
        return self._line(kind, self._spelt(key), alias), mark

    def bad(self, position: int, key: str, batch_bytes: int) -> bytes:
        """Draw one of the ways in which a row must be rejected; its key may be right."""
        rng = self._rng
        kind, _, value = key.partition(":")
        alias = f"cam {badge(position)}"
        match rng.randrange(8):
            case 0 if not self._only:
                return self._line(rng.choice(["EID", "", "ICCIDS"]), value, alias)
            case 1 if len(self._columns) > 2:  # a file without a single comma would not have two columns
                return self._line(kind, value, "cam").rsplit(b",", 1)[0]
            case 2:
                return self._line(kind, value, alias) + b",1"
            case 3:
                return self._line(kind, value, "größer").replace("ö".encode(), b"\xf6")
            case 4:
                return self._line(kind, value, alias + "x" * batch_bytes)
            case 5:
                return self._line(kind, value, rng.choice(["", "  "]))
            case _:
                return self._line(kind, rng.choice(_no_values(kind, value)), alias)

    def _spelt(self, key: str) -> str:
        kind, _, value = key.partition(":")
        if kind == "ICCID":
            return self._rng.choice(SPELLINGS)(value)
        return f"+{value}" if kind == "MSISDN" and self._rng.random() < 0.5 else f" {value} "

    def _line(self, kind: str, value: str, alias: str) -> bytes:
        return line_of([self._cell(column, kind, value, alias) for column in self._columns])

    def _cell(self, column: str, kind: str, value: str, alias: str) -> str:
        if column == "type":
            return kind
        if column in ("alias", "label", "name"):
            return alias
        if column == "note" or (column == "iccid" and "value" in self._columns):
            return self._rng.choice(["", "n", "8935700000000000001"])
        return value


def _no_values(kind: str, value: str) -> list[str]:
    """Spoil a value in all ways that its type knows."""
    longer = value + "0" * 10
    shorter = {"MSISDN": longer, "IMEI": value[:-1], "IMEISV": value[:-1]}.get(kind, value[:5])
    return [longer, shorter, f"{value[:5]}O{value[6:]}", "8.93571E+18", ""]
