from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import LedgerError
from pipeline.ledgers.group_commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "x.sqlite") as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    made.close()
    return tmp_path / "x.sqlite"


@pytest.fixture
def writer(file: Path) -> Iterator[GroupCommit]:
    writer = GroupCommit(connect(file), lambda error: LedgerError(f"failed: {error}"))
    yield writer
    writer.close()


def connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None, check_same_thread=False)


def numbers(file: Path) -> list[int]:
    connection = connect(file)
    found = [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]
    connection.close()
    return found


def insert(n: int) -> Callable[[sqlite3.Connection], int]:
    def apply(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?)", (n,))
        return n

    return apply


class Gate:
    """A write that keeps the thread busy, so that everything after it gathers into one group."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.reached.set()
        assert self.opened.wait(30)


async def gathered(
    writer: GroupCommit, applies: list[Callable[[sqlite3.Connection], object]]
) -> list[object]:
    """Hand over all writes while the thread is busy; give the results of one group."""
    gate = Gate()
    busy = asyncio.ensure_future(writer.write(gate))
    await asyncio.to_thread(gate.reached.wait, 30)
    waiting = [asyncio.ensure_future(writer.write(apply)) for apply in applies]
    await asyncio.sleep(0)  # each hands its write over
    gate.opened.set()
    await busy
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_writes_that_wait_together_share_one_commit(writer: GroupCommit, file: Path) -> None:
    commits: list[str] = []
    writer._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    results = await gathered(writer, [insert(n) for n in range(100)])
    assert results == list(range(100))
    assert len(commits) == 2  # the one that kept the thread busy, and theirs
    assert numbers(file) == list(range(100))


async def test_a_result_is_given_only_when_another_connection_can_read_it(
    writer: GroupCommit, file: Path
) -> None:
    for n in range(20):
        await writer.write(insert(n))
        assert n in numbers(file)


async def test_a_cancelled_caller_leaves_its_write_and_its_group_whole(
    writer: GroupCommit, file: Path
) -> None:
    gate = Gate()
    busy = asyncio.ensure_future(writer.write(gate))
    await asyncio.to_thread(gate.reached.wait, 30)
    cancelled, other = (asyncio.ensure_future(writer.write(insert(n))) for n in (1, 2))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    gate.opened.set()
    await busy
    assert await other == 2
    assert numbers(file) == [1, 2]


async def test_a_write_that_fails_before_it_changed_anything_fails_alone(
    writer: GroupCommit, file: Path
) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        raise ValueError("of its own")

    first, refused, last = await gathered(writer, [insert(1), refuse, insert(2)])
    assert (first, last) == (1, 2)
    assert isinstance(refused, ValueError)
    assert numbers(file) == [1, 2]


async def test_a_write_that_fails_half_way_takes_its_group_back(writer: GroupCommit, file: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (7)")
        raise ValueError("half way")

    results = await gathered(writer, [insert(1), half, insert(2)])
    assert [str(result) for result in results] == ["failed: half way"] * 3
    assert numbers(file) == []


async def test_after_a_failure_of_sqlite_every_later_write_fails_at_once(
    writer: GroupCommit, file: Path
) -> None:
    await writer.write(insert(1))
    results = await gathered(writer, [insert(2), insert(1)])  # 1 is there already
    assert all(isinstance(result, LedgerError) for result in results)
    with pytest.raises(LedgerError, match="UNIQUE"):
        await writer.write(insert(3))
    with pytest.raises(LedgerError, match="UNIQUE"):
        writer.write_now(insert(3))
    writer.close()
    assert numbers(file) == [1]


async def test_closing_finishes_what_waits(writer: GroupCommit, file: Path) -> None:
    waiting = [asyncio.ensure_future(writer.write(insert(n))) for n in range(50)]
    await asyncio.sleep(0)
    writer.close()
    writer.close()
    assert await asyncio.gather(*waiting) == list(range(50))
    assert numbers(file) == list(range(50))
    with pytest.raises(LedgerError, match="closed"):
        await writer.write(insert(99))


def test_a_loop_that_is_gone_does_not_stop_the_thread(writer: GroupCommit, file: Path) -> None:
    gate = Gate()

    async def leave() -> None:
        asyncio.ensure_future(writer.write(gate))  # noqa: RUF006 - left behind on purpose
        await asyncio.to_thread(gate.reached.wait, 30)

    asyncio.run(leave())
    gate.opened.set()
    assert writer.write_now(insert(1)) == 1


async def test_inline_commits_within_the_call_and_without_a_thread(file: Path) -> None:
    threads = threading.active_count()
    writer = GroupCommit(connect(file), lambda error: LedgerError(str(error)), inline=True)
    write = writer.write(insert(1))
    with pytest.raises(StopIteration) as done:
        write.send(None)  # never gives control to the loop
    assert done.value.value == 1
    assert numbers(file) == [1]
    assert threading.active_count() == threads
    writer.close()
