"""`python -m pipeline.simulator VENDOR`: start a vendor as a process of its own.

When it listens, one line on standard output says where. Exit codes: 0 stopped by a signal, 2 can't start.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
from pathlib import Path

from pipeline.simulator.faults import Faults, FaultsError, catalogue, load
from pipeline.simulator.server import serve
from pipeline.simulator.sim_express import SimExpress
from pipeline.simulator.store import Store


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535, 0 for any free one)")
    return int(text)


def _items(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of items above 0")
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.simulator",
        description="A vendor's platform to import into, on this machine.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    shared.add_argument("--port", type=_port, default=0, help="port to listen on; 0, the default: a free one")
    shared.add_argument("--faults", type=Path, metavar="FILE", help="TOML file of what goes wrong (below)")
    shared.add_argument("--store", type=Path, metavar="FILE", help="SQLite file; default: a temporary one")
    vendors = parser.add_subparsers(dest="vendor", required=True)
    sim_express = vendors.add_parser(
        SimExpress.name,
        parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"kinds of [[fault]], besides share, first or requests to choose what is hit:\n{catalogue()}",
    )
    sim_express.add_argument("--access-code", help="default: $SIM_EXPRESS_ACCESS_CODE, else demo-access")
    sim_express.add_argument(
        "--secret-code",
        help="default: $SIM_EXPRESS_SECRET_CODE, else demo-secret; the process list shows options",
    )
    sim_express.add_argument("--max-items", type=_items, default=1000, help="per request (%(default)s)")
    sim_express.add_argument("--timestamp-unit", choices=("s", "ms"), default="s", help="of RT-Timestamp")
    return parser.parse_args()


def _announce(url: str) -> None:
    sys.stdout.write(f"simulator {SimExpress.name} listening on {url}\n")
    sys.stdout.flush()


def _refuse_to_start(why: str) -> int:
    sys.stderr.write(f"simulator: {why}\n")
    return 2


def main() -> int:
    """Run the vendor named on the command line until a signal ends it; returns the exit code."""
    options = _arguments()
    try:
        faults = Faults() if options.faults is None else load(options.faults)
        store = Store(options.store)
    except FaultsError as error:
        return _refuse_to_start(str(error))
    except (sqlite3.Error, OSError) as error:
        return _refuse_to_start(f"cannot use store {options.store}: {error}")
    vendor = SimExpress(
        store,
        access_code=options.access_code or os.environ.get("SIM_EXPRESS_ACCESS_CODE") or "demo-access",
        secret_code=options.secret_code or os.environ.get("SIM_EXPRESS_SECRET_CODE") or "demo-secret",
        faults=faults,
        max_items=options.max_items,
        timestamp_unit_s=0.001 if options.timestamp_unit == "ms" else 1.0,
    )
    try:
        asyncio.run(serve(vendor, options.host, options.port, _announce))
    except OSError as error:
        return _refuse_to_start(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}")
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
