from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_making import RECORD, batch_of, key_of, row

from pipeline.errors import LedgerError, UsageError
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import Doubts, OpenRow, Settlement, State, Status

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
PRELUDE = """
import asyncio, resource, sys
from pathlib import Path
from ledger_making import RECORD, batch_of, promised, row
from pipeline.errors import SimliftError
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import Completion, Settlement, Status
folder = Path(sys.argv[1])
"""


def python(program: str, folder: Path) -> list[str]:
    return [sys.executable, "-c", PRELUDE + program, str(folder)]


def run_python(program: str, folder: Path) -> str:
    done = subprocess.run(
        python(program, folder), env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_killed_process_keeps_every_claim_and_settlement_that_returned(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    program = """
async def work(ledger, first):
    for start in range(first, 10**9, 40):
        batch = await ledger.claim(batch_of(range(start, start + 10)))
        print("claimed", batch.id, start, flush=True)
        if start % 3:
            await ledger.settle(Settlement(batch.id, (row(start, Status.REFUSED),)))
            print("settled", batch.id, start, flush=True)
async def main():
    ledger = SqliteLedger.create(folder, RECORD)
    await asyncio.gather(*(work(ledger, first) for first in (1, 11, 21, 31)))
asyncio.run(main())
"""
    with subprocess.Popen(
        python(program, folder), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(60)]
        os.kill(process.pid, signal.SIGKILL)
        lines += [line for line in process.stdout if line.endswith("\n")]
    claimed = {int(start) for word, _, start in map(str.split, lines) if word == "claimed"}
    settled = {int(start) for word, _, start in map(str.split, lines) if word == "settled"}

    ledger = SqliteLedger.open(folder)  # and its lock died with it
    resume = ledger.take_over()
    known = set(resume.done) | set(resume.open)
    for start in claimed:
        assert known.issuperset(range(start, start + 10))
    for start in settled:
        assert set(resume.done).issuperset(range(start, start + 10))
    assert settled
    assert not set(resume.done) & set(resume.open)
    in_flight = claimed - settled
    assert any(resume.open.get(start) for start in in_flight)
    assert ledger.counts()[Status.REFUSED] * 9 == ledger.counts()[Status.SUCCEEDED]
    ledger.close()


def test_a_killed_process_keeps_every_ticket_and_every_promise_that_was_kept(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    program = """
async def work(ledger, first):
    for start in range(first, 10**9, 40):
        batch = await ledger.claim(batch_of(range(start, start + 10)))
        await ledger.settle(Settlement(batch.id, tuple(map(promised, range(start, start + 10)))))
        print("promised", batch.id, start, flush=True)
        await ledger.complete(Completion(batch.id, tuple(range(start, start + 5))))
        print("completed", batch.id, start, flush=True)
async def main():
    ledger = SqliteLedger.create(folder, RECORD)
    await asyncio.gather(*(work(ledger, first) for first in (1, 11, 21, 31)))
asyncio.run(main())
"""
    with subprocess.Popen(
        python(program, folder), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(60)]
        os.kill(process.pid, signal.SIGKILL)
        lines += [line for line in process.stdout if line.endswith("\n")]
    ledger = SqliteLedger.open(folder)
    resume = ledger.take_over()
    ledger.close()
    words = [(word, int(batch), int(start)) for word, batch, start in map(str.split, lines)]
    assert {word for word, _, _ in words} == {"promised", "completed"}
    for word, batch, start in words:
        if word == "completed":
            assert set(range(start, start + 5)) <= set(resume.done)
        for position in range(start + 5, start + 10):
            assert resume.open[position] == OpenRow(1, False, f"t{position}", "call", batch)


def test_a_second_process_is_refused_and_told_who_owns_the_run(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "mine", RECORD)
    program = """
for begin in (lambda: SqliteLedger.open(folder), lambda: SqliteLedger.create(folder, RECORD)):
    try:
        begin()
    except SimliftError as error:
        print(type(error).__name__, error)
print(SqliteLedger.open(folder, read_only=True).run().run_id)
"""
    *refused, name = run_python(program, tmp_path / "mine").splitlines()
    assert len(refused) == 2
    for line in refused:
        assert line.startswith(f"UsageError run mine is in use by process {os.getpid()} on ")
    assert name == "nightly"
    with pytest.raises(UsageError, match="in use"):
        SqliteLedger.open(tmp_path / "mine")
    ledger.close()
    SqliteLedger.open(tmp_path / "mine").close()


async def test_a_full_disk_fails_every_caller_and_keeps_what_was_committed(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "full", RECORD)
    await ledger.record([row(1, Status.REJECTED)])

    def allow_few_pages(connection: sqlite3.Connection) -> None:
        ((pages,),) = connection.execute("PRAGMA page_count")
        connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()

    assert ledger._writer
    ledger._writer.write_now(allow_few_pages)
    many = [row(n, Status.REJECTED, cells=("x" * 500,)) for n in range(2, 200)]
    results = await asyncio.gather(ledger.record(many), return_exceptions=True)
    (error,) = results
    assert isinstance(error, LedgerError)
    assert "database or disk is full; free some space, then resume" in str(error)
    assert "\n" not in str(error)
    with pytest.raises(LedgerError, match="full"):
        await ledger.claim(batch_of([500]))
    assert ledger.counts()[Status.REJECTED] == 1
    ledger.close()
    ledger = SqliteLedger.open(tmp_path / "full")
    await ledger.record(many)
    assert ledger.counts()[Status.REJECTED] == 199
    ledger.close()


def test_a_write_that_the_system_refuses_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    program = """
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
ledger = SqliteLedger.create(folder, RECORD)
async def main():
    recorded = 0
    try:
        while True:
            await ledger.record([row(recorded + 1, Status.REJECTED, cells=("x" * 3_000,))])
            recorded += 1
    except SimliftError as error:
        print(recorded)
        print(type(error).__name__, error)
asyncio.run(main())
ledger.close()
"""
    recorded, error = run_python(program, tmp_path / "small").splitlines()
    assert int(recorded) > 10
    assert error.startswith(
        f"LedgerError ledger {tmp_path}/small/ledger.sqlite: disk I/O error; check the disk"
    )
    ledger = SqliteLedger.open(tmp_path / "small")
    assert ledger.counts()[Status.REJECTED] == int(recorded)
    ledger.close()


async def test_only_the_owner_can_read_the_folder_and_its_files(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "runs" / "private", RECORD)
    await ledger.claim(batch_of([1]))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "runs" / "private").iterdir()}
    assert modes == dict.fromkeys(["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "lock"], 0o600)
    assert (tmp_path / "runs" / "private").stat().st_mode & 0o777 == 0o700
    ledger.close()


def test_a_run_begins_once(tmp_path: Path) -> None:
    SqliteLedger.create(tmp_path / "once", RECORD).close()
    with pytest.raises(UsageError, match="run once exists already"):
        SqliteLedger.create(tmp_path / "once", RECORD)
    SqliteLedger.open(tmp_path / "once").close()  # the refusal let go of the lock


def test_a_crash_while_the_ledger_is_made_leaves_a_folder_to_begin_in(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "ledger.sqlite.new").write_bytes(b"half a page")
    (tmp_path / "half" / "ledger.sqlite.new-journal").write_bytes(b"half a journal")
    with pytest.raises(UsageError, match="no run half"):
        SqliteLedger.open(tmp_path / "half")
    ledger = SqliteLedger.create(tmp_path / "half", RECORD)
    assert ledger.run() == RECORD
    ledger.close()


def test_a_missing_run_is_a_usage_error(tmp_path: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(UsageError, match="no run none in"):
            SqliteLedger.open(tmp_path / "none", read_only=read_only)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"this is no database" * 100), "file is not a database"),
        (lambda path: path.write_bytes(b""), "is not a simlift ledger"),
        (lambda path: _execute(path, "PRAGMA application_id = 5"), "is not a simlift ledger"),
        (lambda path: _execute(path, "PRAGMA user_version = 7"), "has schema 7, this simlift knows 4"),
    ],
)
def test_what_is_not_our_ledger_is_refused_in_one_line(
    tmp_path: Path, damage: object, words: str, *, read_only: bool
) -> None:
    SqliteLedger.create(tmp_path / "odd", RECORD).close()
    assert callable(damage)
    damage(tmp_path / "odd" / "ledger.sqlite")
    with pytest.raises(LedgerError, match=words) as refused:
        SqliteLedger.open(tmp_path / "odd", read_only=read_only)
    assert "\n" not in str(refused.value)


