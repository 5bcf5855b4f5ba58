"""`python -m pipeline.simulator VENDOR`: start a vendor as a process of its own.

When it listens, one line on standard output says where. Exit codes: 0 stopped by a signal, 2 can't start.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
from pathlib import Path

from pipeline.simulator.faults import FaultsError, FaultsFile, catalogue
from pipeline.simulator.options import port
from pipeline.simulator.server import serve
from pipeline.simulator.vendors import VENDORS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.simulator",
        description="A vendor's platform to import into, on this machine.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    shared.add_argument("--port", type=port, default=0, help="port to listen on; 0, the default: a free one")
    shared.add_argument("--faults", type=Path, metavar="FILE", help="TOML file of what goes wrong (below)")
    shared.add_argument("--store", type=Path, metavar="FILE", help="SQLite file; default: a temporary one")
    vendors = parser.add_subparsers(dest="vendor", required=True)
    for entry in VENDORS:
        one = vendors.add_parser(
            entry.name,
            parents=[shared],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=_epilog(entry.faults),
        )
        entry.add_options(one)
        one.set_defaults(open_vendor=entry.open_vendor)
    return parser.parse_args()


def _epilog(faults: type[FaultsFile]) -> str:
    calls = " or ".join(f'"{call}"' for call in faults.calls)
    return (
        "kinds of [[fault]], besides share, first or requests to choose what is hit, and\n"
        f"on = {calls} for calls of that sort only, counted by themselves; and other tables.\n"
        f"A kind not listed is an error, for it belongs to another vendor:\n{catalogue(faults)}"
    )


def _refuse_to_start(why: str) -> int:
    sys.stderr.write(f"simulator: {why}\n")
    return 2


def main() -> int:
    """Run the vendor named on the command line until a signal ends it; returns the exit code."""
    options = _arguments()

    def announce(url: str) -> None:
        sys.stdout.write(f"simulator {options.vendor} listening on {url}\n")
        sys.stdout.flush()

    try:
        vendor = options.open_vendor(options)
    except FaultsError as error:
        return _refuse_to_start(str(error))
    except (sqlite3.Error, OSError) as error:
        return _refuse_to_start(f"cannot use store {options.store}: {error}")
    try:
        asyncio.run(serve(vendor, options.host, options.port, announce))
    except OSError as error:
        return _refuse_to_start(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}")
    finally:
        vendor.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
