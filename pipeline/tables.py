"""Tables of a job file as pydantic models: what is wrong in one becomes a line that names the key.

For a misspelt key, it names the nearest one known.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import UsageError
from pipeline.secret_references import WITHOUT_SECRETS

if TYPE_CHECKING:
    from collections.abc import Sequence

_Model = TypeVar("_Model", bound=BaseModel)


class Table(BaseModel):
    """A table of the job file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read_table(
    model: type[_Model], data: dict[str, Any], *, where: str, table: str = "", resolve_secrets: bool = True
) -> _Model:
    """Validate one table. Raises UsageError naming the first wrong key and what to do about it.

    Without `resolve_secrets` references are checked for their form only (`check` needs no secret).
    """
    try:
        return model.model_validate(data, context=None if resolve_secrets else WITHOUT_SECRETS)
    except ValidationError as errors:
        raise UsageError(f"{where}: {_first_error(model, errors, table)}") from None


def _first_error(model: type[BaseModel], errors: ValidationError, table: str) -> str:
    """Name the first wrong key and what to do; input values are left out, they may be secrets."""
    found = errors.errors(include_url=False, include_input=False)
    # A misspelt key that is required shows twice, as missing and as unknown: the latter names it.
    error = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    path = [str(part) for part in error["loc"]]
    key = ".".join([table, *path] if table else path)
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        return f"{key}: unknown key; {nearest(path[-1], known)}"
    if error["type"] == "missing":
        return f"{key}: is missing; add it"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}"


def nearest(name: str, known: Sequence[str]) -> str:
    """Suggest the known name that comes nearest, or list them all."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
