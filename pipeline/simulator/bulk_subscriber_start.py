"""How the bulk subscriber platform is started: its options on the command line, and what is behind them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.simulator.bulk_subscriber import BulkSubscriber
from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults
from pipeline.simulator.bulk_subscriber_store import SubscriberStore
from pipeline.simulator.faults import load
from pipeline.simulator.options import above_zero, seconds

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only this vendor has."""
    parser.add_argument("--username", help="default: $BULK_SUBSCRIBER_USERNAME, else demo-user")
    parser.add_argument(
        "--password",
        help="default: $BULK_SUBSCRIBER_PASSWORD, else demo-password; the process list shows options",
    )
    parser.add_argument("--token", help="one valid beforehand; default: $BULK_SUBSCRIBER_TOKEN, else none")
    parser.add_argument(
        "--token-life-s", type=seconds, default=86_400.0, help="of a token from a login (%(default)s)"
    )
    parser.add_argument(
        "--token-uses", type=above_zero, help="calls a token is good for; default: any number"
    )
    parser.add_argument("--max-items", type=above_zero, default=200, help="per bulk call (%(default)s)")


def open_vendor(options: argparse.Namespace) -> BulkSubscriber:
    """Return the vendor. Raises FaultsError, sqlite3.Error or OSError."""
    faults = None if options.faults is None else load(options.faults, BulkSubscriberFaults)
    return BulkSubscriber(
        SubscriberStore(options.store),
        username=options.username or os.environ.get("BULK_SUBSCRIBER_USERNAME") or "demo-user",
        password=options.password or os.environ.get("BULK_SUBSCRIBER_PASSWORD") or "demo-password",
        token=options.token or os.environ.get("BULK_SUBSCRIBER_TOKEN") or None,
        token_life_s=options.token_life_s,
        token_uses=options.token_uses,
        faults=faults,
        max_items=options.max_items,
    )
