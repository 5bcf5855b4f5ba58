"""The three seams: where rows come from, where they go, where it is written down.

An implementation is one file in sources/, targets/ or ledgers/, found by name through the entry-point
groups `simlift.sources`, `simlift.targets`, `simlift.ledgers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    import pyarrow as pa
    from pydantic import BaseModel

    from pipeline.chronicle import Event, Sample
    from pipeline.files import InventoryFile
    from pipeline.model import (
        Attempt,
        Batch,
        Chunk,
        Completion,
        Doubts,
        Exceptional,
        Fault,
        Finding,
        FindingTally,
        Reply,
        ResumePoint,
        RunRecord,
        Settlement,
        Status,
        Tally,
        Verdict,
    )
    from pipeline.pace import Pace
    from pipeline.settings import Endpoint, Input, Limits
    from pipeline.standing import Standing
    from pipeline.wire import Request, Response


class Source(Protocol):
    """One inventory file, read as a stream in bounded memory.

    The class is called with the file and the [input] table; it reads as much as the header needs. Columns
    of key material, and those of an earlier failures file, are dropped as the file is read
    (headers.kept_columns). Raises InventoryError when it cannot be opened or has no readable header.
    """

    suffixes: ClassVar[tuple[str, ...]]  #: the files that are its, by their names' ends: (".csv", ".txt")
    header: tuple[str, ...]  #: column names as they stood in the file (key material left out)
    bytes_total: int  #: size of the file in bytes, for progress (0: unknown)
    findings: tuple[Finding, ...]  #: what is odd about the file as a whole (position 0)

    def __init__(self, file: InventoryFile, settings: Input, /) -> None: ...

    @classmethod
    def recognises(cls, beginning: bytes) -> bool:
        """Tell whether a file that begins so (decompressed) is surely of this format, whatever its name."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order. Raises InventoryError when the file cannot be read further."""
        ...


class Http(Protocol):
    """How a target reaches its vendor: every request is paced, counted and bounded."""

    @property
    def requests(self) -> int:
        """Count the requests that left this machine."""
        ...

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        """Wait for permission, build the request, send it, give back the response.

        `make_request` is called after permission is given, so a timestamp or a signature is fresh.
        Raises NoReply with a Fault when there is no complete response.
        """
        ...


class Connect(Protocol):
    """Opens the way to a vendor for the length of a run."""

    def __call__(self, base_url: str, pace: Pace, limits: Limits, /) -> AbstractAsyncContextManager[Http]:
        """Give the client as a context manager."""
        ...


class Target(Protocol):
    """One vendor API: its row rules, its encoding, its words."""

    name: ClassVar[str]
    most_batch_items: ClassVar[int]  #: the vendor's own bound
    rules: ClassVar[type[BaseModel]]  #: the row rules, see pipeline.screening
    settings: ClassVar[type[Endpoint]]  #: the [target] table of the job file; the constructor takes one

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give the identity of each screened row."""
        ...

    def encode(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give each screened row as a piece of the request body, with the separator that follows it.

        The pieces of a batch lie back to back in memory, so its body is one slice (Batch.payload).
        """
        ...

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        """Send one batch and read what came back. Lets NoReply of `http` pass."""
        ...


@runtime_checkable
class CompletingTarget(Target, Protocol):
    """A vendor that accepts now and finishes later: its replies hold tickets (Ruling.PROMISED)."""

    async def poll(self, call: str, tickets: Sequence[str], http: Http) -> Mapping[str, Verdict] | Fault:
        """Ask once what became of some tickets of one call; give a verdict by ticket.

        With a `call` the question is for all of it, else there is a single ticket. PROMISED: not yet done;
        UNKNOWN: no such ticket; a ticket left out has no word on it. A REFUSED fault of a `call` makes the
        caller ask for its tickets one by one. Lets NoReply of `http` pass.
        """
        ...


