"""What goes wrong at the bulk subscriber API in a story: at the send, at the polls, at the login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fault_draws import GENERAL, Draws, draw_faults, plain, some, spread

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from drawn_inventory import DrawnInventory
    from fault_draws import Draw

PASSING = frozenset({"GLOBAL_1001", "INTERNAL_ERROR"})
_CALLS = ("send", "send", "poll", "poll", "login")
_FINAL_CODES = ("SUBSCRIBER_1002", "SUBSCRIBER_1003", "AUTH_1013", "GLOBAL_1002")
#: Code, message (None: the page's own), and whether the call may have been carried out all the same.
_ENVELOPES = (
    ("GLOBAL_1001", None, False),
    ("GLOBAL_1001", None, False),
    ("INTERNAL_ERROR", "internal error", True),
    ("INTERNAL_ERROR", "internal error", True),
    ("GLOBAL_9999", "server error", True),
    ("GLOBAL_9999", "system busy", False),
    ("SUBSCRIBER_1003", None, False),
    ("GLOBAL_1002", "bulk has more than 5 elements", False),
    ("GLOBAL_1003", "No such request", False),
    ("AUTH_1001", "not allowed", False),
)


def draw_completion(rng: random.Random, give_up_s: float) -> dict[str, Any]:
    """Draw how long the vendor takes to finish what it accepted, and how long it remembers that."""
    mean_s = round(min(spread(rng, 0.01, 120), give_up_s * rng.choice([0.1, 0.3, 0.3, 2])), 6)
    retention = rng.choice([{}, {}, {"retention_s": round(spread(rng, 0.1, 300), 3)}])
    return {"mean_s": mean_s, "jitter_s": round(mean_s * rng.choice([0, 0.5, 1]), 6), **retention}


def draw_all(
    rng: random.Random, inventory: DrawnInventory, job: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draw what goes wrong, and what of it is the vendor's rule and stays.

    The rules stand first: a fault's place in the file is part of the chance by which it meets a subscriber.
    """
    faults = draw_faults(Draws(rng, inventory, job["limits"], "values", _CALLS), _FAULTS, _with_a_nak)
    passing = PASSING | {code for code, what in job["target"]["codes"].items() if what == "passing"}
    rules = [fault for fault in faults if _is_a_rule(fault, passing)]
    return rules + [fault for fault in faults if fault not in rules], rules


def _is_a_rule(fault: dict[str, Any], passing: frozenset[str] | set[str]) -> bool:
    if some(fault) or "times" in fault:
        return False
    if fault["kind"] in ("refuse_nodes", "refuse_call"):
        return fault["code"] not in passing
    return fault["kind"] == "fail_items" and fault["status"] == "FAILURE"


def _with_a_nak(kinds: Sequence[str]) -> Sequence[str]:
    """Some things go wrong beside failed nodes only: let there be such."""
    needs = {"mixed", "empty_content", "error_status"} & set(kinds)
    has = any(kind.startswith("refuse_nodes") for kind in kinds)
    return [*kinds, "refuse_nodes passing"] if needs and not has else kinds


def _error_envelope(d: Draws) -> dict[str, Any]:
    code, message, may_commit = d.rng.choice(_ENVELOPES)
    commit = d.maybe_commits() if may_commit else {}
    words = {} if message is None else {"message": message}
    return {"kind": "error_envelope", "code": code, **words, **commit, **d.whom()}


def _at_times(d: Draws) -> dict[str, Any]:
    """Let it meet some requests, or each subscriber so many times; seldom all and always."""
    match d.rng.randrange(8):
        case 0:
            return {}
        case 1 | 2 | 3:
            return {"times": d.rng.randint(1, 3)}
        case _:
            return {"share": round(d.rng.uniform(0.1, 1), 3)}


def _often(d: Draws) -> dict[str, Any]:
    """Hit most requests: it shows beside other faults only."""
    return d.rng.choice([{}, {"share": round(d.rng.uniform(0.3, 1), 3)}])


def _refuse_nodes_passing(d: Draws) -> dict[str, Any]:
    code = d.rng.choice(sorted(PASSING))
    return {"kind": "refuse_nodes", "code": code, **d.which(0.1), **_at_times(d)}


def _fail_items(d: Draws) -> dict[str, Any]:
    status = d.rng.choice(["FAILURE", "INTERNAL_ERROR"])
    return {"kind": "fail_items", "status": status, **d.which(0.05), **_at_times(d)}


def _rate_limit(d: Draws) -> dict[str, Any]:
    on = d.rng.choice([{}, {"on": "send"}, {"on": "poll"}, {"on": "login"}])
    return GENERAL["rate_limit"](d) | on


_FAULTS: dict[str, Draw] = GENERAL | {
    "rate_limit": _rate_limit,
    "error_envelope": _error_envelope,
    "refuse_nodes": lambda d: {"kind": "refuse_nodes", "code": d.rng.choice(_FINAL_CODES), **d.which()},
    "refuse_nodes passing": _refuse_nodes_passing,
    "refuse_nodes passing again": _refuse_nodes_passing,
    "refuse_call": lambda d: {
        "kind": "refuse_call", "code": d.rng.choice(["SUBSCRIBER_1003", "GLOBAL_1002"]), **d.which()
    },
    "fail_items": _fail_items,
    "fail_items again": _fail_items,
    "never_finish": lambda d: {"kind": "never_finish", **d.which(0.05), **_at_times(d)},
    "forget_items": lambda d: {
        "kind": "forget_items",
        "after_s": d.rng.choice([0.0, round(spread(d.rng, 0.01, 60), 3)]),
        **d.which(0.05),
        **_at_times(d),
    },
    "mixed": lambda d: {"kind": "mixed", **_often(d)},
    "other_values": lambda d: {
        "kind": "other_values", **d.rng.choice([{}, {"nodes": d.rng.randint(1, 5)}]), **d.whom("send")
    },
    "empty_content": lambda d: {"kind": "empty_content", **_often(d)},
    "shuffle_nodes": plain("shuffle_nodes", "send", "poll"),
    "missing_nodes": lambda d: {
        "kind": "missing_nodes", "missing": d.rng.choice([1, 1, 3, 9]), **d.whom("send", "poll")
    },
    "duplicate_nodes": lambda d: {
        "kind": "duplicate_nodes", "nodes": d.rng.choice([1, 1, 3, 9]), **d.whom("send", "poll")
    },
    "no_request_id": plain("no_request_id", "send"),
    "error_status": lambda d: {
        "kind": "error_status",
        "status": d.rng.choice([400, 400, 401, 403, 404, 404, 409, 422, 429, 500, 503]),
        **d.whom("send", "poll"),
    },
    "no_v3": plain("no_v3", "poll"),
    "revoke_token": plain("revoke_token", "send", "poll"),
}  # fmt: skip
