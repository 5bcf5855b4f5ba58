"""SIM Express, batch import of profiles: POST /v1/profile/importProfileList (DOMAIN §1).

The vendor's page contradicts itself: what is sent follows its example, what comes back is read in every
spelling it uses. A raw reply is as secret as the inventory: its words pass through _Words before they leave.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field
from pydantic_core import from_json

from pipeline.model import PLAIN_SUCCESS, Answer, Fault, FaultKind, Reply, Ruling, Verdict
from pipeline.rules import Aliases, Confidential, Identifier, JoinedFrom
from pipeline.settings import Endpoint, Secret
from pipeline.targets.rt_signature import signed_headers
from pipeline.wire import Request, fault_of, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

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
_CLOCK_TOLERANCE_S = 300  # well within the 10 minutes that a timestamp is valid

_SERVER_ERROR = re.compile(
    r"\b(?:server|system|internal)\b.{0,20}?\b(?:error|exception)|\btimed?[ -]?out\b", re.IGNORECASE
)
_BUSY = re.compile(r"\bbusy\b|\btoo (?:many requests|frequent)|\brate limit|\btry again\b", re.IGNORECASE)
_SIZE = re.compile(r"\b(?:less than|exceed|too (?:many|large|long)|at most|maximum|limit)", re.IGNORECASE)
_OF_A_BATCH = re.compile(
    r"\b(?:profile|item|list|record|batch|1,?000|999|request (?:body|size))", re.IGNORECASE
)
#: "the iccid is exist in db", said of the profile: not of its EID, not denied, not asked.
_EXISTS = re.compile(
    r"(?:^|[.:;,])\s*(?:the |this )?(?:iccid|profile)\b"
    r"(?:(?!\b(?:not|no|never|cannot|eid|imei|ac|cc|apn)\b|n't\b|[.;,]).){0,60}?\bexist(?:s|ed)?\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\biccid\W{0,3}\[([^\]]{0,200})|\biccid\W{0,3}(\d{18,22}\w?)", re.IGNORECASE)


# ---------------------------------------------------------------- what the job file and a row must be


class Settings(Endpoint):
    """[target] of the job file. `codes` says what a return code means, where the defaults are wrong."""

    base_url: str = "https://sim.express"
    access_code: Secret
    secret_code: Secret
    timestamp_unit: Literal["s", "ms"] = "s"
    codes: dict[str, Literal["passing", "lost", "stop", "refused", "too_large"]] = Field(default_factory=dict)


class Profile(BaseModel):
    """ImportProfileItem, in the page's order. No format of ac, cc and apn is known, so none is asked for."""

    iccid: Annotated[
        str,
        Field(pattern=r"^[0-9]{19,20}$", description="19 or 20 digits"),
        Aliases("ccid", "simnumber", "sernb", "ssn", "integratedcircuitcardidentifier"),
        Identifier(check="luhn"),
    ]
    eid: Annotated[
        str,
        Field(pattern=r"^[0-9]{32}$", description="32 digits"),
        Aliases("euiccid"),
        Identifier(check="mod97"),
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
    ]
    cc: Annotated[str, Aliases("confirmationcode"), Confidential()] = ""
    apn: Annotated[str, Field(min_length=1, description="an access point name")]


# ---------------------------------------------------------------- the target


def _fresh_id() -> str:
    return secrets.token_hex(16)


