"""What SIM Express says, in every spelling its page uses: envelopes, result lists, echoes, and its words.

A raw reply is as secret as the inventory: its words pass through Words before they leave this file.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json

from pipeline.model import PLAIN_SUCCESS, Answer, Fault, FaultKind, Ruling, Verdict
from pipeline.targets.sim_express_words import MOST_READ, Words, forms_of

_SERVER_ERROR = re.compile(
    r"\b(?:server|system|internal)\b.{0,20}?\b(?:error|exception)|\btimed?[ -]?out\b", re.IGNORECASE
)
_BUSY = re.compile(r"\bbusy\b|\btoo (?:many requests|frequent)|\brate limit|\btry again\b", re.IGNORECASE)
_SIZE = re.compile(
    r"\b(?:(?:less|more|fewer|greater) than|exceed|too (?:many|large|long)|at most|maximum|limit)",
    re.IGNORECASE,
)
_OF_A_BATCH = re.compile(
    r"\b(?:profile|item|list|record|batch|1,?000|999|request (?:body|size))", re.IGNORECASE
)
#: "the iccid is exist in db", said of the profile: not of its EID, not denied, not asked.
_EXISTS = re.compile(
    r"(?:^|[.:;,])\s*(?:the |this )?(?:iccid|profile)\b"
    r"(?:(?!\b(?:not|no|never|cannot|eid|imei|ac|cc|apn)\b|n't\b|[.;,]).){0,60}?\bexist(?:s|ed)?\b",
    re.IGNORECASE,
)
#: A result list up to the end of its first entry, where that is flat and has no brace in its words.
_RESULTS = re.compile(rb'"(result(?:list|items))"\s*:\s*\[(\{[^{}]*\}|)', re.IGNORECASE)
_WORTHWHILE = 10
_GOOD = frozenset(("succeed", "succeeded", "success"))
_BAD = frozenset(("failed", "fail", "failure"))
_NAMED = re.compile(r"\biccid\W{0,3}\[([^\]]{0,200})|\biccid\W{0,3}(\d{18,22}\w?)", re.IGNORECASE)


def envelope_of(body: bytes) -> dict[str, Any] | None:
    """Read a body as a JSON object; None for anything else."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    envelope = _with_equal_results(body)
    return _object_in(body) if envelope is None else envelope


def _object_in(body: bytes) -> dict[str, Any] | None:
    try:
        envelope = from_json(body, cache_strings="keys")
    except ValueError:
        return None
    return envelope if isinstance(envelope, dict) else None


def _with_equal_results(body: bytes) -> dict[str, Any] | None:
    """Read a body whose result list is one entry over and over, that entry once; None for any other body.

    A thousand plain successes are the same words a thousand times, and most of what reading a reply costs.
    A quote within a text is escaped, so what matches here is a key and no part of somebody's words.
    """
    found = _RESULTS.findall(body)
    if len(found) != 1 or rb"\u" in body:
        return None
    key, entry = found[0]
    start = body.index(entry, body.index(b'"' + key + b'"'))
    times = body.count(entry, start)
    end = start + times * (len(entry) + 1) - 1
    if times < _WORTHWHILE or body[end : end + 1] != b"]" or body[start:end] != b",".join([entry] * times):
        return None
    envelope = _object_in(body[: start + len(entry)] + body[end:])
    results = envelope.get(key.decode()) if envelope else None
    if envelope is None or not isinstance(results, list):
        return None
    return envelope | {key.decode(): results * times}


def unreadable(body: bytes) -> Fault:
    """Say that a 2xx told nothing of the items; the body itself is never shown, it may echo the inventory."""
    if not body.strip():
        return Fault(FaultKind.LOST, "reply_empty", "the reply is empty")
    if envelope_of(body) is None:
        return Fault(FaultKind.LOST, "reply_unreadable", f"the reply ({len(body)} bytes) is not whole JSON")
    return Fault(FaultKind.LOST, "reply_without_items", "the reply holds neither results nor an error")


def shown(body: bytes, words: Words) -> bytes:
    """Give a body as it may be shown, before it is cut short: half a secret would not be known for one."""
    envelope = envelope_of(body)  # decoded and written again, so that no escape disguises a secret
    text = body.decode("utf-8", "replace") if envelope is None else json.dumps(envelope, ensure_ascii=False)
    return words(text).encode()


def values(envelope: dict[str, Any], *names: str) -> list[Any]:
    """Give what stands under any of these names in any letter case; nothing, "" and 0 are no values."""
    return [value for key, value in envelope.items() if value and key.lower() in names]


def entries_of(envelope: dict[str, Any]) -> list[Any]:
    """Give the result list. Two that differ are given as one, whose count the reconciler will not believe."""
    lists = [value for value in values(envelope, "resultlist", "resultitems") if isinstance(value, list)]
    if all(other == lists[0] for other in lists[1:]):
        return lists[0] if lists else []
    return [entry for entries in lists for entry in entries]


def echo_of(envelope: dict[str, Any]) -> list[str] | None:
    """Give the ICCIDs echoed; "", which is no item's, for one that is missing or no text."""
    echoes = values(envelope, "profileitems", "prfileitems")
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


