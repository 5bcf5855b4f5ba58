"""Keys of a SIM factory's file: whatever happens to a run, none is found in its folder or in what it says."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sqlite3
import stat
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import inventories
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from books import compare
from waiting import until

from pipeline.inventory import open_inventory
from pipeline.ledgers.packing import unpack_keys
from pipeline.settings import Input

sys.path.insert(0, str(Path(__file__).parent.parent))
from workbooks import workbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from program import Ended, Process, Program
    from vendors import Vendor

MARK = "5EC2E7"  # in every key, PIN and code, over and over
KEYS = (
    *("PIN1", "PUK1", "PIN2", "PUK2", "ADM1", "ADM2", "KI", "OPC", "KIC", "KID", "KIC1", "KID1", "KIK1"),
    *("ENC_KI", "Transport_Key", "Code_Retailer", "Code_ADM", "ACC"),
)
COLUMNS = ("ICCID", "IMSI", *KEYS[:7], "EID", "Access_Control", *KEYS[7:], "IMEI", "AC", "CC", "APN")
NAMES = "/".join(name.replace("Code_", "Code ") for name in COLUMNS)
WARN = '[input]\nquantity = "warn"\n'


def key(number: int) -> str:
    """Give 32 hexadecimal digits, as a Ki has."""
    return MARK * 4 + f"{number:08X}"


def cells(number: int) -> list[str]:
    """Give the n-th row; all its keys differ."""
    named = dict(zip(inventories.HEADER, inventories.row(number), strict=True))
    named |= {"imsi": f"26201{number:010}", "access_control": "0001"}
    keys = {name.lower(): key(number * 100 + index) for index, name in enumerate(KEYS)}
    return [(named | keys)[name.lower()] for name in COLUMNS]


def delivery(path: Path, lines: Iterable[str | bytes], *, quantity: int) -> Path:
    """Write an OUT file."""
    path.write_bytes(written(lines, quantity=quantity))
    return path


def written(lines: Iterable[str | bytes], *, quantity: int) -> bytes:
    """Give an OUT file whose header holds keys as well."""
    header = (
        "*HEADER DESCRIPTION",
        "*" * 39,
        "Customer        : Footel",
        f"Quantity        : {quantity}",
        f"Transport_key   : {key(1)}",
        f"OP Key          : {key(2)}",
        "*" * 39,
        "*INPUT VARIABLES",
        f"var_In: ICCID/KI\n8900000000000000003 {key(3)}",
        "*OUTPUT VARIABLES",
        f"var_out: {NAMES}",
    )
    whole = [line if isinstance(line, bytes) else line.encode() for line in (*header, *lines)]
    return b"\n".join(whole) + b"\n"


def rows(count: int, parted_by: str = " ") -> list[str]:
    return [parted_by.join(cells(number)) for number in range(1, count + 1)]


def unpacked(spool: Path) -> str:
    """Give all that a compressed spool holds."""
    sources = open_inventory([str(spool)], Input()).sources
    chunks = [chunk for source in sources for chunk in source.chunks()]
    assert chunks
    beside = [(source.header, source.findings, vars(source)) for source in sources]
    return repr([beside, chunks, [chunk.rows.to_pylist() for chunk in chunks]])


def assert_no_key(simlift: Program, *ended: Ended, inventory: Path | None = None) -> None:
    """Search all that was said and all files of the test but the inventory, the ledger's log among them."""
    for end in ended:
        assert MARK not in (end.out + end.err).upper()
    files = [path for path in simlift.folder.rglob("*") if path.is_file() and path != inventory]
    for path in files:
        assert MARK.encode() not in path.read_bytes().upper(), f"a key stands in {path}"
        if path.suffix == ".spooled":
            assert MARK not in unpacked(path).upper(), f"a key stands in {path}"
    for path in files:
        if path.name == "ledger.sqlite":
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as ledger:
                packed = ledger.execute("SELECT keys, items FROM batch").fetchall()
            assert MARK not in repr([unpack_keys(*batch).to_pylist() for batch in packed]).upper()


BROKEN: list[str | bytes] = [
    " ".join(cells(101)[:-1]),
    " ".join([*cells(102), key(5)]),
    f"8935711000000000103 {key(6)}",
    key(7),
    " ".join(cells(104)).replace("26201", "\xfc").encode("latin-1"),
    " ".join(cells(105)).replace(MARK, "\xfc" + MARK, 1).encode("latin-1"),
    f"Transport_key: {key(8)}",
    f"KI={key(9)}, IMSI 2",
    ",".join(cells(106)),
    " ".join(cells(107)) + " " + key(10) * 40_000,
    f'"{key(11)}',
]
AFTER_THE_END: list[str | bytes] = ["*" * 39, " ".join(cells(108)), key(12), f"Transport_key: {key(13)}"]
REJECTED = [
    " ".join(cells(109)).replace(inventories.iccid(109), "8.93571E+18"),
    " ".join(cells(110)).replace("8904903212345123455829", "none"),
]