class Ledger(Protocol):
    """The only truth about a run: written before a batch is sent and after it is answered.

    `claim`, `settle` and `record` return when the write is durable; writes of many callers share one
    commit. All raise LedgerError. The reading methods are synchronous and see what is durable; they work
    on a finished run and, from another process, on one that is under way.
    """

    async def claim(self, batch: Batch) -> Batch:
        """Write down that the batch is about to be sent; give it back with its id (ascending from 1)."""
        ...

    async def settle(self, settlement: Settlement) -> None:
        """Make the verdicts of a claimed batch durable: final, or open to be sent again, or void, or lost."""
        ...

    async def complete(self, completion: Completion) -> None:
        """Make durable what became of promised items of a settled batch."""
        ...

    async def record(self, rows: Sequence[Exceptional]) -> None:
        """Write down rows that were never sent (rejected, duplicate); a repeated position changes nothing."""
        ...

    def take_over(self) -> ResumePoint:
        """Turn the claims a dead process left unsettled into open, in-doubt rows; say what is left to do."""
        ...

    def reopen(self, codes: Collection[str] = ()) -> int:
        """Open again what gave up or is in doubt, and what was refused with one of `codes`; count the rows.

        Rows that ended in doubt stay in doubt. Tickets are given up: the rows are sent again. Durable on
        return.
        """
        ...

    def ask_again(self) -> int:
        """Open again what ended in doubt with its ticket kept, to be asked after; count the rows.

        Durable on return.
        """
        ...

    def update_run(self, **facts: Any) -> None:
        """Change facts of the RunRecord by field name; durable on return."""
        ...

    async def note(self, event: Event) -> None:
        """Write an event down; its id is the ledger's to give."""
        ...

    def wish(self, event: Event) -> None:
        """Write down what a person asks of the run: any process may. Durable on return.

        A stop is for the owner of that moment: the next one to open the ledger finds it taken.
        """
        ...

    def wishes(self) -> Sequence[Event]:
        """Give the wishes that nobody has acted on, oldest first; cheap, to be asked often."""
        ...

    async def take(self, wish: Event, at: float) -> None:
        """Write down that a wish has been acted on."""
        ...

    def events(self) -> Sequence[Event]:
        """Give all events, oldest first."""
        ...

    async def write_sample(self, sample: Sample) -> None:
        """Write down how the run stands at one moment."""
        ...

    def samples(self) -> Sequence[Sample]:
        """Give all samples in their order."""
        ...

    async def write_standing(self, standing: Standing) -> None:
        """Write down how the run stands just now, for who watches from another process."""
        ...

    def standing(self) -> Standing | None:
        """Give how the run last stood; None where nobody said."""
        ...

    def write_findings(self, tallies: Sequence[FindingTally]) -> None:
        """Put these tallies of findings in place of those before; durable on return."""
        ...

    def findings(self) -> Sequence[FindingTally]:
        """Give the tallies of findings, the largest first."""
        ...

    def run(self) -> RunRecord:
        """Give the run's facts."""
        ...

    def counts(self) -> Mapping[Status, int]:
        """Count rows by final status; all seven keys are present. Open rows are in none."""
        ...

    def open_rows(self) -> int:
        """Count the rows that have a record but no final status, and the items of unsettled claims."""
        ...

    def open_tickets(self) -> int:
        """Count the open rows that hold a ticket."""
        ...

    def batches(self) -> int:
        """Count batches ever claimed."""
        ...

    def outcomes(self, *, with_source: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield every row that has a final status, in inventory order, with OUTCOME_COLUMNS of the model.

        On request with SOURCE_COLUMNS too.
        """
        ...

    def exceptional(self, *statuses: Status) -> Iterator[Exceptional]:
        """Yield the rows of these statuses that have a record of their own, in inventory order."""
        ...

    def tally(self) -> Sequence[Tally]:
        """Count the rows with a record of their own by status and code, the largest first."""
        ...

    def trace(self, *keys: str) -> Sequence[Exceptional]:
        """Give what became of some keys: one entry per row that bears one (a plain success is one too).

        In inventory order; quick also where keys are in no order.
        """
        ...

    def attempts(self, position: int) -> Sequence[Attempt]:
        """Give every send of the row at a position, oldest first."""
        ...

    def doubts(self, most: int = 200) -> Doubts:
        """Give the batches whose answer was lost, or lacks a trustworthy word on some items: all in numbers.

        The first `most` one by one, with how their items ended.
        """
        ...

    def close(self) -> None:
        """Finish outstanding writes and let go of the file."""
        ...
