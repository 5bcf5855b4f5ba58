"""The command line: its commands gathered, its exit codes, what becomes of an error.

Results go to standard output, progress and errors to standard error. Heavy imports wait until a command
needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import typer

from pipeline.commands import importing, looking, preparing, steering, trying
from pipeline.commands.console import app
from pipeline.commands.mistakes import mistake
from pipeline.errors import SimliftError, UsageError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["app", "importing", "looking", "main", "preparing", "steering", "trying"]

EXIT_USAGE, EXIT_STOPPED = 2, 3  # of model.ExitCode, which costs an import of numpy


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _say(words: str, *, mask: bool = False) -> None:
    """Write to standard error without the secrets that this process knows."""
    from pipeline.logs import Redactor  # noqa: PLC0415 - a heavy import, for errors only
    from pipeline.secret_references import secrets_fetched  # noqa: PLC0415 - likewise

    redactor = Redactor(secrets_fetched())
    sys.stderr.write(redactor.text(words) if mask else redactor.hidden(words))


def main() -> None:
    """Run the command line; errors meant for the operator become one line and an exit code."""
    signal.signal(signal.SIGINT, _exit_on_signal)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    # No matrix is multiplied here: the threads that numpy would start for it only spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What a chunk or a batch leaves behind is freed by counting: looking for more seldom saves a twentieth.
    gc.set_threshold(50_000, 20, 20)
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except typer.TyperException as error:
        sys.stderr.write(f"simlift: {mistake(error)}\n")
        sys.exit(EXIT_USAGE)
    except typer.Abort:
        sys.stderr.write("simlift: standard input ended before the last answer; nothing was written\n")
        sys.exit(EXIT_USAGE)
    except SimliftError as error:
        _say(f"simlift: {error}\n")
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else EXIT_STOPPED)
    except Exception:  # noqa: BLE001 - what slips through is a defect of ours
        # It must not look like a finished run, which Python's own exit code 1 would say.
        _say(traceback.format_exc(), mask=True)
        _say("simlift: this is a defect of simlift; the run can be resumed, please report the above\n")
        sys.exit(EXIT_STOPPED)
