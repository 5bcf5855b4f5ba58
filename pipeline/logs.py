"""The run's log: one JSON object a line; identifiers are masked and secrets redacted here and only here."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
from contextlib import contextmanager, suppress
from functools import lru_cache
from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote, quote_plus

import structlog
from pydantic import SecretStr

from pipeline.identifiers import mask_text
from pipeline.log_form import LogForm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "***"
log = structlog.get_logger(__name__)

_COLON, _DOLLAR = r"(?::|%3A)", r"(?:\$|%24)"
_CODE = r"[^\s\"',}\]]"
_ACTIVATION_CODE = re.compile(
    rf"(?i)\bLPA{_COLON}{_CODE}+|\b1{_DOLLAR}(?:(?!{_DOLLAR}){_CODE})+{_DOLLAR}{_CODE}*"
)
_OURS = frozenset({"timestamp", "level", "run"})  # written by us at the top of an event, and never secret
_SECRET_NAMES = re.compile(
    r"ac|activationcode|cc|confirmationcode|accesscode|secretcode|secret|password|token|authorization|"
    r"signature|rtsignature|rtaccesscode"
)
#: A secret that a text names as one: "RT-Signature": "7EB7…", token=…, Bearer ….
_NAMED = re.compile(
    r"(?i)((?:(?:access|secret|activation|confirmation)[-_ ]?code|secret|password|token|authorization|"
    r"signature|api[-_]?key)[\"']?\s?[:=]\s?[\"']?(?:(?:bearer|basic)\s)?|\b(?:bearer|basic)\s)"
    r"(?=[^\s\"',;]*\d)[^\s\"',;]{8,}"
)
#: Without one of these neither of the two can match.
_CODE_WORDS = ("lpa", "1$", "1%24")
_NAMED_WORDS = ("code", "secret", "password", "token", "auth", "signature", "key", "bearer", "basic")
_APART = re.compile(r"(?:\s|\\[nrt])")  # what may stand between the characters of a secret
_CUT = "\N{HORIZONTAL ELLIPSIS}"
_WHOLE_BELOW = 6  # a shorter secret is hidden as a word of its own only: as a part it is in half of all words
_MOST_WHOLE = 10**13  # from here on a number may be an identifier


class Redactor:
    """A structlog processor: masks identifiers, hides secrets known by value, by name or by shape.

    A value is known in whatever case it stands, broken by white space, as JSON, a URL, HTML, hexadecimal
    digits or base64 write it; and by its beginning, where a text was cut short with an ellipsis.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Clean every value of an event, at any depth."""
        return {name: value if name in _OURS else self._clean(name, value) for name, value in event.items()}

    def text(self, text: str) -> str:
        """Clean one text, for what is printed as well as for what is logged."""
        return mask_text(self.hidden(text))

    def hidden(self, text: str, *more: str) -> str:
        """Hide the secrets of a text, and `more` of them; identifiers stay whole."""
        secrets = [*self._secrets, *filter(None, more)]
        # Most texts hold no secret at all, and to see that takes less than to search them.
        squeezed = _squeezed(text)
        for secret in secrets:
            for form, as_squeezed in _forms(secret):
                if as_squeezed in squeezed:
                    text = re.sub(_pattern(form), HIDDEN, text, flags=re.IGNORECASE)
        if _CUT in text:
            text = _without_rests(text, secrets)
        if any(word in squeezed for word in _CODE_WORDS):
            text = _ACTIVATION_CODE.sub(HIDDEN, text)
        if any(word in squeezed for word in _NAMED_WORDS):
            text = _NAMED.sub(rf"\1{HIDDEN}", text)
        return text

    def _clean(self, name: str, value: Any) -> Any:
        if _SECRET_NAMES.fullmatch(re.sub(r"[\W_]", "", name).lower()) or isinstance(value, SecretStr):
            return HIDDEN
        match value:
            case str():
                return self.text(value)
            case list() | tuple():
                return [self._clean("", part) for part in value]
            case dict():
                return {self.text(str(key)): self._clean(str(key), part) for key, part in value.items()}
            case None | float() | int() if not isinstance(value, int) or abs(value) < _MOST_WHOLE:
                return value
            case _:
                return self.text(str(value))


def _without_rests(text: str, secrets: Iterable[str]) -> str:
    """Hide what is left of a secret where a text was cut in the midst of it, or a part of it hidden."""
    parts = text.split(_CUT)
    for form in {form for secret in secrets for form, _ in _forms(secret)}:
        for length in range(len(form) - 1, _WHOLE_BELOW - 1, -1):
            beginning, end = form[:length].casefold(), form[-length:].casefold()
            for index, part in enumerate(parts):
                if index and part.lstrip()[:length].casefold() == end:
                    parts[index] = HIDDEN + part.lstrip()[length:]
                elif index < len(parts) - 1 and part.rstrip()[-length:].casefold() == beginning:
                    parts[index] = part.rstrip()[:-length] + HIDDEN
    return _CUT.join(parts)


def _squeezed(text: str) -> str:
    text = text.casefold()
    return _APART.sub("", text) if "\\" in text else "".join(text.split())


@lru_cache(256)
def _forms(secret: str) -> Sequence[tuple[str, str]]:
    """Give a secret in the forms in which others write it, the longest first, and what is left squeezed.

    A short one only as it is.
    """
    forms = {secret}
    if len(secret) >= _WHOLE_BELOW:
        raw = secret.encode()
        # Within a longer text base64 begins at one of three places, and its ends depend on what is beside it.
        packed = [base64.b64encode(b"\0" * lead + raw).decode() for lead in range(3)]
        inner = {code[ceil(8 * lead / 6) : 8 * (lead + len(raw)) // 6] for lead, code in enumerate(packed)}
        as_json = json.dumps(secret, ensure_ascii=False)[1:-1]
        forms |= {as_json, as_json.replace("/", "\\/"), json.dumps(secret)[1:-1], escape(secret), raw.hex()}
        forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret)}
        forms |= inner | {code.replace("+", "-").replace("/", "_") for code in inner}
    return [(form, _squeezed(form)) for form in sorted(forms, key=len, reverse=True)]


def _pattern(form: str) -> str:
    """Match a form wherever it stands, its characters apart too; short or of digits only, as a word."""
    if len(form) < _WHOLE_BELOW:
        return rf"(?<!\w){re.escape(form)}(?!\w)"
    apart = f"{_APART.pattern}*".join(map(re.escape, form))
    return rf"(?<!\d){apart}(?!\d)" if form.isdigit() else apart


class _BestEffort:
    """Writes log lines; a log that cannot be written never ends an import."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        """Write one line, if it can be written."""
        with suppress(OSError):
            self._file.write(line + "\n")

    debug = info = warning = error = critical = msg


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

    Every line bears the run's id and, of a batch, its number and the attempt. What libraries log goes there
    too, so that nothing gets round the redactor.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    file = os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)

    def bear_the_run(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        # Not a context variable: threads and tasks of libraries have contexts of their own.
        return {"run": run_id, **event} if run_id else event

    structlog.configure(
        processors=[
            bear_the_run,
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
    of_libraries = _OfLibraries(logging.WARNING)
    logging.getLogger().addHandler(of_libraries)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(of_libraries)
        silence()
        with suppress(OSError):
            file.close()


class _OfLibraries(logging.Handler):
    """Takes what libraries log into the run's own log; without it they write to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record of theirs."""
        with suppress(Exception):  # it is theirs to fail, and ours to go on
            log.log(
                record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info or None
            )


def _shown(form: LogForm) -> Processor:
    """Make a processor that shows each event on standard error, and passes it on as it was."""
    show: Processor = (
        structlog.processors.JSONRenderer(default=str)
        if form is LogForm.JSON
        else structlog.dev.ConsoleRenderer(colors=_may_be_coloured())
    )
    to = _BestEffort(sys.stderr)

    def passed_on(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        to.msg(str(show(logger, method, {**event})))
        return event

    return passed_on


def _may_be_coloured() -> bool:
    """Tell whether standard error is a terminal that wants colours (https://no-color.org)."""
    dumb = os.environ.get("TERM", "dumb") in {"dumb", ""}
    return sys.stderr.isatty() and not dumb and not os.environ.get("NO_COLOR")