def answers_of(entries: list[Any], words: Words) -> list[Answer]:
    """Read the entries; equal ones share one Answer, those that differ in digits alone are read as one."""
    if entries.count(entries[0]) == len(entries):
        return list(_read(_texts_of(entries[:1]), words).values()) * len(entries)
    texts = _texts_of(entries)
    answers = _read(list(dict.fromkeys(texts)), words)
    return [answers[text] for text in texts]


#: What an entry says, as text: its result, its reason, its ICCID.
_Texts = tuple[str, str, str]


def _texts_of(entries: list[Any]) -> list[_Texts]:
    """Give the texts of entries; "" for what an entry lacks."""
    objects: list[dict[str, Any]] = [entry if isinstance(entry, dict) else {} for entry in entries]
    spelt = list(map(_spelt, map(tuple, objects)))
    columns = (
        [entry.get(keys[place]) for entry, keys in zip(objects, spelt, strict=True)] for place in range(3)
    )
    return list(zip(*map(_as_text, columns), strict=True))


def _as_text(column: list[Any]) -> list[str]:
    return column if set(map(type, column)) == {str} else [str(value or "") for value in column]


def _read(texts: list[_Texts], words: Words) -> dict[_Texts, Answer]:
    kinds: defaultdict[tuple[str, str], list[_Texts]] = defaultdict(list)
    for text, form in zip(texts, forms_of([reason for _, reason, _ in texts]), strict=True):
        kinds[text[0], form].append(text)
    answers: dict[_Texts, Answer] = {}
    for (result, form), alike in kinds.items():
        sense = _sense_of(form)
        verdicts = _verdicts(result.strip(), [reason for _, reason, _ in alike], sense, words)
        answers.update(zip(alike, map(Answer, verdicts, _names(alike, sense)), strict=True))
    return answers


def _names(texts: list[_Texts], sense: _Sense) -> list[str | None]:
    """Give what each of these entries names, in a reason of the same form or as an ICCID of its own."""
    named = [[reason[place].strip() for _, reason, _ in texts] for place in sense.names]
    # The page gives an entry no ICCID of its own; should it have one, that names an item like other words.
    own = [iccid.strip() if iccid and any(map(str.isdigit, iccid)) else "" for _, _, iccid in texts]
    if any(own) or not named:
        named.append(own)
    if len(named) == 1:
        return [name or None for name in named[0]]
    # Two names are no name: joined they are no item's, which the reconciler takes for a contradiction.
    return [" ".join(sorted({*names} - {""})) for names in zip(*named, strict=True)]


@lru_cache(16)
def _spelt(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Give the keys of an entry under which its result, reason and ICCID stand."""
    spelt = {key.lower(): key for key in keys}
    return tuple(spelt.get(name, name) for name in ("result", "reason", "iccid"))


def _verdicts(result: str, reasons: list[str], sense: _Sense, words: Words) -> list[Verdict]:
    """Read entries of one result and one form. A result is not guessed at: it is a known word, or no word."""
    if result.lower() in _GOOD:
        return [PLAIN_SUCCESS] * len(reasons)
    shown = words.each(reasons)
    if result.lower() in _BAD:
        return [Verdict(sense.ruling, sense.code, reason or "the vendor gave no reason") for reason in shown]
    said = f"the result says {words(result)!r}" if result else "the entry has no result"
    return [Verdict(Ruling.OPEN, "unknown_result", f"{said}; {reason}".rstrip("; ")) for reason in shown]


class _Sense(NamedTuple):
    """What a reason means, and where in it an ICCID stands."""

    ruling: Ruling
    code: str
    names: tuple[slice, ...]


def _sense_of(form: str) -> _Sense:
    """Read a reason by its form; a long one is not kept."""
    return _sense(form) if len(form) <= MOST_READ else _sense.__wrapped__(form)


@lru_cache(1024)
def _sense(form: str) -> _Sense:
    found = [slice(*match.span(match.lastindex or 0)) for match in _NAMED.finditer(form)]
    names = tuple(place for place in found if any(map(str.isdigit, form[place])))
    return _Sense(*_ruling(form[:MOST_READ]), names)


def _ruling(reason: str) -> tuple[Ruling, str]:
    if _EXISTS.search(reason):
        return Ruling.EXISTS, "exists"
    match kind_of_words(reason):
        case FaultKind.LOST:
            return Ruling.OPEN, "server_error"
        case FaultKind.NOT_CARRIED_OUT:
            return Ruling.PASSING, "busy"
        case _:
            return Ruling.REFUSED, "failed"


def kind_of_words(message: str) -> FaultKind | None:
    """Classify an envelope by its words, where its code says nothing; None when they do not either."""
    if _SERVER_ERROR.search(message):
        return FaultKind.LOST
    if _BUSY.search(message):
        return FaultKind.NOT_CARRIED_OUT
    return FaultKind.TOO_LARGE if _SIZE.search(message) and _OF_A_BATCH.search(message) else None


def padded(code: str) -> str:
    """Give back the zeros that a code loses as a number."""
    code = code.strip()
    return code.zfill(6) if code.isdigit() else code
