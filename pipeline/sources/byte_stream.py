"""From a file to bounded blocks of whole rows: open, decompress, transcode, cut where a row surely ends.

Knows of a row only where it ends: at a line break outside quotes, and a quote opens only at the start of
a cell (as in pyarrow and in Python's csv). What a cell means is the business of csv_file.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.files import codec_of, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from pipeline.files import InventoryFile

    Offsets = NDArray[np.int64]

_SKIP_BYTES = 1_000_000
_LINE_BREAK = re.compile(rb"[\r\n]")
_QUOTE = ord('"')
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

    With a `flaw` (why) the block is one line that is no row, of an overlong one the beginning.
    """

    text: bytes
    starts: Offsets
    ends: Offsets
    flaw: str = ""

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


def read_blocks(stream: ByteStream, delimiter: bytes, *, block_bytes: int, row_bytes: int) -> Iterator[Block]:
    """Yield the rest of the stream, in order; none of the blocks is without rows.

    A row longer than `row_bytes`, or whose quote is never closed, is a flaw of its first line alone:
    reading goes on at the next line. Holds at most about `row_bytes` and twice `block_bytes`. Raises
    InventoryError when the stream breaks off, after all the rows before that.
    """
    text = b""  # always begins at the beginning of a row
    ended = False
    while not ended:
        piece = stream.read(block_bytes)
        ended = not piece
        text += piece or b"\n"  # the last row may lack its line break; one more is a blank line
        while True:
            ends = row_ends(text, delimiter)
            overlong = np.flatnonzero(np.diff(ends, prepend=-1) - 1 > row_bytes)
            whole = ends[: overlong[0]] if len(overlong) else ends
            cut = int(whole[-1]) + 1 if len(whole) else 0
            block = block_of(text[:cut], whole, delimiter)
            if len(block):
                yield block
            text = text[cut:]
            if not len(overlong) and (not text if ended else len(text) <= row_bytes):
                break
            line, text = _first_line(stream, text, block_bytes)
            flaw = f"longer than {row_bytes:,} bytes" if len(line) > row_bytes else "unclosed quote"
            yield Block(line, np.array([0]), np.array([len(line)]), flaw)


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


def row_ends(text: bytes, delimiter: bytes) -> Offsets:
    """Say where rows end in a text that begins with a row: the offsets of the line breaks outside quotes."""
    array = np.frombuffer(text, np.uint8)
    breaks: Offsets = np.flatnonzero(
        (array == ord("\n")) | (array == ord("\r")) if b"\r" in text else array == ord("\n")
    )
    if b'"' not in text:
        return breaks
    quotes = np.flatnonzero(array == _QUOTE)
    if _alternate(array, quotes, delimiter):
        outside = np.searchsorted(quotes, breaks) % 2 == 0
    else:
        begins, stops = _quoted_spans(text, delimiter)
        outside = np.searchsorted(begins, breaks, side="right") == np.searchsorted(
            stops, breaks, side="right"
        )
    chosen: Offsets = breaks[outside]
    return chosen


def has_stray_quotes(text: bytes, delimiter: bytes) -> bool:
    """Tell whether a quote stands where it neither opens, closes nor escapes, as in `5" display`."""
    array = np.frombuffer(text, np.uint8)
    return not _alternate(array, np.flatnonzero(array == _QUOTE), delimiter)


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


def _quoted_spans(text: bytes, delimiter: bytes) -> tuple[Offsets, Offsets]:
    """Say where quoted text begins and stops; slower than counting, but not misled by stray quotes."""
    # A quote opens at the start of the text or of a cell; asked in this order the regex can skip to quotes.
    quoted = re.compile(rb'"(?<![^\r\n' + re.escape(delimiter) + rb']")[^"]*+(?:""[^"]*+)*+"?')
    spans = np.array([match.span() for match in quoted.finditer(text)], np.int64).reshape(-1, 2)
    return spans[:, 0], spans[:, 1]


def block_of(text: bytes, ends: Offsets, delimiter: bytes) -> Block:
    """Tell the rows in a text that ends with one; lines of nothing but white space are none, and blanked."""
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: len(ends)]
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    blanks = _BLANKS.replace(delimiter, b"")
    first = np.frombuffer(text, np.uint8)[starts]
    suspects = np.flatnonzero(np.isin(first, np.frombuffer(blanks, np.uint8)))
    blank = [i for i in suspects.tolist() if not text[starts[i] : ends[i]].strip(blanks)]
    block = Block(text, starts, ends)
    return Block(block.without(blank), np.delete(starts, blank), np.delete(ends, blank)) if blank else block
