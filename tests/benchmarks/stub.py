"""The vendor the benchmark runs against: a process of its own that reads a request whole before it answers.

For the comparison its reply is fixed: nginx gives it where that is installed, else stub_server.py. The worst
cases need a vendor that looks at what it was sent: moody_vendor.py.
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

from replies import BATCH_ITEMS, fixed_replies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from replies import FixedReply

Kind = Literal["auto", "nginx", "python"]

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
        {asked}
    }}
    server {{
        listen unix:{folder}/reply.sock;
        root {folder};
        open_file_cache max=8 inactive=600s;
        {told}
    }}
}}
"""
_ASKED = """
        location = {path} {{
            proxy_pass http://reply/{file};
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Connection "";
            proxy_http_version 1.1;
            proxy_buffers 8 64k;
            {header}
        }}
"""
_TOLD = """
        location = /{file} {{ default_type "{content_type}"; }}
"""


@dataclass(frozen=True, slots=True)
class Stub:
    name: str
    base_url: str


@contextmanager
def serving(kind: Kind, folder: Path, items: int = BATCH_ITEMS) -> Iterator[Stub]:
    """Answer every batch with `items` successes until the block ends; `folder` exists and is private."""
    replies = fixed_replies(items)
    nginx = None if kind == "python" else shutil.which("nginx")
    if nginx is None and kind == "nginx":
        raise SystemExit("bench: nginx is not installed; leave --stub out")
    with _nginx(nginx, folder, replies) if nginx else _python(folder, replies) as stub:
        yield stub


@contextmanager
def moody(mood: str) -> Iterator[Stub]:
    """Run the vendor that looks at what it was sent, until the block ends."""
    with _announced("moody_vendor.py", mood) as base_url:
        yield Stub(f"moody_vendor.py {mood}", base_url)


@contextmanager
def _nginx(program: str, folder: Path, replies: Sequence[FixedReply]) -> Iterator[Stub]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    asked = told = ""
    for number, reply in enumerate(replies):
        file = f"reply-{number}.json"
        folder.joinpath(file).write_bytes(reply.body)
        name, _, value = reply.header.partition(": ")
        header = f"add_header {name} {value};" if reply.header else ""
        asked += _ASKED.format(path=reply.path, file=file, header=header)
        told += _TOLD.format(file=file, content_type=reply.content_type)
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX_CONF.format(folder=folder, port=port, asked=asked, told=told), "utf-8")
    command = [program, "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
    with _running(command) as process:
        _wait_for(port, process)
        yield Stub("nginx", f"http://127.0.0.1:{port}")


@contextmanager
def _python(folder: Path, replies: Sequence[FixedReply]) -> Iterator[Stub]:
    described = {}
    for number, reply in enumerate(replies):
        file = folder / f"reply-{number}.json"
        file.write_bytes(reply.body)
        headers = [f"Content-Type: {reply.content_type}", *filter(None, [reply.header])]
        described[reply.path] = {"file": str(file), "headers": headers}
    with _announced("stub_server.py", json.dumps(described)) as base_url:
        yield Stub("stub_server.py", base_url)


@contextmanager
def _announced(script: str, argument: str) -> Iterator[str]:
    """Run a server of this folder that prints its port, and give its address."""
    server = Path(__file__).with_name(script)
    with _running([sys.executable, str(server), argument]) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise SystemExit(f"bench: {script} did not start")
        yield f"http://127.0.0.1:{port}"


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