def _execute(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


async def test_a_damaged_page_is_reported_when_it_is_read(tmp_path: Path) -> None:
    ledger = SqliteLedger.create(tmp_path / "torn", RECORD)
    batch = await ledger.claim(batch_of(range(1, 500)))
    await ledger.settle(Settlement(batch.id))
    ledger.close()
    path = tmp_path / "torn" / "ledger.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(LedgerError, match="damaged"):
        list(SqliteLedger.open(tmp_path / "torn", read_only=True).outcomes())


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made: Not a directory"):
        SqliteLedger.create(tmp_path / "file" / "run", RECORD)


OLDER = {  # what to undo, version by version, to come to it
    3: (
        *(f"DROP INDEX {name}" for name in ("batch_span", "batch_keys", "batch_lost")),
        "CREATE INDEX batch_first ON batch (first)",
        *(
            f"DROP TABLE {name}"
            for name in ("setback", "key_filter", "row_filter", "event", "finding", "standing", "sample")
        ),
        *(
            f"ALTER TABLE batch DROP COLUMN {name}"
            for name in ("fault", "code", "reason", "request_id", "completed_at")
        ),
        "ALTER TABLE run DROP COLUMN starts",
    ),
    2: ("ALTER TABLE run DROP COLUMN formats", "ALTER TABLE run DROP COLUMN corrects"),
    1: (
        "DROP INDEX row_ticket",
        "ALTER TABLE row DROP COLUMN ticket",
        "ALTER TABLE row DROP COLUMN call",
    ),
}


async def old_ledger(folder: Path, version: int = 1) -> None:
    """Make a ledger as an older version left it.

    With a plain success, a refused row, an open one, a claim, and a row that was never sent.
    """
    ledger = SqliteLedger.create(folder, RECORD)
    await ledger.record([row(5, Status.REJECTED)])
    batch = await ledger.claim(batch_of([1, 2, 3]))
    await ledger.settle(Settlement(batch.id, (row(2, Status.REFUSED, cells=("a", "b")), row(3, None))))
    await ledger.claim(batch_of([4]))
    ledger.close()
    undone = [change for older, changes in OLDER.items() if older >= version for change in changes]
    for change in (*undone, f"PRAGMA user_version = {version}"):
        _execute(folder / "ledger.sqlite", change)


def facts(path: Path) -> list[object]:
    """Give the tables and indexes column by column, and the version."""
    connection = sqlite3.connect(path)
    told: list[object] = connection.execute(
        "SELECT m.name, i.name, i.type FROM sqlite_master m, pragma_table_xinfo(m.name) i "
        "UNION ALL SELECT * FROM "
        "(SELECT type, name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name)"
    ).fetchall()
    told += connection.execute("PRAGMA user_version").fetchall()
    connection.close()
    return told


@pytest.mark.parametrize("version", OLDER)
async def test_a_ledger_of_an_older_version_is_read_as_it_is(tmp_path: Path, version: int) -> None:
    await old_ledger(tmp_path / "old", version)
    before = (tmp_path / "old" / "ledger.sqlite").read_bytes()
    reader = SqliteLedger.open(tmp_path / "old", read_only=True)
    assert reader.run() == RECORD
    assert [(p, s) for part in reader.outcomes() for p, _, s, *_ in map(dict.values, part.to_pylist())] == [
        (1, "succeeded"),
        (2, "refused"),
        (5, "rejected"),
    ]
    assert list(reader.exceptional(Status.REFUSED)) == [row(2, Status.REFUSED, cells=("a", "b"), batch=1)]
    assert reader.trace(key_of(2)) == list(reader.exceptional(Status.REFUSED))
    assert [found.status for found in reader.trace(key_of(5), key_of(1))] == [
        Status.SUCCEEDED,
        Status.REJECTED,
    ]
    assert [(send.batch, send.ended, send.request_id) for send in reader.attempts(2)] == [(1, "answered", "")]
    assert [send.ended for send in reader.attempts(4)] == ["under_way"]
    assert (reader.open_rows(), reader.open_tickets(), len(reader.tally())) == (2, 0, 2)
    assert not [*reader.wishes(), *reader.events(), *reader.samples(), *reader.findings()]
    assert (reader.standing(), reader.doubts()) == (None, Doubts(first=[]))
    assert (tmp_path / "old" / "ledger.sqlite").read_bytes() == before


@pytest.mark.parametrize("version", OLDER)
async def test_a_ledger_of_an_older_version_becomes_one_of_ours_and_loses_nothing(
    tmp_path: Path, version: int
) -> None:
    await old_ledger(tmp_path / "old", version)
    reader = SqliteLedger.open(tmp_path / "old", read_only=True)
    SqliteLedger.create(tmp_path / "new", RECORD).close()
    keys = [key_of(position) for position in (1, 3, 5)]
    told = [*reader.exceptional(*Status), *reader.trace(*keys)]

    ledger = SqliteLedger.open(tmp_path / "old")
    assert facts(tmp_path / "old" / "ledger.sqlite") == facts(tmp_path / "new" / "ledger.sqlite")
    for each in (ledger, reader):
        assert [*each.exceptional(*Status), *each.trace(*keys)] == told
    resume = ledger.take_over()
    assert (list(resume.done), resume.open) == ([1, 2, 5], {3: OpenRow(1, False), 4: OpenRow(1, True)})
    again = await ledger.claim(batch_of([3], sends=1))
    await ledger.settle(Settlement(again.id, (row(3, None, sends=2, ticket="t"),)))
    assert (ledger.open_tickets(), reader.open_tickets()) == (1, 1)
    ledger.close()
    SqliteLedger.open(tmp_path / "old").close()
    assert ledger.run().state is State.RUNNING


async def test_an_upgrade_that_fails_leaves_the_old_ledger_whole(tmp_path: Path) -> None:
    await old_ledger(tmp_path / "old")
    before = facts(tmp_path / "old" / "ledger.sqlite")
    program = """
from pipeline.ledgers import run_folder
run_folder.SQL["schema 2 from 1"] += "INSERT INTO nowhere VALUES (1);"
try:
    SqliteLedger.open(folder)
except SimliftError as error:
    print(type(error).__name__, error)
"""
    assert "no such table: nowhere" in run_python(program, tmp_path / "old")
    assert facts(tmp_path / "old" / "ledger.sqlite") == before
    SqliteLedger.open(tmp_path / "old").close()
