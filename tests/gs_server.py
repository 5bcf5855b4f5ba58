"""A real server on the loopback of what reading needs of Google Cloud Storage's JSON API.

https://cloud.google.com/storage/docs/json_api/v1: buckets.get, objects.get, objects.list, media with ranges.
A process of its own, since Arrow waits for answers without letting other threads run.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)(?P<list>/o(?:/(?P<name>.+))?)?")


@contextmanager
def gs_server(folder: Path) -> Iterator[str]:
    """Serve the folders in `folder` as buckets for as long as the context lasts; give the address."""
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        found = _PATH.fullmatch(address.path)
        if not found or not (bucket := self.folder / found["bucket"]).is_dir():
            return self._answer({"error": {"code": 404, "message": "no such bucket"}}, 404)
        if not found["list"]:
            return self._answer({"kind": "storage#bucket", "name": bucket.name})
        objects = {str(path.relative_to(bucket)): path for path in bucket.rglob("*") if path.is_file()}
        if not found["name"]:
            names = sorted(name for name in objects if name.startswith(query.get("prefix", "")))
            return self._answer({"items": [_metadata(bucket.name, name, objects[name]) for name in names]})
        if (path := objects.get(name := unquote(found["name"]))) is None:
            return self._answer({"error": {"code": 404, "message": "no such object"}}, 404)
        if query.get("alt") == "media":
            return self._give(path.read_bytes())
        return self._answer(_metadata(bucket.name, name, path))

    def _give(self, content: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-"))
        assert wanted is not None
        piece = content[int(wanted[1]) : int(wanted[2] or len(content)) + 1]
        self.send_response(206)
        self.send_header(
            "Content-Range", f"bytes {wanted[1]}-{int(wanted[1]) + len(piece) - 1}/{len(content)}"
        )
        self._send(piece)

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        self.send_response(status)
        self._send(json.dumps(content).encode())

    def _send(self, content: bytes) -> None:
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


def _metadata(bucket: str, name: str, path: Path) -> dict[str, Any]:
    found = path.stat()
    time = datetime.fromtimestamp(found.st_mtime, UTC).isoformat().replace("+00:00", "Z")
    generation = {"generation": str(found.st_mtime_ns), "updated": time, "timeCreated": time}
    return {"bucket": bucket, "name": name, "size": str(found.st_size), **generation}


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
