from __future__ import annotations

import bz2
import contextlib
import gzip
import os
import tempfile
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import example, given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.files import LocalFile
from pipeline.sources.byte_stream import ByteStream, block_of, read_blocks
from pipeline.sources.quoted_rows import UNCLOSED, has_stray_quotes, row_ends, rows_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
LINES = b"".join(b"%06d,%d\n" % (i, i * 7919 % 10007) for i in range(100_000))


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


def bzip2(data: bytes) -> bytes:
    return bz2.compress(data, 1)


def read_all(path: Path, size: int = 300_000, encoding: str = "utf-8") -> tuple[bytes, str]:
    """Give what can be read and the error that ended it."""
    read = b""
    with ByteStream(LocalFile(path), encoding) as stream:
        try:
            while piece := stream.read(size):
                assert len(piece) <= size
                read += piece
        except InventoryError as error:
            return read, str(error)
    return read, ""


def blocks_of(data: bytes, tmp: Path, *, block_bytes: int, row_bytes: int) -> list[tuple[bytes, str]]:
    (tmp / "in.csv").write_bytes(data)
    with ByteStream(LocalFile(tmp / "in.csv")) as stream:
        blocks = list(read_blocks(stream, b",", 2, block_bytes=block_bytes, row_bytes=row_bytes))
    assert all(len(block) for block in blocks)
    return [(block.row(i), block.flaws.get(i, "")) for block in blocks for i in range(len(block))]


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Be somebody to whom permissions apply, even where the tests run as root."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(me)


# ---------------------------------------------------------------- opening


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"gone\.csv: no such file"):
        ByteStream(LocalFile(tmp_path / "gone.csv"))


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="is a directory"):
        ByteStream(LocalFile(tmp_path))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InventoryError, match="is a pipe or device"):
        ByteStream(LocalFile(tmp_path / "pipe"))


def test_a_file_without_permission_says_so() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "secret.csv")
        path.write_bytes(b"iccid\n")
        path.chmod(0)
        Path(folder).chmod(0o755)
        with (
            without_privileges(),
            pytest.raises(InventoryError, match=r"secret\.csv: cannot be opened: Permission"),
        ):
            ByteStream(LocalFile(path))


def test_a_path_no_file_can_have_is_an_inventory_error() -> None:
    with pytest.raises(InventoryError, match="cannot be opened"):
        ByteStream(LocalFile(Path("nul\0byte.csv")))


def test_a_file_that_fails_as_it_is_read_says_so() -> None:
    with pytest.raises(InventoryError, match="/proc/self/mem: cannot be read: Input/output error"):
        ByteStream(LocalFile(Path("/proc/self/mem")))


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InventoryError, match="is empty"):
        ByteStream(LocalFile(tmp_path / "empty.csv"))


# ---------------------------------------------------------------- decompressing


@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz", "in.csv.zst", "in.csv.bz2"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd, bzip2])
def test_what_a_file_holds_counts_and_not_its_name(tmp_path: Path, name: str, pack: object) -> None:
    (tmp_path / name).write_bytes(pack(LINES))  # type: ignore[operator]
    assert read_all(tmp_path / name) == (LINES, "")


@pytest.mark.parametrize("pack", [gzip.compress, zstd, bzip2])
def test_members_packed_one_after_another_are_one_text(tmp_path: Path, pack: object) -> None:
    (tmp_path / "in").write_bytes(pack(b"first\n") + pack(LINES) + pack(b"last\n"))  # type: ignore[operator]
    assert read_all(tmp_path / "in") == (b"first\n" + LINES + b"last\n", "")


