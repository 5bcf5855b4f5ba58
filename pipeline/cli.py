"""The command line: its commands gathered, its exit codes, what becomes of an error.

Results go to standard output, progress and errors to standard error. Heavy imports wait until a command
needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from pipeline.commands import importing, looking, preparing, steering, trying
from pipeline.commands.console import app
from pipeline.errors import SimliftError, UsageError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["app", "importing", "looking", "main", "preparing", "steering", "trying"]

EXIT_USAGE, EXIT_STOPPED = 2, 3  # of model.ExitCode, which costs an import of numpy


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def main() -> None:
    """Run the command line; errors meant for the operator become one line and an exit code."""
    signal.signal(signal.SIGINT, _exit_on_signal)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    # What a chunk or a batch leaves behind is freed by counting: looking for more seldom saves a twentieth.
    gc.set_threshold(50_000, 20, 20)
    try:
        app()
    except UsageError as error:
        sys.stderr.write(f"simlift: {error}\n")
        sys.exit(EXIT_USAGE)
    except SimliftError as error:
        sys.stderr.write(f"simlift: {error}\n")
        sys.exit(EXIT_STOPPED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(128 + signal.SIGPIPE)
    except Exception:  # noqa: BLE001 - what slips through is a defect of ours
        # It must not look like a finished run, which Python's own exit code 1 would say.
        sys.stderr.write(traceback.format_exc())
        sys.stderr.write(
            "simlift: this is a defect of simlift; the run can be resumed, please report the above\n"
        )
        sys.exit(EXIT_STOPPED)
