"""A sealed file: read in any order like any other, and nothing of it on the disk."""

from __future__ import annotations

import io
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from pipeline.sealed_file import SealedFile

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b"8935711001000000007 5EC2E7K1\n" * 40_000


def sealed(*pieces: bytes, folder: Path | None = None) -> SealedFile:
    file = SealedFile("standard input", folder)
    for piece in pieces:
        file.write(piece)
    return file


def on_disk(file: SealedFile) -> bytes:
    descriptor = file._file.fileno()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=70), max_size=6),
    moves=st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(-90, 300), st.integers(-1, 90))),
)
def test_it_is_read_in_any_order_as_if_it_lay_in_memory(
    pieces: list[bytes], moves: list[tuple[int, int, int]]
) -> None:
    plain = io.BytesIO(b"".join(pieces))
    with closing(sealed(*pieces)) as file:
        assert file.bytes_total == len(plain.getvalue())
        with closing(file.open()) as buffered, buffered.raw as stream:  # type: ignore[attr-defined]
            for whence, offset, size in moves:
                if (plain.tell(), 0, file.bytes_total)[(1, 0, 2).index(whence)] + offset < 0:
                    with pytest.raises(ValueError, match="no place"):
                        stream.seek(offset, whence)
                    continue
                assert stream.seek(offset, whence) == plain.seek(offset, whence) == stream.tell()
                assert stream.read(size) == plain.read(size)


def test_a_large_one_is_read_whole_and_in_part() -> None:
    with closing(sealed(TEXT[:999_999], TEXT[999_999:])) as file, closing(file.open()) as stream:
        assert stream.read() == TEXT
        stream.seek(-29, io.SEEK_END)
        assert stream.read() == TEXT[:29]
        stream.seek(29 * 30_001)
        assert stream.read(29) == TEXT[:29]


def test_nothing_of_it_lies_on_the_disk_and_it_has_no_name(tmp_path: Path) -> None:
    with closing(sealed(TEXT, folder=tmp_path)) as file, closing(sealed(TEXT, folder=tmp_path)) as other:
        assert [*tmp_path.iterdir()] == []
        enciphered = on_disk(file)
        assert len(enciphered) == len(TEXT)
        assert len({enciphered[at : at + 16] for at in range(0, len(TEXT), 16)}) == len(TEXT) // 16
        assert b"5EC2" not in enciphered
        assert enciphered[:1000] != on_disk(other)[:1000]


def test_its_streams_do_not_disturb_one_another_and_outlive_it() -> None:
    with closing(sealed(TEXT)) as file:
        one, other = file.open(), file.open()
    with closing(one), closing(other):
        one.seek(29 * 7)
        assert other.read(29 * 5) == TEXT[: 29 * 5]
        assert one.read(29) == TEXT[:29]
