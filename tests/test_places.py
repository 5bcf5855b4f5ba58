"""What a name means: files, folders, patterns, archives, and addresses far away."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pipeline import archives
from pipeline.errors import InventoryError
from pipeline.inventory import open_inventory
from pipeline.places import files_at
from pipeline.plugins import installed
from pipeline.settings import Input

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CSV = b"iccid,apn\n1,iot\n"


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CSV)
    return folder


def names_at(name: str | Path, start: str | Path = "") -> list[str]:
    names = [file.name for file in files_at(str(name))]
    for each in names:
        assert [file.name for file in files_at(each)] == [each], "a file is found again by its name"
    return [each.removeprefix(str(start)).lstrip("/") for each in names]


def refusal(name: str | Path) -> str:
    with pytest.raises(InventoryError) as raised:
        list(files_at(str(name)))
    assert str(raised.value).isprintable()
    return str(raised.value)


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def contents_of(name: str | Path) -> dict[str, bytes]:
    found = {}
    for file in files_at(str(name)):
        with closing(file.open()) as stream:
            found[file.name.rpartition("!")[2]] = stream.read()
    return found


# ---------------------------------------------------------------- on this machine


def test_a_file_is_itself_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, "a.csv")
    monkeypatch.chdir(tmp_path)
    assert names_at("a.csv") == [str(tmp_path / "a.csv").lstrip("/")]


def test_a_folder_is_all_files_in_it_and_below_by_their_paths(tmp_path: Path) -> None:
    lay(tmp_path, "b.csv", "a/2.csv", "a/1.csv", "a-1.csv", ".hidden.csv", ".git/x.csv", "c")
    assert names_at(tmp_path, tmp_path) == ["a/1.csv", "a/2.csv", "a-1.csv", "b.csv", "c"]


def test_what_a_run_wrote_is_no_inventory(tmp_path: Path) -> None:
    lay(tmp_path, "a.csv", "failures.csv", "runs/one/ledger.sqlite", "runs/one/failures.csv", "runs/one/x/y")
    lay(tmp_path, "a.csv.manifest.jsonl")
    assert names_at(tmp_path, tmp_path) == ["a.csv", "failures.csv"]
    lay(tmp_path / "runs/one", "inventory", "ledger.sqlite-wal", "lock", "failures.xlsx", "outcomes.csv")
    assert names_at(tmp_path / "runs/one", tmp_path / "runs/one") == ["inventory", "x/y"]


BESIDE = (
    *(
        "Thumbs.db",
        "desktop.ini",
        "~$a.xlsx",
        "a.csv.md5",
        "a.sha1",
        "a.SHA256",
        "a.sha512",
        "a.sig",
        "a.asc",
    ),
    *("a.tmp", "a.csv.part", "a.done", "Note.PDF", "SHA256SUMS", "MD5SUMS"),
)


def test_what_lies_beside_inventories_is_left_out_of_folders_patterns_and_archives(tmp_path: Path) -> None:
    lay(tmp_path / "in", "b.csv", *BESIDE, *(f"below/{name}" for name in BESIDE), "below/pdf", "md5.csv")
    assert names_at(tmp_path / "in", tmp_path / "in") == ["b.csv", "below/pdf", "md5.csv"]
    assert names_at(tmp_path / "in" / "*", tmp_path / "in") == ["b.csv", "below/pdf", "md5.csv"]
    (tmp_path / "x.zip").write_bytes(zipped({"d/b.csv": CSV} | dict.fromkeys(BESIDE, CSV)))
    assert names_at(tmp_path / "x.zip", tmp_path) == ["x.zip!d/b.csv"]


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_named_itself_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    lay(tmp_path, name)
    assert names_at(tmp_path / name, tmp_path) == [name]


@pytest.mark.parametrize("others", [["a.csv", "b.csv"], ["z.csv"]])
def test_a_file_without_a_needed_column_is_blamed_when_columns_differ(
    tmp_path: Path, others: list[str]
) -> None:
    lay(tmp_path, *others)
    (tmp_path / "README.txt").write_text("Dear customer,hello\nthis,is it\n")
    rules = installed("targets", "sim-express").rules
    with pytest.raises(InventoryError) as raised:
        open_inventory([str(tmp_path)], Input(), rules)
    assert str(raised.value) == (
        f'{tmp_path}/README.txt: has no column that is needed (it has "Dear customer", "hello"); '
        "leave it out: name the files or a pattern"
    )


@pytest.mark.parametrize("name", ["x.tgz", "x.tar", "x.csv"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_archive_is_refused_with_what_to_do(tmp_path: Path, name: str, form: int) -> None:
    lay(tmp_path, "a.csv")
    with tarfile.open(tmp_path / name, "w:gz" if name == "x.tgz" else "w", format=form) as archive:
        archive.add(tmp_path / "a.csv", "a.csv")
    with pytest.raises(InventoryError, match=r"is a tar archive; unpack it, or pack it as zip$"):
        open_inventory([str(tmp_path / name)], Input())


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    lay(tmp_path / "in", "a.csv")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    lay(tmp_path / "elsewhere", "b.csv")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    assert names_at(tmp_path / "in", tmp_path / "in") == ["a.csv", "linked/b.csv"]


def test_a_pattern_gives_what_fits_it_in_order(tmp_path: Path) -> None:
    lay(tmp_path, "d-2.csv.gz", "d-10.csv.gz", "d-1.csv", "d-3.csv.gz/x.csv")
    found = names_at(tmp_path / "d-*.csv.gz", tmp_path)
    assert found == ["d-10.csv.gz", "d-2.csv.gz", "d-3.csv.gz/x.csv"]
    assert names_at(tmp_path / "**" / "x.csv", tmp_path) == ["d-3.csv.gz/x.csv"]


def test_a_file_whose_name_looks_like_a_pattern_or_a_member_is_that_file(tmp_path: Path) -> None:
    lay(tmp_path, "d-[1].csv", "d-1.csv", "a!b.csv", "a")
    assert names_at(tmp_path / "d-[1].csv", tmp_path) == ["d-[1].csv"]
    assert names_at(tmp_path / "a!b.csv", tmp_path) == ["a!b.csv"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.csv", "gone.csv: no such file"),
        ("gone-*.csv", "no file fits this pattern"),
        ("empty", "holds no inventory files"),
        ("dangling", "no such file"),
        ("a.csv!b.csv", "no such file"),
        ("nul\0.csv", "holds characters that cannot be shown"),
        ("\udcff.csv", "holds characters that cannot be shown"),
        ("pipe", "is a pipe or device"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(tmp_path: Path, name: str, words: str) -> None:
    lay(tmp_path, "a.csv")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    assert words in refusal(f"{tmp_path}/{name}")


def test_an_empty_name_is_no_place() -> None:
    assert "no such file" in refusal("")


# ---------------------------------------------------------------- archives


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_every_member_of_an_archive_is_a_file_whatever_the_archive_is_called(
    tmp_path: Path, method: int
) -> None:
    inside = {"b.csv": CSV, "a/x.csv": CSV * 9, "../../tricky.csv": CSV, "/abs.csv": b"", "a/.DS_Store": b"x"}
    (tmp_path / "delivery").write_bytes(zipped({**inside, "__MACOSX/b.csv": b"x", "a/": b""}, method))
    found = names_at(tmp_path / "delivery", f"{tmp_path}/delivery!")
    assert found == ["../../tricky.csv", "abs.csv", "a/x.csv", "b.csv"]
    inside.pop("a/.DS_Store")
    assert contents_of(tmp_path / "delivery") == inside
    assert [file.bytes_total for file in files_at(f"{tmp_path}/delivery!a/x.csv")] == [len(CSV) * 9]
    assert [path.name for path in tmp_path.iterdir()] == ["delivery"]


def test_members_are_read_side_by_side_and_compressed_ones_too(tmp_path: Path) -> None:
    rows = b"".join(b"%d,iot\n" % n for n in range(20_000))
    data = zipped({"1.csv": b"iccid,apn\n" + rows, "2.csv.gz": gzip.compress(b"iccid,apn\n" + rows)})
    (tmp_path / "in.zip").write_bytes(data)
    inventory = open_inventory([str(tmp_path / "in.zip")], Input())
    for one, two in zip(inventory.sources[0].chunks(), inventory.sources[1].chunks(), strict=True):
        assert one.rows == two.rows
    assert inventory.fingerprint() == open_inventory(list(inventory.names), Input()).fingerprint()


def test_archives_in_a_folder_are_opened_in_its_order(tmp_path: Path) -> None:
    lay(tmp_path, "c.csv", "a.csv")
    (tmp_path / "b.zip").write_bytes(zipped({"2.csv": CSV, "1.csv": CSV}))
    assert names_at(tmp_path, tmp_path) == ["a.csv", "b.zip!1.csv", "b.zip!2.csv", "c.csv"]


def test_a_spreadsheet_is_a_file_also_within_an_archive(tmp_path: Path) -> None:
    sheet = zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"})
    (tmp_path / "a.xlsx").write_bytes(sheet)
    (tmp_path / "b.zip").write_bytes(zipped({"a.xlsx": sheet}))
    assert names_at(tmp_path, tmp_path) == ["a.xlsx", "b.zip!a.xlsx"]
    assert contents_of(tmp_path / "b.zip") == {"a.xlsx": sheet}


def test_an_archive_within_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(zipped({"a.csv": CSV, "deep.bin": zipped({"b.csv": CSV})}))
    assert "in.zip!deep.bin: is an archive within an archive" in refusal(tmp_path / "in.zip")


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.csv": CSV}))
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags_at] |= 1
    (tmp_path / "in.zip").write_bytes(data)
    assert "in.zip!a.csv: is encrypted" in refusal(tmp_path / "in.zip")


def test_a_method_that_may_claim_any_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(zipped({"a.csv": CSV}, zipfile.ZIP_LZMA))
    assert "packed in an unusual way" in refusal(tmp_path / "in.zip")


def test_a_bomb_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.zip").write_bytes(zipped({"zeros.csv": bytes(1_000_000)}))
    assert names_at(tmp_path / "in.zip", f"{tmp_path}/in.zip!") == ["zeros.csv"]
    monkeypatch.setattr(archives, "HARMLESS_BYTES", 500_000)
    assert "would unpack from" in refusal(tmp_path / "in.zip")


def test_no_more_is_read_of_a_member_than_it_says_to_hold(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.csv": b"iccid\n" + b"1\n" * 500_000}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 100)
    (tmp_path / "in.zip").write_bytes(data)
    assert "the archive is damaged" in refusal(tmp_path / "in.zip")


def test_a_table_of_contents_without_end_is_refused_unread(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.csv": CSV}))
    at = data.index(b"PK\x05\x06")
    data[at + 12 : at + 16] = struct.pack("<I", 2**31)
    sparse = tmp_path / "in.zip"
    with sparse.open("wb") as file:
        file.write(data[:at])
        file.seek(2**31 + at)
        file.write(data[at:])
    assert "its table of contents is too long" in refusal(sparse)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    data = zipped({"a.csv": CSV, "b.csv": CSV}).replace(b"b.csv", b"a.csv")
    (tmp_path / "in.zip").write_bytes(data)
    assert "several files of one name" in refusal(tmp_path / "in.zip")


def test_an_archive_cut_off_anywhere_or_damaged_is_one_line(tmp_path: Path) -> None:
    whole = zipped({"a.csv": CSV * 50, "b/c.csv": CSV * 50})
    damaged = [whole[:cut] for cut in range(4, len(whole), 7)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(4, len(whole))]
    for number, data in enumerate(damaged):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        try:
            for source in open_inventory([str(path)], Input()).sources:
                list(source.chunks())
        except InventoryError as error:
            assert str(error).isprintable()  # noqa: PT017 - that none is raised is fine as well


def test_a_member_without_a_name_is_a_file_like_any_other(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), CSV)
    (tmp_path / "in.zip").write_bytes(packed.getvalue())
    assert contents_of(tmp_path / "in.zip") == contents_of(f"{tmp_path}/in.zip!") == {"": CSV}


def test_headers_that_contradict_one_another_are_not_quoted(tmp_path: Path) -> None:
    data = zipped({"a.csv": b"iccid,Ki\n8935711001000000007,5EC2E7K1\n"}, zipfile.ZIP_STORED)
    (tmp_path / "in.zip").write_bytes(data[:26] + b"\x28" + data[27:])  # a name that reaches into the rows
    assert "its headers contradict one another" in (words := refusal(tmp_path / "in.zip"))
    assert "Ki" not in words


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(zipped({"a/": b"", ".hidden": b""}))
    assert "an archive without files" in refusal(tmp_path / "in.zip")


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(zipped({"a.csv": CSV}))
    assert "in.zip!b.csv: no such file" in refusal(f"{tmp_path}/in.zip!b.csv")


# ---------------------------------------------------------------- far away

SECRET = "s3cr3t-p4ss"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run moto's S3 server as a process of its own on the loopback; give a client of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    with (
        log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
        pytest.MonkeyPatch.context() as patch,
    ):
        for key, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(key, value)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()  # noqa: S310 - on the loopback
                    break
                except OSError:
                    assert process.poll() is None, "the server ended"
                    time.sleep(0.05)
            client = boto3.client("s3", endpoint_url=url)
            client.create_bucket(Bucket="factory")
            for key in ("in/b.csv", "in/a.csv", "in/.hidden", "in/deep/c.csv", "one two.csv"):
                client.put_object(Bucket="factory", Key=key, Body=CSV)
            rows = b"".join(b"%d,iot\n" % n for n in range(1_000_000))
            client.put_object(Bucket="factory", Key="large.csv", Body=b"iccid,apn\n" + rows)
            client.put_object(Bucket="factory", Key="in.zip", Body=zipped({"x.csv": CSV, "y.csv": CSV}))
            yield client
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one two.csv", ["one two.csv"]),
        ("in", ["in/a.csv", "in/b.csv", "in/deep/c.csv"]),
        ("in/", ["in/a.csv", "in/b.csv", "in/deep/c.csv"]),
        ("in/[ab].csv", ["in/a.csv", "in/b.csv"]),
        ("in.zip", ["in.zip!x.csv", "in.zip!y.csv"]),
        ("in.zip!y.csv", ["in.zip!y.csv"]),
    ],
)
def test_files_folders_patterns_and_archives_lie_in_s3_too(s3: Any, name: str, found: list[str]) -> None:
    assert names_at(f"s3://factory/{name}", "s3://factory/") == found
    assert list(contents_of(f"s3://factory/{name}").values()) == [CSV] * len(found)


def test_a_large_file_in_s3_is_read_as_one_on_disk(s3: Any, tmp_path: Path) -> None:
    s3.download_file("factory", "large.csv", str(tmp_path / "large.csv"))
    far, near = (
        open_inventory([n], Input()) for n in ("s3://factory/large.csv", str(tmp_path / "large.csv"))
    )
    assert far.bytes_total == near.bytes_total
    assert far.fingerprint() == near.fingerprint()
    chunks = list(far.sources[0].chunks())
    assert chunks[-1].rows_read == 1_000_000
    assert chunks[-1].bytes_read == far.bytes_total


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("factory/gone.csv", "nothing is there"),
        ("nowhere/a.csv", "nothing is there"),
        ("", "names no bucket"),
    ],
)
def test_what_is_not_in_s3_is_said_in_one_line(s3: Any, name: str, words: str) -> None:
    said = refusal(f"s3://{name}")
    assert words in said
    assert SECRET not in said


def test_a_file_gone_from_s3_since_it_was_found_is_one_line(s3: Any) -> None:
    s3.put_object(Bucket="factory", Key="brief.csv", Body=CSV)
    (file,) = files_at("s3://factory/brief.csv")
    s3.delete_object(Bucket="factory", Key="brief.csv")
    with pytest.raises(InventoryError, match=r"^s3://factory/brief.csv: cannot be reached"):
        file.open()


def test_a_file_in_s3_that_changed_since_it_was_found_is_not_opened(s3: Any) -> None:
    s3.put_object(Bucket="factory", Key="brief.csv", Body=CSV)
    for name in ("brief.csv", "brie*"):
        (file,) = files_at(f"s3://factory/{name}")
        file.open().close()
        s3.put_object(Bucket="factory", Key="brief.csv", Body=CSV * len(name))
        with pytest.raises(InventoryError, match=r"^s3://factory/brief.csv: has changed since it was found"):
            file.open()
    s3.delete_object(Bucket="factory", Key="brief.csv")


def test_a_place_by_reference_is_named_by_the_reference(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELIVERY", "s3://factory/in/a.csv")
    assert names_at("env:DELIVERY") == ["env:DELIVERY"]
    monkeypatch.setenv("DELIVERY", "s3://factory/in")
    assert names_at("env:DELIVERY")[0] == "env:DELIVERY:factory/in/a.csv"
    assert names_at("env:DELIVERY:factory/one*") == ["env:DELIVERY:factory/one two.csv"]


@pytest.mark.parametrize(("value", "words"), [("", "is not set"), (f"just {SECRET}", "holds no address")])
def test_a_reference_to_no_address_is_said_without_its_value(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("DELIVERY", value)
    said = refusal("env:DELIVERY")
    assert words in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "name",
    [f"sftp://me:{SECRET}@host/in", f"https://host/in.csv?signature={SECRET}", f"ftp://me:{SECRET}@h/x"],
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(name: str) -> None:
    said = refusal(name)
    assert "env:NAME" in said
    assert SECRET not in said


def test_an_error_of_a_far_place_does_not_repeat_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELIVERY", f"ftp://me:{SECRET}@127.0.0.1:9/in")
    said = refusal("env:DELIVERY")
    assert said.startswith("env:DELIVERY: cannot be reached")
    assert SECRET not in said


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.sftp", raising=False)
    monkeypatch.setitem(sys.modules, "paramiko", None)
    assert "pip install 'simlift[sftp]'" in refusal("sftp://host/in.csv")
    monkeypatch.setitem(sys.modules, "adlfs", None)
    assert "needs a further package; install it" in refusal("abfs://container/in.csv")


@pytest.mark.parametrize("name", ["nosuch://host/x", "postgresql://host/db", "http://[bad/x"])
def test_an_address_of_no_file_system_is_one_line(name: str) -> None:
    assert "\n" not in refusal(name)
