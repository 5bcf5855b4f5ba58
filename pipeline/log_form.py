"""What of a run's log is shown on standard error; apart from logs, whose imports the command line spares."""

from __future__ import annotations

from enum import StrEnum


class LogForm(StrEnum):
    """A form of the log."""

    NONE = "none"  # progress is shown instead
    CONSOLE = "console"
    JSON = "json"
