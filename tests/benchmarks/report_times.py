"""How long each report of a run takes, from its ledger alone: `python report_times.py RUN_FOLDER`.

The files are written anew, into a folder of their own. Gives seconds by file name, as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from pipeline import reports
from pipeline.runs import open_ledger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    ledger = open_ledger(run, read_only=True)
    writers = {
        "outcomes.csv": reports.write_outcomes,
        "failures.csv": reports.write_failures,
        "report.html": reports.write_html,
    }
    found = {}
    with tempfile.TemporaryDirectory(dir=run) as folder:
        for name, write in writers.items():
            began = time.perf_counter()
            write(ledger, Path(folder, name))
            found[name] = time.perf_counter() - began
    ledger.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
