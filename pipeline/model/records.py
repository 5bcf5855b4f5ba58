"""What a ledger knows of a run: its facts, its tallies, what it says of one item, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyroaring import BitMap

    from pipeline.model.ends import State, Status


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a run stands now.

    `elapsed_s` is the time of this process, `duration_s` with that of the ones before it. `rate_per_s` and
    `concurrency` are what is allowed just now, `limit_per_s` and `ceiling` the most that they may be by the
    limits. `in_flight` counts the requests that have left and are not answered, `queued` those that wait
    until the rate permits them. `holding` says in words why nothing leaves, `hold_left_s` for how long yet,
    where that is known, `paused` that only a person can end it.
    """

    counts: Mapping[Status, int]
    rows_read: int
    bytes_read: int
    bytes_total: int
    reading_done: bool
    batches: int
    requests: int
    in_flight: int
    waiting: int
    elapsed_s: float
    duration_s: float = 0.0
    holding: str = ""
    hold_left_s: float = 0.0
    paused: bool = False
    open_tickets: int = 0
    rate_per_s: float = 0.0
    limit_per_s: float = 0.0
    concurrency: int = 0
    ceiling: int = 0
    queued: int = 0

    @property
    def settled(self) -> int:
        """Count the rows that have a final status."""
        return sum(self.counts.values())

    @property
    def rows_expected(self) -> float:
        """Estimate the rows of the inventory from how much of it has been read."""
        if self.reading_done or not self.bytes_read:
            return self.rows_read
        return self.rows_read * max(1.0, self.bytes_total / self.bytes_read)

    @property
    def share(self) -> float:
        """Give the share of rows that have a final status, 0 to 1."""
        return min(1.0, self.settled / self.rows_expected) if self.rows_expected else 0.0
