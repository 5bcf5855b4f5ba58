"""Inventories behind sftp://: hosts that are believed, logins, and what a bad line does."""

from __future__ import annotations

import os
import socket
import zipfile
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import paramiko
import pytest
from sftp_server import PASSWORD, USER, SftpServer, sftp_server

from pipeline import far_files
from pipeline.errors import InventoryError
from pipeline.inventory import Inventory, open_inventory
from pipeline.places import files_at
from pipeline.settings import Input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CSV = b"iccid,apn\n1,iot\n"
LARGE_ROWS = 10_000
LARGE = b"iccid,apn\n" + b"".join(b"8935711%012d,%s\n" % (n, b"x" * 1_100) for n in range(LARGE_ROWS))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home of one's own, with an empty .ssh."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path / "home" / ".ssh"


@pytest.fixture
def strange(tmp_path: Path, home: Path) -> Iterator[SftpServer]:
    """Give a server that nobody knows yet."""
    folder = tmp_path / "served"
    for name in ("in/b.csv", "in/a.csv", "in/.hidden", "in/deep/c.csv", "one two#3.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(CSV)
    with zipfile.ZipFile(folder / "in.zip", "w") as archive:
        for name in ("x.csv", "y.csv"):
            archive.writestr(name, CSV)
    with sftp_server(folder) as server:
        yield server


@pytest.fixture
def server(strange: SftpServer, home: Path) -> SftpServer:
    """Give a server that is known, with a key that it takes."""
    (home / "known_hosts").write_text(strange.known_as(*strange.host_keys))
    strange.keys.append(paramiko.ECDSAKey.generate())
    strange.keys[0].write_private_key_file(str(home / "id_ecdsa"))
    return strange


@pytest.fixture
def large(server: SftpServer) -> Path:
    """Lay a file that takes several reads."""
    path = server.folder / "large.csv"
    path.write_bytes(LARGE)
    return path


def refusal(name: str) -> str:
    with pytest.raises(InventoryError) as raised:
        list(files_at(name))
    said = str(raised.value)
    assert said.isprintable()
    assert PASSWORD not in said
    assert quote(PASSWORD, safe="") not in said
    return said


def opened(server: SftpServer, name: str) -> Inventory:
    return open_inventory([f"{server.url}/{name}"], Input())


def read_until_refused(inventory: Inventory) -> tuple[int, str]:
    """Give the rows that came, and why no more did."""
    rows = 0
    try:
        for chunk in inventory.sources[0].chunks():
            rows = chunk.rows_read
    except InventoryError as error:
        return rows, str(error)
    pytest.fail(f"all {rows:,} rows came")


# ---------------------------------------------------------------- what lies there


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one two#3.csv", ["one two#3.csv"]),
        ("in", ["in/a.csv", "in/b.csv", "in/deep/c.csv"]),
        ("in/", ["in/a.csv", "in/b.csv", "in/deep/c.csv"]),
        ("in/[ab].csv", ["in/a.csv", "in/b.csv"]),
        ("in/?.csv", ["in/a.csv", "in/b.csv"]),
        ("in.zip", ["in.zip!x.csv", "in.zip!y.csv"]),
        ("in.zip!y.csv", ["in.zip!y.csv"]),
    ],
)
def test_files_folders_patterns_and_archives_lie_behind_sftp_too(
    server: SftpServer, name: str, found: list[str]
) -> None:
    files = list(files_at(f"{server.url}/{name}"))
    assert [file.name for file in files] == [f"{server.url}/{each}" for each in found]
    for file in files:
        assert [again.name for again in files_at(file.name)] == [file.name]
        with closing(file.open()) as stream:
            assert stream.read() == CSV


@pytest.mark.parametrize("most_bytes", [2**63, 20_000])
def test_a_large_file_is_read_as_one_on_disk(server: SftpServer, large: Path, most_bytes: int) -> None:
    server.most_bytes = most_bytes
    far, near = opened(server, "large.csv"), open_inventory([str(large)], Input())
    assert far.bytes_total == near.bytes_total
    assert far.fingerprint() == near.fingerprint()
    *_, last = far.sources[0].chunks()
    assert (last.rows_read, last.bytes_read) == (LARGE_ROWS, len(LARGE))


