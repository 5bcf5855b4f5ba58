"""What every source must do: each row once, its cells as they stood, and nothing worse than a broken row."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.files import LocalFile
from pipeline.plugins import every
from pipeline.settings import Input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.model import Chunk

MODERATE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
HEADER = ("iccid", "eid", "note")
_SECRET = "5EC2E7K1" * 4


class SourceContract:
    """contracts.Source. The hooks say how a file of the format is written; all else is done here."""

    kind: ClassVar[Any]
    """The source's class, as it is registered."""

    cells: ClassVar[st.SearchStrategy[str]] = st.text("0123456789abcXYZ+.-_", min_size=1, max_size=12)
    """What a cell of the format can hold; at least digits, letters and "+.-_"."""

    settings: ClassVar[Input] = Input()
    """The [input] table."""

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        """Give a file of the format with these columns and rows."""
        raise NotImplementedError

    # ------------------------------------------------------------ made of the hooks

    def source(self, content: bytes) -> Any:
        """Open a file of this content. Raises InventoryError."""
        with tempfile.TemporaryDirectory() as folder:
            return self.open(self._file(folder, content))

    def read(self, content: bytes) -> tuple[tuple[str, ...], list[Chunk]]:
        """Read a file to its end: header and chunks. Raises InventoryError."""
        with tempfile.TemporaryDirectory() as folder:
            source = self.open(self._file(folder, content))
            chunks = list(source.chunks())
            _require_in_order(chunks, source.bytes_total)
            return source.header, chunks

    def open(self, path: Path) -> Any:
        """Call the class as an import does. Raises InventoryError."""
        return self.kind(LocalFile(path), self.settings)

    def _file(self, folder: str, content: bytes) -> Path:
        path = Path(folder) / f"inventory{self.kind.suffixes[0]}"
        path.write_bytes(content)
        return path

    def _said_of(self, content: bytes) -> str:
        """Give all that is said of a file besides its rows."""
        try:
            _, chunks = self.read(content)
        except InventoryError as error:
            return str(error)
        return repr([chunk.broken for chunk in chunks])

    def _drawn(self, data: st.DataObject) -> list[list[str]]:
        """Draw rows; the first cell is never blank, so that no row is a blank line."""
        key = st.integers(0, 10**18).map(lambda number: f"89{number:018}")
        drawn: list[list[str]] = data.draw(
            st.lists(st.tuples(key, self.cells, self.cells).map(list), min_size=1, max_size=12)
        )
        return drawn

    # ------------------------------------------------------------ sentences

    def test_it_is_registered_and_says_which_files_are_its(self) -> None:
        assert self.kind in [plugin.loaded for plugin in every("sources")]
        assert isinstance(self.kind.suffixes, tuple)
        assert self.kind.suffixes
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in self.kind.suffixes)

    @MODERATE
    @given(data=st.data())
    def test_every_row_is_read_once_with_its_cells_as_they_stood(self, data: st.DataObject) -> None:
        rows = self._drawn(data)
        header, chunks = self.read(self.write(HEADER, rows))
        assert header == HEADER
        assert [list(row) for row in _rows_of(chunks)] == rows
        assert chunks[-1].rows_read == len(rows)

    def test_what_looks_like_a_number_stays_text(self) -> None:
        rows = [["0089", "1e5", "+49"], ["8935711001000000007", "007", "1.0"], ["nan", "null", "true"]]
        _, chunks = self.read(self.write(HEADER, rows))
        assert [list(row) for row in _rows_of(chunks)] == rows
        marks = [are_numbers.true_count for chunk in chunks for are_numbers in chunk.numbers.values()]
        assert not any(marks), "text is not marked as a number"

    def test_a_file_can_be_read_again_and_says_the_same(self) -> None:
        rows = [[f"89{number:018}", "a", "b"] for number in range(50)]
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(folder, self.write(HEADER, rows))
            one, other = self.open(path), self.open(path)
            assert one.header == other.header
            first, second, again = (list(_rows_of(list(s.chunks()))) for s in (one, other, one))
        assert first == second == again
        assert [list(row) for row in first] == rows

    def test_two_readers_of_one_file_do_not_disturb_each_other(self) -> None:
        rows = [[f"89{number:018}", "a", "b"] for number in range(50)]
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(folder, self.write(HEADER, rows))
            one, other = (self.open(path).chunks() for _ in range(2))
            both = list(zip(one, other, strict=True))
        assert [list(row) for row in _rows_of([first for first, _ in both])] == rows
        assert [list(row) for row in _rows_of([second for _, second in both])] == rows

    @pytest.mark.parametrize("name", ["Ki", "OPc", "PIN1", "ADM", "Enc_Ki"])
    def test_key_material_is_dropped_as_the_file_is_read(self, name: str) -> None:
        rows = [[f"89{number:018}", _SECRET, "b"] for number in range(3)]
        whole = self.write(("iccid", name, "note"), rows)
        header, chunks = self.read(whole)
        assert header == ("iccid", "note")
        assert [list(row) for row in _rows_of(chunks)] == [[key, note] for key, _, note in rows]
        for cut in range(1, len(whole), 3):
            assert _SECRET not in self._said_of(whole[:cut])

    @MODERATE
    @given(beginning=st.binary(max_size=200))
    def test_whatever_a_file_begins_with_is_recognised_or_not(self, beginning: bytes) -> None:
        assert self.kind.recognises(beginning) in (True, False)

    # ------------------------------------------------------------ damage

    @pytest.mark.parametrize("content", [b"", b"\n", b"\x00" * 64], ids=["empty", "blank", "binary"])
    def test_a_file_without_a_header_is_an_inventory_error(self, content: bytes) -> None:
        with pytest.raises(InventoryError):
            self.read(content)

    def test_a_file_that_is_not_there_is_an_inventory_error(self, tmp_path: Path) -> None:
        with pytest.raises(InventoryError):
            list(self.open(tmp_path / f"missing{self.kind.suffixes[0]}").chunks())

    @MODERATE
    @given(data=st.data())
    def test_a_file_cut_off_anywhere_gives_its_rows_or_says_so(self, data: st.DataObject) -> None:
        rows = self._drawn(data)
        whole = self.write(HEADER, rows)
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        try:
            header, chunks = self.read(cut)
        except InventoryError:
            return
        if header == HEADER:
            # The last row may be half of itself, and look whole.
            found = _rows_by_position(chunks)
            last = chunks[-1].rows_read if chunks else 0
            assert last <= len(rows)
            assert all(list(cells) == rows[at - 1] for at, cells in found.items() if at < last)

    @MODERATE
    @given(data=st.data())
    def test_a_damaged_file_gives_rows_or_broken_rows_or_says_so(self, data: st.DataObject) -> None:
        content = bytearray(self.write(HEADER, self._drawn(data)))
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        try:
            self.read(bytes(content))
        except InventoryError:
            return

    @MODERATE
    @given(content=st.binary(max_size=200))
    def test_any_bytes_give_rows_or_broken_rows_or_an_inventory_error(self, content: bytes) -> None:
        try:
            self.read(content)
        except InventoryError:
            return