@pytest.mark.parametrize("parted_by", [" ", ",", "   "], ids=["blank", "comma", "blanks"])
def test_a_run_leaves_no_key_behind(
    simlift: Program, start_vendor: Callable[..., Vendor], parted_by: str
) -> None:
    refused = inventories.iccid(5)
    vendor = start_vendor(
        faults=f'fault = [{{ kind = "refuse_items", iccids = ["{refused}"] }}, '
        '{ kind = "cut_after_commit", requests = [2] }]'
    )
    inventory = delivery(simlift.folder / "batch.out", rows(90, parted_by), quantity=90)
    job = simlift.job(vendor.url)
    ended = simlift("run", inventory, "--job", job, "--run-id", "sent")
    assert ended.code == 1, ended
    counts = compare(simlift, "sent", vendor, [cells(number)[0] for number in range(1, 91)])
    assert (counts["refused"], counts["succeeded"] + counts["confirmed"]) == (1, 89)
    (failure,) = simlift.failures("sent")
    assert "IMSI" not in failure  # nobody needs it
    assert not set(failure) & {*KEYS, "Code Retailer", "Code ADM"}

    commands = (
        ("check", inventory, "--job", job), ("check", inventory, "--job", job, "--json"), ("status", "sent"),
        ("report", "sent"), ("trace", refused), ("resume", "sent"), ("retry", "sent"),
    )  # fmt: skip
    assert_no_key(simlift, ended, *simlift.together(*commands), inventory=inventory)


def test_broken_and_rejected_rows_leave_no_key_behind(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    lines = [*rows(20), *BROKEN, *REJECTED, *AFTER_THE_END]
    inventory = delivery(simlift.folder / "batch.out", lines, quantity=99)
    job = simlift.job(vendor.url, rest=WARN)
    ended = simlift("run", inventory, "--job", job, "--run-id", "broken")
    checked = simlift("check", inventory, "--job", job, "--json")

    assert (ended.code, checked.code) == (1, 1), (ended, checked)
    counts = simlift.summary("broken")["counts"]
    assert (counts["succeeded"], counts["rejected"]) == (20, len(BROKEN) + len(REJECTED) + 2)
    assert vendor.held == 20
    withheld = [failure["simlift_raw"] for failure in simlift.failures("broken") if failure["simlift_raw"]]
    assert withheld == ["(withheld: OUT files hold keys)"] * (len(BROKEN) + 2)
    (finding,) = json.loads(checked.out)["findings"]
    assert finding["code"] == "quantity"
    assert "quantity" in "".join(str(entry) for entry in simlift.log("broken"))
    assert_no_key(simlift, ended, checked, inventory=inventory)


def test_a_wrong_quantity_stops_a_run_before_it_begins_unless_it_only_warns(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    inventory = delivery(simlift.folder / "batch.out", rows(20), quantity=21)
    reject, warn = simlift.job(vendor.url), simlift.job(vendor.url, name="warn.toml", rest=WARN)

    stopped = simlift("run", inventory, "--job", reject, "--run-id", "wrong")
    assert (stopped.code, stopped.out) == (2, "")
    assert stopped.err.startswith(f"simlift: {inventory}: batch 1 says Quantity 21 and has 20 rows")
    assert stopped.err.count("\n") == 1
    assert not simlift.runs.exists()
    assert vendor.requests == 0

    checked, only_warned = simlift.together(
        ("check", inventory, "--job", reject), ("check", inventory, "--job", warn)
    )
    assert (checked.code, only_warned.code) == (1, 0)
    for ended in (checked, only_warned):
        assert "finding: 1 x quantity" in ended.out
        assert "batch 1 says Quantity 21 and has 20 rows" in ended.out

    ended = simlift("run", inventory, "--job", warn, "--run-id", "warned")
    assert ended.code == 0, ended
    assert vendor.held == 20
    assert simlift("resume", "warned").code == 0
    assert_no_key(simlift, stopped, checked, only_warned, ended, inventory=inventory)


def test_a_run_killed_in_the_middle_leaves_no_key_behind_and_goes_on(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "hang", commit = true, requests = [3, 4] }]')
    lines = [*rows(60)[:30], *BROKEN, *rows(60)[30:]]
    inventory = delivery(simlift.folder / "batch.out", lines, quantity=len(lines))
    job = simlift.job(vendor.url, batch_items=10, concurrency=2)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "killed")
    until(lambda: vendor.requests, lambda seen: seen >= 4, "four requests")
    process.kill()
    assert list((simlift.runs / "killed").glob("ledger.sqlite-wal")), "the log of the ledger is searched too"
    assert_no_key(simlift, inventory=inventory)

    ended = simlift("resume", "killed")
    assert ended.code == 1, ended
    counts = simlift.summary("killed")["counts"]
    assert (counts["succeeded"] + counts["confirmed"], counts["rejected"]) == (60, len(BROKEN))
    assert vendor.held == 60
    assert_no_key(simlift, ended, inventory=inventory)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace(b"var_out", b"variables"), "no var_out line names the columns"),
        (lambda text: text.replace(b"var_out: ICCID", b"var_out: ICC\xff"), "is not UTF-8 text"),
        (lambda text: text.replace(b"var_out: ICCID", b"var_out: SERIAL"), "no column for iccid"),
        (lambda text: text + b"var_out: KI/ICCID\n" + key(14).encode(), "names other columns than the first"),
        (lambda text: text[:900], "says Quantity 5 and has 1 row"),
        (lambda text: b"-----BEGIN PGP MESSAGE-----\n\n" + text, "gpg -d"),
    ],
    ids=["no-names", "names-no-text", "no-iccid", "other-names", "cut", "encrypted"],
)
def test_a_refusal_shows_no_key(
    simlift: Program, quiet_vendor: Vendor, damage: Callable[[bytes], bytes], words: str
) -> None:
    inventory = delivery(simlift.folder / "batch.out", rows(5), quantity=5)
    inventory.write_bytes(damage(inventory.read_bytes()))
    job = simlift.job(quiet_vendor.url)
    ran, checked = simlift.together(("run", inventory, "--job", job), ("check", inventory, "--job", job))
    assert ran.code == 2, ran
    assert words in ran.err
    assert_no_key(simlift, ran, checked, inventory=inventory)


