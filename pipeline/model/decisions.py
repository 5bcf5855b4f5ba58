"""What becomes of a batch after a send, and what the ledger makes durable of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.model.ends import Status
    from pipeline.model.replies import Fault, Ruling
    from pipeline.model.rows import Exceptional


class Final(Struct, frozen=True, gc=False):
    """The end of one item's story."""

    status: Status
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """Items of a batch (by index) that go out again, together or in parts of at most `most_items`."""

    indices: tuple[int, ...]
    wait_s: float
    in_doubt: bool
    sends: int
    tries: int
    most_items: int = 0
    code: str = ""
    reason: str = ""
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a batch after a send.

    Every item is in `final` (by index), in one of `again`, has a ticket in `promised`, or is in none: then
    the vendor said it succeeded. `void`: nothing was carried out, the claim is undone. `hold_s` holds the
    shared pace, `stop` ends the run. `sent` is False when nothing left this machine.
    """

    final: Mapping[int, Final] = field(default_factory=dict)
    again: tuple[Again, ...] = ()
    promised: Mapping[int, str] = field(default_factory=dict)
    call: str = ""
    void: bool = False
    sent: bool = True
    hold_s: float = 0.0
    pushed_back: bool = False
    stop: Fault | None = None


class Setback(Struct, frozen=True, gc=False):
    """What the vendor said, in the same words, of some items that are then sent again."""

    positions: tuple[int, ...]
    ruling: Ruling
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the ledger makes durable for one claimed batch.

    Every item of the batch that is not in `exceptional` succeeded at its first send and needs no row of
    its own. A row in `exceptional` without a status is open. `void` says that the batch was not carried
    out at all: its claim is undone, its items are as if never claimed (rows they had before stay). `lost`
    says that its answer was, and that none of its items, a stretch without gaps, had been sent before: all
    are open and in doubt, and need no rows of their own until more is known of them. The rest is for the
    record: the name of the call, why it had no answer for the items, and what was said of those that are
    sent again.
    """

    batch: int
    exceptional: tuple[Exceptional, ...] = ()
    void: bool = False
    lost: bool = False
    request_id: str = ""
    fault: Fault | None = None
    setbacks: tuple[Setback, ...] = ()

    @property
    def leaves_all_open(self) -> bool:
        """True when no item of the batch has got its end."""
        return self.void or self.lost


#: Code of a row in doubt because the vendor accepted it and did not finish; its ticket is kept.
STILL_OPEN = "still_open"


@dataclass(frozen=True, slots=True)
class Completion:
    """What the ledger makes durable once a vendor has kept or broken its promises for items of one batch.

    `plain` are positions that succeeded at their first send: they need no row of their own any more.
    """

    batch: int
    plain: tuple[int, ...] = ()
    exceptional: tuple[Exceptional, ...] = ()
    setbacks: tuple[Setback, ...] = ()