class SimExpress:
    """contracts.Target for SIM Express. `clock` gives seconds since 1970, `new_request_id` 32 hex digits."""

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
        self._codes = _CODES | {_padded(code): _KINDS[kind] for code, kind in settings.codes.items()}
        self._clock = clock
        self._new_request_id = new_request_id

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give the ICCID of each screened row."""
        return fields.column("iccid")

    def encode(self, fields: pa.RecordBatch) -> pa.StringArray:
        """Give each screened row as a JSON object and a comma, keys in the order of the page's example."""
        parts: list[Any] = []
        for name in Profile.model_fields:
            parts += [f'","{name}":"' if parts else f'{{"{name}":"', _escaped(fields.column(name))]
        return pc.binary_join_element_wise(*parts, '"},', "")

    async def send(self, batch: Batch, http: Http) -> Reply | Fault:
        """Post a batch, signed anew at every call, and read what came back. Lets NoReply of `http` pass."""
        body = _body(batch)
        response = await http.exchange(partial(self._request, body))
        return self._read(response, _Words(body, self._access_code, self._secret_code))

    def _request(self, body: bytes) -> Request:
        signed = signed_headers(
            body,
            access_code=self._access_code,
            secret_code=self._secret_code,
            timestamp=int(self._clock() * self._ticks_per_s),
            request_id=self._new_request_id(),
        )
        return Request("POST", PATH, {"Content-Type": "application/json", **signed}, body)

    def _read(self, response: Response, words: _Words) -> Reply | Fault:
        """Believe the HTTP status first, then the items, then the envelope."""
        envelope = _envelope(response.body)
        fault = fault_of(response) and fault_of(replace(response, body=_shown(response.body, words)))
        if envelope is None:
            return fault or _unreadable(response.body)
        if fault is None or fault.kind is FaultKind.REFUSED:
            if entries := _entries(envelope):
                return Reply(_answers(entries, words), _echo(envelope))
            return self._refusal(envelope, response, words) or fault or _unreadable(response.body)
        said = self._refusal(envelope, response, words) if fault.kind is FaultKind.STOP else None
        return said if said is not None and said.kind is FaultKind.STOP else fault

    def _refusal(self, envelope: dict[str, Any], response: Response, words: _Words) -> Fault | None:
        """Classify an envelope without items by its code, else by its words; None when it has neither."""
        codes = (_padded(str(value)) for value in _values(envelope, "errorcode", "code"))
        code = next((code for code in codes if code.strip("0")), "")
        message = " ".join(map(str, _values(envelope, "errormsg", "message")))
        kind = self._codes.get(
            code, FaultKind.STOP if _STOP_CODE.fullmatch(code) else _kind_of_words(message)
        )
        if kind is None and not code:
            return None
        reason = words(message) or "the vendor gave no reason"
        if code == _CLOCK_CODE:
            reason += f"; {self._about_our_clock(response)}"
        wish_s = retry_after(response) if kind is FaultKind.NOT_CARRIED_OUT else None
        return Fault(kind or FaultKind.REFUSED, words(code) or "envelope", reason, wish_s)

    def _about_our_clock(self, response: Response) -> str:
        try:
            vendors = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except (ValueError, OverflowError):
            return "set this machine's clock"
        off_s = round(self._clock() - vendors)
        if abs(off_s) < _CLOCK_TOLERANCE_S:
            return (
                f"this machine's clock is right ({off_s:+d} s from the vendor's): try another timestamp_unit"
            )
        side = "ahead of" if off_s > 0 else "behind"
        return f"this machine's clock is {abs(off_s)} s {side} the vendor's: set it"


# ---------------------------------------------------------------- writing


def _escaped(column: pa.StringArray) -> pa.StringArray:
    """Make text fit between the quotes of JSON. A clean column, the usual case, is only looked at."""
    offsets, data = column.buffers()[1:]
    if not len(column) or data is None:
        return column
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    if not text.size or not ((text == ord('"')).any() or (text == ord("\\")).any() or text.min() < ord(" ")):
        return column
    unsafe = pc.match_substring_regex(column, r'["\\\x00-\x1f]')
    cells = [json.dumps(cell, ensure_ascii=False)[1:-1] for cell in column.filter(unsafe).to_pylist()]
    return pc.replace_with_mask(column, unsafe, pa.array(cells, pa.string()))


def _body(batch: Batch) -> bytes:
    """Put the envelope around the items where they lie; the comma behind the last one goes."""
    return b"".join((b'{"profileItems":[', batch.payload()[:-1], b"]}"))


# ---------------------------------------------------------------- reading


def _envelope(body: bytes) -> dict[str, Any] | None:
    try:
        envelope = from_json(body.removeprefix(b"\xef\xbb\xbf"), cache_strings="keys")
    except ValueError:
        return None
    return envelope if isinstance(envelope, dict) else None


def _unreadable(body: bytes) -> Fault:
    """Say that a 2xx told nothing of the items; the body itself is never shown, it may echo the inventory."""
    if not body.strip():
        return Fault(FaultKind.LOST, "reply_empty", "the reply is empty")
    if _envelope(body) is None:
        return Fault(FaultKind.LOST, "reply_unreadable", f"the reply ({len(body)} bytes) is not whole JSON")
    return Fault(FaultKind.LOST, "reply_without_items", "the reply holds neither results nor an error")


def _shown(body: bytes, words: _Words) -> bytes:
    """Give a body as it may be shown, before it is cut short: half a secret would not be known for one."""
    envelope = _envelope(body)  # decoded and written again, so that no escape disguises a secret
    text = body.decode("utf-8", "replace") if envelope is None else json.dumps(envelope, ensure_ascii=False)
    return words(text).encode()


def _values(envelope: dict[str, Any], *names: str) -> list[Any]:
    """Give what stands under any of these names in any letter case; nothing, "" and 0 are no values."""
    return [value for key, value in envelope.items() if value and key.lower() in names]


def _entries(envelope: dict[str, Any]) -> list[Any]:
    """Give the result list. Two that differ are given as one, whose count the reconciler will not believe."""
    lists = [value for value in _values(envelope, "resultlist", "resultitems") if isinstance(value, list)]
    if all(other == lists[0] for other in lists[1:]):
        return lists[0] if lists else []
    return [entry for entries in lists for entry in entries]


def _echo(envelope: dict[str, Any]) -> list[str] | None:
    """Give the ICCIDs echoed; "", which is no item's, for one that is missing or no text."""
    echoes = _values(envelope, "profileitems", "prfileitems")
    if not echoes:
        return None
    items = echoes[0] if len(echoes) == 1 and isinstance(echoes[0], list) else [None]
    keys: list[Any] = [
        item.get("iccid") or item.get("Iccid") if isinstance(item, dict) else None for item in items
    ]
    if set(map(type, keys)) != {str}:
        keys = [_iccid_of(item) for item in items]
    return keys


