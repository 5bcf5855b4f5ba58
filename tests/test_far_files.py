"""Inventories in Google's storage and on the web."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from gs_server import gs_server

from pipeline import far_files
from pipeline.errors import InventoryError
from pipeline.inventory import open_inventory
from pipeline.places import files_at
from pipeline.settings import Input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CSV = b"iccid,apn\n1,iot\n"
LARGE = b"iccid,apn\n" + b"".join(b"8935711%012d,%s\n" % (n, b"x" * 1_100) for n in range(10_000))
SECRET = "s3cr3t-p4ss"


def refusal(name: str) -> str:
    """Read what is there; give why it does not come to its end."""
    with pytest.raises(InventoryError) as raised:
        rows_of(name)
    said = str(raised.value)
    assert said.isprintable()
    return said


def rows_of(name: str) -> int:
    *_, last = open_inventory([name], Input()).sources[0].chunks()
    return last.rows_read


# ---------------------------------------------------------------- gs://


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the folder that is the bucket `factory`."""
    folder = tmp_path_factory.mktemp("gs")
    for name in ("in/b.csv", "in/a.csv", "in/.hidden", "in/deep/c.csv", "one two.csv"):
        path = folder / "factory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CSV)
    with gs_server(folder) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        yield folder / "factory"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one two.csv", ["one two.csv"]),
        ("in", ["in/a.csv", "in/b.csv", "in/deep/c.csv"]),
        ("in/[ab].csv", ["in/a.csv", "in/b.csv"]),
    ],
)
def test_files_folders_and_patterns_lie_in_gs_too(bucket: Path, name: str, found: list[str]) -> None:
    files = list(files_at(f"gs://factory/{name}"))
    assert [file.name for file in files] == [f"gs://factory/{each}" for each in found]
    for file in files:
        with closing(file.open()) as stream:
            assert stream.read() == CSV


def test_a_large_file_in_gs_is_read_as_one_on_disk_and_must_not_change(bucket: Path) -> None:
    path = bucket / "large.csv"
    path.write_bytes(LARGE)
    assert rows_of("gs://factory/large.csv") == 10_000
    far, near = (open_inventory([name], Input()) for name in ("gs://factory/large.csv", str(path)))
    assert far.fingerprint() == near.fingerprint()
    path.write_bytes(LARGE + b"1,iot\n")
    with pytest.raises(InventoryError, match=r"^gs://factory/large\.csv: has changed since it was found"):
        next(far.sources[0].chunks())


@pytest.mark.parametrize("name", ["factory/gone.csv", "nowhere/a.csv"])
def test_what_is_not_in_gs_is_said_in_one_line(bucket: Path, name: str) -> None:
    assert refusal(f"gs://{name}") == f"gs://{name}: nothing is there; check the address"


def test_gs_out_of_reach_is_one_line_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_files, "_PATIENCE", timedelta(seconds=0.1))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    assert "gs://factory/a.csv: cannot be reached: " in refusal("gs://factory/a.csv")


# ---------------------------------------------------------------- http://


class Web(BaseHTTPRequestHandler):
    """A site: /ranges/ gives pieces of files, /whole/ does not, /gate/ lets nobody in."""

    def do_GET(self) -> None:
        kind, _, name = self.path.partition("?")[0].strip("/").partition("/")
        content = {"a.csv": CSV, "large.csv": LARGE, "": b'<a href="a.csv">a.csv</a>'}.get(name)
        if kind == "gate" or content is None:
            self.send_error(403 if kind == "gate" else 404)
            return
        wanted = self.headers.get("Range", "")
        if wanted and kind == "ranges":
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Type", "text/csv" if name else "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            try:
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """Give the address of the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_on_the_web_is_read_in_pieces(web: str) -> None:
    assert rows_of(f"{web}/ranges/large.csv") == 10_000
    assert rows_of(f"{web}/whole/a.csv") == 1
    assert [file.name for file in files_at(f"{web}/ranges/*.csv")] == [f"{web}/ranges/a.csv"]
    assert rows_of(f"{web}/ranges/*.csv") == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ranges/gone.csv", "nothing is there"),
        ("ranges/", "is a web page"),
        ("whole/large.csv", "its server sends files only as a whole; fetch it yourself"),
        ("gate/a.csv", "cannot be reached: 403 Forbidden"),
    ],
)
def test_what_cannot_be_had_from_the_web_is_said_in_one_line(
    web: str, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    assert words in refusal(f"{web}/{name}")
    secret_address = f"{web.replace('//', f'//me:{SECRET}@')}/{name}?signature={SECRET}"
    monkeypatch.setenv("DELIVERY", secret_address)
    said = refusal("env:DELIVERY")
    assert words in said
    assert SECRET not in said


def test_a_pattern_on_the_web_cannot_be_secret(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELIVERY", f"{web.replace('//', f'//me:{SECRET}@')}/ranges/*.csv")
    said = refusal("env:DELIVERY")
    assert "a pattern cannot be used by reference" in said
    assert SECRET not in said


def test_nobody_on_the_web_is_one_line() -> None:
    assert "cannot be reached" in refusal("http://127.0.0.1:9/a.csv")
