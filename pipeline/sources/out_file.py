"""SIM-factory OUT files, plain or compressed, read a block of rows at a time with pyarrow.

A file is walked twice: to hold every batch against its quantity, then to read the rows. Key material (DESIGN
invariant 8) is dropped here, and so is the text of a row whose cells cannot be told apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline.errors import InventoryError
from pipeline.files import beginning_of
from pipeline.headers import quoted
from pipeline.identifiers import all_digits
from pipeline.model import BrokenRow, Chunk
from pipeline.sources.byte_stream import ByteStream
from pipeline.sources.out_batches import Walk, is_surely_out, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.files import InventoryFile
    from pipeline.settings import Input
    from pipeline.sources.byte_stream import Block
    from pipeline.sources.out_batches import Layout, Taken

#: RFC 4880 §4.2, §5.1, §5.3, §6.2: armoured text, or a packet with a session key (version 3 or 4).
_PGP = re.compile(
    rb"\s*-----BEGIN PGP MESSAGE"
    rb"|(?:\x84.|\x85..|\x8c.|[\xc1\xc3](?:[\x00-\xbf]|[\xc0-\xdf].))[\x03\x04]",
    re.DOTALL,
)
_RUN = re.compile(rb"  ")  # three times as fast as `in`
_BOM = b"\xef\xbb\xbf"
_KEY_DIGITS = 32  # 128 bits, the shortest key there is
_HEXADECIMAL = rf"^\s*[0-9A-Fa-f]{{{_KEY_DIGITS},}}\s*$"
_PADDED_NUMBER = r"^\s*[0-9]+[Ff]*\s*$"  # an identifier of digits, filled up
_WITHHELD = "(withheld: OUT files hold keys)"


class OutSource:
    """What a SIM factory delivers: batches of a header, a line of column names, and rows.

    Holds a few times `block_bytes` + `row_bytes`, whatever the file's length. A row longer than
    `row_bytes` is broken. Raises InventoryError when the file cannot be read to its end, is encrypted, or
    names no columns.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".out",)

    def __init__(
        self,
        file: InventoryFile,
        settings: Input,
        /,
        *,
        block_bytes: int = 4_000_000,
        row_bytes: int = 1_000_000,
    ) -> None:
        self._file, self._encoding, self._needed = file, settings.encoding, settings.needed
        self._bounds = {"block_bytes": block_bytes, "row_bytes": row_bytes}
        if _PGP.match(beginning_of(file, 64)):
            raise InventoryError(
                f"{file.name}: is PGP-encrypted; decrypt it on its way in: "
                "gpg -d FILE | simlift run - --job JOB"
            )
        walk = Walk(file.name, row_bytes=row_bytes, needed=self._needed)
        with ByteStream(file, settings.encoding) as stream:
            self.bytes_total = stream.bytes_total
            for block in read_lines(stream, **self._bounds):
                walk.take(block)
        self.header, self.left_out, self.findings = walk.header, walk.left_out, walk.findings()
        if not self.header:
            raise InventoryError(
                f"{file.name}: no var_out line names the columns; if this is no OUT file, say what it is "
                'with [input] format, for example "csv"'
            )

    @classmethod
    def recognises(cls, beginning: bytes) -> bool:
        """Tell an OUT file by its titles or its var_out line; take an encrypted file for one."""
        return _PGP.match(beginning) is not None or is_surely_out(beginning)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order, reading in the caller's thread; closing the iterator closes the file.

        Raises InventoryError when the file cannot be read on, after all the rows before that.
        """
        bound = self._bounds["row_bytes"]
        walk = Walk(self._file.name, row_bytes=bound, header=self.header, needed=self._needed)
        with ByteStream(self._file, self._encoding) as stream:
            try:
                for block in read_lines(stream, **self._bounds):
                    before = walk.rows
                    taken = walk.take(block)
                    if walk.rows > before:
                        yield self._chunk(block, taken, before, stream.bytes_read)
            except InventoryError as error:
                raise InventoryError(f"{error} (after row {walk.rows:,})") from None

    def _chunk(self, block: Block, taken: Taken, before: int, bytes_read: int) -> Chunk:
        """Make columns of the rows of a block, and broken rows of the rest, in their order."""
        foreign = _undecodable(block)
        text = block.without(foreign)
        broken: dict[int, tuple[str, tuple[str, ...]]] = {i: (why, ()) for i, why in taken.broken.items()}
        tidy = _is_tidy(block)
        parts, orders = [], []
        for layout, spans in taken.spans.items():
            lines = np.concatenate([np.arange(*span) for span in spans])
            if foreign:
                unreadable = np.intersect1d(lines, foreign)
                broken |= {i: _not_text(block.row(i), layout) for i in unreadable.tolist()}
                lines = np.setdiff1d(lines, unreadable)
            pieces = [text[block.starts[start] : block.ends[end - 1]] for start, end in spans]
            part, ragged = _parse(b"\n".join(pieces), layout, tidy=tidy)
            if part.num_rows + len(ragged) != len(lines):
                # Lines and pyarrow would have to disagree; a stop is better than a wrong position.
                raise InventoryError(f"{self._file.name}: rows cannot be told apart; mend the file there")
            broken |= {int(lines[order]): (_ragged(cells, layout), ()) for order, cells in ragged.items()}
            order = np.delete(lines, [*ragged])
            if slipped := _slipped(part, self.header):
                broken |= {int(order[row]): (why, ()) for row, why in slipped.items()}
                part = part.filter(pa.array(~np.isin(np.arange(len(order)), [*slipped])))
                order = np.delete(order, [*slipped])
            parts.append(part)
            orders.append(order)
        cells, order = _in_order(parts, orders, len(self.header))
        flawed = np.array(sorted(broken), np.int64)
        rows = np.sort(np.concatenate((order, flawed)))
        positions = (np.searchsorted(rows, lines) + before + 1 for lines in (order, flawed))
        return Chunk(
            cells,
            pa.array(next(positions), pa.int64()),
            tuple(
                BrokenRow(position, broken[i][0], _WITHHELD, broken[i][1])
                for i, position in zip(flawed.tolist(), next(positions).tolist(), strict=True)
            ),
            before + len(rows),
            bytes_read,
        )


def _in_order(
    parts: list[pa.RecordBatch], orders: list[NDArray[np.int64]], columns: int
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Bring the rows of several layouts back in the order of their lines; usually there is one layout."""
    match parts:
        case []:
            return _no_rows(columns), np.array([], np.int64)
        case [part]:
            return part, orders[0]
    lines = np.concatenate(orders)
    return pa.concat_batches(parts).take(pa.array(np.argsort(lines))), np.sort(lines)


