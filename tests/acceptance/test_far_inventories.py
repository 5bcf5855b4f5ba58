"""Inventories behind sftp://, checked, imported, cut off, killed and resumed by the program itself."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import inventories
import pytest
from books import compare
from sftp_server import PASSWORD, SftpServer, sftp_server
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from program import Ended, Program
    from vendors import Vendor

NOTES = "x" * 12_000  # so that a few rows take several reads
ROWS = 1_000
SLOW = "latency = { mean_s = 0.02, jitter_s = 0.01 }\n"


@pytest.fixture
def server(simlift: Program) -> Iterator[SftpServer]:
    """Serve an inventory; the program knows the server and finds its address in DELIVERY."""
    (simlift.folder / ".ssh").mkdir()
    (simlift.folder / "served").mkdir()
    inventories.write(
        simlift.folder / "served" / "delivery.csv",
        ((*row, NOTES) for row in inventories.rows(ROWS)),
        (*inventories.HEADER, "notes"),
    )
    with sftp_server(simlift.folder / "served") as server:
        (simlift.folder / ".ssh" / "known_hosts").write_text(server.known_as(*server.host_keys))
        simlift.environment |= {
            "HOME": str(simlift.folder),
            "SSH_AUTH_SOCK": "",
            "DELIVERY": f"{server.secret_url}/delivery.csv",
        }
        yield server


def keys() -> list[str]:
    return [inventories.iccid(number) for number in range(1, ROWS + 1)]


def require_no_secret(simlift: Program, *ended: Ended) -> None:
    kept = b"".join(path.read_bytes() for path in simlift.runs.rglob("*") if path.is_file())
    said = "".join(each.out + each.err for each in ended)
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in said
        assert secret.encode() not in kept


def test_an_inventory_behind_sftp_is_checked_and_a_wrong_password_not_told(
    simlift: Program, server: SftpServer
) -> None:
    job = simlift.job("http://127.0.0.1:9")
    ended = simlift("check", "env:DELIVERY", "--job", job)
    assert (ended.code, ended.err) == (0, ""), ended
    assert f"{ROWS:,} rows read" in ended.out
    wrong = {"DELIVERY": f"sftp://factory:{PASSWORD}X@127.0.0.1:{server.port}/delivery.csv"}
    refused = simlift("check", "env:DELIVERY", "--job", job, environment=wrong)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "env:DELIVERY: cannot be reached: as factory@127.0.0.1: Authentication failed" in refused.err
    require_no_secret(simlift, ended, refused)


def test_an_import_from_sftp_is_killed_and_resumed(
    simlift: Program, server: SftpServer, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults=SLOW)
    process = simlift.start("run", "env:DELIVERY", "--job", simlift.job(vendor.url), "--run-id", "far")
    until(lambda: vendor.requests, lambda requests: requests > 5, "some batches")
    process.kill()
    ended = simlift("resume", "far")
    assert ended.code == 0, ended
    assert set(compare(simlift, "far", vendor, keys())) <= {"succeeded", "confirmed"}
    assert simlift.summary("far")["inventory"] == ["env:DELIVERY"]
    require_no_secret(simlift, ended)


def test_an_import_stops_where_the_line_is_lost_and_goes_on_from_there(
    simlift: Program, server: SftpServer, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()

    def cut(at: int) -> None:
        if at > 9_000_000 and (simlift.runs / "far" / "ledger.sqlite").exists():
            server.before_read = lambda _at: None
            server.drop()

    server.before_read = cut
    command = ("run", "env:DELIVERY", "--job", simlift.job(vendor.url), "--run-id", "far")
    stopped = simlift(*command)
    assert stopped.code == 3, stopped
    assert "env:DELIVERY: cannot be read beyond byte " in stopped.out
    assert stopped.err.count("\n") == 1, "the progress alone"
    assert 0 < vendor.held < ROWS
    ended = simlift(*command)
    assert ended.code == 0, ended
    assert compare(simlift, "far", vendor, keys()) == {"succeeded": ROWS}
    require_no_secret(simlift, stopped, ended)


def test_an_inventory_that_changed_behind_sftp_is_not_gone_on_with(
    simlift: Program, server: SftpServer, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults=SLOW)
    process = simlift.start("run", "env:DELIVERY", "--job", simlift.job(vendor.url), "--run-id", "far")
    until(lambda: vendor.requests, lambda requests: requests > 2, "some batches")
    process.kill()
    inventories.write(server.folder / "delivery.csv", inventories.rows(ROWS, 5_000))
    ended = simlift("resume", "far")
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert "run far belongs to another inventory: env:DELIVERY" in ended.err
    assert vendor.profile(inventories.iccid(5_000)) is None
