from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InventoryError
from pipeline.sources import parquet_process
from pipeline.sources.parquet_process import answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sources.parquet_channel import Line

ROWS = 1_000_000
SMALL = pa.table({"iccid": ["8900", "8901"], "Ki": ["SECRET"] * 2})


def written(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def large() -> bytes:
    return written(pa.table({"n": pa.array(range(ROWS)).cast(pa.string())}))


@pytest.fixture(autouse=True)
def _no_process_before_or_after() -> Iterator[None]:
    parquet_process._end_idle_one()
    yield
    parquet_process._end_idle_one()


def told(content: bytes, header: tuple[str, ...] | None = None) -> Iterator[tuple[Line, Any]]:
    return answers("in.parquet", io.BytesIO(content), bytes_total=len(content), header=header)


def idle() -> list[int]:
    return [process._process.pid for process in parquet_process._idle]


def children() -> set[int]:
    """Give the processes that we started and have not taken leave of, dead ones too."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is gone already
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[1]) == os.getpid():
                found.add(int(folder.name))
    return found


def refusal(content: bytes, header: tuple[str, ...] | None = None) -> str:
    with pytest.raises(InventoryError) as raised:
        list(told(content, header))
    return str(raised.value)


def test_the_header_is_told_and_then_the_rows() -> None:
    ((line, _),) = told(written(SMALL))
    assert line.header == ("iccid",)
    (chunk, columns), (end, _) = told(written(SMALL), line.header)
    assert (chunk.rows_read, chunk.bytes, end.last) == (2, columns.size, True)


def test_one_process_serves_one_file_after_the_other() -> None:
    list(told(written(SMALL)))
    (pid,) = idle()
    list(told(written(SMALL), ("iccid",)))
    assert "has no columns" in refusal(written(SMALL.select(["Ki"])))
    list(told(written(SMALL)))
    assert idle() == [pid]


def test_two_reads_at_a_time_have_a_process_each_and_one_of_them_stays(large: bytes) -> None:
    before = children()
    one, other = told(large, ("n",)), told(large, ("n",))
    assert next(one)[0].rows_read == next(other)[0].rows_read
    assert len(children() - before) == 2
    assert sum(1 for _ in one) == sum(1 for _ in other) > 10
    assert children() - before == set(idle())
    assert len(idle()) == 1


def test_a_read_that_is_given_up_ends_its_process_at_once(large: bytes) -> None:
    before = children()
    reading = told(large, ("n",))
    next(reading)
    assert len(children() - before) == 1
    reading.close()
    assert children() == before
    assert idle() == []


def test_no_key_leaves_the_process() -> None:
    sent = [*told(written(SMALL)), *told(written(SMALL), ("iccid",))]
    assert not [line for line, following in sent if b"SECRET" in repr(line).encode() + bytes(following)]


def test_a_file_whose_columns_changed_since_it_was_opened_is_not_read() -> None:
    assert "its columns changed" in refusal(written(SMALL), ("eid",))


def test_a_file_that_cannot_be_read_is_an_inventory_error() -> None:
    class Unreadable(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(InventoryError, match=r"^in.parquet: cannot be read: Input/output error"):
        list(answers("in.parquet", Unreadable(written(SMALL)), bytes_total=1))


def test_a_process_that_is_killed_at_its_work_is_not_held_against_the_file(large: bytes) -> None:
    before = children()
    reading = told(large, ("n",))
    first, _ = next(reading)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    words = r"the process that read it was killed.*\(after row [0-9,]+\)$"
    assert first.rows_read > 0
    with pytest.raises(InventoryError, match=words):
        list(reading)
    assert children() == before


def test_a_process_that_was_killed_idle_is_replaced_and_nobody_minds() -> None:
    list(told(written(SMALL)))
    (pid,) = idle()
    waiting = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([waiting], [], [], 10)[0]
    os.close(waiting)
    assert len(list(told(written(SMALL)))) == 1
    assert idle() != [pid]


def test_a_process_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    monkeypatch.setattr(parquet_process, "_PROGRAM", "pipeline.no_such_program")
    assert refusal(written(SMALL)) == "in.parquet: the process to read it did not start (exit code 1)"
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert "no process could be started to read it: No such file" in refusal(written(SMALL))
    assert children() == before


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("while True: pass", "is damaged: nothing comes of it for a minute"),
        ("__import__('time').sleep(100)", "is damaged: nothing comes of it for a minute"),
        ("os.kill(os.getpid(), 11)", "is damaged: pyarrow crashes on it"),
        ("os._exit(0)", "is damaged: pyarrow crashes on it"),
        (
            "reader.os.write(int(sys.argv[1]), b'nonsense\\n'); os._exit(3)",
            "is damaged: pyarrow crashes on it",
        ),
        ("bytearray(3_000_000_000)", "is damaged: pyarrow crashes on it"),
    ],
    ids=["spins", "waits", "segfault", "exits", "speaks nonsense", "takes memory"],
)
def test_whatever_the_reading_of_a_file_does_to_its_process_there_is_an_end_to_it(
    fault: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "astray.py").write_text(
        "import os, sys\n"
        "from pipeline.sources import parquet_reader as reader\n"
        "reader._LONGEST_S = 0.1\n"
        "def rows(name, content):\n"
        "    content.read(4)\n"
        f"    {fault}\n"
        "reader.ParquetRows = rows\n"
        "reader.main()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(parquet_process, "_PROGRAM", "astray")
    before = children()
    assert words in refusal(written(SMALL))
    assert children() == before


def test_what_lies_in_the_folder_we_are_in_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pipeline.py", "json.py", "pyarrow.py"):
        (tmp_path / name).write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    assert len(list(told(written(SMALL)))) == 1


def test_a_process_is_no_part_of_our_terminal_session() -> None:
    list(told(written(SMALL)))
    (pid,) = idle()
    assert os.getsid(pid) == pid


READ_AND_PRINT = """
import sys
from contextlib import suppress
from pathlib import Path
from pipeline.files import LocalFile
from pipeline.settings import Input
from pipeline.sources import parquet_process
from pipeline.sources.parquet_file import ParquetSource
source = ParquetSource(LocalFile(Path(sys.argv[1])), Input())
print(parquet_process._idle[0]._process.pid, flush=True)
"""


def test_our_end_is_its_end_and_leaves_no_word(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    path.write_bytes(written(SMALL))
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", READ_AND_PRINT, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.parametrize("then", ["input()", "chunks = source.chunks(); next(chunks); input()"])
def test_it_ends_with_us_even_when_we_are_killed(then: str, tmp_path: Path, large: bytes) -> None:
    path = tmp_path / "in.parquet"
    path.write_bytes(large)
    with subprocess.Popen(
        [sys.executable, "-c", READ_AND_PRINT + then, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert select.select([child], [], [], 10)[0]
    os.close(child)
