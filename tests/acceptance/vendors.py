"""The vendor: its simulator as a process on the loopback, and the witness's questions to it."""

from __future__ import annotations

import http.client
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from waiting import DEADLINE_S, until
from warm import WarmProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ACCESS_CODE = "acceptance-access"
SECRET_CODE = "acceptance-5ecret-c0de"
USERNAME = "acceptance-user"
PASSWORD = "acceptance-p4ssw0rd"
CREDENTIALS = {
    "SIM_EXPRESS_ACCESS_CODE": ACCESS_CODE,
    "SIM_EXPRESS_SECRET_CODE": SECRET_CODE,
    "BULK_SUBSCRIBER_USERNAME": USERNAME,
    "BULK_SUBSCRIBER_PASSWORD": PASSWORD,
}


class Vendor:
    """One running simulator. What it holds and what it was asked is told by the witness's endpoints."""

    def __init__(self, process: WarmProcess, url: str) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self._line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)

    def plant(self, iccids: Sequence[str]) -> None:
        """Let the vendor know these profiles from elsewhere."""
        assert self._ask("POST", "/profiles", {"iccids": list(iccids)}) == {"planted": len(iccids)}

    def profile(self, iccid: str) -> dict[str, Any] | None:
        """Give the profile that the vendor holds under this ICCID, or None."""
        found: dict[str, Any] = self._ask("GET", f"/profiles/{quote(iccid, safe='')}")
        return found if "iccid" in found else None

    @property
    def held(self) -> int:
        """Count all profiles the vendor holds."""
        return int(self._ask("GET", "/profiles/count")["count"])

    @property
    def traffic(self) -> dict[str, Any]:
        """Say what arrived at the vendor's API."""
        answer: dict[str, Any] = self._ask("GET", "/requests")
        return answer

    @property
    def requests(self) -> int:
        """Count the requests that arrived at the import's own path."""
        return int(self.traffic["requests"])

    def plant_subscribers(self, aliases: Mapping[str, str]) -> None:
        """Let the vendor know these subscribers, TYPE:value, with these aliases from elsewhere."""
        entries = [
            {"type": key.partition(":")[0], "value": key.partition(":")[2], "alias": alias}
            for key, alias in aliases.items()
        ]
        assert self._ask("POST", "/subscribers", {"subscribers": entries}) == {"planted": len(aliases)}

    def subscriber(self, key: str) -> dict[str, Any]:
        """Say what the vendor knows of a subscriber, TYPE:value; of a stranger nothing was ever accepted."""
        found: dict[str, Any] = self._ask("GET", f"/subscribers/{key.replace(':', '/')}")
        return found if "value" in found else {"alias": None, "writes": 0, "accepted": 0, "state": None}

    @property
    def changed(self) -> int:
        """Count all subscribers that were ever changed."""
        return int(self._ask("GET", "/subscribers/count")["count"])

    def token(self) -> str:
        """Log in as anybody with the credentials and give the token."""
        body = json.dumps({"username": USERNAME, "password": PASSWORD})
        self._line.request("POST", "/api/v2/auth/token", body)
        return str(json.loads(self._line.getresponse().read())["content"][0]["token"])

    def kill(self) -> None:
        """Take the vendor away without a word."""
        self._line.close()
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)

    def _ask(self, method: str, path: str, question: dict[str, Any] | None = None) -> Any:
        body = None if question is None else json.dumps(question)
        self._line.request(method, f"/_simulator{path}", body)
        return json.loads(self._line.getresponse().read())


@contextmanager
def vendor_process(
    *options: str,
    kind: str = "sim-express",
    faults: str = "",
    folder: Path,
    port: int = 0,
    secret_code: str = SECRET_CODE,
) -> Iterator[Vendor]:
    """Run a simulator with these faults (TOML) for as long as the context lasts."""
    command = [kind, "--port", str(port), *options]
    if faults:
        file = folder / "faults.toml"
        file.write_text(faults, "utf-8")
        command += ["--faults", str(file)]
    environment = {**os.environ, **CREDENTIALS, "SIM_EXPRESS_SECRET_CODE": secret_code}
    process = WarmProcess("pipeline.simulator", *command, environment=environment, folder=folder)
    try:
        said = until(
            process.written,
            lambda text: text.endswith("\n") or process.returncode is not None,
            "the simulator's first line",
        )
        assert said, f"the simulator did not start: {process.communicate(DEADLINE_S)}"
        vendor = Vendor(process, said.split()[-1])
        try:
            yield vendor
        finally:
            vendor.kill()
    finally:
        process.kill()
