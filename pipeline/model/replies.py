"""What a vendor answers and what we conclude of it, item by item, or why there is no answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Ruling(StrEnum):
    """What the vendor said of one item."""

    SUCCEEDED = "succeeded"
    EXISTS = "exists"  # already there: confirmed after a lost answer, refused on a clean first send
    REFUSED = "refused"  # the final no
    PASSING = "passing"  # not carried out, try again
    UNTOUCHED = "untouched"  # not carried out for its neighbours' sake: again at once, without them
    PROMISED = "promised"  # accepted and not yet done; the verdict's ticket asks after it
    UNKNOWN = "unknown"  # the vendor does not know the ticket
    OPEN = "open"  # no trustworthy word on this item


class Verdict(Struct, frozen=True, gc=False):
    """What we conclude for one item, with the vendor's code and words (or ours, where it said nothing)."""

    ruling: Ruling
    code: str = ""
    reason: str = ""
    ticket: str = ""


PLAIN_SUCCESS = Verdict(Ruling.SUCCEEDED)


class Answer(Struct, frozen=True, gc=False):
    """One entry of a reply. `names` is the key the entry names in its own words, or None.

    Targets share one Answer object among equal entries, so a reply of 1,000 plain successes costs one.
    """

    verdict: Verdict
    names: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that has item entries: `answers` in the vendor's order, `echo` the keys it echoed, if any.

    With `rest` every entry names its item, positions mean nothing, and `rest` holds for the items that no
    entry names. `call` asks after all tickets of this reply at once, where the vendor has such a question.
    """

    answers: Sequence[Answer]
    echo: Sequence[str] | None = None
    rest: Verdict | None = None
    call: str = ""


class FaultKind(StrEnum):
    """Why a whole batch has no item entries, and so what may be done about it."""

    NOT_CARRIED_OUT = "not_carried_out"  # connection refused, 429, 503, system busy
    LOST = "lost"  # timeout, connection cut, 5xx, unreadable 200: may have been carried out
    REFUSED = "refused"  # the batch as a whole, with no word on its items
    TOO_LARGE = "too_large"  # its size was refused
    WITHDRAWN = "withdrawn"  # we stop or hold, and it was never sent
    STOP = "stop"  # credentials, signature, clock, path: no other batch can fare better


@dataclass(frozen=True, slots=True)
class Fault:
    """A whole batch without item entries; `retry_after_s` is the vendor's wish, where it gave one.

    `reached` is False when nothing left this machine (connection refused, name not found).
    """

    kind: FaultKind
    code: str
    reason: str
    retry_after_s: float | None = None
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a reply says of a batch of `items` items: plain successes but for `exceptions` (by index)."""

    items: int
    exceptions: Mapping[int, Verdict] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()  # what was odd about the reply, for the log
    call: str = ""
