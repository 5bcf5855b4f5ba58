"""SIM Express, batch import of profiles: POST /v1/profile/importProfileList (DOMAIN §1).

The vendor's page contradicts itself: what is sent follows its example. What comes back is read next door.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow.compute as pc
from pydantic import BaseModel, Field

from pipeline.model import Fault, FaultKind, Reply
from pipeline.rules import Aliases, Confidential, Identifier, JoinedFrom, OnePerKey, Unique
from pipeline.settings import Endpoint, Secret
from pipeline.targets.json_text import escaped
from pipeline.targets.rt_signature import signed_headers
from pipeline.targets.sim_express_reply import (
    answers_of,
    echo_of,
    entries_of,
    envelope_of,
    kind_of_words,
    padded,
    shown,
    unreadable,
    values,
)
from pipeline.targets.sim_express_words import Words
from pipeline.wire import Request, fault_of, retry_after, utc_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipeline.contracts import Http
    from pipeline.model import Batch
    from pipeline.wire import Response

PATH = "/v1/profile/importProfileList"

_KINDS = {
    "passing": FaultKind.NOT_CARRIED_OUT,
    "lost": FaultKind.LOST,
    "stop": FaultKind.STOP,
    "refused": FaultKind.REFUSED,
    "too_large": FaultKind.TOO_LARGE,
}
#: Codes of a sister API (DOMAIN §1). 0001xx, a malformed request, is a refusal like any other: the batch is
#: split until the bad item stands alone, and what is systemic refuses every single item alike.
_CODES = {"000001": FaultKind.LOST, "900001": FaultKind.NOT_CARRIED_OUT}
_STOP_CODE = re.compile(r"101\d{3}")
_CLOCK_CODE = "101001"
#: How an activation code without a matching id ends (SGP.22 §4.1): whatever waits for the EID is meant.
_NO_MATCHING_ID = ("$", "$$$1")
_CLOCK_TOLERANCE_S = 300  # well within the 10 minutes that a timestamp is valid


# ---------------------------------------------------------------- what the job file and a row must be


class Settings(Endpoint):
    """[target] of the job file. `codes` says what a return code means, where the defaults are wrong."""

    base_url: str = Field(default="https://sim.express", description="the vendor's address")
    access_code: Secret
    secret_code: Secret
    timestamp_unit: Literal["s", "ms"] = Field(default="s", description="of the timestamp that is signed")
    codes: dict[str, Literal["passing", "lost", "stop", "refused", "too_large"]] = Field(
        default_factory=dict, description="what a return code means, where the defaults are wrong"
    )


class Profile(BaseModel):
    """ImportProfileItem, in the page's order. No format of ac, cc and apn is known, so none is asked for."""

    iccid: Annotated[
        str,
        Field(pattern=r"^[0-9]{19,20}$", description="19 or 20 digits"),
        Aliases("ccid", "simnumber", "sernb", "ssn", "integratedcircuitcardidentifier"),
        Identifier(check="luhn", bare_digits=19),
    ]
    eid: Annotated[
        str,
        Field(pattern=r"^[0-9]{32}$", description="32 digits"),
        Aliases("euiccid"),
        Identifier(check="mod97"),
        OnePerKey(),
    ]
    imei: Annotated[str, Field(pattern=r"^[0-9]{15}$", description="15 digits"), Identifier(check="luhn")]
    ac: Annotated[
        str,
        Field(min_length=1, description="an activation code"),
        Aliases("activationcode", "lpa", "qrcode"),
        JoinedFrom(
            ("smdp", "smdpaddress", "smdpplusserveraddress"),
            ("matchingid", "matchingidentifier"),
            "LPA:1${}${}",
        ),
        Confidential(),
        Unique(common=_NO_MATCHING_ID),
    ]
    cc: Annotated[str, Aliases("confirmationcode"), Confidential()] = ""
    apn: Annotated[str, Field(min_length=1, description="an access point name")]


# ---------------------------------------------------------------- the target


def _fresh_id() -> str:
    return secrets.token_hex(16)


