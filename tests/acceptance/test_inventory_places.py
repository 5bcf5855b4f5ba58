"""Inventories that are no single file on disk: piped in, archived, in a folder, in a database."""

from __future__ import annotations

import fcntl
import gzip
import os
import resource
import signal
import sqlite3
import sys
import termios
import zipfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import inventories
import pyarrow as pa
from books import compare
from waiting import until

sys.path.insert(0, str(Path(__file__).parent.parent))
from workbooks import workbook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from program import Ended, Process, Program
    from vendors import Vendor

NOBODY_URL = "http://127.0.0.1:9"
SECRET = "s3cr3t-p4ss"


def piped(simlift: Program, content: Path, *arguments: str | Path) -> Ended:
    with content.open("rb") as pipe:
        return simlift(*arguments, stdin=pipe)


def pouring(simlift: Program, *arguments: str | Path) -> tuple[Process, int]:
    """Start a command whose standard input stays open; give it with the end to write to."""
    mouth, tap = os.pipe()
    try:
        return simlift.start(*arguments, stdin=mouth), tap
    finally:
        os.close(mouth)


def pour(tap: int, content: bytes) -> None:
    """Write into a command's standard input, and wait until all of it is taken in."""
    os.write(tap, content)
    left = bytearray(4)

    def waiting() -> int:
        fcntl.ioctl(tap, termios.FIONREAD, left)
        return int.from_bytes(left, sys.byteorder)

    until(waiting, lambda count: not count, "the pipe is drained")


