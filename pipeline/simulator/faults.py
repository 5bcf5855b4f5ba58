"""What goes wrong in this run: the TOML file that picks from the catalogue of fault kinds.

What befalls the n-th request depends on `seed` and n alone; but rate_limit and capacity depend on time too.
"""

from __future__ import annotations

import random
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field, ValidationError

from pipeline.simulator.fault_kinds import AnyFault, Capacity, Fault, RateLimit, Seconds, Slow, Table

if TYPE_CHECKING:
    from pathlib import Path


class FaultsError(ValueError):
    """The faults file can't be used; the text is one line that says where and why."""


class Latency(Table):
    """How long every request takes: evenly drawn from mean ± jitter, never below zero."""

    mean_s: Seconds = 0.0
    jitter_s: Seconds = 0.0


class Faults(Table):
    """A faults file. Without one: no faults, no latency."""

    seed: int = 0
    latency: Latency = Latency()
    fault: Annotated[tuple[Annotated[AnyFault, Field(discriminator="kind")], ...], Field(strict=False)] = ()

    def draw(self, number: int, purpose: object) -> random.Random:
        """Return a source of chance that depends on seed, request number and purpose alone."""
        return random.Random(f"{self.seed} {number} {purpose}")  # noqa: S311 - repeatable is the point

    def hits(self, number: int) -> tuple[AnyFault, ...]:
        """Return the faults that hit request `number`, in file order."""
        return tuple(
            fault
            for place, fault in enumerate(self.fault)
            if isinstance(fault, Fault) and fault.hits(number, self.draw(number, place))
        )

    def wait_s(self, number: int) -> float:
        """Return the latency of request `number`, what `slow` adds included."""
        drawn = self.latency.jitter_s and self.latency.jitter_s * self.draw(number, "latency").uniform(-1, 1)
        slow = sum(fault.seconds for fault in self.hits(number) if isinstance(fault, Slow))
        return max(0.0, self.latency.mean_s + drawn) + slow

    @property
    def rate_limits(self) -> tuple[RateLimit, ...]:
        """The limits on requests; each one holds by itself."""
        return tuple(fault for fault in self.fault if isinstance(fault, RateLimit))

    @property
    def capacity(self) -> int | None:
        """The number of requests worked on at once, None for any."""
        return min((fault.concurrent for fault in self.fault if isinstance(fault, Capacity)), default=None)


def parse(text: str) -> Faults:
    """Read a faults file's text. Raises FaultsError: not TOML, or an unknown kind or key, or a bad value."""
    try:
        return Faults.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise FaultsError(f"not TOML: {error}") from None
    except ValidationError as error:
        raise FaultsError(
            "; ".join(_in_words(dict(fact)) for fact in error.errors(include_url=False))
        ) from None


def load(path: Path) -> Faults:
    """Read a faults file. Raises FaultsError, the path in it."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, FaultsError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FaultsError(f"faults file {path}: {reason}") from None


def _in_words(fact: dict[str, Any]) -> str:
    """Return `fault 2, status, retry_after: unknown key` for one error of pydantic's."""
    place = [
        f"fault {part + 1}" if isinstance(part, int) and not at else str(part)
        for at, part in enumerate(fact["loc"][1:])
    ]
    where = ", ".join(place if fact["loc"][:1] == ("fault",) and place else map(str, fact["loc"]))
    what = {"extra_forbidden": "unknown key", "missing": "missing"}.get(
        fact["type"], fact["msg"].removeprefix("Value error, ")
    )
    return f"{where}: {what}".replace("\n", " ")


def catalogue() -> str:
    """Return one line for each kind: its name, its keys, what it does."""
    lines = []
    for model in get_args(AnyFault):
        keys = ", ".join(key for key in model.model_fields if key not in {"kind", *Fault.model_fields})
        (kind,) = get_args(model.model_fields["kind"].annotation)
        lines.append(f"  {kind}{f' ({keys})' if keys else ''}: {model.__doc__.splitlines()[0]}")
    return "\n".join(lines)