def _rows_by_position(chunks: Sequence[Chunk]) -> dict[int, tuple[str, ...]]:
    return {
        position: row
        for chunk in chunks
        for position, row in zip(
            chunk.positions.to_pylist(),
            zip(*(column.to_pylist() for column in chunk.rows.columns), strict=True),
            strict=True,
        )
    }


def _rows_of(chunks: Sequence[Chunk]) -> list[tuple[str, ...]]:
    assert [row for chunk in chunks for row in chunk.broken] == []
    return list(_rows_by_position(chunks).values())


def _require_in_order(chunks: Sequence[Chunk], bytes_total: int) -> None:
    """Require what holds for every file, sound or damaged: each position once, ascending; text; progress."""
    rows_read = bytes_read = 0
    for chunk in chunks:
        names = [str(index) for index in range(chunk.rows.num_columns)]
        assert chunk.rows.schema.names == names, 'columns are named "0", "1" and so on'
        assert all(column.type == pa.string() and not column.null_count for column in chunk.rows.columns)
        assert chunk.positions.type == pa.int64()
        whole, broken = chunk.positions.to_pylist(), [row.position for row in chunk.broken]
        assert len(whole) == chunk.rows.num_rows
        assert whole == sorted(whole)
        assert broken == sorted(broken)
        assert sorted(whole + broken) == list(range(rows_read + 1, chunk.rows_read + 1))
        assert all(row.reason for row in chunk.broken)
        assert set(chunk.numbers) <= set(range(chunk.rows.num_columns)), "numbers are told by column index"
        for are_numbers in chunk.numbers.values():
            assert are_numbers.type == pa.bool_()
            assert (len(are_numbers), are_numbers.null_count) == (chunk.rows.num_rows, 0)
        assert chunk.bytes_read >= bytes_read
        assert not bytes_total or chunk.bytes_read <= bytes_total
        rows_read, bytes_read = chunk.rows_read, chunk.bytes_read
