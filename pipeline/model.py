"""What passes between the stages: plain frozen data, no behaviour beyond its own arithmetic.

Columns in, exceptions out: most rows travel as Arrow columns inside a Chunk or a Batch; a single row
gets an object of its own (Exceptional, Answer, Verdict) only when it needs a word of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from pyroaring import BitMap


class Status(StrEnum):
    """How a row ends; every row read ends in exactly one."""

    SUCCEEDED = "succeeded"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"

    @property
    def good(self) -> bool:
        """True for a row that stands in the vendor's platform on the vendor's own word."""
        return self in _GOOD


_GOOD = (Status.SUCCEEDED, Status.CONFIRMED)


class State(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


class ExitCode(IntEnum):
    """What the process returns; 128 + signal number (130, 143) after an interruption."""

    ALL_GOOD = 0
    NOT_ALL_GOOD = 1
    USAGE = 2
    STOPPED = 3


# ---------------------------------------------------------------- source → producer


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that has no cells to screen: ragged or undecodable.

    `reason` says what is wrong, without the row's number. `cells` holds the source cells where they could
    be told apart (else empty), `raw` the line as it stood, undecodable bytes in hexadecimal escapes.
    """

    position: int
    reason: str
    raw: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of the inventory, in its order.

    `rows` has one string column per source column, named "0", "1", … (headers may repeat; Arrow names
    may not), cells exactly as they stood. `positions` is an int64 array: where each of these rows
    stands in its file, from 1. Broken rows count too, so positions may have gaps. `rows_read` is how many
    rows of the file end with this chunk, `bytes_read` how far the source has read. `numbers` tells for a
    column, by its index, which of its cells were numbers in the file and not text: their digits cannot be
    trusted, however well they print.
    """

    rows: pa.RecordBatch
    positions: pa.Int64Array
    broken: tuple[BrokenRow, ...]
    rows_read: int
    bytes_read: int
    numbers: Mapping[int, pa.BooleanArray] = field(default_factory=dict)


# ---------------------------------------------------------------- rows with a word of their own


class Exceptional(Struct, frozen=True, gc=False):
    """A row that is not a plain success, as the ledger keeps it.

    `status` is None while the row is still open (to be sent again); `in_doubt` says that an earlier
    send of it had no trustworthy answer. `cells` are its source cells, `raw` only for a broken row.
    `ticket` is the vendor's promise for it that is still to be kept, `call` names the call it came from.
    """

    position: int
    key: str
    status: Status | None
    code: str
    reason: str
    sends: int
    batch: int = 0
    in_doubt: bool = False
    cells: tuple[str, ...] = ()
    raw: str = ""
    ticket: str = ""
    call: str = ""


# ---------------------------------------------------------------- producer → worker pool

#: Columns of Batch.items: position int64 · key string · payload string (the item as the target encodes
#: it, separator included) · cells struct of strings (the source row as it stood).
ITEM_COLUMNS = ("position", "key", "payload", "cells")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a vendor gave for items it will finish later: a ticket each, in item order.

    `call` asks after all of them at once; empty where the vendor has no such question.
    """

    tickets: pa.StringArray
    call: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """At most `batch_items` items that are sent together.

    `items` is a RecordBatch with ITEM_COLUMNS, in ascending position. `id` is 0 until the ledger has
    claimed the batch. `sends` is how often these items were sent before, `tries` how many of those
    count against `attempts`; `in_doubt` says that an earlier send may have been carried out;
    `most_items` bounds how many of them may travel together (0: no bound of its own); `recorded` says that
    they have rows of their own in the ledger, which must hear of a success too; `forgotten` that the vendor
    did not know their last tickets any more. With a `promise` the items are not sent but asked after.
    """

    items: pa.RecordBatch
    id: int = 0
    sends: int = 0
    tries: int = 0
    in_doubt: bool = False
    most_items: int = 0
    recorded: bool = False
    forgotten: bool = False
    promise: Promise | None = None

    def __len__(self) -> int:
        return int(self.items.num_rows)

    def keys(self) -> list[str]:
        """Give the keys in item order."""
        keys: list[str] = self.items.column("key").to_pylist()
        return keys

    def of_items(self, name: str, indices: Sequence[int]) -> pa.Array:
        """Give a column of some items; of all of them as they stand it is no copy."""
        column = self.items.column(name)
        if list(indices) == list(range(len(self))):
            return column
        return column.take(np.asarray(indices, np.int64))

    def source_rows(self, indices: Sequence[int]) -> list[tuple[str, ...]]:
        """Give the source rows of some items, cells as they stood in the inventory."""
        columns = [column.to_pylist() for column in self.of_items("cells", indices).flatten()]
        return list(zip(*columns, strict=True)) if columns else [()] * len(indices)

    def payload(self) -> memoryview:
        """Give all items as the target encoded them, separators included: one slice of memory, no copy."""
        column: Any = self.items.column("payload")
        _, offsets, data = column.buffers()
        ends = memoryview(offsets).cast("i")
        return memoryview(data)[ends[column.offset] : ends[column.offset + len(column)]]