@pytest.mark.parametrize("name", ["linked", "linked/*.csv", "linked/l?.csv"])
def test_a_link_to_a_file_is_that_file_whole(server: SftpServer, name: str) -> None:
    (server.folder / "linked").mkdir()
    (server.folder / "linked" / "l1.csv").symlink_to("../in/a.csv")
    (file,) = files_at(f"{server.url}/{name}")
    assert (file.name, file.bytes_total) == (f"{server.url}/linked/l1.csv", len(CSV))


@pytest.mark.parametrize("target", ["..", "nowhere"])
@pytest.mark.parametrize("name", ["linked", "linked/*"])
def test_a_link_to_anything_else_is_not_left_out_in_silence(
    server: SftpServer, name: str, target: str
) -> None:
    (server.folder / "linked").mkdir()
    (server.folder / "linked" / "away").symlink_to(target)
    assert "/linked/away: is a link that leads to no file" in refusal(f"{server.url}/{name}")


def test_what_is_not_there_is_said_in_one_line(server: SftpServer) -> None:
    assert refusal(f"{server.url}/gone.csv") == f"{server.url}/gone.csv: nothing is there; check the address"


# ---------------------------------------------------------------- whom we believe, and who we are


def test_an_unknown_host_is_refused_and_learns_no_password(
    strange: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELIVERY", f"{strange.secret_url}/in")
    said = refusal("env:DELIVERY")
    assert said.startswith("env:DELIVERY: cannot be reached: ")
    assert "its host key is not in known_hosts (see ssh-keyscan)" in said
    assert strange.passwords == []


def test_a_host_with_another_key_than_it_had_is_refused(strange: SftpServer, home: Path) -> None:
    (home / "known_hosts").write_text(strange.known_as(paramiko.ECDSAKey.generate()))
    assert "its host key is not the one in known_hosts" in refusal(f"{strange.url}/in")


def test_a_host_may_have_several_keys_some_of_them_known(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    keys = [paramiko.ECDSAKey.generate(), paramiko.RSAKey.generate(2048)]
    with sftp_server(tmp_path, *keys) as server:
        server.keys = keys
        keys[0].write_private_key_file(str(home / "id_ecdsa"))
        other = paramiko.RSAKey.generate(2048)
        (home / "known_hosts").write_text(f"# mine\n\nbroken\n{server.known_as(other, keys[1], other)}")
        assert [file.name for file in files_at(f"{server.url}/a.csv")] == [f"{server.url}/a.csv"]


def test_a_host_may_be_known_by_a_hash_of_its_name(server: SftpServer, home: Path) -> None:
    name, _, key = (home / "known_hosts").read_text().partition(" ")
    (home / "known_hosts").write_text(f"{paramiko.HostKeys.hash_host(name)} {key}")
    assert len(list(files_at(f"{server.url}/in"))) == 3


def test_a_password_is_given_by_reference_alone(server: SftpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.keys.clear()
    assert "put it into an environment variable" in refusal(f"{server.secret_url}/in")
    monkeypatch.setenv("DELIVERY", f"{server.secret_url}/in")
    assert [file.name for file in files_at("env:DELIVERY")] == [
        "env:DELIVERY:/in/a.csv",
        "env:DELIVERY:/in/b.csv",
        "env:DELIVERY:/in/deep/c.csv",
    ]
    assert [file.name for file in files_at("env:DELIVERY:/in/b.csv")] == ["env:DELIVERY:/in/b.csv"]
    assert set(server.passwords) == {PASSWORD}


def test_a_wrong_password_is_refused_and_not_repeated(
    server: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.keys.clear()
    wrong = "wr0ng:/@ #"
    monkeypatch.setenv("DELIVERY", f"sftp://{USER}:{quote(wrong, safe='')}@127.0.0.1:{server.port}/in")
    said = refusal("env:DELIVERY")
    assert f"env:DELIVERY: cannot be reached: as {USER}@127.0.0.1: Authentication failed" in said
    assert wrong not in said
    assert quote(wrong, safe="") not in said
    assert server.passwords == [wrong]


@pytest.mark.parametrize("key", ["id_ecdsa", ""])
def test_a_key_that_is_not_taken_and_none_at_all_are_one_line(
    server: SftpServer, home: Path, key: str
) -> None:
    server.keys.clear()
    if not key:
        (home / "id_ecdsa").unlink()
    words = "Authentication failed" if key else "No authentication methods available"
    assert f"as {USER}@127.0.0.1: {words}" in refusal(f"{server.url}/in")


def test_a_host_is_found_by_its_name_in_the_configuration_of_ssh(server: SftpServer, home: Path) -> None:
    (home / "id_ecdsa").rename(home / "factory_key")
    (home / "config").write_text(
        f"Host factory\n  HostName 127.0.0.1\n  Port {server.port}\n  User {USER}\n"
        "  IdentityFile ~/.ssh/factory_key\n  IdentityFile ~/.ssh/gone\n"
    )
    assert [file.name for file in files_at("sftp://factory/in/*.csv")] == [
        "sftp://factory/in/a.csv",
        "sftp://factory/in/b.csv",
    ]


# ---------------------------------------------------------------- a bad line


def test_nobody_there_is_one_line(home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        said = refusal(f"sftp://me@127.0.0.1:{free.getsockname()[1]}/in")
    assert "cannot be reached" in said


def test_a_server_that_says_nothing_is_not_waited_for_without_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(far_files, "_PATIENCE", timedelta(seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert "cannot be reached" in refusal(f"sftp://me@127.0.0.1:{listener.getsockname()[1]}/in")


def test_a_connection_lost_half_way_names_the_file_the_byte_and_the_row(
    server: SftpServer, large: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inventory = opened(server, "large.csv")
    server.drop_at = 9_000_000
    rows, said = read_until_refused(inventory)
    assert 0 < rows < LARGE_ROWS
    assert said.startswith(f"{server.url}/large.csv: cannot be read beyond byte 8,")
    assert said.endswith(f"(after row {rows:,})")
    assert capfd.readouterr() == ("", ""), "no thread and no logger talks beside"


def test_a_server_that_falls_silent_half_way_is_not_waited_for_without_end(
    server: SftpServer, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(far_files, "_PATIENCE", timedelta(seconds=0.3))
    inventory = opened(server, "large.csv")
    server.silent_at = 9_000_000
    rows, said = read_until_refused(inventory)
    assert 0 < rows < LARGE_ROWS
    assert "cannot be read beyond byte 8," in said


def test_a_second_file_that_cannot_be_opened_any_more_is_named(server: SftpServer) -> None:
    inventory = opened(server, "in/?.csv")
    chunks = inventory.sources[0].chunks()
    next(chunks)
    server.drop()
    with pytest.raises(InventoryError, match=r"in/b\.csv: cannot be reached: "):
        next(inventory.sources[1].chunks())


# ---------------------------------------------------------------- a file that changes


def test_a_file_that_changed_since_it_was_found_is_not_opened(server: SftpServer, large: Path) -> None:
    inventory = opened(server, "large.csv")
    large.write_bytes(LARGE[:-1])
    rows, said = read_until_refused(inventory)
    assert rows == 0
    assert said.startswith(f"{server.url}/large.csv: has changed since it was found")


def test_a_file_written_anew_in_the_same_size_has_changed(server: SftpServer, large: Path) -> None:
    inventory = opened(server, "large.csv")
    os.utime(large, (1, 1))
    assert "has changed since it was found" in read_until_refused(inventory)[1]


@pytest.mark.parametrize("content", [LARGE + b"1,iot\n", LARGE[:9_000_000]])
def test_a_file_that_changes_as_it_is_read_is_not_taken_for_whole(
    server: SftpServer, large: Path, content: bytes
) -> None:
    inventory = opened(server, "large.csv")

    def write(at: int) -> None:
        if at > 5_000_000:
            server.before_read = lambda _at: None
            large.write_bytes(content)

    server.before_read = write
    rows, said = read_until_refused(inventory)
    assert rows > 0
    assert "it has changed since it was found" in said