def _iccid_of(item: Any) -> str:
    fields = item.items() if isinstance(item, dict) else ()
    return next((value for key, value in fields if key.lower() == "iccid" and isinstance(value, str)), "")


def _answers(entries: list[Any], words: _Words) -> list[Answer]:
    """Read the entries; equal neighbours share one Answer."""
    before, answer = entries[0], _answer(entries[0], words)
    if entries.count(before) == len(entries):
        return [answer] * len(entries)
    answers: list[Answer] = []
    for entry in entries:
        if entry != before:
            before, answer = entry, _answer(entry, words)
        answers.append(answer)
    return answers


def _answer(entry: Any, words: _Words) -> Answer:
    said = {key.lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
    result, reason, iccid = [str(said.get(name) or "") for name in ("result", "reason", "iccid")]
    named = [bracketed or bare for bracketed, bare in _NAMED.findall(reason)]
    # The page gives an entry no ICCID of its own; should it have one, that names an item like other words.
    names = {name.strip() for name in (*named, iccid) if any(map(str.isdigit, name))}
    # Two names are no name: joined they are no item's, which the reconciler takes for a contradiction.
    return Answer(_verdict(result.strip(), reason, words), " ".join(sorted(names)) or None)


def _verdict(result: str, reason: str, words: _Words) -> Verdict:
    """Read one entry. A result that is not the documented word, or a form of it, is not guessed at."""
    match result.lower():
        case "succeed" | "succeeded" | "success":
            return PLAIN_SUCCESS
        case "failed" | "fail" | "failure":
            ruling, code = _ruling(reason)
            return Verdict(ruling, code, words(reason) or "the vendor gave no reason")
        case _:
            said = f"the result says {words(result)!r}" if result else "the entry has no result"
            return Verdict(Ruling.OPEN, "unknown_result", f"{said}; {words(reason)}".rstrip("; "))


def _ruling(reason: str) -> tuple[Ruling, str]:
    if _EXISTS.search(reason):
        return Ruling.EXISTS, "exists"
    match _kind_of_words(reason):
        case FaultKind.LOST:
            return Ruling.OPEN, "server_error"
        case FaultKind.NOT_CARRIED_OUT:
            return Ruling.PASSING, "busy"
        case _:
            return Ruling.REFUSED, "failed"


def _kind_of_words(message: str) -> FaultKind | None:
    if _SERVER_ERROR.search(message):
        return FaultKind.LOST
    if _BUSY.search(message):
        return FaultKind.NOT_CARRIED_OUT
    return FaultKind.TOO_LARGE if _SIZE.search(message) and _OF_A_BATCH.search(message) else None


def _padded(code: str) -> str:
    """Give back the zeros that a code loses as a number."""
    code = code.strip()
    return code.zfill(6) if code.isdigit() else code


class _Words:
    """Makes the vendor's words fit to be shown: one bounded line without the secrets of the request.

    A piece of text is hidden where it is a whole secret, a longer one also where it is part of one. Shorter
    ones are shown: the page's example has ac "1", and hiding that would blank out half of every reason.
    """

    _MOST_CHARS = 300
    _PART_CHARS = 6
    _OF_THE_PAGE = re.compile(r"the iccid is exist in db, iccid:\[[0-9]{19,20}\]")  # by far the commonest
    _PIECE = re.compile(r"[\w.+~-]{4,}")

    def __init__(self, body: bytes, *credentials: str) -> None:
        self._body = body
        self._credentials = credentials
        self._harmless: set[str] = set()

    @cached_property
    def _secrets(self) -> frozenset[str]:
        items = from_json(self._body, cache_strings="keys")["profileItems"]
        codes = {code for item in items for code in (item["ac"], item["cc"])}
        parts = (part for code in codes for part in code.split("$"))
        return frozenset(map(str.casefold, (*self._credentials, *codes, *parts)))

    @cached_property
    def _secret_text(self) -> str:
        return "\n".join(self._secrets)

    def _is_secret(self, piece: str) -> bool:
        folded = piece.casefold().strip("._+~-")
        part = len(folded) >= self._PART_CHARS and not folded.isdigit()  # many digits are an identifier
        return folded in self._secrets or (part and folded in self._secret_text)

    def __call__(self, text: str) -> str:
        if self._OF_THE_PAGE.fullmatch(text):
            return text
        line = text[:2000]
        if not line.isprintable():
            line = "".join(c if c.isprintable() else " " for c in line)
        line = " ".join(line.split())
        unknown = set(self._PIECE.findall(line)) - self._harmless
        secret = {piece for piece in unknown if self._is_secret(piece)}
        self._harmless |= unknown - secret
        if secret:
            line = self._PIECE.sub(lambda piece: "…" if piece[0] in secret else piece[0], line)
        return line if len(line) <= self._MOST_CHARS else line[: self._MOST_CHARS - 1] + "…"
