"""Everything simlift raises on purpose.

SimliftError
├── UsageError            wrong job file, arguments or run folder; exit 2, nothing was sent
│   └── InventoryError    an inventory that cannot be read as a whole; exit 2 before the first send, else 3
├── NoReply               a request that brought no usable reply; carries a model.Fault
└── LedgerError           the ledger cannot be written or read (disk full, damaged); the run stops, exit 3

The text of each is one line for the operator: what, where, what to do. Secrets never stand in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.model import Fault


class SimliftError(Exception):
    """What the command line prints as one line, without a traceback."""


class UsageError(SimliftError):
    """The command, the job file or the run folder is wrong; nothing was sent."""


class InventoryError(UsageError):
    """The inventory as a whole cannot be read: missing, no header, no ICCID column, cut-off gzip."""


class NoReply(SimliftError):  # noqa: N818 - the domain's word; it is a reply that is missing, not our error
    """A request brought no usable reply. The fault says whether the batch may have been carried out."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.code}: {fault.reason}")
        self.fault = fault


class LedgerError(SimliftError):
    """The ledger failed; what was settled before stays settled."""
