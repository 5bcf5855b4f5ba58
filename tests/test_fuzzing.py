"""The fuzzer can fail: what a source must not do is noticed, and what is sound is not."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))

from driving import Case, Read
from fuzz import Fuzzer
from promises import Breach, require_clear, require_sound_chunk
from worker import Bounds, Worker

from pipeline.model import BrokenRow, Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUNDS = Bounds(cpu_s=0.5, memory_bytes=500_000_000)


def drive_as_told(path: Path, _case: Case) -> Read:
    told = {
        "sound": Read,
        "hang": _hang,
        "crash": os.abort,
        "flood": _flood,
        "raise": _raise,
        "panic": _panic,
    }
    found: Any = told[path.name]()
    return found if isinstance(found, Read) else Read()


def _hang() -> None:
    while time.monotonic():
        pass


def _flood() -> None:
    assert len(bytes(400_000_000).replace(b"\0", b"\1")) > 1


def _raise() -> NoReturn:
    raise KeyError("no such thing")


class PanicException(BaseException):
    pass


def _panic() -> NoReturn:
    raise PanicException("of Rust's")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(BOUNDS, drive_as_told)
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("raise", "KeyError", "no such thing"),
        ("panic", "test_fuzzing.PanicException", "of Rust's"),
        ("hang", "hang", "in _hang"),
        ("crash", "dead worker", "exit code -6"),
        ("flood", "memory", "MB of memory"),
        ("sound", "", ""),
    ],
)
def test_whatever_a_case_does_to_its_process_is_told(
    worker: Worker, what: str, kind: str, words: str
) -> None:
    ended = worker.run(Path(what), Case())
    assert ended.kind == kind
    assert words in ended.words


@dataclass
class Of:
    header: tuple[str, ...] = ("iccid",)
    bytes_total: int = 100


SOUND = Chunk(
    pa.record_batch([pa.array(["a", "b"])], names=["0"]),
    pa.array([1, 3], pa.int64()),
    (BrokenRow(2, "why", "raw"),),
    3,
    50,
    {0: pa.array([True, False])},
)


def test_a_sound_chunk_breaks_no_promise() -> None:
    require_sound_chunk(SOUND, Of(), 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"positions": pa.array([3, 1], pa.int64())},
        {"positions": pa.array([1, 2], pa.int64())},
        {"rows_read": 4},
        {"rows": pa.record_batch([pa.array(["a", None])], names=["0"])},
        {"rows": pa.record_batch([pa.array([1, 2])], names=["0"])},
        {"rows": pa.record_batch([pa.array(["a", "b"])] * 2, names=["0", "1"])},
        {"broken": (BrokenRow(2, "why\nand how", "raw"),)},
        {"numbers": {1: pa.array([True, False])}},
        {"bytes_read": 101},
    ],
)
def test_a_broken_promise_of_a_chunk_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(Breach):
        require_sound_chunk(replace(SOUND, **change), Of(), 0, 0)


@pytest.mark.parametrize("words", ["two\nlines", "\x1b[2J", "half \ud800", "x" * 20_000])
def test_an_unclear_error_is_noticed(words: str) -> None:
    with pytest.raises(Breach):
        require_clear(words, Path("in.csv"))


def test_a_finding_is_kept_and_can_be_replayed(tmp_path: Path) -> None:
    story = Fuzzer("csv", 1, tmp_path, drive=drive_with_a_flaw).run(0.02)
    assert story.cases > 1
    (finding,) = story.findings.values()
    assert "not this one" in finding.words
    (smaller,) = tmp_path.glob("*/smaller*")
    assert smaller.read_bytes() == b"893"
    (kept,) = finding.kept[0].glob("case*")
    assert json.loads((kept.parent / "told.json").read_text())["seed"] == 1
    assert Fuzzer("csv", 1, tmp_path).replay(kept).kind == ""


def drive_with_a_flaw(path: Path, _case: Case) -> Read:
    if b"893" in path.read_bytes():
        raise Breach("not this one")
    return Read()
