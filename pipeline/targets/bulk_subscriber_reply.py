"""What the bulk subscriber API says: nodes of a bulk reply, errors of a call, states of tickets (DOMAIN §2).

Pure. Whatever is said goes through `words` before it is shown: a reply can echo the request's credentials.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from pipeline.identifiers import normalise
from pipeline.model import PLAIN_SUCCESS, Answer, Fault, FaultKind, Ruling, Verdict
from pipeline.wire import fault_of, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.wire import Response

    Words = Callable[[str], str]

TYPES = ("IMSI", "ICCID", "MSISDN", "IMEI", "IMEISV")
#: What codes mean, where it is not the final no; the job file adds its own.
CODES = {"GLOBAL_1001": "passing", "INTERNAL_ERROR": "passing"}
NO_REASON = "the vendor gave no reason"
_SERVER_ERROR_CODE = "INTERNAL_ERROR"
_NO_SUCH_CALL = "GLOBAL_1003"
_DENIED = "AUTH_"
_NOT_IMPLEMENTED = 501
_GONE = (404, 410)

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._~-]{0,127}")
_SERVER_ERROR = re.compile(
    r"\b(?:server|system|internal) (?:error|exception)\b|\btimed?[ -]?out\b", re.IGNORECASE
)
_BUSY = re.compile(
    r"\bunavailable\b|\bbusy\b|\btry again\b|\btoo many requests\b|\brate limit", re.IGNORECASE
)
_SIZE = re.compile(
    r"\b(?:(?:less|more|fewer|greater) than|exceed|too (?:many|large|big|long)|at most|maximum|limit)",
    re.IGNORECASE,
)
_OF_A_BATCH = re.compile(
    r"\b(?:bulk|entr|element|item|node|subscriber|record|object|array|list|200\b|request (?:body|size))",
    re.IGNORECASE,
)
_OF_A_CELL = re.compile(r"\b(?:alias|length|characters)", re.IGNORECASE)

_STRANGE = Verdict(Ruling.OPEN, "node_strange", "the entry of the reply is no object")
_EMPTY = Verdict(
    Ruling.OPEN, "node_empty", "the entry has no error code, and no request id that can be asked after"
)
_BOTH = Verdict(Ruling.OPEN, "node_contradicts", "the entry has both an error code and a request id")
_NO_WORD = Verdict(Ruling.OPEN)


# ---------------------------------------------------------------- envelopes


def envelope_of(body: bytes) -> dict[str, Any] | None:
    """Read a body as a JSON object; None for anything else."""
    try:
        envelope = from_json(body.removeprefix(b"\xef\xbb\xbf"), cache_strings="keys")
    except ValueError:
        return None
    return envelope if isinstance(envelope, dict) else None


def error_of(said: dict[str, Any]) -> tuple[str, str]:
    """Give the error code and message of an envelope, a node or an entry; "" for what it has not."""
    return _text(said.get("errorCode")), _text(said.get("errorMessage"))


def _text(value: object) -> str:
    """Give a value as text; what should be text and is not stays visible as what it is."""
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def id_of(value: object) -> str:
    """Give a request id that can be asked after: short, printable, safe in a path; "" for anything else."""
    text = value.strip() if isinstance(value, str) else ""
    return text if _ID.fullmatch(text) else ""


def http_fault(response: Response, words: Words) -> Fault | None:
    """Say what the HTTP status means. A JSON body is shown decoded, so that no escape disguises a secret.

    Where a redirect leads to is the vendor's words as well.
    """
    fault = fault_of(response)
    if fault is None:
        return None
    envelope = envelope_of(response.body)
    text = response.body.decode("utf-8", "replace") if envelope is None else _text(envelope)
    headers = dict(response.headers)
    if "location" in headers:
        headers["location"] = words(headers["location"])
    return fault_of(replace(response, headers=headers, body=words(text).encode("utf-8", "replace")))


def unreadable(body: bytes) -> Fault:
    """Say that a 2xx told nothing of the items. Its body is not shown: it may echo the inventory."""
    if not body.strip():
        return Fault(FaultKind.LOST, "reply_empty", "the reply is empty")
    if envelope_of(body) is None:
        return Fault(FaultKind.LOST, "reply_unreadable", f"the reply ({len(body)} bytes) is not whole JSON")
    return Fault(FaultKind.LOST, "reply_without_items", "the reply holds neither entries nor an error")


def refusal_of(
    envelope: dict[str, Any], response: Response, codes: Mapping[str, str], words: Words
) -> Fault | None:
    """Classify an answer without entries by its code, else by its words; None when neither says anything.

    A denial (AUTH_*) of the whole call means that the caller may not do this; of a node it is that node's.
    """
    code, message = error_of(envelope)
    kind: FaultKind | None
    match codes.get(code):
        case "passing":
            kind = FaultKind.LOST if code == _SERVER_ERROR_CODE else FaultKind.NOT_CARRIED_OUT
        case "refused":
            kind = FaultKind.REFUSED
        case _:
            kind = FaultKind.STOP if code.startswith(_DENIED) else _kind_of_words(message)
    if kind is None and not code:
        return None
    wish_s = retry_after(response) if kind is FaultKind.NOT_CARRIED_OUT else None
    return Fault(kind or FaultKind.REFUSED, words(code) or "envelope", words(message) or NO_REASON, wish_s)


def _kind_of_words(message: str) -> FaultKind | None:
    if _BUSY.search(message):
        return FaultKind.NOT_CARRIED_OUT
    if _SERVER_ERROR.search(message):
        return FaultKind.LOST
    of_size = _SIZE.search(message) and _OF_A_BATCH.search(message) and not _OF_A_CELL.search(message)
    return FaultKind.TOO_LARGE if of_size else None


# ---------------------------------------------------------------- nodes of a bulk reply


def nodes_of(envelope: dict[str, Any]) -> list[Any]:
    """Give the nodes of a bulk reply."""
    nodes = envelope.get("bulk")
    return nodes if isinstance(nodes, list) else []


def answers_of(nodes: Sequence[Any], codes: Mapping[str, str], words: Words) -> list[Answer]:
    """Read the nodes of a bulk reply. A node names its item by type and value, else it names none."""
    return [
        Answer(_verdict(node, codes, words), name_of(node.get("subscriberIdentifiers")))
        if isinstance(node, dict)
        else Answer(_STRANGE)
        for node in nodes
    ]


def has_failed(answers: Sequence[Answer]) -> bool:
    """Say whether a node was refused, for now or for good."""
    return any(answer.verdict.ruling in (Ruling.REFUSED, Ruling.PASSING) for answer in answers)


def rest_of(answers: Sequence[Answer]) -> Verdict:
    """Say what holds for the items that no node names: beside nothing but failed ones, nothing was done.

    Who takes a part of a call, and lists it, may have taken what it does not list as well.
    """
    if answers and all(answer.verdict.ruling in (Ruling.REFUSED, Ruling.PASSING) for answer in answers):
        return Verdict(Ruling.UNTOUCHED)
    return Verdict(Ruling.OPEN, "reply_short", "the reply has no word on this item")


def _verdict(node: dict[str, Any], codes: Mapping[str, str], words: Words) -> Verdict:
    code, message = error_of(node)
    request_id = node.get("requestId")
    if not code:
        ticket = id_of(request_id)
        return Verdict(Ruling.PROMISED, ticket=ticket) if ticket else _EMPTY
    if _text(request_id):
        return _BOTH
    ruling = Ruling.PASSING if codes.get(code) == "passing" else Ruling.REFUSED
    return Verdict(ruling, words(code), words(message) or NO_REASON)


def name_of(identifiers: Any) -> str | None:
    """Give the key a node names. A value that is a JSON number is no identifier."""
    if not isinstance(identifiers, dict):
        return None
    kind, value = identifiers.get("type"), identifiers.get("value")
    if not isinstance(kind, str) or not isinstance(value, str):
        return None
    kind, value = kind.strip().upper(), normalise(value)
    return f"{kind}:{value}" if kind in TYPES and value else None


# ---------------------------------------------------------------- states of tickets


def states_of(
    response: Response, call: str, tickets: Sequence[str], codes: Mapping[str, str], words: Words
) -> dict[str, Verdict] | Fault:
    """Read the answer to a question after `tickets`: all those of `call`, or else a single one.

    A ticket without a clear word is left out. What may be wrong with asking after a call is never the run's
    end: its tickets can still be asked after one by one.
    """
    envelope = envelope_of(response.body)
    fault = http_fault(response, words)
    if envelope is not None and (fault is None or fault.kind in (FaultKind.REFUSED, FaultKind.STOP)):
        code, message = error_of(envelope)
        if code == _NO_SUCH_CALL:
            reason = words(message) or NO_REASON
            unknown = Verdict(Ruling.UNKNOWN, code, reason)
            return Fault(FaultKind.REFUSED, code, reason) if call else {tickets[0]: unknown}
        found = _states(envelope, call, tickets, words) if fault is None else {}
        said = refusal_of(envelope, response, codes, words)
        if found or (fault is None and said is None):
            return found
        if fault is None or fault.kind is FaultKind.REFUSED:
            fault = said or fault
    fault = fault or unreadable(response.body)
    if not call and response.status in _GONE:
        return {}  # a gateway that keeps no old ones: no word on this ticket, and no reason to stop the rest
    if call and (fault.kind in (FaultKind.REFUSED, FaultKind.STOP) or response.status == _NOT_IMPLEMENTED):
        return Fault(FaultKind.REFUSED, "no_call_status", f"{fault.code}: {fault.reason}")
    return fault


def _states(envelope: dict[str, Any], call: str, tickets: Sequence[str], words: Words) -> dict[str, Verdict]:
    """Give the tickets that the entries have a clear word on; beside an error no success is believed."""
    content = envelope.get("content")
    error, message = error_of(envelope)
    asked = set(tickets)
    found: dict[str, Verdict] = {}
    for entry in content if isinstance(content, list) else ():
        if not isinstance(entry, dict):
            continue
        ticket = entry.get("requestId") or ("" if call else tickets[0])
        if not isinstance(ticket, str) or ticket not in asked:
            continue
        state = _state(entry, ticket, "" if call else message, words)
        if found.setdefault(ticket, state) != state:
            found[ticket] = _NO_WORD
    unclear = (Ruling.OPEN, Ruling.SUCCEEDED) if error else (Ruling.OPEN,)
    return {ticket: state for ticket, state in found.items() if state.ruling not in unclear}


def _state(entry: dict[str, Any], ticket: str, message: str, words: Words) -> Verdict:
    status = entry.get("status")
    match status.strip().upper() if isinstance(status, str) else status:
        case "SUCCESS":
            return PLAIN_SUCCESS
        case "OPEN":
            return Verdict(Ruling.PROMISED, ticket=ticket)
        case "FAILURE" as code:
            ruling = Ruling.REFUSED
        case "INTERNAL_ERROR" as code:
            ruling = Ruling.PASSING
        case _:
            return _NO_WORD
    reason = ": ".join(filter(None, error_of(entry))) or message
    return Verdict(ruling, code, words(reason) or NO_REASON)
