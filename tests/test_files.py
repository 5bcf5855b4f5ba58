"""What sources read through: local files, guarded streams, beginnings, copies, fingerprints."""

from __future__ import annotations

import bz2
import gzip
import io
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from pipeline.errors import InventoryError
from pipeline.files import GuardedStream, LocalFile, beginning_of, fingerprint_of, seekable, words_of
from pipeline.sealed_file import SealedFile

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = b"iccid,apn\n" + b"1,iot\n" * 20_000


@dataclass
class Far:
    """A file that is not on this machine, and ends in an error after so many bytes."""

    content: bytes
    fails_at: int | None = None
    name: str = "far://in.csv"

    @property
    def bytes_total(self) -> int:
        return len(self.content)

    def open(self) -> BinaryIO:
        return io.BufferedReader(
            GuardedStream(Breaking(self.content, self.fails_at), lambda e: f"({e})"), 1000
        )


class Breaking(io.BytesIO):
    def __init__(self, content: bytes, fails_at: int | None) -> None:
        super().__init__(content)
        self._fails_at = fails_at

    def read(self, size: int | None = -1, /) -> bytes:
        if self._fails_at is not None and self.tell() >= self._fails_at:
            raise RuntimeError("the line went dead")
        return super().read(size)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("size", [5, 64_000])
def test_a_beginning_is_given_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes], size: int) -> None:
    (tmp_path / "in").write_bytes(pack(TEXT))
    assert beginning_of(LocalFile(tmp_path / "in"), size) == TEXT[:size]
    assert beginning_of(Far(pack(TEXT)), size) == TEXT[:size]


def test_the_beginning_of_damaged_data_goes_as_far_as_it_can(tmp_path: Path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress(TEXT)[:200])
    beginning = beginning_of(LocalFile(tmp_path / "in.gz"), 1_000_000)
    assert beginning
    assert TEXT.startswith(beginning)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_can_be_read_in_any_order_wherever_it_lies(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "in").write_bytes(pack(TEXT))
    for file in (LocalFile(tmp_path / "in"), Far(pack(TEXT))):
        with seekable(file) as content:
            content.seek(-6, io.SEEK_END)
            assert content.read() == b"1,iot\n"
            content.seek(0)
            assert content.read(9) == b"iccid,apn"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_copy_is_nowhere_on_disk_in_clear_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with seekable(Far(pack(TEXT))) as content:
        assert content.read(9) == b"iccid,apn"
        links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
        copies = [link.read_bytes() for link in links if str(tmp_path) in str(link.readlink())]
    assert {len(copy) for copy in copies} == {len(TEXT)}
    assert not any(b"1,iot\n" in copy for copy in copies)  # three letters would be met by chance
    assert [*tmp_path.iterdir()] == []


def test_a_copy_that_finds_no_room_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "far://in.csv: cannot be copied for a while: {}; make room, or set TMPDIR"
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(InventoryError) as raised, seekable(Far(TEXT)):
        pass
    assert str(raised.value) == words.format("Not a directory")

    monkeypatch.setattr(SealedFile, "write", lambda *_: Path("/dev/full").write_bytes(b"1"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(InventoryError) as raised, seekable(Far(TEXT)):
        pass
    assert str(raised.value) == words.format("No space left on device")


def test_a_far_file_that_breaks_off_is_one_line_wherever_that_happens() -> None:
    broken = Far(TEXT, fails_at=50_000)
    for read in (lambda: fingerprint_of((broken,)), lambda: seekable(broken).__enter__()):
        with pytest.raises(InventoryError, match=r"^far://in.csv: cannot be read: \(the line went dead\)"):
            read()
    with pytest.raises(InventoryError, match="the line went dead"):
        beginning_of(Far(TEXT, fails_at=0))


def test_a_guarded_stream_closes_what_is_beneath_it() -> None:
    stream, beneath = io.BytesIO(TEXT), io.BytesIO()
    with closing(GuardedStream(stream, str, beneath)) as guarded:
        assert guarded.read(5) == b"iccid"
    assert stream.closed
    assert beneath.closed


def test_a_fingerprint_is_of_content_and_order_and_not_of_names(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (LocalFile(tmp_path / name) for name in "abc")
    assert fingerprint_of((a, b)) == fingerprint_of((c, b)) == fingerprint_of((Far(b"1"), b))
    pieces: list[bytes] = []
    fingerprint_of((a, b), pieces.append)
    assert pieces == [b"1", b"2"]
    assert len({fingerprint_of(files) for files in ((a,), (a, b), (b, a), (a, a), (a, b, c))}) == 5


def test_an_error_that_quotes_damage_is_one_short_line_all_the_same() -> None:
    words = words_of(ValueError("don't know what type: \x0f\x9b\u2028\ud800\n" + "x" * 10_000))
    assert words.startswith(r"don't know what type: \x0f\x9b \ud800 xxx")
    assert len(words.splitlines()) == 1
    assert len(words) < 400
