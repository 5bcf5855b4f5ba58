"""Secrets of a job file: references to where they lie, never literals; no error shows a value."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, TypeAdapter, ValidationError, ValidationInfo

from pipeline.errors import UsageError

WITHOUT_SECRETS = "without secrets"
_IN_BASE64 = "whsec_"  # Standard Webhooks 1.0
_fetched: set[str] = set()
_NO_REFERENCE = 'must be a reference, "env:NAME" or "file:PATH", never the secret itself'


def _resolve(reference: Any, info: ValidationInfo) -> SecretStr:
    """Fetch a secret from where the job file says it lies; the value never appears in an error."""
    if isinstance(reference, SecretStr):
        return reference
    how, _, where = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if how in ("env", "file") and where and info.context == WITHOUT_SECRETS:
        return SecretStr("")
    if how == "env" and where:
        value = os.environ.get(where, "").strip()
        if not value:
            raise ValueError(f"the environment variable {where} is not set")
        return _kept_in_mind(value)
    if how == "file" and where:
        try:
            value = Path(where).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the secret file {where} cannot be read: {_short(error)}") from None
        if not value:
            raise ValueError(f"the secret file {where} is empty")
        return _kept_in_mind(value)
    raise ValueError(_NO_REFERENCE)


def _kept_in_mind(value: str) -> SecretStr:
    _fetched.add(value)
    return SecretStr(value)


def secrets_fetched() -> frozenset[str]:
    """Give every secret that this process has fetched by a reference, for whoever hides them."""
    return frozenset(_fetched)


def _short(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not UTF-8 text"


Secret = Annotated[SecretStr, BeforeValidator(_resolve)]


def _is_reference(reference: str) -> str:
    how, _, where = reference.partition(":")
    if how not in ("env", "file") or not where:
        raise ValueError(_NO_REFERENCE)
    return reference


#: A secret that stays a reference until it is wanted: what is kept of a job holds no secret.
Reference = Annotated[str, AfterValidator(_is_reference)]


def secret_at(reference: str, *, where: str) -> SecretStr:
    """Fetch a secret. Raises UsageError that begins with `where`; the value never appears in it."""
    try:
        return TypeAdapter(Secret).validate_python(reference)
    except ValidationError as errors:
        message = errors.errors(include_url=False, include_input=False)[0]["msg"]
        raise UsageError(f"{where}: {message.removeprefix('Value error, ')}") from None


def signing_key_of(secret: SecretStr) -> bytes:
    """Give the key that webhooks are signed with: what follows whsec_ is base64. Raises ValueError."""
    text = secret.get_secret_value()
    if not text.startswith(_IN_BASE64):
        return text.encode()
    try:
        key = base64.b64decode(text.removeprefix(_IN_BASE64), validate=True)
    except ValueError:
        raise ValueError(f"what follows {_IN_BASE64} must be base64") from None
    if not key:  # anybody could sign with it
        raise ValueError(f"nothing follows {_IN_BASE64}")
    return key
