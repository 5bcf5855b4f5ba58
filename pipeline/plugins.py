"""Implementations found by name, through entry points: ours in the same way as a stranger's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import UsageError
from pipeline.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

    Group = Literal["targets", "sources", "ledgers"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One installed implementation: `loaded`, or else `problem` says in one line why it cannot be."""

    name: str
    distribution: str  #: name and version of what it was installed with
    loaded: Any = None
    problem: str = ""


def installed(what: Group, name: str) -> Any:
    """Load an implementation by name.

    Raises UsageError when there is none of that name, naming the nearest one, or when it cannot be loaded.
    """
    found = entry_points(group=f"simlift.{what}")
    if name not in found.names:
        raise UsageError(
            f"no {what.removesuffix('s')} is called {name!r}; {nearest(name, sorted(found.names))}"
        )
    plugin = _load(found[name])
    if plugin.problem:
        raise UsageError(f"{what.removesuffix('s')} {name} ({plugin.distribution}): {plugin.problem}")
    return plugin.loaded


def every(what: Group) -> Iterator[Plugin]:
    """Yield all that is installed of one kind, by name; one that cannot be loaded hides no other."""
    for entry in sorted(entry_points(group=f"simlift.{what}"), key=lambda entry: entry.name):
        yield _load(entry)


def _load(entry: EntryPoint) -> Plugin:
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
    try:
        return Plugin(entry.name, distribution, entry.load())
    except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything as it is imported
        words = " ".join(str(error).split())
        return Plugin(entry.name, distribution, problem=f"cannot be loaded: {type(error).__name__}: {words}")
