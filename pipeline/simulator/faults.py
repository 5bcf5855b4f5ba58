"""What goes wrong in this run: the TOML file that picks from the catalogue of fault kinds.

What befalls the n-th request depends on `seed` and n alone; but rate_limit and capacity depend on time too.
"""

from __future__ import annotations

import random
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args, overload

from pydantic import Field, ValidationError, model_validator

from pipeline.simulator.fault_kinds import AnyFault, Call, Capacity, Fault, RateLimit, Seconds, Slow, Table

if TYPE_CHECKING:
    from pathlib import Path


class FaultsError(ValueError):
    """The faults file can't be used; the text is one line that says where and why."""


class Latency(Table):
    """How long every request takes: evenly drawn from mean ± jitter, never below zero."""

    mean_s: Seconds = 0.0
    jitter_s: Seconds = 0.0


class FaultsFile(Table):
    """A faults file, whichever vendor's. Without one: no faults, no latency.

    A vendor names its kinds of fault and the sorts of call it has, the only ones that `on` may name.
    """

    kinds: ClassVar[Any]
    calls: ClassVar[tuple[Call, ...]]
    seed: int = 0
    latency: Latency = Latency()
    fault: tuple[Table, ...] = ()

    @model_validator(mode="after")
    def _calls_exist(self) -> FaultsFile:
        for number, fault in enumerate(self.fault, 1):
            if isinstance(fault, Fault | RateLimit) and fault.on not in (None, *self.calls):
                raise ValueError(f"fault {number}, {fault.kind}, on: this vendor knows no {fault.on}")
        return self

    def draw(self, number: int, purpose: object) -> random.Random:
        """Return a source of chance that depends on seed, request number and purpose alone."""
        return random.Random(f"{self.seed} {number} {purpose}")  # noqa: S311 - repeatable is the point

    def hits(self, number: int, call: Call = "send", of_its_sort: int | None = None) -> tuple[Fault, ...]:
        """Return the faults that hit request `number`, in file order.

        It is the `of_its_sort`-th `call`; without a word, the vendor knows no other sort.
        """
        among = number if of_its_sort is None else of_its_sort
        return tuple(
            fault
            for place, fault in enumerate(self.fault)
            if isinstance(fault, Fault)
            and (
                fault.hits(number, self.draw(number, place))
                if fault.on is None
                else fault.on == call and fault.hits(among, self.draw(among, f"{call} {place}"))
            )
        )

    def wait_s(self, number: int, hits: tuple[Fault, ...] | None = None) -> float:
        """Return the latency of request `number`, what `slow` adds included."""
        drawn = self.latency.jitter_s and self.latency.jitter_s * self.draw(number, "latency").uniform(-1, 1)
        slow = sum(
            fault.seconds
            for fault in (self.hits(number) if hits is None else hits)
            if isinstance(fault, Slow)
        )
        return max(0.0, self.latency.mean_s + drawn) + slow

    @property
    def rate_limits(self) -> tuple[RateLimit, ...]:
        """The limits on requests; each one holds by itself."""
        return tuple(fault for fault in self.fault if isinstance(fault, RateLimit))

    @property
    def capacity(self) -> int | None:
        """The number of requests worked on at once, None for any."""
        return min((fault.concurrent for fault in self.fault if isinstance(fault, Capacity)), default=None)


class Faults(FaultsFile):
    """What can go wrong at SIM Express, which knows imports only."""

    kinds: ClassVar[Any] = AnyFault
    calls: ClassVar[tuple[Call, ...]] = ("send",)
    fault: Annotated[tuple[Annotated[AnyFault, Field(discriminator="kind")], ...], Field(strict=False)] = ()


AFile = TypeVar("AFile", bound=FaultsFile)


@overload
def parse(text: str) -> Faults: ...
@overload
def parse(text: str, vendors: type[AFile]) -> AFile: ...
def parse(text: str, vendors: type[FaultsFile] = Faults) -> FaultsFile:
    """Read the text of a vendor's faults file.

    Raises FaultsError: not TOML, an unknown key or bad value, a kind or `on` this vendor does not know.
    """
    try:
        return vendors.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise FaultsError(f"not TOML: {error}") from None
    except ValidationError as error:
        raise FaultsError(
            "; ".join(_in_words(dict(fact)) for fact in error.errors(include_url=False))
        ) from None


@overload
def load(path: Path) -> Faults: ...
@overload
def load(path: Path, vendors: type[AFile]) -> AFile: ...
def load(path: Path, vendors: type[FaultsFile] = Faults) -> FaultsFile:
    """Read a vendor's faults file. Raises FaultsError, the path in it."""
    try:
        return parse(path.read_text(encoding="utf-8"), vendors)
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
    return (f"{where}: {what}" if where else what).replace("\n", " ")


def catalogue(vendors: type[FaultsFile] = Faults) -> str:
    """Return one line for each kind and table of a vendor's file: its name, its keys, what it does."""
    lines = []
    for model in get_args(vendors.kinds):
        (kind,) = get_args(model.model_fields["kind"].annotation)
        lines.append(_line(kind, model, {"kind", *Fault.model_fields}))
    for name, field in vendors.model_fields.items():
        if isinstance(field.default, Table):
            lines.append(_line(f"[{name}]", type(field.default), set()))
    return "\n".join(lines)


def _line(name: str, table: type[Table], known: set[str]) -> str:
    keys = ", ".join(key for key in table.model_fields if key not in known)
    return f"  {name}{f' ({keys})' if keys else ''}: {(table.__doc__ or '').splitlines()[0]}"
