"""What can go wrong at the bulk subscriber API, and how long it takes to finish what it accepted.

The kinds any vendor can have are those of `fault_kinds`; `on` sorts calls into send (PATCH), poll and login.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.simulator.fault_kinds import (
    Call,
    Capacity,
    Count,
    CutAfterCommit,
    CutBeforeCommit,
    CutInReply,
    Empty,
    Fault,
    Hang,
    Html,
    ItemFault,
    MayCommit,
    RateLimit,
    Seconds,
    Slow,
    Status,
    Table,
    TooLarge,
    TruncatedJson,
)
from pipeline.simulator.faults import FaultsFile

MESSAGES = {
    "GLOBAL_1001": "Service unavailable. Please try again",
    "SUBSCRIBER_1002": "Subscriber does not exist",
    "SUBSCRIBER_1003": "Failed to update subscriber details",
}


class _WithCode(Table):
    code: str = "GLOBAL_1001"
    message: str | None = None

    @property
    def words(self) -> str:
        """The message, by default the page's own for the code."""
        return MESSAGES.get(self.code, "Refused") if self.message is None else self.message


class ErrorEnvelope(_WithCode, MayCommit):
    """Answer 200 with an error code for the whole call and no word on its nodes."""

    kind: Literal["error_envelope"]


class SubscriberFault(ItemFault):
    """Concerns subscribers by their value, each one at most `times` times; without it, always."""

    list_key: ClassVar[str] = "values"
    values: Annotated[frozenset[str] | None, Field(strict=False)] = None
    times: Count | None = None


class RefuseNodes(_WithCode, SubscriberFault):
    """Fail the nodes of those subscribers with `code`, and so the call (a NAK); `times`: a passing error."""

    kind: Literal["refuse_nodes"]
    code: str = "SUBSCRIBER_1002"


class RefuseCall(_WithCode, SubscriberFault):
    """Answer 200 with an error code to a whole PATCH that holds such a subscriber, without saying which."""

    kind: Literal["refuse_call"]
    code: str = "SUBSCRIBER_1003"


class FailItems(SubscriberFault):
    """Accept those subscribers and end them as FAILURE or INTERNAL_ERROR; nothing is applied."""

    kind: Literal["fail_items"]
    status: Literal["FAILURE", "INTERNAL_ERROR"] = "FAILURE"


class NeverFinish(SubscriberFault):
    """Accept those subscribers and leave them OPEN for ever; nothing is applied."""

    kind: Literal["never_finish"]


class ForgetItems(SubscriberFault):
    """Accept and carry out, but know no such request (GLOBAL_1003) from `after_s` after acceptance on."""

    kind: Literal["forget_items"]
    after_s: Seconds = 0.0


class Mixed(Fault):
    """Of a PATCH with bad nodes carry out the good ones, and list both, instead of a NAK."""

    kind: Literal["mixed"]


class OtherValues(Fault):
    """Echo in the last `nodes` nodes of a PATCH, or in all, values that were never sent."""

    kind: Literal["other_values"]
    nodes: Count | None = None


class EmptyContent(Fault):
    """Put `"content": ""` into the failed nodes of a PATCH instead of the echo."""

    kind: Literal["empty_content"]


class ShuffleNodes(Fault):
    """Put the nodes of a PATCH's reply, or of a v3 poll's, in another order."""

    kind: Literal["shuffle_nodes"]


class MissingNodes(Fault):
    """Leave out the last `missing` accepted nodes of a PATCH's reply, or nodes of a v3 poll's."""

    kind: Literal["missing_nodes"]
    missing: Count = 1


class DuplicateNodes(Fault):
    """List the last `nodes` nodes of a PATCH's reply, or of a v3 poll's, twice."""

    kind: Literal["duplicate_nodes"]
    nodes: Count = 1


class NoRequestId(Fault):
    """Leave out the Request-Id header of a PATCH's reply."""

    kind: Literal["no_request_id"]


class ErrorStatus(Fault):
    """Answer a NAK, or the poll of an unknown request, with this HTTP status instead of 200."""

    kind: Literal["error_status"]
    status: int = Field(ge=400, le=599)


class NoV3(Fault):
    """Answer 404 and a page to the v3 poll, as a platform that does not have it."""

    kind: Literal["no_v3"]


class RevokeToken(Fault):
    """Withdraw the token that a PATCH or poll brings, a ready one too: 401 now and from then on."""

    kind: Literal["revoke_token"]


class Completion(Table):
    """When an accepted node is finished: evenly drawn from mean ± jitter; forgotten `retention_s` later."""

    mean_s: Seconds = 0.275
    jitter_s: Seconds = 0.225
    retention_s: Seconds | None = None

    def delay_s(self, drawn: float) -> float:
        """Return the time from acceptance to end; `drawn` is evenly drawn from 0 to 1."""
        return max(0.0, self.mean_s + self.jitter_s * (2 * drawn - 1))

    def forget_at(self, finish_at: float) -> float:
        """Return the time from which the request is not known any more."""
        return math.inf if self.retention_s is None else finish_at + self.retention_s


AnyFault = (
    Status | CutBeforeCommit | CutAfterCommit | CutInReply | Hang | Html | Empty | TruncatedJson
    | ErrorEnvelope | Slow | TooLarge | RateLimit | Capacity
    | RefuseNodes | RefuseCall | FailItems | NeverFinish | ForgetItems | Mixed | OtherValues | EmptyContent
    | ShuffleNodes | MissingNodes | DuplicateNodes | NoRequestId | ErrorStatus | NoV3 | RevokeToken
)  # fmt: skip


class BulkSubscriberFaults(FaultsFile):
    """What can go wrong at the bulk subscriber API."""

    kinds: ClassVar[Any] = AnyFault
    calls: ClassVar[tuple[Call, ...]] = ("send", "poll", "login")
    completion: Completion = Completion()
    fault: Annotated[tuple[Annotated[AnyFault, Field(discriminator="kind")], ...], Field(strict=False)] = ()
