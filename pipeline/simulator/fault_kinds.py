"""The catalogue of what can go wrong at any vendor's and at SIM Express: one class for each `[[fault]]` kind.

A kind's fields are its keys. It says what it does and whom it hits; the vendors and the server do it.
"""

from __future__ import annotations

import hashlib
import random  # noqa: TC003 - pydantic looks at annotations
import re
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Call = Literal["send", "poll", "login"]


class Table(BaseModel):
    """A table of the faults file: exact types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Fault(Table):
    """Hits the share of requests given, the first ones, or those numbered from 1; without a word, all.

    With `on` only calls of that sort are hit, and they are numbered by themselves.
    """

    kind: str
    on: Call | None = None
    share: Share | None = None
    first: Count | None = None
    requests: Annotated[tuple[Count, ...] | None, Field(strict=False)] = None

    @model_validator(mode="after")
    def _one_choice(self) -> Fault:
        if sum(choice is not None for choice in (self.share, self.first, self.requests)) > 1:
            raise ValueError("only one of share, first and requests can be given")
        return self

    def hits(self, number: int, draw: random.Random) -> bool:
        """Whether request `number` is hit; `draw` is that request's own."""
        if self.share is not None:
            return draw.random() < self.share
        if self.first is not None:
            return number <= self.first
        return self.requests is None or number in self.requests


class Ending(Fault):
    """A fault that stands in the way of the reply; of several that hit one request the first counts."""

    @property
    def commits(self) -> bool:
        """Whether the items are stored all the same."""
        return False


class MayCommit(Ending):
    """One that leaves to the file whether the items are stored."""

    commit: bool = False

    @property
    def commits(self) -> bool:
        """Whether the items are stored all the same."""
        return self.commit


class _Commits(Ending):
    @property
    def commits(self) -> bool:
        return True


class _RetryAfter(Table):
    retry_after_s: Seconds | None = None
    retry_after_date: bool = False


class Status(_RetryAfter, MayCommit):
    """Answer with an HTTP status and an HTML page; `commit = true`: the items are stored all the same."""

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)


class Cut(Ending):
    """Close the connection without a byte of reply."""


class CutBeforeCommit(Cut):
    """Close the connection without a reply; nothing is stored."""

    kind: Literal["cut_before_commit"]


class CutAfterCommit(Cut, _Commits):
    """Store the items, or only the first `commit_items` of them, then close without a reply."""

    kind: Literal["cut_after_commit"]
    commit_items: Count | None = None


class CutInReply(_Commits):
    """Store the items, send half of the body, close."""

    kind: Literal["cut_in_reply"]


class Hang(MayCommit):
    """Never answer: keep the connection open for `seconds`, then close it."""

    kind: Literal["hang"]
    seconds: Seconds = 3600.0


class Html(MayCommit):
    """Answer 200 with an HTML page."""

    kind: Literal["html"]


class Empty(MayCommit):
    """Answer 200 with an empty body."""

    kind: Literal["empty"]


class TruncatedJson(_Commits):
    """Store the items and answer 200 with the first half of the JSON, as if that were all."""

    kind: Literal["truncated_json"]


class ErrorEnvelope(MayCommit):
    """Answer 200 with an error code for the whole request and no word on its items."""

    kind: Literal["error_envelope"]
    code: str = "000001"
    message: str = "server error"


class Busy(Ending):
    """Answer 200 with "system busy" (900001)."""

    kind: Literal["busy"]


class Slow(Fault):
    """Carry out and answer `seconds` later; to a client that left before, a late commit."""

    kind: Literal["slow"]
    seconds: Seconds


class ShortList(Fault):
    """Leave out the last `missing` results."""

    kind: Literal["short_list"]
    missing: Count = 1


class ReorderEcho(Fault):
    """Put echo and results in another order, the same for both."""

    kind: Literal["reorder_echo"]


class ResultsShuffled(Fault):
    """Put the results in another order than the echo, so that positions lie."""

    kind: Literal["results_shuffled"]


class NoEcho(Fault):
    """Leave out the echo of the items."""

    kind: Literal["no_echo"]


class Spelling(Fault):
    """Spell the reply as the page's parameter table does: code, resultItems, lower-case item keys."""

    kind: Literal["spelling"]
    spelling: Literal["parameter-table"] = "parameter-table"


class ItemFault(Fault):
    """Concerns the items whose identifier is listed, matches `pattern` wholly, or is drawn from the seed."""

    list_key: ClassVar[str]
    pattern: str | None = None
    item_share: Share | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _one_choice_of_items(self) -> ItemFault:
        if sum(choice is not None for choice in (self.listed, self.pattern, self.item_share)) != 1:
            raise ValueError(f"one of {self.list_key}, pattern and item_share must be given")
        return self

    @property
    def listed(self) -> frozenset[str] | None:
        """The identifiers listed, None without a list."""
        found: frozenset[str] | None = getattr(self, self.list_key)
        return found

    def concerns(self, identifier: object, seed: object) -> bool:
        """Whether the item is meant: the same answer for an identifier in every request."""
        if not isinstance(identifier, str):
            return False
        if self.listed is not None:
            return identifier in self.listed
        if self.pattern is not None:
            return re.fullmatch(self.pattern, identifier) is not None
        digest = hashlib.blake2b(f"{seed} {identifier}".encode(), digest_size=6).digest()
        return int.from_bytes(digest) < (self.item_share or 0) * 2**48


class ProfileFault(ItemFault):
    """Concerns profiles, by their ICCID."""

    list_key: ClassVar[str] = "iccids"
    iccids: Annotated[frozenset[str] | None, Field(strict=False)] = None


class RefuseItems(ProfileFault):
    """Fail those items with `reason`, in which `{iccid}` stands for the item's own."""

    kind: Literal["refuse_items"]
    reason: str = "the profile is not allowed, iccid:[{iccid}]"


class RefuseBatch(ProfileFault):
    """Refuse a request as a whole that holds such an item, without saying which."""

    kind: Literal["refuse_batch"]
    code: str = "000106"
    message: str = "parameter error"


class TooLarge(Fault):
    """Answer 413 to a request of more than `items` items."""

    kind: Literal["too_large"]
    items: Count


class RateLimit(_RetryAfter):
    """Answer 429 to what exceeds `requests_per_s` admitted requests in any second; `on`: one sort's only."""

    kind: Literal["rate_limit"]
    on: Call | None = None
    requests_per_s: Count


class Capacity(Table):
    """Work on at most `concurrent` requests at once; the others queue."""

    kind: Literal["capacity"]
    concurrent: Count


AnyFault = (
    Status | CutBeforeCommit | CutAfterCommit | CutInReply | Hang | Html | Empty | TruncatedJson
    | ErrorEnvelope | Busy | Slow | ShortList | ReorderEcho | ResultsShuffled | NoEcho | Spelling
    | RefuseItems | RefuseBatch | TooLarge | RateLimit | Capacity
)  # fmt: skip
