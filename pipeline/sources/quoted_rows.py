"""Where the rows of a delimited text end: at a line break outside quotes.

A quote opens only at the start of a cell (as in pyarrow and in Python's csv). Two stray quotes would make
one cell of all the rows between them, so a row of several lines is not always believed (`rows_in`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Offsets = NDArray[np.int64]

UNCLOSED = "unclosed quote; double the quotes within cells"
TEXT_AFTER_QUOTE = "text after a closing quote; double the quotes within cells"

_LINE_BREAK = re.compile(rb"[\r\n]")
_QUOTE = ord('"')


def row_ends(text: bytes, delimiter: bytes) -> Offsets:
    """Say where rows end in a text that begins with a row, whatever its quotes enclose."""
    array, breaks = _breaks(text)
    if b'"' not in text:
        return breaks
    quotes = np.flatnonzero(array == _QUOTE)
    if _alternate(array, quotes, delimiter):
        outside = np.searchsorted(quotes, breaks) % 2 == 0
    else:
        outside = _outside(breaks, *_quoted_spans(text, delimiter))
    ends: Offsets = breaks[outside]
    return ends


def rows_in(text: bytes, delimiter: bytes, columns: int) -> tuple[Offsets, dict[int, str]]:
    """Say where rows of so many columns end, and which are broken: why, by an offset within the row.

    A row of several lines is believed only if it cannot be several rows: no line that a quote continues
    into holds `columns` cells within the quotes, its first and last line are not both a row of their own,
    and no text follows the closing quote. Else its first line alone is broken and the next begins a row.
    """
    array, breaks = _breaks(text)
    if b'"' not in text:
        return breaks, {}
    quotes = np.flatnonzero(array == _QUOTE)
    slips: list[tuple[int, int]] = []
    if _alternate(array, quotes, delimiter):
        outside = np.searchsorted(quotes, breaks) % 2 == 0
    else:
        begins, stops = _quoted_spans(text, delimiter)
        outside = _outside(breaks, begins, stops)
        slips = _followed_by_text(text, begins, stops, delimiter)
    doubtful = not outside.all() and _may_be_several(array, breaks, ~outside, ord(delimiter), columns)
    if doubtful or any(_LINE_BREAK.search(text, *span) for span in slips):
        return _Scan(text, delimiter, columns).rows(breaks)
    return breaks[outside], {begin: TEXT_AFTER_QUOTE for begin, _ in slips}


def has_stray_quotes(text: bytes, delimiter: bytes) -> bool:
    """Tell whether a quote stands where it neither opens, closes nor escapes, as in `5" display`."""
    array = np.frombuffer(text, np.uint8)
    return not _alternate(array, np.flatnonzero(array == _QUOTE), delimiter)


def _breaks(text: bytes) -> tuple[NDArray[np.uint8], Offsets]:
    array = np.frombuffer(text, np.uint8)
    is_break = (array == ord("\n")) | (array == ord("\r")) if b"\r" in text else array == ord("\n")
    return array, np.flatnonzero(is_break)


def _alternate(array: NDArray[np.uint8], quotes: Offsets, delimiter: bytes) -> bool:
    """Tell whether quotes open and close in turn, so that an even number before a byte means outside.

    True if each that should open follows a cell's border or a quote (then the two escape one), and each
    that should close is followed by one.
    """
    border = np.zeros(256, np.bool_)
    border[[ord("\n"), ord("\r"), _QUOTE, ord(delimiter)]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = opening[1:] if len(opening) and opening[0] == 0 else opening
    after = closing[:-1] if len(closing) and closing[-1] == len(array) - 1 else closing
    return bool(border[array[before - 1]].all() and border[array[after + 1]].all())


def _quoted_cell(delimiter: bytes) -> re.Pattern[bytes]:
    # A quote opens at the start of the text or of a cell; asked in this order the regex can skip to quotes.
    return re.compile(rb'"(?<![^\r\n' + re.escape(delimiter) + rb']")[^"]*+(?:""[^"]*+)*+"?')


def _quoted_spans(text: bytes, delimiter: bytes) -> tuple[Offsets, Offsets]:
    """Say where quoted text begins and stops; slower than counting, but not misled by stray quotes."""
    spans = [match.span() for match in _quoted_cell(delimiter).finditer(text)]
    both = np.array(spans, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _outside(breaks: Offsets, begins: Offsets, stops: Offsets) -> NDArray[np.bool_]:
    opened = np.searchsorted(begins, breaks, side="right")
    outside: NDArray[np.bool_] = opened == np.searchsorted(stops, breaks, side="right")
    return outside


def _followed_by_text(
    text: bytes, begins: Offsets, stops: Offsets, delimiter: bytes
) -> list[tuple[int, int]]:
    """List the quoted spans between which and the cell's end there is more than blanks."""
    array = np.frombuffer(text, np.uint8)
    within = np.flatnonzero(stops < len(array))
    border = np.frombuffer(b"\r\n" + delimiter, np.uint8)
    suspects = within[~np.isin(array[stops[within]], border)]
    text_follows = _text(delimiter)
    return [
        (begin, stop)
        for begin, stop in zip(begins[suspects].tolist(), stops[suspects].tolist(), strict=True)
        if text_follows.match(text, stop)
    ]


