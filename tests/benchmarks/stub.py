"""The vendor the benchmark runs against: a process that answers a fixed all-succeeded reply for 1,000 items.

nginx serves it where it is installed, else stub_server.py. Either reads the whole request before it answers.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["auto", "nginx", "python"]

BATCH_ITEMS = 1_000
_START_TIMEOUT_S = 10

# `return 200` would answer before the body has arrived, which no vendor does and which breaks keep-alive
# for clients that are still sending. A proxied location reads the body first; here it then drops it and
# fetches the fixed reply from a second server of the same process.
_NGINX_CONF = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream reply {{
        server unix:{folder}/reply.sock;
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location = /v1/profile/importProfileList {{
            proxy_pass http://reply/reply.json;
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Connection "";
            proxy_http_version 1.1;
            proxy_buffers 8 64k;
        }}
    }}
    server {{
        listen unix:{folder}/reply.sock;
        location / {{
            root {folder};
            open_file_cache max=1 inactive=600s;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Stub:
    name: str
    base_url: str


@contextmanager
def serving(kind: Kind, folder: Path) -> Iterator[Stub]:
    """Serve from `folder` (existing, private) until the block ends."""
    folder.joinpath("reply.json").write_text(_reply(), "utf-8")
    nginx = None if kind == "python" else shutil.which("nginx")
    if nginx is None and kind == "nginx":
        raise SystemExit("bench: nginx is not installed; leave --stub out")
    with _nginx(nginx, folder) if nginx else _python(folder) as stub:
        yield stub


def _reply() -> str:
    results = [{"result": "SUCCEED", "reason": None}] * BATCH_ITEMS
    return json.dumps({"errorCode": "0", "errorMsg": None, "resultList": results}, separators=(",", ":"))


@contextmanager
def _nginx(program: str, folder: Path) -> Iterator[Stub]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX_CONF.format(folder=folder, port=port), "utf-8")
    command = [program, "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
    with _running(command) as process:
        _wait_for(port, process)
        yield Stub("nginx", f"http://127.0.0.1:{port}")


@contextmanager
def _python(folder: Path) -> Iterator[Stub]:
    server = Path(__file__).with_name("stub_server.py")
    with _running([sys.executable, str(server), str(folder / "reply.json")]) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise SystemExit("bench: stub_server.py did not start")
        yield Stub("stub_server.py", f"http://127.0.0.1:{port}")


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit("bench: nginx did not start; try --stub python")
