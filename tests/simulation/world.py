"""What a story needs to know of the vendor it is told about; all else is the same for all of them.

A World belongs to one story: it draws the vendor's part of a plan, plays the vendor's logic, reads requests
and replies as a witness, and opens the vendor's books.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from drawn_inventory import DrawnInventory, Row, Rows

    from pipeline.contracts import Target
    from pipeline.settings import Endpoint
    from pipeline.simulator.exchange import Plan as Judgement, Response as VendorsResponse, Vendor
    from pipeline.wire import Request

EPOCH_S = 1_767_225_600.0  # when virtual time is 0


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as a witness reads it: the rows a send carries (key by position), or whom a poll is after."""

    call: str  # send | poll | login
    rows: Mapping[int, str] = field(default_factory=dict)
    asked: str = ""

    def __str__(self) -> str:
        positions = sorted(self.rows)
        if not positions:
            return f"{self.call} {self.asked}".rstrip()
        return f"{self.call} {len(positions)} rows {positions[0]}…{positions[-1]}"


@dataclass(frozen=True, slots=True)
class Told:
    """What a reply plainly told: rows that are done, refused or accepted, and tickets that have an end.

    `undone` are tickets that will never be kept: their rows may be sent again.
    """

    rows: frozenset[int] = frozenset()
    done: frozenset[str] = frozenset()
    undone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a row as it is being written down, and the ticket it held."""

    status: str
    code: str
    ticket: str


class World(ABC):
    """One vendor of one story."""

    name: ClassVar[str]
    endings: ClassVar[tuple[str, ...]] = ()  #: ends of a life that only this vendor's runs can have
    max_items: ClassVar[tuple[int, ...]]  #: drawn from: how many items the vendor takes at once

    # ------------------------------------------------------------ the vendor's part of a plan

    @classmethod
    @abstractmethod
    def rows(cls, rng: random.Random) -> Rows:
        """Begin to draw the inventory's rows."""

    @classmethod
    @abstractmethod
    def draw_tables(cls, rng: random.Random) -> dict[str, dict[str, Any]]:
        """Draw what the job file says for this vendor alone, [target] among it."""

    @classmethod
    @abstractmethod
    def draw_faults(
        cls, rng: random.Random, inventory: DrawnInventory, job: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Draw what goes wrong, and what of it is the vendor's rule and stays when it is well again."""

    @classmethod
    def draw_more(cls, rng: random.Random, job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw further tables of the faults file, for the vendor when ill and when well."""
        return {}, {}

    # ------------------------------------------------------------ the vendor

    @abstractmethod
    def logic(self, faults: dict[str, Any], max_items: int) -> Vendor:
        """Give the vendor's logic, on the same books as before."""

    @abstractmethod
    def target(self, job: Mapping[str, Any], clock: Callable[[], float], ids: random.Random) -> Target:
        """Give the target that is told about."""

    @abstractmethod
    def settings(self, job: Mapping[str, Any]) -> Endpoint:
        """Give the target's settings, secrets in place."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the books."""

    # ------------------------------------------------------------ the witness

    @abstractmethod
    def read(self, request: Request) -> Sent:
        """Read a request."""

    @abstractmethod
    def told(self, sent: Sent, reply: VendorsResponse, judgement: Judgement) -> Told:
        """Say what a reply that has arrived as a whole tells plainly."""

    # ------------------------------------------------------------ the vendor's books

    def strangers(self, promised: Mapping[int, tuple[str, str]]) -> Iterable[str]:
        """Say which tickets and calls the vendor did not give for the rows that are said to hold them."""
        return ()

    @abstractmethod
    def unfounded(self, now: float, ended: Mapping[int, Ended]) -> Iterable[str]:
        """Say which ends are written down at `now` (virtual) that the vendor's books do not bear out."""

    @abstractmethod
    def open_books(self, now: float) -> None:
        """Look at the books as they stand at `now`; what follows is about them."""

    def odd_entries(self) -> Iterable[str]:
        """Say what stands in the books that must not."""
        return ()

    @abstractmethod
    def judge(self, row: Row, line: Mapping[str, Any]) -> Iterable[str]:
        """Compare a row that was to be sent, and its line in the ledger, with the books."""
