from __future__ import annotations

import io
import struct

import pyarrow as pa
import pytest

from pipeline.sources import arrow_messages
from pipeline.sources.arrow_messages import MessageError, Messages


def stream_of(table: pa.Table, compression: str | None = None) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(
        file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as writer:
        writer.write_table(table)
    return file.getvalue()


def passed(content: bytes) -> bytes:
    messages, given = Messages(io.BytesIO(content)), b""
    while piece := messages.read():
        given += piece
    assert messages.tell() == len(given)
    return given


TABLE = pa.table({"a": ["x" * 100] * 1_000, "d": pa.array(["y", "z"] * 500).dictionary_encode()})


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_a_sound_stream_passes_as_it_is(compression: str | None) -> None:
    content = stream_of(TABLE, compression)
    assert passed(content) == content
    assert passed(content + b"what follows the end mark is not read") == content


def test_pieces_are_cut_to_what_is_asked_for() -> None:
    content = stream_of(TABLE)
    messages = Messages(io.BytesIO(content))
    assert b"".join(messages.read(3) for _ in range(len(content))) == content
    assert messages.ended


def test_a_stream_without_end_mark_is_told_from_one_that_has_it() -> None:
    messages = Messages(io.BytesIO(stream_of(TABLE)[:-8]))
    while messages.read():
        pass
    assert not messages.ended


@pytest.mark.parametrize("cut", [1, 5, 9, 200, 400, 100_000])
def test_a_stream_that_is_cut_off_says_so(cut: int) -> None:
    with pytest.raises(MessageError, match=r"cut off|does not have"):
        passed(stream_of(TABLE)[:cut])


def test_a_body_beyond_all_bounds_is_not_asked_for() -> None:
    content = stream_of(TABLE)
    size = next(n for n in range(90_000, 120_000, 8) if content.count(struct.pack("<q", n)) == 1)
    for bytes_ in (2**40, -1, -(2**63)):
        with pytest.raises(MessageError, match="at most 1,000,000,000 are read"):
            passed(content.replace(struct.pack("<q", size), struct.pack("<q", bytes_)))


def test_metadata_beyond_all_bounds_is_not_asked_for() -> None:
    with pytest.raises(MessageError, match="bytes of metadata"):
        passed(b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(100))


def test_a_small_body_that_decompresses_to_a_large_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_messages, "MOST_BYTES", 1_000_000)
    assert passed(stream_of(pa.table({"a": ["x" * 900_000]}), "zstd"))
    with pytest.raises(MessageError, match="once decompressed"):
        passed(stream_of(pa.table({"a": ["x" * 1_100_000]}), "zstd"))


def test_rows_without_data_are_not_believed() -> None:
    assert passed(stream_of(pa.table({"a": [None, None], "b": ["x", "y"]})))
    with pytest.raises(MessageError, match="says that it has 1,000 rows, but no data for them"):
        passed(stream_of(pa.table({"a": pa.nulls(1_000)})))