def test_a_file_with_nothing_but_identifiers_and_keys_says_what_the_vendor_needs(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    inventory = simlift.folder / "batch.out"
    inventory.write_text(
        f"*OUTPUT VARIABLES\nvar_Out: ICCID/IMSI/KI\n8900000000000000003F 001010000000001 {key(1)}\n", "utf-8"
    )
    ended = simlift("check", inventory, "--job", simlift.job(quiet_vendor.url))
    assert (ended.code, ended.out) == (2, "")
    assert "no column for eid" in ended.err
    assert ended.err.endswith('The file has: "ICCID"; and under no known name: "IMSI"\n')
    assert_no_key(simlift, ended, inventory=inventory)


# ---------------------------------------------------------------- through a pipe

GOOD = 20
NO_TEXT = "262010\xfc".encode("latin-1")


def good(first: int) -> list[list[str]]:
    return [cells(number) for number in range(first, first + GOOD)]


def out(parted_by: str, broken: list[str | bytes]) -> Callable[[int], tuple[bytes, int]]:
    def write(first: int) -> tuple[bytes, int]:
        lines = [*(parted_by.join(row) for row in good(first)), *broken]
        return written(lines, quantity=len(lines)), len(broken)

    return write


def as_csv(first: int) -> tuple[bytes, int]:
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *good(first), [*cells(101), key(5)], [key(6)]])
    no_text = ",".join(cells(102)).encode().replace(b"26201", NO_TEXT)
    return text.getvalue().encode() + no_text + b'\n"' + key(7).encode() + b"\n", 4


def as_json(first: int) -> tuple[bytes, int]:
    objects = [dict(zip(COLUMNS, row, strict=True)) | {"More": {"ki": key(5)}} for row in good(first)]
    lines = [json.dumps(each) for each in objects]
    broken = [lines[0][:-20], json.dumps(key(6)), json.dumps([key(7)]), f'{{"ICCID": "1", "KI": "{key(8)}"']
    return "\n".join([*lines, *broken]).encode(), len(broken)


def as_xlsx(first: int) -> tuple[bytes, int]:
    return workbook(("Profiles", [COLUMNS, *good(first), [*cells(101), None, key(5)]])), 1


def table(first: int) -> pa.Table:
    columns = dict(zip(COLUMNS, zip(*good(first), cells(101), strict=True), strict=True))
    arrays = {name: pa.array(column) for name, column in columns.items()}
    imsi = [*(number.encode() for number in columns["IMSI"][:-1]), NO_TEXT]
    return pa.table(arrays | {"IMSI": pa.array(imsi, pa.binary()).view(pa.string())})