def archive_of(*names: str, folder: Path) -> Path:
    """Pack files of a folder."""
    with zipfile.ZipFile(folder / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(folder / name, name)
    return folder / "in.zip"


def delivery(simlift: Program, count: int, first: int = 1, name: str = "delivery.csv") -> Path:
    return inventories.write(simlift.folder / name, inventories.rows(count, first))


def keys(count: int, first: int = 1) -> list[str]:
    return [inventories.iccid(number) for number in range(first, first + count)]


def refused(ended: Ended, words: str) -> bool:
    return (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1) and words in ended.err


# ---------------------------------------------------------------- standard input


def test_what_is_piped_in_is_imported_and_kept_for_its_owner_alone(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    inventory = delivery(simlift, 50)
    ended = piped(simlift, inventory, "run", "-", "--job", simlift.job(vendor.url), "--run-id", "piped")
    assert ended.code == 0, ended.err
    assert compare(simlift, "piped", vendor, keys(50)) == {"succeeded": 50}
    kept = simlift.runs / "piped" / "inventory.spooled"
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert simlift.summary("piped")["inventory"] == [str(kept)]


def test_a_piped_run_that_stopped_is_resumed_from_what_was_kept(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    inventory = delivery(simlift, 50)
    port = vendor.port
    vendor.kill()
    job = simlift.job(vendor.url)
    assert piped(simlift, inventory, "run", "-", "--job", job, "--run-id", "piped").code == 3
    inventory.unlink()
    vendor = start_vendor(port=port)
    assert simlift("resume", "piped").code == 0
    assert compare(simlift, "piped", vendor, keys(50)) == {"succeeded": 50}


def test_a_repeated_pipe_only_reports_and_another_one_is_refused(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    command = ("run", "-", "--job", simlift.job(vendor.url), "--run-id", "piped")
    inventory, other = delivery(simlift, 5), delivery(simlift, 5, 6, "other.csv")
    first = piped(simlift, inventory, *command)
    requests = vendor.requests
    kept = (simlift.runs / "piped" / "inventory.spooled").read_bytes()
    again = piped(simlift, inventory, *command)
    assert (again.code, again.out) == (first.code, first.out)
    assert refused(piped(simlift, other, *command), "run piped belongs to another inventory: -")
    assert refused(simlift(*command, warm=False), "belongs to another inventory")
    assert vendor.requests == requests
    assert (simlift.runs / "piped" / "inventory.spooled").read_bytes() == kept


def test_a_run_killed_while_it_takes_in_a_pipe_begins_anew(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    inventory = delivery(simlift, 400)
    command = ("run", "-", "--job", simlift.job(vendor.url), "--run-id", "piped")
    process, tap = pouring(simlift, *command)
    folder = simlift.runs / "piped"
    with os.fdopen(tap, "wb"):
        pour(tap, inventory.read_bytes()[:30_000])
        process.kill()
    assert [*folder.iterdir()] == []
    (folder / ".inventory.spooled.new").write_bytes(b"what was written down when it was killed later")
    assert refused(simlift("resume", "piped"), "no run 'piped'")
    assert piped(simlift, inventory, *command).code == 0
    assert compare(simlift, "piped", vendor, keys(400)) == {"succeeded": 400}
    assert not [*folder.glob(".*")]


def test_a_run_begins_once_however_many_begin_it(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    inventory = delivery(simlift, 20)
    command = ("run", "-", "--job", simlift.job(vendor.url), "--run-id", "piped")
    process, tap = pouring(simlift, *command)
    with os.fdopen(tap, "wb") as pipe:
        pour(tap, inventory.read_bytes()[:100])
        second = piped(simlift, delivery(simlift, 9, name="other.csv"), *command)
        pipe.write(inventory.read_bytes()[100:])
    assert refused(second, "is being begun by another process")
    assert process.end().code == 0
    assert compare(simlift, "piped", vendor, keys(20)) == {"succeeded": 20}


def test_an_interrupted_pipe_leaves_nothing_behind(simlift: Program) -> None:
    process, tap = pouring(simlift, "run", "-", "--job", simlift.job(NOBODY_URL), "--run-id", "piped")
    with os.fdopen(tap, "wb"):
        pour(tap, b"iccid")
        process.signal(signal.SIGTERM)
        assert process.end().code == 143
    assert not simlift.runs.exists()


def test_a_hopeless_pipe_leaves_nothing_behind(simlift: Program) -> None:
    (simlift.folder / "junk").write_bytes(bytes(range(256)) * 9)
    ended = piped(simlift, simlift.folder / "junk", "run", "-", "--job", simlift.job(NOBODY_URL))
    assert refused(ended, "standard input: is not a text table")
    assert refused(simlift("run", "-", "--job", "job.toml", warm=False), "standard input: is empty")
    bare = delivery(simlift, 0)
    ended = piped(simlift, bare, "run", "-", "--job", "job.toml")
    assert refused(ended, "standard input: has a header but no rows; nothing to import")
    assert not simlift.runs.exists()


def test_a_pipe_that_is_cut_off_is_refused_as_a_whole(simlift: Program, quiet_vendor: Vendor) -> None:
    packed = gzip.compress(delivery(simlift, 5000).read_bytes())
    (simlift.folder / "cut.gz").write_bytes(packed[:-20])
    requests = quiet_vendor.requests
    job = simlift.job(quiet_vendor.url)
    ended = piped(simlift, simlift.folder / "cut.gz", "run", "-", "--job", job)
    assert refused(ended, "standard input: the gzip data is cut off at byte")
    assert not simlift.runs.exists()
    assert quiet_vendor.requests == requests


def test_a_pipe_for_which_the_disk_has_no_room_leaves_nothing_behind(simlift: Program) -> None:
    with delivery(simlift, 400).open("rb") as pipe:
        job = simlift.job(NOBODY_URL)
        ended = simlift("run", "-", "--job", job, "--run-id", "piped", stdin=pipe, before=small_disk)
    assert refused(ended, f"{simlift.runs}/piped: cannot be written: File too large; make room"), ended
    assert not simlift.runs.exists()


def small_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_quantity_that_is_wrong_in_a_pipe_is_told_before_a_run_begins(simlift: Program) -> None:
    content = simlift.folder / "content"
    row = " ".join(inventories.row(1)).replace("LPA:", "")
    content.write_text(f"Quantity: 2\nvar_out: {'/'.join(inventories.HEADER)}\n{row}\n", "utf-8")
    job = simlift.job(NOBODY_URL, rest='[input]\nformat = "out"\n')
    ended = piped(simlift, content, "run", "-", "--job", job)
    assert refused(ended, "standard input: batch 1 says Quantity 2 and has 1 row"), ended
    assert not simlift.runs.exists()


def test_a_workbook_of_which_a_sheet_would_not_be_read_stops_a_run_until_one_is_chosen(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    cover, data = [("Delivery", "7"), ("Customer", "Footel")], [inventories.HEADER, *inventories.rows(20)]
    path = simlift.folder / "delivery.xlsx"
    path.write_bytes(workbook(("Cover", cover), ("SIMs", data)))
    job = simlift.job(vendor.url)
    words = f'{path}: only "SIMs" would be read, not "Cover"; say which sheet is meant with [input] sheet ='
    checked, stopped = simlift.together(("check", path, "--job", job), ("run", path, "--job", job))
    assert checked.code == 1, checked
    assert words in checked.out
    assert refused(stopped, words), stopped
    assert not simlift.runs.exists()
    assert vendor.requests == 0
    chosen = simlift.job(vendor.url, name="chosen.toml", rest='[input]\nsheet = "SIMs"\n')
    assert simlift("check", path, "--job", chosen).code == 0
    assert simlift("run", path, "--job", chosen).code == 0
    assert vendor.held == 20


def test_an_archive_is_piped_in_and_resumed_member_by_member(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    port = vendor.port
    vendor.kill()
    for name, first in (("b.csv", 31), ("a.csv", 1)):
        inventories.write(simlift.folder / name, [*inventories.rows(30, first), ("1", "2")])
    archive = archive_of("b.csv", "a.csv", folder=simlift.folder)
    command = ("run", "-", "--job", simlift.job(vendor.url), "--run-id", "zipped")
    assert piped(simlift, archive, *command).code == 3
    names = [f"{simlift.runs}/zipped/inventory.spooled!{name}" for name in ("a.csv", "b.csv")]
    assert simlift.summary("zipped")["inventory"] == names
    vendor = start_vendor(port=port)
    assert piped(simlift, archive, *command).code == 1
    assert simlift.summary("zipped")["counts"]["succeeded"] == vendor.held == 60
    reason = ": has 2 cells where the header has 6"
    assert reasons(simlift, "zipped") == [("31", f"a.csv:31{reason}"), ("62", f"b.csv:31{reason}")]
    assert simlift("resume", "zipped").code == 1


def test_what_is_piped_in_as_a_workbook_fails_as_one_and_is_known_again_when_it_is_mended(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    job = simlift.job(vendor.url, rest='[input]\nformat = "xlsx"\n')
    lines: list[list[Any]] = [list(inventories.HEADER), *(list(row) for row in inventories.rows(4))]
    lines[2][5], lines[3][0] = "", int(lines[3][0])
    content = simlift.folder / "content"
    content.write_bytes(workbook(("Profiles", lines)))
    assert piped(simlift, content, "run", "-", "--job", job, "--run-id", "first").code == 1
    assert reasons(simlift, "first") == [("2", "row 2"), ("3", "row 3")]
    assert "number" in simlift.outcomes("first")[2]["reason"]
    assert (simlift.runs / "first" / "failures.xlsx").exists()

    failures = (simlift.runs / "first" / "failures.csv").read_text("utf-8")
    mended = failures.replace(",,rejected", ",iot,rejected")
    content.write_text(mended, "utf-8")
    job = simlift.job(vendor.url)
    ended = piped(simlift, content, "run", "-", "--job", job, "--run-id", "second")
    assert "  corrects run first\n" in ended.out


def test_a_run_that_an_older_simlift_began_with_a_pipe_goes_on(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    port = vendor.port
    vendor.kill()
    inventory = delivery(simlift, 30)
    kept = simlift.runs / "old" / "inventory"
    kept.parent.mkdir(0o700, parents=True)
    kept.write_bytes(inventory.read_bytes())
    job = simlift.job(vendor.url)
    assert simlift("run", kept, "--job", job, "--run-id", "old").code == 3
    assert simlift.summary("old")["inventory"] == [str(kept)], "as it was written down then"
    command = ("run", "-", "--job", job, "--run-id", "old")
    assert refused(piped(simlift, delivery(simlift, 9, name="other.csv"), *command), "another inventory")
    assert piped(simlift, inventory, *command).code == 3
    vendor = start_vendor(port=port)
    assert simlift("resume", "old").code == 0
    assert compare(simlift, "old", vendor, keys(30)) == {"succeeded": 30}


def test_a_damaged_spool_is_told_in_one_line(simlift: Program) -> None:
    inventory = delivery(simlift, 30)
    job = simlift.job(NOBODY_URL)
    assert piped(simlift, inventory, "run", "-", "--job", job, "--run-id", "piped").code == 3
    kept = simlift.runs / "piped" / "inventory.spooled"
    whole = kept.read_bytes()
    for content, words in (
        (whole[:-1], "run piped belongs to another inventory"),
        (whole[:30], f"{kept}: is no sound spool: it is cut off"),
        (None, f"{kept}: no such file"),
    ):
        kept.unlink()
        if content is not None:
            kept.write_bytes(content)
        assert refused(simlift("resume", "piped"), words)


def test_a_terminal_is_no_inventory(simlift: Program) -> None:
    master, slave = os.openpty()
    with os.fdopen(master, "rb"), os.fdopen(slave, "rb") as terminal:
        job = simlift.job(NOBODY_URL)
        for command in ("run", "check"):
            ended = simlift(command, "-", "--job", job, stdin=terminal)
            assert refused(ended, "nothing is piped in (standard input is a terminal)")
    assert not simlift.runs.exists()


def test_a_pipe_is_an_inventory_by_itself(simlift: Program) -> None:
    inventory = delivery(simlift, 1)
    ended = simlift("check", inventory, "-", "--job", simlift.job(NOBODY_URL))
    assert refused(ended, "standard input is an inventory by itself")


def test_check_reads_a_pipe_and_keeps_nothing_of_it(simlift: Program) -> None:
    scratch = simlift.folder / "scratch"
    scratch.mkdir()
    inventory = delivery(simlift, 7)
    ended = simlift_with(simlift, inventory, scratch)
    assert ended.code == 0, ended.err
    assert "7 rows read" in ended.out
    assert not [*scratch.iterdir()]


def simlift_with(simlift: Program, inventory: Path, scratch: Path) -> Ended:
    with inventory.open("rb") as pipe:
        job = simlift.job(NOBODY_URL)
        return simlift("check", "-", "--job", job, stdin=pipe, environment={"TMPDIR": str(scratch)})


# ---------------------------------------------------------------- several files


def bad(number: int) -> list[tuple[str, ...]]:
    """Give three rows: a good one, one of a bad IMEI, one more good one."""
    good = inventories.rows(2, number)
    return [good[0], inventories.row(number + 2, imei="x"), good[1]]


def reasons(simlift: Program, run_id: str) -> list[tuple[str, str]]:
    lines = simlift.outcomes(run_id)
    return [(line["position"], line["reason"].partition(",")[0]) for line in lines if line["reason"]]


def test_rows_of_a_folder_are_named_by_file_and_counted_over_all(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    folder = simlift.folder / "in"
    folder.mkdir()
    inventories.write(folder / "b.csv", [*bad(11), ("1", "2"), inventories.row(11)])
    inventories.write(folder / "a.csv", bad(1))
    job = simlift.job(vendor.url)
    assert simlift("run", folder, "--job", job, "--run-id", "folder").code == 1
    assert reasons(simlift, "folder") == [
        ("2", "a.csv:2"),
        ("5", "b.csv:2"),
        ("7", "b.csv:4: has 2 cells where the header has 6"),
        ("8", "b.csv:5: the same key stood in b.csv:1"),
    ]
    assert simlift("run", folder / "a.csv", "--job", job, "--run-id", "alone").code == 1
    assert ("2", "row 2") in reasons(simlift, "alone")


def test_an_archive_is_imported_and_resumed_member_by_member(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    port = vendor.port
    vendor.kill()
    for name, first in (("b.csv", 31), ("a.csv", 1)):
        delivery(simlift, 30, first, name)
    archive_of("b.csv", "a.csv", folder=simlift.folder)
    for name in ("a.csv", "b.csv"):
        (simlift.folder / name).unlink()
    job = simlift.job(vendor.url)
    assert simlift("run", "in.zip", "--job", job, "--run-id", "zipped").code == 3
    names = [f"{simlift.folder}/in.zip!{name}" for name in ("a.csv", "b.csv")]
    assert simlift.summary("zipped")["inventory"] == names
    vendor = start_vendor(port=port)
    assert simlift("resume", "zipped").code == 0
    assert compare(simlift, "zipped", vendor, keys(60)) == {"succeeded": 60}
    assert [*simlift.folder.rglob("a.csv")] == []


# ---------------------------------------------------------------- databases


def database(path: Path, rows: Sequence[Sequence[str]]) -> str:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        columns = ", ".join(f"{name} TEXT" for name in inventories.HEADER)
        connection.execute(f"CREATE TABLE sim ({columns}, ki TEXT)")
        connection.executemany(
            "INSERT INTO sim VALUES (?, ?, ?, ?, ?, ?, '5EC2E7K1')", [tuple(row) for row in rows]
        )
        connection.commit()
    return f"sqlite:///{path}"


def asking(query: str) -> dict[str, Any]:
    return {"rest": f'[input]\nquery = "{query}"\n'}


def test_a_run_keeps_to_what_the_database_first_answered(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    port = vendor.port
    vendor.kill()
    address = database(simlift.folder / "sims.db", inventories.rows(30))
    job = simlift.job(vendor.url, **asking("SELECT * FROM sim"))
    command = ("run", address, "--job", job, "--run-id", "asked")
    assert simlift(*command).code == 3
    kept = simlift.runs / "asked" / "inventory.arrow"
    assert kept.stat().st_mode & 0o777 == 0o600
    database(simlift.folder / "sims.db", inventories.rows(99, 1000))
    vendor = start_vendor(port=port)
    assert simlift(*command).code == 0
    assert compare(simlift, "asked", vendor, keys(30)) == {"succeeded": 30}
    assert simlift("resume", "asked").code == 0
    found = b"".join(path.read_bytes() for path in kept.parent.iterdir())
    assert b"5EC2E7K1" not in found
    with pa.ipc.open_file(kept) as answer:
        assert answer.schema.names == list(inventories.HEADER)
        assert "5EC2E7K1" not in repr(answer.read_all().to_pylist())

    other = database(simlift.folder / "other.db", inventories.rows(30))
    assert refused(simlift("run", other, *command[2:]), "belongs to another inventory")
    job = simlift.job(vendor.url, **asking("SELECT * FROM sim LIMIT 30"))
    assert refused(simlift(*command), "run asked belongs to another inventory")


def test_a_number_in_a_column_of_identifiers_is_rejected_from_a_database_too(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    address = database(simlift.folder / "sims.db", inventories.rows(2))
    query = "SELECT CAST(iccid AS INTEGER) AS iccid, eid, imei, ac, apn FROM sim"
    ended = simlift("check", address, "--job", simlift.job(quiet_vendor.url, **asking(query)))
    assert ended.code == 1
    assert "2 rows read, 0 would be sent" in ended.out


def test_a_database_without_a_query_or_that_is_not_there_is_refused(simlift: Program) -> None:
    job = simlift.job(NOBODY_URL)
    for name, words in (
        ("sqlite:///sims.db", "say what to read with [input] query"),
        (f"postgresql://me:{SECRET}@127.0.0.1:9/db", "env:NAME"),
        ("env:SIMS", "say what to read"),
    ):
        environment = {"SIMS": f"postgresql://me:{SECRET}@127.0.0.1:9/db"}
        for command in ("run", "check"):
            ended = simlift(command, name, "--job", job, environment=environment)
            assert refused(ended, words), ended
            assert SECRET not in ended.err
    job = simlift.job(NOBODY_URL, **asking("SELECT 1"))
    ended = simlift("run", "env:SIMS", "--job", job, environment=environment)
    assert refused(ended, "env:SIMS: cannot be read: connection failed"), ended
    assert SECRET not in ended.err
    assert not simlift.runs.exists()
