"""A database as an inventory: SQLite, and a PostgreSQL server of our own."""

from __future__ import annotations

import sqlite3
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pytest
from postgres_server import USER, postgres

from pipeline.errors import InventoryError, UsageError
from pipeline.query import Answer, database_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "p@ss:w/rd%41"
MANY = 120_000


def answer(name: str, query: str) -> pa.Table:
    place = database_at(name)
    assert place is not None
    return pa.Table.from_batches(Answer(place, query).batches())


def refusal(name: str, query: str) -> str:
    with pytest.raises(UsageError) as raised:
        answer(name, query)
    said = str(raised.value)
    assert said.isprintable()
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in said
    return said


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    with closing(sqlite3.connect(tmp_path / "sims.db")) as connection:
        connection.execute("CREATE TABLE sim (iccid TEXT, eid NUMERIC, ki TEXT, note, weight REAL)")
        connection.execute("INSERT INTO sim VALUES ('0089%3A', 890490, '5ec2e7', NULL, 1.5)")
        connection.execute("INSERT INTO sim VALUES ('8935:x', 890491, '5ec2e7', x'41', NULL)")
        connection.commit()
    return f"sqlite:///{tmp_path}/sims.db"


def test_text_stays_text_and_numbers_stay_numbers(sqlite: str) -> None:
    found = answer(sqlite, "SELECT iccid, eid, note, weight FROM sim ORDER BY iccid")
    assert [str(field.type) for field in found.schema] == ["string", "decimal128(38, 0)", "string", "double"]
    assert found.column("iccid").to_pylist() == ["0089%3A", "8935:x"]
    assert found.column("eid").cast(pa.string()).to_pylist() == ["890490", "890491"]
    assert found.column("note").to_pylist() == [None, "A"]


def test_key_material_is_left_out(sqlite: str) -> None:
    found = answer(sqlite, "SELECT * FROM sim")
    assert found.column_names == ["iccid", "eid", "note", "weight"]
    assert "5ec2e7" not in str(found.to_pylist())
    assert "only columns that are never kept" in refusal(sqlite, "SELECT ki FROM sim")


def test_signs_in_a_query_mean_only_what_they_mean_to_the_database(sqlite: str) -> None:
    query = "SELECT iccid FROM sim WHERE iccid LIKE '%:x' OR iccid = '%(x)s :y'"
    assert answer(sqlite, query).column("iccid").to_pylist() == ["8935:x"]


def test_a_query_without_rows_still_names_its_columns(sqlite: str) -> None:
    found = answer(sqlite, "SELECT iccid, eid FROM sim WHERE 1 = 0")
    assert (found.column_names, found.num_rows) == (["iccid", "eid"], 0)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "[input] query"),
        ("SELECT absent FROM sim", "no such column"),
        ("DELETE FROM sim", "answers no rows; make it a SELECT"),
        ("SELECT iccid AS i FROM sim UNION ALL SELECT eid FROM sim", 'column "i" holds text in some rows'),
        ("SELECT eid AS i FROM sim UNION ALL SELECT 'x'", 'column "i" holds text in some rows'),
    ],
)
def test_a_query_that_cannot_be_used_is_one_line(sqlite: str, query: str, words: str) -> None:
    assert words in refusal(sqlite, query)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sqlite:////nowhere/sims.db", "no such file"),
        ("nosuch://host/db", "no database is known as nosuch"),
        ("mysql+mysqldb://host/db", "its driver is missing"),
        (f"postgresql://me:{quote(PASSWORD, safe='')}@host/db", "env:NAME"),
        ("postgresql://host/db?password=p%40ss", "env:NAME"),
        ("postgresql://host:port/db", "not a valid one"),
        ("postgresql://me@127.0.0.1:9/db", "cannot be read: connection failed"),
    ],
)
def test_a_database_that_is_not_there_is_one_line(name: str, words: str) -> None:
    assert words in refusal(name, "SELECT 1")