def as_arrow(first: int) -> tuple[bytes, int]:
    packed = io.BytesIO()
    with pa.ipc.new_file(packed, table(first).schema) as writer:
        writer.write_table(table(first))
    return packed.getvalue(), 1


def as_parquet(first: int) -> tuple[bytes, int]:
    packed = io.BytesIO()
    pq.write_table(table(first), packed, compression="none")
    return packed.getvalue(), 1


def zipped(name: str, write: Callable[[int], tuple[bytes, int]]) -> Callable[[int], tuple[bytes, int]]:
    def pack(first: int) -> tuple[bytes, int]:
        content, broken = write(first)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        return packed.getvalue(), broken

    return pack


FORMS: dict[str, Callable[[int], tuple[bytes, int]]] = {
    "out, blank": out(" ", BROKEN),
    "out, comma": out(",", [",".join(cells(101)[:-1]), key(5), f"{key(6)},{key(7)}"]),
    "out, blanks": out("   ", BROKEN),
    "csv": as_csv,
    "csv.gz": lambda first: (gzip.compress(as_csv(first)[0]), 4),
    "json lines": as_json,
    "xlsx": as_xlsx,
    "zipped xlsx": zipped("batch.xlsx", as_xlsx),
    "arrow": as_arrow,
    "parquet": as_parquet,
    "zipped parquet": zipped("batch.parquet", as_parquet),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_piped_in_leaves_no_key_behind(simlift: Program, quiet_vendor: Vendor, form: str) -> None:
    content, broken = FORMS[form](1001 + 100 * [*FORMS].index(form))
    inventory = simlift.folder / "content"
    inventory.write_bytes(content)
    (simlift.folder / "scratch").mkdir()
    job = simlift.job(quiet_vendor.url)
    ran, checked = (
        process.end()
        for process in [
            piped(simlift, inventory, "run", "-", "--job", job, "--run-id", "piped"),
            piped(simlift, inventory, "check", "-", "--job", job, "--out", simlift.folder / "checked"),
        ]
    )
    assert (ran.code, checked.code) == (1, 1), (ran, checked)
    assert f"{GOOD + broken} rows read, {GOOD} would be sent" in checked.out
    counts = simlift.summary("piped")["counts"]
    assert (counts["succeeded"], counts["rejected"]) == (GOOD, broken)
    assert not set(simlift.failures("piped")[0]) & {*KEYS, "Code Retailer", "Code ADM"}
    more = simlift.together(("resume", "piped"), ("report", "piped"), ("trace", "piped"))
    assert [*(simlift.folder / "scratch").iterdir()] == []
    assert_no_key(simlift, ran, checked, *more, inventory=inventory)


def piped(simlift: Program, content: Path, *arguments: str | Path) -> Process:
    environment = {"TMPDIR": str(simlift.folder / "scratch")}
    with content.open("rb") as pipe:
        return simlift.start(*arguments, stdin=pipe, environment=environment)


def opened_by(process: Process) -> list[bytes]:
    """Give what is in the files that a process has open, also in those without a name."""
    found = []
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if stat.S_ISREG(descriptor.stat().st_mode):
                found.append(descriptor.read_bytes())
    return found


def test_a_piped_run_shows_no_key_on_disk_while_it_runs_nor_after_its_death(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "hang", commit = true, requests = [3, 4] }]')
    content = written([*rows(60), *BROKEN], quantity=60 + len(BROKEN))
    job = simlift.job(vendor.url, batch_items=10, concurrency=2)
    mouth, tap = os.pipe()
    process = simlift.start("run", "-", "--job", job, "--run-id", "killed", stdin=mouth)
    os.close(mouth)
    with os.fdopen(tap, "wb") as pipe:
        half = len(content) // 2
        pipe.write(content[:half])
        pipe.flush()
        found = until(
            lambda: opened_by(process), lambda found: max(map(len, found), default=0) >= half, "the half"
        )
        assert not any(MARK.encode() in each.upper() for each in found)
        assert_no_key(simlift)
        pipe.write(content[half:])
    until(lambda: vendor.requests, lambda seen: seen >= 4, "four requests")
    assert not any(MARK.encode() in each.upper() for each in opened_by(process))
    process.kill()
    assert (simlift.runs / "killed" / "inventory.spooled").exists()
    assert_no_key(simlift)

    ended = simlift("resume", "killed")
    assert ended.code == 1, ended
    counts = simlift.summary("killed")["counts"]
    assert (counts["succeeded"] + counts["confirmed"], counts["rejected"]) == (60, len(BROKEN))
    assert vendor.held == 60
    assert_no_key(simlift, ended)