class Finding(Struct, frozen=True, gc=False):
    """Something odd about an accepted row that only other rows show: a code, and words for the operator."""

    position: int
    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Portion:
    """What the producer makes of one chunk: batches to send, and rows that never will be.

    `rows_read` and `bytes_read` are totals so far, `starts` counts for each file begun so far the rows of
    those before it; `check_digits` counts (passed, failed) by field in this portion.
    """

    batches: tuple[Batch, ...]
    exceptional: tuple[Exceptional, ...]
    rows_read: int
    bytes_read: int
    check_digits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    starts: tuple[int, ...] = ()


# ---------------------------------------------------------------- vendor → reconciler


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


# ---------------------------------------------------------------- retry → worker pool → ledger


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


# ---------------------------------------------------------------- run

#: Columns of Ledger.outcomes(): position int64 · key, status, code, reason string · attempts, batch int64.
OUTCOME_COLUMNS = ("position", "key", "status", "code", "reason", "attempts", "batch")

#: What it adds on request: cells list of strings (those of good rows may be missing) · raw string.
SOURCE_COLUMNS = ("cells", "raw")


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row that a resumed run sends again: how often it was sent, and whether that may have taken.

    With a `ticket` it is asked after instead; `batch` is the one it was last sent in.
    """

    sends: int
    in_doubt: bool
    ticket: str = ""
    call: str = ""
    batch: int = 0


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """What a ledger knows of the inventory: `done` positions need no further send, `open` ones do."""

    done: BitMap
    open: Mapping[int, OpenRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows ended with one status and code, with one of their positions and reasons as example."""

    status: Status
    code: str
    rows: int
    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class FindingTally:
    """How many rows bear one finding, with the words said of the first."""

    code: str
    rows: int
    words: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One send of one item, read back: in which batch, when, and what came of it. Times are UTC seconds.

    `ended` is "under_way"; "died" (its process ended before an answer was written down); a FaultKind where
    the batch had no answer for its items; a Ruling or a Status where there was a word on this item, which
    was then sent again; else "answered": the row's own status tells, or a later attempt. `completed_at` is
    when the vendor's word on promised items of the batch last came.
    """

    batch: int
    at: float
    items: int
    ended: str
    code: str = ""
    reason: str = ""
    request_id: str = ""
    ended_at: float | None = None
    completed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """A batch whose answer was lost: when it was sent, what became of it, and how its items ended.

    `ended` counts them by final status, `open` those that have none yet.
    """

    batch: int
    at: float
    items: int
    code: str
    reason: str
    ended: Mapping[Status, int]
    open: int = 0


@dataclass(frozen=True, slots=True)
class Doubts:
    """The first batches whose answer was lost, and how many batches and items there are of them in all.

    `items` counts one that was lost twice twice; `ended` and `open` count rows, each once.
    """

    first: Sequence[Doubt] = ()
    batches: int = 0
    items: int = 0
    ended: Mapping[Status, int] = field(default_factory=dict)
    open: int = 0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The ledger's facts of one run; `job` is the job file as data (secrets by reference).

    Times are UTC seconds. `formats` are the inventory's, as sources are registered; `corrects` is the id of
    the run whose failures file this inventory was made of, as far as that is known; `starts` counts, for each
    file that was begun, the rows of those before it.
    """

    run_id: str
    state: State
    target: str
    inventory: tuple[str, ...]
    fingerprint: str
    header: tuple[str, ...]
    job: Mapping[str, Any]
    started_at: float
    finished_at: float | None = None
    rows_read: int | None = None
    requests: int = 0
    duration_s: float = 0.0
    exit_code: int | None = None
    stop_reason: str = ""
    formats: tuple[str, ...] = ()
    corrects: str = ""
    starts: tuple[int, ...] = ()
