"""The vendors there are: a new one is a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeline.simulator import bulk_subscriber_start, sim_express_start
from pipeline.simulator.bulk_subscriber import BulkSubscriber
from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults
from pipeline.simulator.faults import Faults
from pipeline.simulator.sim_express import SimExpress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from pipeline.simulator.exchange import Vendor
    from pipeline.simulator.faults import FaultsFile


class Entry(NamedTuple):
    """How to start a vendor. `open_vendor` raises FaultsError, sqlite3.Error or OSError."""

    name: str
    faults: type[FaultsFile]
    add_options: Callable[[argparse.ArgumentParser], None]
    open_vendor: Callable[[argparse.Namespace], Vendor]


VENDORS = (
    Entry(SimExpress.name, Faults, sim_express_start.add_options, sim_express_start.open_vendor),
    Entry(
        BulkSubscriber.name,
        BulkSubscriberFaults,
        bulk_subscriber_start.add_options,
        bulk_subscriber_start.open_vendor,
    ),
)
