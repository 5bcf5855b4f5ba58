"""Which lines of a SIM-factory OUT file are rows, of which columns, and how many each batch should have.

A file is batches; a batch is header lines, then a var_out line with the column names, then rows. Titles,
rules and remarks part them, in the dialects of DOMAIN §4. Of a header nothing but the quantity is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.errors import InventoryError
from pipeline.headers import kept_columns, listed
from pipeline.model import Finding
from pipeline.sources.byte_stream import block_of, slices_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipeline.sources.byte_stream import Block, ByteStream

_BOM = rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?"
_TITLE = (
    rb"(?:(?P<header>header\s+description)|(?P<input>input\s+variables(?:\s+description)?)"
    rb"|(?P<output>output\s+variables(?:\s+description)?))"
)
_VAR_OUT = rb"var_?out(?:_list)?\s*:"
#: A line that is no row wherever it stands: a title, the column names, a rule, a remark behind a star.
_MARK = re.compile(
    _BOM + rb"\**\s*(?:" + _TITLE + rb"[\s*:]*|" + _VAR_OUT + rb"(?P<names>.*))"
    rb"|(?P<rule>\*{3}[\s*]*)|(?P<remark>\*.*)",
    re.IGNORECASE | re.DOTALL,
)
_SURELY = re.compile(
    rb"^" + _BOM + rb"\**[ \t]*(?:" + _TITLE + rb"[ \t*:]*\r?$|" + _VAR_OUT + rb")",
    re.IGNORECASE | re.MULTILINE,
)
_MARK_BEGINS = np.isin(np.arange(256), [*b"*hHiIoOvV\xef"])
_IS_BLANK = np.isin(np.arange(256), [*b" \t"])
_HEADER_LINE = re.compile(rb"[A-Za-z][^:]*:(?!1\$)")  # but a row may begin with LPA:1$
_QUANTITY = re.compile(rb"(?:quan[a-z]*|qty)\.?\s*:(.*)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(rb"\s*([0-9]{1,3}(?:[.,' ][0-9]{3}){1,4}|[0-9]{1,15})\b(?![.,][0-9])")
_DATA = re.compile(r"[0-9A-Fa-f]{10}|1\$")
_NAME_ENDS = re.compile(r"[/,;|\t]")
_NO_DELIMITER = b"\x1f"
_MOST_COLUMNS = 10_000
_LONGEST_NAME = 60
_MOST_INDENT = 64
_MOST_FINDINGS = 100


class Layout(NamedTuple):
    """How the rows of a section read: all column names, by index those to keep, and what parts the cells.

    The delimiter is a comma or a blank (any run of blanks); empty while no row has told it.
    """

    names: tuple[str, ...]
    kept: tuple[int, ...]
    delimiter: bytes


@dataclass(slots=True)
class Taken:
    """The rows of a block: spans of its lines by layout, and lines that are broken rows, each with why."""

    spans: dict[Layout, list[tuple[int, int]]] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)


def is_surely_out(beginning: bytes) -> bool:
    """Tell whether a file that begins so has a title or a var_out line of an OUT file."""
    return bool(_SURELY.search(beginning.replace(b"\0", b"")))  # without its zeros UTF-16 reads alike


def read_lines(stream: ByteStream, *, block_bytes: int, row_bytes: int) -> Iterator[Block]:
    """Yield whole lines in order, blank ones left out; of one longer than `row_bytes` the beginning.

    Unlike byte_stream.read_blocks it knows no quotes: in an OUT file they mean nothing. Raises
    InventoryError when the stream breaks off, after all the lines before that.
    """
    text, ended = b"", False
    while not ended:
        piece = stream.read(block_bytes)
        ended = not piece
        text += piece or b"\n"  # the last line may lack its break
        cut = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        array = np.frombuffer(text, np.uint8, cut)
        breaks = array == ord("\n")
        if b"\r" in text:
            breaks |= array == ord("\r")
        yield from slices_of(block_of(text[:cut], np.flatnonzero(breaks), _NO_DELIMITER))
        text = text[cut:]
        if len(text) > row_bytes:
            text = text.lstrip()[: row_bytes + 1]  # blanks before a line are none of it


class _Place(Enum):
    """Where the next line stands; only in a section that var_out opened it is a row."""

    HEADER = "header"
    OUTSIDE = "outside"
    ROWS = "rows"


@dataclass(slots=True)
class _Batch:
    """A header and what follows it: the quantity it says (None: nothing, "": no number), and has."""

    number: int
    first_row: int
    said: str | None = None
    has: int = 0

    def fault(self) -> str:
        """Say what is wrong with the quantity; empty when nothing is."""
        if self.said is None or self.said == str(self.has):
            return ""
        said = f"says Quantity {int(self.said):,}" if self.said else "says a Quantity that is no number"
        has = "1 row" if self.has == 1 else f"{self.has:,} rows"
        where = f" (from row {self.first_row:,} on)" if self.has else ""
        return (
            f"batch {self.number} {said} and has {has}{where}; ask the factory for the whole "
            'file, or take it as it is with [input] quantity = "warn"'
        )


class Walk:
    """Walks through the lines of a file and tells the rows from all else.

    `header`: the columns to keep, as a walk before found them; without it those of the first var_out are.
    Of these only the `needed` ones (folded names), where that is known; `left_out` are the others of the
    first var_out but those of keys.
    Raises InventoryError for column names that cannot be read or that differ from these.
    """

    def __init__(
        self, name: str, *, row_bytes: int, header: tuple[str, ...] = (), needed: Collection[str] = ()
    ) -> None:
        self.header = header
        self.left_out: tuple[str, ...] = ()
        self._needed = needed
        self.rows = 0
        self._name, self._row_bytes = name, row_bytes
        self._place = _Place.HEADER
        self._layout = Layout((), (), b"")
        self._rows_before_section = 0
        self._batch = _Batch(1, 1)
        self._faults: list[str] = []
        self._more_faults = 0

    def take(self, block: Block) -> Taken:
        """Take the next lines in."""
        taken = Taken()
        long = np.flatnonzero(block.ends - block.starts > self._row_bytes).tolist()
        overlong = {i for i in long if len(block.row(i).lstrip()) > self._row_bytes}

        def mark_at(index: int) -> re.Match[bytes] | None:
            return None if index in overlong else _MARK.fullmatch(block.row(index).strip())

        stops = iter(sorted(overlong.union(_suspects(block))))
        at = 0
        while at < len(block):
            end, mark = at, None
            if self._place is _Place.ROWS:
                looks = ((i, mark_at(i)) for i in stops if i >= at)
                end, mark = next(((i, m) for i, m in looks if m or i in overlong), (len(block), None))
                self._take_rows(block, at, end, taken)
            else:
                mark = mark_at(at)
            if mark:
                self._take_mark(mark)
            elif end < len(block):
                self._take_other(b"" if end in overlong else block.row(end).strip(), end, taken)
            at = end + 1
        return taken

    def findings(self) -> tuple[Finding, ...]:
        """Say at the end of the file which batches have another number of rows than they say."""
        self._close_batch()
        more = [f"{self._more_faults:,} more batches have a wrong quantity"] if self._more_faults else []
        return tuple(Finding(0, "quantity", f"{self._name}: {words}") for words in self._faults + more)

    def _take_rows(self, block: Block, start: int, end: int, taken: Taken) -> None:
        self._count(end - start)
        if not self._layout.delimiter:
            told = ((i, _delimiter(block.row(i), len(self._layout.names))) for i in range(start, end))
            fits, delimiter = next(((i, parts) for i, parts in told if parts), (end, b""))
            if start < fits:
                taken.spans.setdefault(self._layout, []).append((start, fits))
            self._layout, start = self._layout._replace(delimiter=delimiter), fits
        if start < end:
            taken.spans.setdefault(self._layout, []).append((start, end))

    def _take_other(self, line: bytes, index: int, taken: Taken) -> None:
        """Take a line in that is no mark, and no row unless it is an overlong one (which comes empty)."""
        if self._place is _Place.ROWS:
            self._count(1)
            taken.broken[index] = f"longer than {self._row_bytes:,} bytes"
        elif _HEADER_LINE.match(line):
            if self._place is _Place.OUTSIDE and self._batch.has:
                self._open_batch()
            if quantity := _QUANTITY.match(line):
                self._batch.said = _plain(quantity[1])
        elif self._place is _Place.OUTSIDE:
            self._count(1)
            taken.broken[index] = "stands where no var_out line names its columns"

    def _take_mark(self, mark: re.Match[bytes]) -> None:
        match mark.lastgroup:
            case "header":
                self._open_batch()
            case "input":
                self._place = _Place.HEADER
            case "output":
                self._place = _Place.OUTSIDE
            case "names":
                self._open_section(mark["names"])
            case "rule" if self._place is _Place.ROWS and self.rows > self._rows_before_section:
                self._place = _Place.OUTSIDE

    def _count(self, rows: int) -> None:
        self.rows += rows
        self._batch.has += rows

    def _open_batch(self) -> None:
        self._close_batch()
        used = self._batch.said is not None or self._batch.has > 0
        self._batch = _Batch(self._batch.number + used, self.rows + 1)
        self._place = _Place.HEADER

    def _close_batch(self) -> None:
        fault = self._batch.fault()
        if fault and len(self._faults) < _MOST_FINDINGS:
            self._faults.append(fault)
        elif fault:
            self._more_faults += 1

    def _open_section(self, text: bytes) -> None:
        """Read column names: "/" parts them, and so does what else might hide a key column in a name."""
        where = f"{self._name}: var_out of batch {self._batch.number}"
        try:
            names = tuple(name.strip() for name in _NAME_ENDS.split(text.decode().strip().rstrip("/")))
        except UnicodeDecodeError:
            raise InventoryError(f"{where} is not UTF-8 text; save the file as UTF-8") from None
        if not any(names) or len(names) > _MOST_COLUMNS:
            raise InventoryError(f"{where} names no columns, or more than {_MOST_COLUMNS:,}; mend it")
        if any(len(name) > _LONGEST_NAME or _DATA.search(name) for name in names):
            raise InventoryError(f"{where} runs into what looks like a row (not shown); mend its line break")
        kept = tuple(kept_columns(names, self._needed))
        header = tuple(names[i] for i in kept)
        if not header:
            others = [names[i] for i in kept_columns(names)]
            if not others:
                raise InventoryError(f"{where} names only columns that are never kept (keys); add the others")
            raise InventoryError(
                f"{where} names no column that is needed; name those that are in [input] columns. "
                f"It has: {listed(others)}"
            )
        if header != (self.header or header):
            raise InventoryError(f"{where} names other columns than the first one; split the file there")
        if not self.header:
            self.left_out = tuple(names[i] for i in kept_columns(names) if i not in kept)
        self.header, self._place, self._layout = header, _Place.ROWS, Layout(names, kept, b"")
        self._rows_before_section = self.rows


def _plain(text: bytes) -> str:
    """Give a quantity as plain digits; empty when it is no number."""
    found = _NUMBER.match(text)
    return re.sub(rb"[., ']", b"", found[1]).decode().lstrip("0") or "0" if found else ""


def _delimiter(line: bytes, columns: int) -> bytes:
    """Tell what parts the cells of a row that has as many as there are columns; empty for any other."""
    if columns > 1 and line.count(b",") == columns - 1:
        return b","
    return b" " if len(line.split()) == columns else b""


def _suspects(block: Block) -> list[int]:
    """List the lines that may be a mark, by the first byte that is no blank."""
    array = np.frombuffer(block.text, np.uint8)
    starts = block.starts.copy()
    for _ in range(_MOST_INDENT):
        indented = np.flatnonzero(_IS_BLANK[array[starts]])
        if not len(indented):
            break
        starts[indented] += 1
    found: list[int] = np.flatnonzero((_MARK_BEGINS | _IS_BLANK)[array[starts]]).tolist()
    return found
