"""What a corrected failures file says of the run it came from: the words that run wrote beside its rows.

A row belongs to a run that said the same of a row with much the same cells; a hundred rows tell the run.
"""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.errors import InventoryError
from pipeline.files import beginning_of
from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.contracts import Ledger, Source
    from pipeline.files import InventoryFile

    Words = tuple[str, str]
    #: Code and reason of a row of a failures file, and all its cells.
    Told = tuple[str, str, Sequence[str]]

_COLUMNS = ("simlift_code", "simlift_reason")
_DELIMITERS = ",;\t|"
_MOST_WORDS = 100
_MOST_ROWS = 100_000  # of a run, compared: a failures file begins with its first ones
_BEGINNING_BYTES = 1_000_000


def words_in(file: InventoryFile, source: Source) -> dict[Words, frozenset[str]]:
    """Give code and reason of the first rows of a failures file of ours, with the rows' cells.

    Nothing for any other file. A source of files that are no text tells them itself, as `corrects`.
    """
    told: Iterable[Told] | None = getattr(source, "corrects", None)
    rows = islice(_in_text(file) if told is None else told, _MOST_WORDS)
    return {_plain(code, reason): frozenset(cells) for code, reason, cells in rows}


def count_said(ledger: Ledger, words: Mapping[Words, frozenset[str]]) -> int:
    """Count of how many of these rows a run said these words. Raises LedgerError."""
    left = set(words)
    for row in islice(ledger.exceptional(*(status for status in Status if not status.good)), _MOST_ROWS):
        said = _plain(row.code, row.reason)
        if said in left and _is_alike(row.cells, words[said]):
            left.discard(said)
            if not left:
                break
    return len(words) - len(left)


def _is_alike(cells: Sequence[str], mended: frozenset[str]) -> bool:
    """Tell whether a row may be another one mended: one cell is new, and at most half of the others."""
    filled = {cell for cell in cells if cell}
    return 2 * len(filled & mended) >= len(filled) - 1


def _plain(code: str, reason: str) -> Words:
    """Undo what a report's guard and a spreadsheet do to a cell."""
    return code.removeprefix("'").strip().lstrip("0"), " ".join(reason.removeprefix("'").split())


def _in_text(file: InventoryFile) -> Iterator[Told]:
    beginning = b""
    with suppress(InventoryError):
        beginning = beginning_of(file, _BEGINNING_BYTES)
    is_utf16 = beginning.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = beginning.decode("utf-16" if is_utf16 else "utf-8-sig", "replace")
    if _COLUMNS[1] not in text:
        return iter(())
    return _in_objects(text) if text.lstrip().startswith(("{", "[")) else _in_rows(text)


def _in_objects(text: str) -> Iterator[Told]:
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        words: list[Any] = [value.get(name) for name in _COLUMNS]
        if all(isinstance(word, str) for word in words):
            yield words[0], words[1], [cell for cell in value.values() if isinstance(cell, str)]
            at = text.find("{", end)
        else:
            at = text.find("{", at + 1)


def _in_rows(text: str) -> Iterator[Told]:
    for delimiter in _DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        with suppress(csv.Error):
            header = next((row for row in rows if any(row)), [])
            if not set(_COLUMNS) <= set(header):
                continue
            code, reason = map(header.index, _COLUMNS)
            yield from ((row[code], row[reason], row) for row in rows if len(row) > max(code, reason))
