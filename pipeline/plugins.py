"""Implementations found by name, through entry points: ours in the same way as a stranger's."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Literal

from pipeline.errors import UsageError
from pipeline.settings import nearest


def installed(what: Literal["targets", "sources", "ledgers"], name: str) -> Any:
    """Load an implementation by name. Raises UsageError naming the nearest one installed."""
    found = entry_points(group=f"simlift.{what}")
    if name not in found.names:
        raise UsageError(
            f"no {what.removesuffix('s')} is called {name!r}; {nearest(name, sorted(found.names))}"
        )
    return found[name].load()
