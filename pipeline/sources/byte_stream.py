"""From a file to bounded blocks of whole rows: open, decompress, transcode, cut where a row surely ends.

Knows of a row only where it ends (quoted_rows). What a cell means is the business of csv_file.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.files import codec_of, words_of
from pipeline.sources.quoted_rows import UNCLOSED, rows_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from pipeline.files import InventoryFile

    Offsets = NDArray[np.int64]

_SKIP_BYTES = 1_000_000
_MOST_ROWS = 60_000  # of a slice
_LINE_BREAK = re.compile(rb"[\r\n]")
_BLANKS = b" \t\v\f"
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_MARK_BYTES = 4
_NO_TEXT = b"\xff"  # stands for what no character can be read from; no UTF-8 text holds it


class ByteStream:
    """The text of a file as UTF-8, whatever it is compressed with (gzip, zstd, bzip2) and encoded in.

    Both are told by how it begins: UTF-16 has a mark, and so may UTF-8, which is left where it stands. Text
    without a mark is in `encoding`. Bytes that are no text in it stay undecodable. Raises InventoryError
    when the file cannot be opened or holds nothing.
    """

    def __init__(self, file: InventoryFile, encoding: str = "utf-8") -> None:
        self._name = file.name
        self._encoding = encoding
        self._failure: InventoryError | None = None
        self._recode: Callable[[bytes], bytes] | None = None  # None: not known before the first bytes
        self._left = memoryview(b"")  # text that the last `read` had no room for
        self.bytes_total = file.bytes_total
        self._file = file.open()
        try:
            self._codec, self._stream = self._open_stream()
        except BaseException:
            self._file.close()
            raise

    def _open_stream(self) -> tuple[str, Any]:
        try:
            beginning = self._file.read(4)
            self._file.seek(0)
        except OSError as error:
            raise InventoryError(f"{self._name}: cannot be read: {words_of(error)}") from None
        if not beginning:
            raise InventoryError(f"{self._name}: is empty; a header and rows are expected")
        codec = codec_of(beginning)
        if codec:
            return codec, pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), codec)
        return "", self._file

    @property
    def bytes_read(self) -> int:
        """How far the file itself has been read, in bytes (compressed ones, if it is compressed)."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """Give the next bytes, at most `size`; none at the end.

        Raises InventoryError when the file cannot be read on, but first gives every whole line that could be.
        """
        while not self._left:
            if self._failure:
                raise self._failure
            raw = self._read_raw(max(size, _MARK_BYTES))
            if self._recode is None:
                self._recode = _recoding_of(raw, self._encoding)
            text = self._recode(raw)
            if self._failure:
                text = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1]
            elif not raw or 0 < len(text) <= size:
                return text
            self._left = memoryview(text)
        given, self._left = self._left[:size], self._left[size:]
        return bytes(given)

    def _read_raw(self, size: int) -> bytes:
        """Give the next bytes as they stand in the file; of one that fails, followed by a filling."""
        try:
            if not self._codec:
                return self._file.read(size)
            # Arrow copies what it could decompress before it fails, but does not say how much. The filling
            # holds no line break, so up to the last one all is the file's own.
            buffer = bytearray(b"\xff") * size
            count = self._stream.readinto(buffer)
        except (OSError, pa.ArrowException) as error:
            self._failure = InventoryError(f"{self._name}: {self._reason(error)}")
            return bytes(buffer) if self._codec else b""
        return bytes(memoryview(buffer)[:count])

    def skip(self, size: int) -> None:
        """Read over the next bytes. Raises InventoryError like `read`."""
        while size and (piece := self.read(min(size, _SKIP_BYTES))):
            size -= len(piece)

    def _reason(self, error: Exception) -> str:
        at = f"byte {self.bytes_read:,}"
        if isinstance(error, OSError) and error.errno:
            return f"cannot be read beyond {at}: {words_of(error)}"
        how = "cut off" if "Truncated" in str(error) else "damaged"
        return f"the {self._codec} data is {how} at {at}; fetch the file again"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _recoding_of(beginning: bytes, encoding: str) -> Callable[[bytes], bytes]:
    """Give what turns a file's bytes, piece by piece, into UTF-8; an empty piece is the end."""
    encoding = next((marked for mark, marked in _MARKS if beginning.startswith(mark)), encoding)
    if encoding == "utf-8":
        return lambda piece: piece
    if encoding == "latin-1":
        return lambda piece: piece if piece.isascii() else piece.decode("latin-1").encode()
    # Half a surrogate pair, which is no character, becomes three bytes that are no UTF-8.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")

    def recode(piece: bytes) -> bytes:
        text = decoder.decode(piece).encode("utf-8", "surrogatepass")
        if not piece and decoder.getstate()[0]:
            decoder.reset()
            return _NO_TEXT
        return text

    return recode


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows: row i is `text[starts[i]:ends[i]]`; blank lines are no rows.

    `flaws` says why a row is broken whatever its cells, by its index; an overlong one is alone in its
    block, and only its beginning.
    """

    text: bytes
    starts: Offsets
    ends: Offsets
    flaws: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> bytes:
        """Give one row as it stood, without its line break."""
        return self.text[self.starts[index] : self.ends[index]]

    def without(self, indices: Collection[int]) -> bytes:
        """Give the text with line breaks in place of these rows, so that every other offset stays right."""
        if not indices:
            return self.text
        text = bytearray(self.text)
        for index in indices:
            start, end = self.starts[index], self.ends[index]
            text[start:end] = b"\n" * (end - start)
        return bytes(text)


def read_blocks(
    stream: ByteStream, delimiter: bytes, columns: int, *, block_bytes: int, row_bytes: int
) -> Iterator[Block]:
    """Yield the rest of the stream, in order; none of the blocks is without rows, nor has too many.

    A row longer than `row_bytes`, or whose quote is never closed or must be another row's (see
    quoted_rows.rows_in), is a flaw of its first line alone: reading goes on at the next line. Holds at
    most about `row_bytes` and twice `block_bytes`. Raises InventoryError when the stream breaks off, after
    all the rows before that.
    """
    text = b""  # always begins at the beginning of a row
    ended = False
    while not ended:
        piece = stream.read(block_bytes)
        ended = not piece
        text += piece or b"\n"  # the last row may lack its line break; one more is a blank line
        while True:
            ends, flaws = rows_in(text, delimiter, columns)
            overlong = np.flatnonzero(np.diff(ends, prepend=-1) - 1 > row_bytes)
            whole = ends[: overlong[0]] if len(overlong) else ends
            cut = int(whole[-1]) + 1 if len(whole) else 0
            block = block_of(text[:cut], whole, delimiter, flaws)
            yield from slices_of(block)
            text = text[cut:]
            if not len(overlong) and (not text if ended else len(text) <= row_bytes):
                break
            line, text = _first_line(stream, text, block_bytes)
            flaw = f"longer than {row_bytes:,} bytes" if len(line) > row_bytes else UNCLOSED
            yield Block(line, np.array([0]), np.array([len(line)]), {0: flaw})


def _first_line(stream: ByteStream, text: bytes, block_bytes: int) -> tuple[bytes, bytes]:
    """Give the first line of a text, of one without end what is at hand, and the text after it."""
    line_break = _LINE_BREAK.search(text)
    if line_break:
        return text[: line_break.start()], text[line_break.end() :]
    while piece := stream.read(block_bytes):
        line_break = _LINE_BREAK.search(piece)
        if line_break:
            return text, piece[line_break.end() :]
    return text, b""


def slices_of(block: Block) -> Iterator[Block]:
    """Cut a block of very short rows, each of which costs more than its bytes."""
    if len(block) <= _MOST_ROWS:
        if len(block):
            yield block
        return
    for at in range(0, len(block), _MOST_ROWS):
        starts, ends = block.starts[at : at + _MOST_ROWS], block.ends[at : at + _MOST_ROWS]
        flaws = {i - at: flaw for i, flaw in block.flaws.items() if at <= i < at + _MOST_ROWS}
        yield Block(block.text[starts[0] : ends[-1]], starts - starts[0], ends - starts[0], flaws)


def block_of(text: bytes, ends: Offsets, delimiter: bytes, flaws: Mapping[int, str] | None = None) -> Block:
    """Tell the rows in a text that ends with one; lines of nothing but delimiters and blanks are none.

    They become line breaks. `flaws` are by an offset within the row; those beyond the text do not count.
    """
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: len(ends)]
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    blank = _blank_lines(text, starts, ends, _BLANKS + delimiter)
    block = Block(text, starts, ends)
    if blank:
        block = Block(block.without(blank), np.delete(starts, blank), np.delete(ends, blank))
    if not flaws:
        return block
    offsets = np.array([offset for offset in flaws if offset < len(text)], np.int64)
    indices = np.searchsorted(block.starts, offsets, side="right") - 1
    by_index = {i: flaws[offset] for i, offset in zip(indices.tolist(), offsets.tolist(), strict=True)}
    return Block(block.text, block.starts, block.ends, by_index)


def _blank_lines(text: bytes, starts: Offsets, ends: Offsets, blanks: bytes) -> list[int]:
    """List by index the lines of nothing but these bytes; every line has some."""
    array = np.frombuffer(text, np.uint8)
    is_blank = np.zeros(256, np.bool_)
    is_blank[list(blanks)] = True
    lines = np.flatnonzero(is_blank[array[starts]])
    # Rows whose first cell is empty may be many: a few more bytes of each tell them from blank lines.
    for eighths in range(1, 9):
        at = starts[lines] + (ends[lines] - 1 - starts[lines]) * eighths // 8
        lines = lines[is_blank[array[at]]]
    return [i for i in lines.tolist() if not text[starts[i] : ends[i]].strip(blanks)]
