"""How a row ends, how a run stands, what the process returns."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Status(StrEnum):
    """How a row ends; every row read ends in exactly one."""

    SUCCEEDED = "succeeded"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"

    @property
    def good(self) -> bool:
        """True for a row that stands in the vendor's platform on the vendor's own word."""
        return self in _GOOD


_GOOD = (Status.SUCCEEDED, Status.CONFIRMED)


class State(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


class ExitCode(IntEnum):
    """What the process returns; 128 + signal number (130, 143) after an interruption."""

    ALL_GOOD = 0
    NOT_ALL_GOOD = 1
    USAGE = 2
    STOPPED = 3
