"""What passes between the stages: plain frozen data, no behaviour beyond its own arithmetic.

Columns in, exceptions out: most rows travel as Arrow columns inside a Chunk or a Batch; a single row
gets an object of its own (Exceptional, Answer, Verdict) only when it needs a word of its own.
"""

from __future__ import annotations

from pipeline.model.decisions import STILL_OPEN, Again, Completion, Decision, Final, Setback, Settlement
from pipeline.model.ends import ExitCode, State, Status
from pipeline.model.records import (
    OUTCOME_COLUMNS,
    SOURCE_COLUMNS,
    Attempt,
    Doubt,
    Doubts,
    FindingTally,
    OpenRow,
    ResumePoint,
    RunRecord,
    Snapshot,
    Tally,
)
from pipeline.model.replies import PLAIN_SUCCESS, Answer, Fault, FaultKind, Reply, Ruling, Verdict, Verdicts
from pipeline.model.rows import ITEM_COLUMNS, Batch, BrokenRow, Chunk, Exceptional, Finding, Portion, Promise

__all__ = [
    "ITEM_COLUMNS",
    "OUTCOME_COLUMNS",
    "PLAIN_SUCCESS",
    "SOURCE_COLUMNS",
    "STILL_OPEN",
    "Again",
    "Answer",
    "Attempt",
    "Batch",
    "BrokenRow",
    "Chunk",
    "Completion",
    "Decision",
    "Doubt",
    "Doubts",
    "Exceptional",
    "ExitCode",
    "Fault",
    "FaultKind",
    "Final",
    "Finding",
    "FindingTally",
    "OpenRow",
    "Portion",
    "Promise",
    "Reply",
    "ResumePoint",
    "Ruling",
    "RunRecord",
    "Setback",
    "Settlement",
    "Snapshot",
    "State",
    "Status",
    "Tally",
    "Verdict",
    "Verdicts",
]
