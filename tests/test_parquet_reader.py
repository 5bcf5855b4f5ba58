from __future__ import annotations

import io
import resource
import signal
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources import parquet_reader
from pipeline.sources.parquet_channel import Line, Request, schema_of

TABLE = pa.table({"iccid": ["8900", "8901"], "batch": [7, None]})


class Parent:
    """The parent's end of the channel, which looks at the clock of the process whenever it is waited for."""

    def __init__(self, content: bytes) -> None:
        self.told: list[tuple[Line, Any]] = []
        self.seconds_left: list[float] = []
        self._content = content
        self._part = b""

    def send(self, line: Line, following: Any = b"") -> None:
        self.seconds_left.append(signal.getitimer(signal.ITIMER_REAL)[0])
        if line.part_at is None:
            self.told.append((line, following))
        else:
            self._part = self._content[line.part_at : line.part_at + min(line.most, 100)]

    def receive(self, kind: type[Line]) -> tuple[Line, pa.Buffer]:
        self.seconds_left.append(signal.getitimer(signal.ITIMER_REAL)[0])
        return Line(bytes=len(self._part)), pa.py_buffer(self._part)


def answered(header: tuple[str, ...] | None) -> tuple[Line, Parent]:
    file = io.BytesIO()
    pq.write_table(TABLE, file)
    content = file.getvalue()
    parent = Parent(content)
    with parquet_reader._bounded_time():
        last = parquet_reader._answer(Request("in", len(content), 900, header), parent)  # type: ignore[arg-type]
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    return last, parent


def test_a_file_is_read_from_parts_however_short_they_are() -> None:
    assert answered(None)[0] == Line(header=("iccid", "batch"), last=True)
    last, parent = answered(("iccid", "batch"))
    ((line, columns),) = parent.told
    assert last == Line(last=True)
    assert line == Line(bytes=columns.size, rows_read=2, bytes_read=900, numbers=(1,))
    batch = pa.ipc.read_record_batch(columns, schema_of(2, [1]))
    assert [column.to_pylist() for column in batch.columns] == [
        [1, 2],
        ["8900", "8901"],
        ["7", ""],
        [True, False],
    ]


def test_the_time_in_which_the_parent_is_waited_for_does_not_count() -> None:
    _, parent = answered(("iccid", "batch"))
    assert len(parent.seconds_left) > 10
    assert set(parent.seconds_left) == {0}


def test_memory_and_what_a_crash_writes_are_bounded_and_a_lower_bound_stays() -> None:
    program = (
        "import resource\n"
        "from pipeline.sources import parquet_reader as reader\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "reader.sys.argv[1:] = ['0']\n"
        "reader.socket.socket = lambda fileno: exit(\n"
        "    str([resource.getrlimit(limit) for limit in (resource.RLIMIT_AS, resource.RLIMIT_CORE)]))\n"
        "reader.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "[(2000000000, 2000000000), (0, 0)]\n"
    assert resource.getrlimit(resource.RLIMIT_AS) != (2_000_000_000, 2_000_000_000)
