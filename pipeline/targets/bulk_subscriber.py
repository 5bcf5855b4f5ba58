"""Bulk subscriber update: PATCH /api/v2/bulk/subscriber, accepted now and finished later (DOMAIN §2).

What is sent is here, what comes back is read in bulk_subscriber_reply, the login is in bearer_token.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self
from urllib.parse import quote

import pyarrow.compute as pc
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from pipeline.model import Fault, FaultKind, Reply, Ruling
from pipeline.rules import Aliases, Change, Form, FormsBy, OneOf
from pipeline.settings import Endpoint, Secret
from pipeline.targets.bearer_token import USABLE, BearerToken
from pipeline.targets.bulk_subscriber_reply import (
    CODES,
    TYPES,
    answers_of,
    envelope_of,
    has_failed,
    http_fault,
    id_of,
    nodes_of,
    refusal_of,
    rest_of,
    states_of,
    unreadable,
)
from pipeline.targets.json_text import escaped
from pipeline.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from pipeline.contracts import Http
    from pipeline.model import Batch, Verdict
    from pipeline.wire import Response

PATH = "/api/v2/bulk/subscriber"
CALL_PATH = "/api/v3/global/call/"
TICKET_PATH = "/api/v2/global/call/"

_NONE = SecretStr("")


# ---------------------------------------------------------------- what the job file and a row must be


class Settings(Endpoint):
    """[target] of the job file. `codes` says what an error code means, where the defaults are wrong."""

    username: Secret = _NONE
    password: Secret = _NONE
    token: Secret = _NONE
    null_marker: str = Field(default="<null>", description="a cell with this clears what is stored")
    codes: dict[str, Literal["passing", "refused"]] = Field(
        default_factory=dict, description="what an error code means, where the defaults are wrong"
    )

    @field_validator("null_marker")
    @classmethod
    def _can_stand_in_a_cell(cls, marker: str) -> str:
        if not marker or marker != marker.strip():
            raise ValueError("must be text that can stand in a cell, without blanks around it")
        return marker

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        # Asked by name: a secret that is only referred to (`check`) is empty.
        given = self.model_fields_set & {"username", "password", "token"}
        if given not in ({"username", "password"}, {"token"}):
            raise ValueError("credentials are either username and password, or token")
        token = self.token.get_secret_value()
        if token and not USABLE.fullmatch(token):
            raise ValueError("token must be one line of printable ASCII without blanks")
        return self


class Subscriber(BaseModel):
    """One entry of the bulk: who it is about, and the alias it shall have."""

    value: Annotated[
        str,
        FormsBy(
            "type",
            (
                Form(
                    "ICCID",
                    pattern=r"^[0-9]{19,20}$",
                    description="19 or 20 digits",
                    check="luhn",
                    aliases=("ccid", "simnumber", "sernb", "ssn", "integratedcircuitcardidentifier"),
                ),
                Form("IMSI", pattern=r"^[0-9]{6,15}$", description="6 to 15 digits"),
                Form("MSISDN", pattern=r"^[0-9]{1,15}$", description="at most 15 digits", peel="+"),
                Form("IMEI", pattern=r"^[0-9]{15}$", description="15 digits", check="luhn"),
                Form("IMEISV", pattern=r"^[0-9]{16}$", description="16 digits"),
            ),
        ),
    ]
    type: Annotated[str, OneOf(*TYPES)]
    alias: Annotated[str, Aliases("label", "name"), Change()] = ""


# ---------------------------------------------------------------- the target


class BulkSubscriber:
    """Bulk subscriber update: aliases by ICCID, IMSI, MSISDN, IMEI or IMEISV, finished after the call."""

    name: ClassVar[str] = "bulk-subscriber"
    most_batch_items: ClassVar[int] = 200
    rules: ClassVar[type[BaseModel]] = Subscriber
    settings: ClassVar[type[Endpoint]] = Settings

    def __init__(self, settings: Settings) -> None:
        self._token = BearerToken(
            username=settings.username.get_secret_value(),
            password=settings.password.get_secret_value(),
            ready=settings.token.get_secret_value(),
        )
        self._null_marker = settings.null_marker
        self._codes: dict[str, str] = CODES | settings.codes

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give TYPE:value of each screened row."""
        return pc.binary_join_element_wise(fields.column("type"), fields.column("value"), ":")

    def encode(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give each screened row as a JSON object and a comma.

        An empty element would overwrite what is stored, so a blank alias is left out; the null marker means
        just that.
        """
        kind, value = escaped(fields.column("type")), escaped(fields.column("value"))
        alias = fields.column("alias")
        text = pc.if_else(pc.equal(alias, self._null_marker), "", escaped(alias))
        element = pc.binary_join_element_wise('"alias":"', text, '"', "")
        content = pc.if_else(pc.equal(alias, ""), "", element)
        head, middle = '{"subscriberIdentifiers":{"type":"', '","value":"'
        return pc.binary_join_element_wise(head, kind, middle, value, '"},"content":{', content, "}},", "")

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        """Patch a batch and read what came back. Lets NoReply of `http` pass."""
        response = await self._token.exchange(http, partial(_patch, _body(batch)))
        return response if isinstance(response, Fault) else self._read(response)

    async def poll(self, call: str, tickets: Sequence[str], http: Http) -> Mapping[str, Verdict] | Fault:
        """Ask what became of the tickets of a call, or of one ticket; see contracts.CompletingTarget."""
        path = CALL_PATH + quote(call, safe="") if call else TICKET_PATH + quote(tickets[0], safe="")
        response = await self._token.exchange(http, partial(Request, "GET", path))
        if isinstance(response, Fault):
            return response
        return states_of(response, call, tickets, self._codes, self._token.words)

    def _read(self, response: Response) -> Reply | Fault:
        """Believe the HTTP status first, but the nodes before a refusal, then the envelope."""
        words = self._token.words
        fault = http_fault(response, words)
        envelope = envelope_of(response.body)
        refused = fault is not None and 400 <= response.status < 500  # noqa: PLR2004 - the class of client errors
        if envelope is None or (fault is not None and fault.kind not in (FaultKind.REFUSED, FaultKind.STOP)):
            return fault or unreadable(response.body)
        answers = answers_of(nodes_of(envelope), self._codes, words)
        if answers and (fault is None or (refused and has_failed(answers))):
            return Reply(answers, rest=rest_of(answers), call=id_of(response.headers.get("request-id")))
        if any(answer.verdict.ruling is Ruling.PROMISED for answer in answers):
            return Fault(FaultKind.LOST, "reply_contradicts", f"HTTP {response.status} beside request ids")
        if fault is not None and fault.kind is FaultKind.STOP:
            return fault
        return refusal_of(envelope, response, self._codes, words) or fault or unreadable(response.body)


# ---------------------------------------------------------------- writing


def _body(batch: Batch) -> bytes:
    """Put the envelope around the items where they lie; the comma behind the last one goes."""
    return b"".join((b'{"bulk":[', batch.payload()[:-1], b"]}"))


def _patch(body: bytes, headers: dict[str, str]) -> Request:
    return Request("PATCH", PATH, {"Content-Type": "application/json", **headers}, body)
