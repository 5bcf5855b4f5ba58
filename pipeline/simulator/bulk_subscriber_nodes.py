"""The nodes of a bulk call: what the page asks of one, and what the reply says of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from pipeline.simulator.bulk_subscriber_faults import (
    DuplicateNodes,
    EmptyContent,
    MissingNodes,
    OtherValues,
    ShuffleNodes,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from pipeline.simulator.fault_kinds import Fault

# The page names the five types; the forms are those of the identifiers themselves.
FORMS = {
    "IMSI": re.compile(r"[0-9]{1,15}"),
    "ICCID": re.compile(r"[0-9]{19,20}"),
    "MSISDN": re.compile(r"[0-9]{1,15}"),
    "IMEI": re.compile(r"[0-9]{15}"),
    "IMEISV": re.compile(r"[0-9]{16}"),
}
# Not documented; the page speaks of "general failure codes" and of nodes mostly GLOBAL_*.
MALFORMED = "GLOBAL_1002"
PAGEABLE = {"page": 0, "size": 10, "totalPages": 1, "totalElements": 1}

_NUMBER = re.compile(r"[0-9]{1,20}")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of the call and what is said of it; `code` is "" for a good one."""

    entry: Json
    kind: str = ""
    value: str = ""
    alias: str | None = None
    code: str = ""
    message: str = ""

    def refused(self, code: str, message: str) -> Node:
        """Return the node as failed; one that failed before keeps its own reason."""
        return self if self.code else replace(self, code=code, message=message)

    def told(self, request_id: str) -> Json:
        """Return the reply's node."""
        return {
            "errorCode": self.code,
            "errorMessage": self.message,
            "requestId": request_id,
            "subscriberIdentifiers": self.entry.get("subscriberIdentifiers", {}),
            "content": self.entry.get("content", {}),
        }


def judged(entry: Json) -> Node:
    """Return the node of an entry, failed when the entry is not as the page says."""
    identifiers, content = entry.get("subscriberIdentifiers"), entry.get("content")
    if not isinstance(identifiers, dict):
        return Node(entry, code=MALFORMED, message="subscriberIdentifiers is missing")
    kind, value = identifiers.get("type"), identifiers.get("value")
    if not isinstance(kind, str) or kind not in FORMS:
        return Node(entry, code=MALFORMED, message="type is none of " + ", ".join(FORMS))
    if not isinstance(value, str) or not FORMS[kind].fullmatch(value):
        return Node(entry, code=MALFORMED, message=f"value is no {kind}")
    if not isinstance(content, dict):
        return Node(entry, kind, value, code=MALFORMED, message="content is missing")
    unknown = content.keys() - {"alias"}
    if unknown:
        return Node(
            entry, kind, value, code=MALFORMED, message=f"content has an unknown key: {min(unknown)[:40]}"
        )
    alias = content.get("alias", "")
    if not isinstance(alias, str):
        return Node(entry, kind, value, code=MALFORMED, message="alias is no String")
    return Node(entry, kind, value, content.get("alias"))


def disfigured(
    nodes: list[Json], hits: Sequence[Fault], draw: Callable[[object], random.Random], met: dict[str, int]
) -> list[Json]:
    """Return the nodes of a reply as the faults leave them; counts in `met` those that changed something.

    `draw` gives this request's own chance for a purpose. A v3 poll's nodes have no identifiers.
    """
    for place, fault in enumerate(hits):
        after = _disfigured_by(fault, nodes, draw(f"order {place}"))
        if after is not nodes:
            met[fault.kind] = met.get(fault.kind, 0) + 1
            nodes = after
    return nodes


def _disfigured_by(fault: Fault, nodes: list[Json], draw: random.Random) -> list[Json]:
    match fault:
        case OtherValues(nodes=number):
            return _with_other_values(nodes, len(nodes) if number is None else number)
        case EmptyContent() if any(node.get("errorCode") for node in nodes):
            return [{**node, "content": ""} if node["errorCode"] else node for node in nodes]
        case MissingNodes(missing=missing):
            return _without(nodes, missing)
        case DuplicateNodes(nodes=number) if nodes:
            return nodes + nodes[-number:]
        case ShuffleNodes() if len(nodes) > 1:
            return _in_another_order(nodes, draw)
    return nodes


def _without(nodes: list[Json], missing: int) -> list[Json]:
    accepted = [place for place, node in enumerate(nodes) if node["requestId"]]
    out = set(accepted[-missing:])
    return [node for place, node in enumerate(nodes) if place not in out] if out else nodes


def _in_another_order(nodes: list[Json], draw: random.Random) -> list[Json]:
    order = list(range(len(nodes)))
    draw.shuffle(order)
    if order == list(range(len(nodes))):
        order = order[1:] + order[:1]
    return [nodes[place] for place in order]


def _with_other_values(nodes: list[Json], last: int) -> list[Json]:
    values = [_value_of(node) for node in nodes]
    taken = {value for value in values if value}
    after = list(nodes)
    for place in range(max(0, len(nodes) - last), len(nodes)):
        if value := values[place]:
            other = _other_value(value, taken)
            taken.add(other)
            identifiers = {**nodes[place]["subscriberIdentifiers"], "value": other}
            after[place] = {**nodes[place], "subscriberIdentifiers": identifiers}
    return after if taken else nodes


def _value_of(node: Json) -> str:
    """Return the node's value if it is a number as identifiers are, else ""."""
    identifiers = node.get("subscriberIdentifiers")
    value = identifiers.get("value") if isinstance(identifiers, dict) else None
    return value if isinstance(value, str) and _NUMBER.fullmatch(value) else ""


def _other_value(value: str, taken: set[str]) -> str:
    """Return a number that is not taken: from 104 further on, as in the page's example."""
    numbers = (f"{int(value) + step:0{len(value)}d}" for step in count(104))
    return next(number for number in numbers if number not in taken)