@pytest.mark.parametrize("size", [64, 100_000, 4_000_000])
def test_all_whole_lines_before_a_cut_are_read_and_then_the_cut_is_told(tmp_path: Path, size: int) -> None:
    packed = gzip.compress(LINES)
    half = packed[: len(packed) // 2]
    (tmp_path / "in.gz").write_bytes(half)
    read, error = read_all(tmp_path / "in.gz", size)
    readable = zlib.decompressobj(wbits=31).decompress(half)
    assert read[: read.rindex(b"\n")] == readable[: readable.rindex(b"\n")]
    assert error.endswith(f"the gzip data is cut off at byte {len(half):,}; fetch the file again")


@pytest.mark.parametrize(("pack", "codec"), [(zstd, "zstd"), (bzip2, "bz2")])
def test_a_cut_file_of_another_codec_gives_its_lines_and_then_an_error(
    tmp_path: Path, pack: Callable[[bytes], bytes], codec: str
) -> None:
    packed = pack(LINES)
    (tmp_path / "in").write_bytes(packed[: len(packed) // 2])
    read, error = read_all(tmp_path / "in")
    assert LINES.startswith(read)
    assert len(read) > len(LINES) // 4
    assert f"the {codec} data is cut off at byte" in error


def test_damage_within_gzip_data_is_told(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[-6] ^= 0xFF  # in the checksum
    (tmp_path / "in.gz").write_bytes(packed)
    read, error = read_all(tmp_path / "in.gz")
    assert LINES.startswith(read)
    assert "the gzip data is damaged at byte" in error


def test_bytes_read_are_those_of_the_packed_file(tmp_path: Path) -> None:
    packed = gzip.compress(LINES)
    (tmp_path / "in.gz").write_bytes(packed)
    with ByteStream(LocalFile(tmp_path / "in.gz")) as stream:
        stream.read(200_000)
        assert 0 < stream.bytes_read < len(packed)
        while stream.read(1_000_000):
            pass
        assert stream.bytes_read == len(packed)


# ---------------------------------------------------------------- encodings


TEXT = "iccid,apn\n1,größe\n2,国\n3,\U0001f4f1\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 300_000])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_its_mark_is_read_as_utf_8_in_pieces_of_any_size(
    tmp_path: Path, encoding: str, size: int
) -> None:
    (tmp_path / "in.csv").write_bytes(("\ufeff" + TEXT).encode(encoding))
    assert read_all(tmp_path / "in.csv", size) == (("\ufeff" + TEXT).encode(), "")


def test_a_mark_counts_more_than_what_is_said(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "in.csv").write_bytes(TEXT.encode(encoding))
        assert read_all(tmp_path / "in.csv", encoding="latin-1") == (("\ufeff" + TEXT).encode(), "")


@given(st.binary(max_size=60), st.integers(1, 70))
@settings(max_examples=100)
def test_every_byte_is_a_character_of_latin_1_when_that_is_said(data: bytes, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.csv").write_bytes(b"iccid" + data)
        read, error = read_all(Path(folder) / "in.csv", size, encoding="latin-1")
    assert (read.decode(), error) == (f"iccid{data.decode('latin-1')}", "")


@given(st.binary(max_size=60), st.integers(1, 70), st.sampled_from([b"\xff\xfe", b"\xfe\xff"]))
@settings(max_examples=200)
def test_what_is_no_utf_16_stays_undecodable_and_harms_nothing_else(
    data: bytes, size: int, mark: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.csv").write_bytes(mark + data)
        read, error = read_all(Path(folder) / "in.csv", size)
    assert error == ""
    try:
        assert read == (mark + data).decode("utf-16").encode("utf-8").join([b"\xef\xbb\xbf", b""])
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            read.decode()


def test_the_whole_lines_of_utf_16_before_a_cut_are_read(tmp_path: Path) -> None:
    packed = gzip.compress(LINES.decode().encode("utf-16"))
    half = packed[: len(packed) // 2]
    (tmp_path / "in.gz").write_bytes(half)
    read, error = read_all(tmp_path / "in.gz")
    readable = zlib.decompressobj(wbits=31).decompress(half)
    whole = readable[: len(readable) // 2 * 2].decode("utf-16").encode()
    assert read.removeprefix(b"\xef\xbb\xbf") == whole[: whole.rindex(b"\n") + 1]
    assert "cut off" in error


# ---------------------------------------------------------------- where rows end


def slow_row_ends(text: bytes, delimiter: int) -> list[int]:
    """Find the row ends byte by byte: the rule as it is written down, an independent witness."""
    ends: list[int] = []
    quoted, cell_start, i = False, True, 0
    while i < len(text):
        byte = text[i]
        if quoted:
            if byte == ord('"') and text[i + 1 : i + 2] == b'"':
                i += 1
            elif byte == ord('"'):
                quoted = False
            cell_start = False
        elif byte == ord('"') and cell_start:
            quoted = True
        elif byte in b"\r\n":
            ends.append(i)
            cell_start = True
        else:
            cell_start = byte == delimiter
        i += 1
    return ends


@given(st.text(alphabet='a",;\n\r', max_size=40).map(str.encode), st.sampled_from([b",", b";"]))
@example(b'5" a,b\n"c\nd",e\n', b",")
@example(b'"a""\n",b\n', b",")
@example(b'"', b",")
@settings(max_examples=400)
def test_rows_end_where_the_rule_read_byte_by_byte_ends_them(text: bytes, delimiter: bytes) -> None:
    assert row_ends(text, delimiter).tolist() == slow_row_ends(text, delimiter[0])


def test_a_stray_quote_is_told_from_one_that_opens() -> None:
    assert has_stray_quotes(b'5" display,x\n', b",")
    assert not has_stray_quotes(b'"5"" display","x, y"\n"",z\n', b",")


def test_lines_of_white_space_and_delimiters_are_no_rows() -> None:
    text = b"\n  \t\n;;\na\tb\n \n; ;\t;\n;;;;;;x;;;;;;;;;\n"
    block = block_of(text, row_ends(text, b";"), b";")
    assert [block.row(i) for i in range(len(block))] == [b"a\tb", b";;;;;;x;;;;;;;;;"]
    assert len(block.text) == len(text)


QUOTES = st.text(alphabet='aa",,\n\r', max_size=40).map(str.encode)


@given(QUOTES, st.integers(1, 4))
@settings(max_examples=300)
def test_rows_that_are_believed_end_where_the_rule_ends_them(text: bytes, columns: int) -> None:
    ends, flaws = rows_in(text, b",", columns)
    if not flaws:
        assert ends.tolist() == slow_row_ends(text, ord(","))


@given(QUOTES, st.integers(1, 4))
@example(b'a,"a\na,a\na"\n', 2)
@settings(max_examples=300)
def test_no_row_that_is_believed_encloses_another(text: bytes, columns: int) -> None:
    ends, flaws = rows_in(text + b"\n", b",", columns)
    begin = 0
    for end in ends.tolist():
        if b"\n" in (row := text[begin:end]) and begin not in flaws:
            within = row.replace(b"\r", b"\n").split(b"\n")[1:-1]
            assert all(b'"' in line or line.count(b",") < columns - 1 for line in within)
        begin = end + 1


# ---------------------------------------------------------------- blocks


ROWS = [b"a,b", b'"x\ny",c', b'5" d,e', b'f,"g""h"', b'"",""']


@given(st.lists(st.sampled_from([*ROWS, b"", b"  ", b" ,"]), max_size=12), st.integers(1, 60), st.booleans())
@settings(max_examples=150)
def test_blocks_of_any_size_hold_the_same_rows(lines: list[bytes], size: int, crlf: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    data = (b"\r\n" if crlf else b"\n").join([b"first,row", *lines])
    with tempfile.TemporaryDirectory() as folder:
        rows = blocks_of(data, Path(folder), block_bytes=size, row_bytes=100)
    assert rows == [(b"first,row", "")] + [(line, "") for line in lines if line.strip(b" ,")]


@pytest.mark.parametrize("block_bytes", [7, 50, 5_000])
def test_an_unclosed_quote_costs_one_line_and_no_more(tmp_path: Path, block_bytes: int) -> None:
    lines = [b"%d,x" % i for i in range(100)]
    lines[3] = b'3,"oops'
    rows = blocks_of(b"\n".join(lines), tmp_path, block_bytes=block_bytes, row_bytes=200)
    assert [row for row, _ in rows] == lines
    assert [(i, flaw) for i, (_, flaw) in enumerate(rows) if flaw] == [(3, UNCLOSED)]


def test_a_quote_open_to_the_end_of_the_file_costs_one_line(tmp_path: Path) -> None:
    rows = blocks_of(b'a,b\nc,"d\ne,f\n\ng,h', tmp_path, block_bytes=5, row_bytes=100)
    assert rows == [(b"a,b", ""), (b'c,"d', UNCLOSED), (b"e,f", ""), (b"g,h", "")]


@pytest.mark.parametrize("block_bytes", [3, 64, 5_000])
def test_a_row_at_the_bound_is_whole_and_one_beyond_it_is_not(tmp_path: Path, block_bytes: int) -> None:
    data = b"a,b\n" + b"x" * 100 + b"\n" + b"y" * 101 + b"\r\nc,d\n"
    rows = blocks_of(data, tmp_path, block_bytes=block_bytes, row_bytes=100)
    assert [flaw for _, flaw in rows] == ["", "", "longer than 100 bytes", ""]
    assert rows[1][0] == b"x" * 100
    assert rows[2][0][:50] == b"y" * 50
    assert rows[3][0] == b"c,d"


def test_a_line_without_end_is_read_over_in_flat_memory(tmp_path: Path) -> None:
    (tmp_path / "in.zst").write_bytes(zstd(b"a,b\n" + b"x" * 80_000_000 + b"\nc,d\n"))
    tracemalloc.start()
    try:
        with ByteStream(LocalFile(tmp_path / "in.zst")) as stream:
            blocks = [
                (len(block), block.flaws.get(0, ""))
                for block in read_blocks(stream, b",", 2, block_bytes=500_000, row_bytes=100_000)
            ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert blocks == [(1, ""), (1, "longer than 100,000 bytes"), (1, "")]
    assert peak < 3_000_000
