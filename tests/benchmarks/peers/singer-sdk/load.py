"""Meltano's singer-sdk: a BatchSink of 1,000 records behind the least tap there can be, as two processes.

Both are measured. tap.py leaves out all that a tap made with the SDK does besides.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import requests
from singer_sdk import BatchSink, Target, typing as th

logging.disable(logging.INFO)


class Profiles(BatchSink):
    """Posts what it has gathered, and counts the answers. The SDK checks each record against the schema."""

    max_size = 1_000
    counts: ClassVar[dict[str, int]] = {"succeeded": 0, "refused": 0}
    session: ClassVar[requests.Session] = requests.Session()

    def process_batch(self, context: dict[str, Any]) -> None:
        items = context["records"]
        url = f"{self.config['base_url']}/v1/profile/importProfileList"
        reply = self.session.post(url, json={"profileItems": items})
        reply.raise_for_status()
        for _, answer in zip(items, reply.json()["resultList"], strict=True):
            self.counts["succeeded" if answer["result"] == "SUCCEED" else "refused"] += 1


class TargetSimExpress(Target):
    name = "target-sim-express"
    config_jsonschema = th.PropertiesList(th.Property("base_url", th.StringType, required=True)).to_dict()
    default_sink_class = Profiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--folder", type=Path, help="not needed: it keeps nothing on disk")
    options = parser.parse_args()
    tap = Path(__file__).with_name("tap.py")
    with subprocess.Popen(
        [sys.executable, str(tap), str(options.inventory)], stdout=subprocess.PIPE, text=True
    ) as process:
        # The SDK echoes the last state; standard output is to hold the counts alone.
        TargetSimExpress(config={"base_url": options.base_url}).listen(process.stdout)
    if process.returncode:
        raise SystemExit(f"the tap ended with {process.returncode}")
    print(json.dumps(Profiles.counts))


if __name__ == "__main__":
    main()
