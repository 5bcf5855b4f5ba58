"""How SIM Express is started: its options on the command line, and what stands behind them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.simulator.faults import load
from pipeline.simulator.options import above_zero
from pipeline.simulator.sim_express import SimExpress
from pipeline.simulator.store import Store

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only this vendor has."""
    parser.add_argument("--access-code", help="default: $SIM_EXPRESS_ACCESS_CODE, else demo-access")
    parser.add_argument(
        "--secret-code",
        help="default: $SIM_EXPRESS_SECRET_CODE, else demo-secret; the process list shows options",
    )
    parser.add_argument("--max-items", type=above_zero, default=1000, help="per request (%(default)s)")
    parser.add_argument("--timestamp-unit", choices=("s", "ms"), default="s", help="of RT-Timestamp")


def open_vendor(options: argparse.Namespace) -> SimExpress:
    """Return the vendor. Raises FaultsError, sqlite3.Error or OSError."""
    faults = None if options.faults is None else load(options.faults)
    return SimExpress(
        Store(options.store),
        access_code=options.access_code or os.environ.get("SIM_EXPRESS_ACCESS_CODE") or "demo-access",
        secret_code=options.secret_code or os.environ.get("SIM_EXPRESS_SECRET_CODE") or "demo-secret",
        faults=faults,
        max_items=options.max_items,
        timestamp_unit_s=0.001 if options.timestamp_unit == "ms" else 1.0,
    )
