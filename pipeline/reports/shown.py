"""What of a run may stand in a report that is passed on: identifiers masked, secrets never, texts bounded."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipeline.logs import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: How much of a text, and of a name or a code, is shown. Escaped, a character takes up to five bytes.
TEXT, NAME = 200, 60

# Names under which a literal would be a secret: a reference may be shown, anything else may not.
_SECRET_NAME = re.compile(r"\.(ac|cc)$|(code|token|password|passphrase|secret|key)$", re.IGNORECASE)
# Tables without secrets: under input.columns.ac stands a header, guards.new_code says what to do on one.
_OPEN = ("input.columns.", "guards.")
_REFERENCE = re.compile(r"^(env|file):")
_PATH = re.compile(r"^(\w+://[^/?#]*)[/?#].*$", re.DOTALL)
_LOGIN_IN_URL = re.compile(r"//[^/@\s]*@")
_redacted = Redactor().text


def shown(words: str, most: int = TEXT) -> str:
    """Give words of a vendor, a file or a person as they may be shown, at most so many characters."""
    # Cut twice: what is not shown need not be searched, and what is cut in two must not escape the search.
    words = _redacted(_LOGIN_IN_URL.sub("//…@", words[: 2 * most]))
    return words if len(words) <= most else f"{words[: most - 1]}…"


def settings(values: Mapping[str, Any], table: str = "") -> Iterable[tuple[str, str]]:
    """Flatten the job file to dotted names, in its order; secrets stand as the references they are."""
    for name, value in values.items():
        path = f"{table}{name}"
        if isinstance(value, dict):
            yield from settings(value, f"{path}.")
        elif value is not None:
            yield shown(path, NAME), _setting(path, value)


def _setting(name: str, value: Any) -> str:
    if name == "notify.command":  # its arguments may hold a token, as may the path of a chat's webhook
        return shown(" ".join([*value[:1], *(["…"] if value[1:] else [])]))
    if name == "notify.webhook":
        return shown(_PATH.sub(r"\1/…", value))
    if not isinstance(value, str):
        return shown(json.dumps(value, ensure_ascii=False))
    if _REFERENCE.match(value) or name.startswith(_OPEN):
        return shown(value)
    return "(not shown)" if _SECRET_NAME.search(name) else shown(value)