def _text(delimiter: bytes) -> re.Pattern[bytes]:
    blanks = b" \t".replace(delimiter, b"")
    return re.compile(rb"[" + blanks + rb"]*+[^\r\n" + re.escape(delimiter) + rb"]")


def _may_be_several(
    array: NDArray[np.uint8], breaks: Offsets, quoted: NDArray[np.bool_], delimiter: int, columns: int
) -> bool:
    """Tell whether any line that a quote continues into has enough delimiters, quoted or not, for a row."""
    delimiters = np.flatnonzero(array == delimiter)
    line_ends = np.append(breaks[1:], len(array))[quoted]
    counts = np.searchsorted(delimiters, line_ends) - np.searchsorted(delimiters, breaks[quoted])
    return bool((counts >= columns - 1).any())


class _Scan:
    """A walk from quote to quote: slow, for the blocks in which some row may be several."""

    def __init__(self, text: bytes, delimiter: bytes, columns: int) -> None:
        self._rows, self._delimiter, self._columns = text, delimiter, columns
        self._quoted, self._text = _quoted_cell(delimiter), _text(delimiter)

    def rows(self, breaks: Offsets) -> tuple[Offsets, dict[int, str]]:
        """Give where rows end, and the broken ones by where they begin."""
        text = self._rows
        spans: list[tuple[int, int]] = []
        flaws: dict[int, str] = {}
        row = at = 0
        while match := self._quoted.search(text, at):
            begin, stop = match.span()
            row = max(row, text.rfind(b"\n", at, begin) + 1, text.rfind(b"\r", at, begin) + 1)
            if not _LINE_BREAK.search(text, begin, stop):
                if self._text.match(text, stop):
                    flaws[row] = TEXT_AFTER_QUOTE
            elif self._is_several(row, begin, stop):
                flaws[row] = UNCLOSED
                while spans and spans[-1][0] >= row:
                    spans.pop()
                row = at = self._line_end(row) + 1
                continue
            spans.append((begin, stop))
            at = stop
        both = np.array(spans, np.int64).reshape(-1, 2)
        return breaks[_outside(breaks, both[:, 0], both[:, 1])], flaws

    def _is_several(self, row: int, begin: int, stop: int) -> bool:
        """Tell whether a quote opened in the row at `row` encloses what must be other rows."""
        text = self._rows
        _, *lines = _LINE_BREAK.split(text[begin:stop])
        if any(line.count(self._delimiter) >= self._columns - 1 for line in lines):
            return True
        if self._text.match(text, stop):
            return True
        last = text[stop - len(lines[-1]) : self._line_end(stop)]
        return min(self._cells(text[row : self._line_end(row)]), self._cells(last)) >= self._columns

    def _line_end(self, offset: int) -> int:
        found = _LINE_BREAK.search(self._rows, offset)
        return found.start() if found else len(self._rows)

    def _cells(self, line: bytes) -> int:
        """Count the cells of a line read for itself, a quote that is not closed in it being a character."""
        closed = self._quoted.sub(lambda quoted: b"" if quoted[0].endswith(b'"') else quoted[0], line)
        return closed.count(self._delimiter) + 1