def _no_rows(columns: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], pa.schema([(str(i), pa.string()) for i in range(columns)]))


def _parse(text: bytes, layout: Layout, *, tidy: bool) -> tuple[pa.RecordBatch, dict[int, int]]:
    """Read UTF-8 rows; give the columns to keep, named "0", "1" and so on.

    With it how many cells each ragged row has, by its index among the rows that are not blank. `tidy`:
    between the cells stands never more than one blank.
    """
    ragged: dict[int, int] = {}

    def note(row: Any) -> str:
        ragged[row.number - 1] = row.actual_columns
        return "skip"

    comma = layout.delimiter == b","
    if len(layout.names) == 1:
        text = text.replace(b",", b" , ")  # a cell too many, so that nothing hides behind a comma
    if not comma and (not tidy or len(layout.names) == 1):
        text = _single_blanks(text)
    if text.startswith(_BOM):
        text = b"\n" + text  # pyarrow would drop it as a mark of the file, here it is part of a cell
    names = [f"dropped {i}" for i in range(len(layout.names))]
    kept = [str(order) for order in range(len(layout.kept))]
    for name, column in zip(kept, layout.kept, strict=True):
        names[column] = name
    table = pa_csv.read_csv(
        pa.BufferReader(text),
        pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
        pa_csv.ParseOptions(
            delimiter="," if comma else " ",
            quote_char=False,
            ignore_empty_lines=True,
            invalid_row_handler=note,
        ),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(kept, pa.string()), strings_can_be_null=False, include_columns=kept
        ),
    )
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else _no_rows(len(kept)), ragged


def _slipped(part: pa.RecordBatch, header: tuple[str, ...]) -> dict[int, str]:
    """Find the rows with what looks like a key in a column to keep; say which column, but not what."""
    found: dict[int, str] = {}
    for name, cells in zip(header, part.columns, strict=True):
        if (pc.max(pc.binary_length(cells)).as_py() or 0) < _KEY_DIGITS or all_digits(cells):
            continue
        hexadecimal = pc.match_substring_regex(cells, _HEXADECIMAL)
        if hexadecimal.true_count:
            keys = pc.and_not(hexadecimal, pc.match_substring_regex(cells, _PADDED_NUMBER))
            found = dict.fromkeys(pc.indices_nonzero(keys).to_pylist(), _holds_key(name)) | found
    return found


def _holds_key(name: str) -> str:
    return f"column {quoted(name)}: holds what looks like a key; the cells of this row are out of place"


def _is_tidy(block: Block) -> bool:
    """Tell whether blanks part the cells of each line one at a time, and none stands at its ends."""
    array = np.frombuffer(block.text, np.uint8)
    edges = np.concatenate((array[block.starts], array[block.ends - 1]))
    return not ((edges == ord(" ")).any() or b"\t" in block.text or _RUN.search(block.text))


def _single_blanks(text: bytes) -> bytes:
    """Leave one blank between cells and none at the ends of a line."""
    text = text.replace(b"\t", b" ").replace(b"\r", b"\n")
    array = np.frombuffer(text, np.uint8)
    blank = array == ord(" ")
    gap = blank | (array == ord("\n"))
    text = array[~(blank & np.append(gap[1:], np.True_))].tobytes()
    return text.replace(b"\n ", b"\n").removeprefix(b" ")


def _ragged(cells: int, layout: Layout) -> str:
    has = "1 cell" if cells == 1 else f"{cells} cells"
    return f"has {has} where var_out names {len(layout.names)}"


def _not_text(line: bytes, layout: Layout) -> tuple[str, tuple[str, ...]]:
    """Say of a row which column is no text; with it the cells to keep, where they can be told apart."""
    cells = line.split(b",") if layout.delimiter == b"," else line.split()
    if len(cells) != len(layout.names):
        return _ragged(len(cells), layout), ()
    named = (name for name, cell in zip(layout.names, cells, strict=True) if not _is_utf8(cell))
    reason = f"column {quoted(next(named))}: not UTF-8 text"
    kept = {i: cells[i].decode("utf-8", "backslashreplace") for i in layout.kept}
    slipped = (
        i for i, cell in kept.items() if re.search(_HEXADECIMAL, cell) and not re.search(_PADDED_NUMBER, cell)
    )
    if (key := next(slipped, None)) is not None:
        return _holds_key(layout.names[key]), ()
    return reason, tuple(kept.values())


def _undecodable(block: Block) -> list[int]:
    """List the lines with bytes that are no UTF-8."""
    if _is_utf8(block.text):
        return []
    foreign = np.flatnonzero(np.frombuffer(block.text, np.uint8) >= 0x80)  # noqa: PLR2004 - the end of ASCII
    suspects = np.unique(np.searchsorted(block.starts, foreign, side="right") - 1)
    return [i for i in suspects.tolist() if not _is_utf8(block.row(i))]


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False