class SimExpress:
    """SIM Express: import of profiles in batches.

    `clock` gives seconds since 1970, `new_request_id` 32 hex digits never used before.
    """

    name: ClassVar[str] = "sim-express"
    most_batch_items: ClassVar[int] = 1000
    rules: ClassVar[type[BaseModel]] = Profile
    settings: ClassVar[type[Endpoint]] = Settings

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        new_request_id: Callable[[], str] = _fresh_id,
    ) -> None:
        self._access_code = settings.access_code.get_secret_value()
        self._secret_code = settings.secret_code.get_secret_value()
        self._ticks_per_s = 1000 if settings.timestamp_unit == "ms" else 1
        self._codes = _CODES | {padded(code): _KINDS[kind] for code, kind in settings.codes.items()}
        self._clock = clock
        self._new_request_id = new_request_id

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give the ICCID of each screened row."""
        return fields.column("iccid")

    def encode(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give each screened row as a JSON object and a comma, keys in the order of the page's example."""
        parts: list[Any] = []
        for name in Profile.model_fields:
            parts += [f'","{name}":"' if parts else f'{{"{name}":"', escaped(fields.column(name))]
        return pc.binary_join_element_wise(*parts, '"},', "")

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        """Post a batch, signed anew at every call, and read what came back. Lets NoReply of `http` pass."""
        body = _body(batch)
        response = await http.exchange(partial(self._request, body))
        return self._read(response, Words(body, self._access_code, self._secret_code))

    def _request(self, body: bytes) -> Request:
        signed = signed_headers(
            body,
            access_code=self._access_code,
            secret_code=self._secret_code,
            timestamp=int(self._clock() * self._ticks_per_s),
            request_id=self._new_request_id(),
        )
        return Request("POST", PATH, {"Content-Type": "application/json", **signed}, body)

    def _read(self, response: Response, words: Words) -> Reply | Fault:
        """Believe the HTTP status first, then the items, then the envelope."""
        envelope = envelope_of(response.body)
        fault = fault_of(response) and fault_of(replace(response, body=shown(response.body, words)))
        if envelope is None:
            return fault or unreadable(response.body)
        if fault is None or fault.kind is FaultKind.REFUSED:
            if entries := entries_of(envelope):
                return Reply(answers_of(entries, words), echo_of(envelope))
            return self._refusal(envelope, response, words) or fault or unreadable(response.body)
        said = self._refusal(envelope, response, words) if fault.kind is FaultKind.STOP else None
        return said if said is not None and said.kind is FaultKind.STOP else fault

    def _refusal(self, envelope: dict[str, Any], response: Response, words: Words) -> Fault | None:
        """Classify an envelope without items by its code, else by its words; None when it has neither."""
        codes = (padded(str(value)) for value in values(envelope, "errorcode", "code"))
        code = next((code for code in codes if code.strip("0")), "")
        message = " ".join(map(str, values(envelope, "errormsg", "message")))
        kind = self._codes.get(code, FaultKind.STOP if _STOP_CODE.fullmatch(code) else kind_of_words(message))
        if kind is None and not code:
            return None
        reason = words(message) or "the vendor gave no reason"
        if code == _CLOCK_CODE:
            reason += f"; {self._about_our_clock(response)}"
        wish_s = retry_after(response) if kind is FaultKind.NOT_CARRIED_OUT else None
        return Fault(kind or FaultKind.REFUSED, words(code) or "envelope", reason, wish_s)

    def _about_our_clock(self, response: Response) -> str:
        vendors = utc_seconds(response.headers.get("date", ""))
        if vendors is None:
            return "set this machine's clock"
        off_s = round(self._clock() - vendors)
        if abs(off_s) < _CLOCK_TOLERANCE_S:
            return (
                f"this machine's clock is right ({off_s:+d} s from the vendor's): try another timestamp_unit"
            )
        side = "ahead of" if off_s > 0 else "behind"
        return f"this machine's clock is {abs(off_s)} s {side} the vendor's: set it"


# ---------------------------------------------------------------- writing


def _body(batch: Batch) -> bytes:
    """Put the envelope around the items where they lie; the comma behind the last one goes."""
    return b"".join((b'{"profileItems":[', batch.payload()[:-1], b"]}"))