@pytest.mark.parametrize("name", ["a.csv", "s3://bucket/key", "sftp://host/x", "/in/a!b.csv", "-"])
def test_files_are_no_databases(name: str) -> None:
    assert database_at(name) is None


def test_equal_questions_have_one_origin_and_others_another(sqlite: str) -> None:
    place, other = database_at(sqlite), database_at(f"{sqlite}x")
    assert place is not None
    assert other is not None
    one = Answer(place, "SELECT 1").origin
    assert one == Answer(place, "SELECT 1").origin
    assert len({one, Answer(place, "SELECT 2").origin, Answer(other, "SELECT 1").origin}) == 3


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres(PASSWORD) as url:
        with psycopg.connect(url, password=PASSWORD, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE sim (iccid text, eid numeric(32), born date, tags jsonb, ok bool)"
            )
            connection.execute(
                "INSERT INTO sim SELECT (8935711000000000000 + n)::text, "
                "89049032123451234558290000000000 + n, '2026-11-22', '{\"a\": 1}', n %% 2 = 0 "
                "FROM generate_series(1, %s) n",
                [MANY],
            )
        yield url


@pytest.fixture
def by_reference(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    secret = quote(PASSWORD, safe="")
    monkeypatch.setenv("SIMS", server.replace(f"{USER}@", f"{USER}:{secret}@"))
    return "env:SIMS"


def test_a_large_answer_of_postgresql_is_read_in_order_and_flat_memory(by_reference: str) -> None:
    place = database_at(by_reference)
    assert place is not None

    def peak_of(rows: int) -> int:
        read = 0
        tracemalloc.start()
        try:
            question = f"SELECT iccid, eid FROM sim ORDER BY iccid LIMIT {rows}"  # noqa: S608 - our own number
            for batch in Answer(place, question).batches():
                assert batch.column(0)[0].as_py() == str(8935711000000000001 + read)
                assert str(batch.column(1)[0].as_py()) == str(89049032123451234558290000000001 + read)
                read += batch.num_rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert read == rows

    peak_of(1)
    assert peak_of(MANY) < 1.2 * peak_of(MANY // 4)


def test_the_rows_wait_in_postgresql_until_they_are_asked_for(by_reference: str) -> None:
    found = answer(by_reference, "SELECT statement FROM pg_cursors").column("statement").to_pylist()
    assert len(found) == 1
    assert "DECLARE" in found[0]


def test_what_is_neither_text_nor_number_becomes_its_text(by_reference: str) -> None:
    (row,) = answer(by_reference, "SELECT born, tags, ok FROM sim ORDER BY iccid LIMIT 1").to_pylist()
    assert row == {"born": "2026-11-22", "tags": '{"a": 1}', "ok": "false"}


def test_per_cent_signs_reach_postgresql_as_they_are(by_reference: str) -> None:
    assert answer(by_reference, "SELECT iccid FROM sim WHERE iccid LIKE '%0099'").num_rows == MANY // 10_000


def test_an_error_in_mid_answer_is_one_line(by_reference: str) -> None:
    query = "SELECT 1 / (90000 - n) FROM generate_series(1, 120000) n"
    with pytest.raises(InventoryError, match="division by zero"):
        answer(by_reference, query)


def test_a_password_that_the_database_repeats_is_hidden(by_reference: str) -> None:
    with pytest.raises(InventoryError) as raised:
        answer(by_reference, f"SELECT '{PASSWORD}'::int")
    assert 'invalid input syntax for type integer: "(hidden)"' in str(raised.value)


def test_a_wrong_password_is_not_repeated(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMS", server.replace(f"{USER}@", f"{USER}:{quote(PASSWORD, safe='')}x@"))
    said = refusal("env:SIMS", "SELECT 1")
    assert said.startswith("env:SIMS: cannot be read")
    assert "password authentication failed" in said
