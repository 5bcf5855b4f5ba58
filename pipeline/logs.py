"""The run's log: one JSON object a line; identifiers are masked and secrets redacted here and only here."""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from pydantic import BaseModel, SecretStr

from pipeline.identifiers import mask_text
from pipeline.log_form import LogForm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "***"
_ACTIVATION_CODE = re.compile(r"(?i)\bLPA:[^\s\"',}\]]+|\b1\$[^\s$\"',}\]]+\$[^\s\"',}\]]*")
_OURS = frozenset({"timestamp", "level", "run"})  # written by us at the top of an event, and never secret
_SECRET_NAMES = re.compile(
    r"ac|activationcode|cc|confirmationcode|accesscode|secretcode|secret|password|token|authorization|"
    r"signature|rtsignature|rtaccesscode"
)


class Redactor:
    """A structlog processor: masks identifiers, hides secrets known by value, by name or by shape."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Clean every value of an event, at any depth."""
        return {name: value if name in _OURS else self._clean(name, value) for name, value in event.items()}

    def text(self, text: str) -> str:
        """Clean one text, for what is printed as well as for what is logged."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return mask_text(_ACTIVATION_CODE.sub(HIDDEN, text))

    def _clean(self, name: str, value: Any) -> Any:
        if _SECRET_NAMES.fullmatch(re.sub(r"[\W_]", "", name).lower()) or isinstance(value, SecretStr):
            return HIDDEN
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (list, tuple)):
            return [self._clean("", part) for part in value]
        if isinstance(value, dict):
            return {self.text(str(key)): self._clean(str(key), part) for key, part in value.items()}
        return value if isinstance(value, (int, float, type(None))) else self.text(str(value))


class _BestEffort:
    """Writes log lines; a log that cannot be written never ends an import."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        """Write one line, if it can be written."""
        with suppress(OSError):
            self._file.write(line + "\n")

    debug = info = warning = error = critical = msg


def secrets_in(settings: BaseModel) -> list[str]:
    """Give the secret values that a settings model holds."""
    values: Mapping[str, Any] = dict(settings)
    return [value.get_secret_value() for value in values.values() if isinstance(value, SecretStr)]


def silence() -> None:
    """Let nothing be logged: what most commands want, and the state before a run has a folder."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )


@contextmanager
def log_to(
    path: Path, redactor: Redactor, *, run_id: str = "", also: LogForm = LogForm.NONE
) -> Iterator[None]:
    """Append the log to a file (0600) for as long as the context lasts, and show it on standard error `also`.

    Every line bears the run's id and, of a batch, its number and the attempt.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    file = os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redactor,
            *([_shown(also)] if also is not LogForm.NONE else []),
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _BestEffort(file),
        cache_logger_on_first_use=False,
    )
    try:
        with structlog.contextvars.bound_contextvars(**({"run": run_id} if run_id else {})):
            yield
    finally:
        silence()
        with suppress(OSError):
            file.close()


def _shown(form: LogForm) -> Processor:
    """Make a processor that shows each event on standard error, and passes it on as it was."""
    show: Processor = (
        structlog.processors.JSONRenderer(default=str)
        if form is LogForm.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ)
    )
    to = _BestEffort(sys.stderr)

    def passed_on(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        to.msg(str(show(logger, method, {**event})))
        return event

    return passed_on
