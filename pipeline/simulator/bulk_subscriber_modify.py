"""The bulk modify: its nodes are accepted or refused together, each good one is a request that ends later."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

from pipeline.simulator.bulk_subscriber_faults import (
    ErrorStatus,
    FailItems,
    ForgetItems,
    Mixed,
    NeverFinish,
    NoRequestId,
    RefuseCall,
    RefuseNodes,
)
from pipeline.simulator.bulk_subscriber_nodes import PAGEABLE, disfigured, judged
from pipeline.simulator.bulk_subscriber_replies import error_reply
from pipeline.simulator.bulk_subscriber_store import Accepted
from pipeline.simulator.exchange import in_json
from pipeline.simulator.fault_kinds import CutAfterCommit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults, SubscriberFault
    from pipeline.simulator.bulk_subscriber_nodes import Node
    from pipeline.simulator.bulk_subscriber_store import SubscriberStore
    from pipeline.simulator.exchange import Plan, Response
    from pipeline.simulator.fault_kinds import Fault
    from pipeline.simulator.traffic import Traffic


class BulkModify:
    """Carries out bulk calls. How often a fault has met a subscriber is known in memory only."""

    def __init__(self, store: SubscriberStore, faults: BulkSubscriberFaults, traffic: Traffic) -> None:
        self._store = store
        self._faults = faults
        self._traffic = traffic
        # Its place in the file is part of the chance, so that two shares do not draw the same subscribers.
        self._places = {id(fault): place for place, fault in enumerate(faults.fault)}
        self._times: Counter[tuple[int, str, str]] = Counter()

    def reply(self, plan: Plan) -> Response:
        """Accept the nodes if they are all good (or those that are, under `mixed`), and tell."""
        nodes = [judged(entry) for entry in plan.items]
        if isinstance(plan.ending, CutAfterCommit):
            nodes = nodes[: plan.ending.commit_items]
        for fault in plan.hits:
            if isinstance(fault, RefuseCall) and any(self._meets(fault, node) for node in nodes):
                return error_reply(fault.code, fault.words)
        for fault in plan.hits:
            if isinstance(fault, RefuseNodes):
                nodes = [
                    node.refused(fault.code, fault.words) if self._meets(fault, node) else node
                    for node in nodes
                ]
        bad = [node for node in nodes if node.code]
        mixed = [fault for fault in plan.hits if isinstance(fault, Mixed)]
        if not bad:
            return self._told(plan, nodes, self._accept(plan, nodes), 200)
        if mixed and len(bad) < len(nodes):
            self._met(mixed[0])
            return self._told(plan, nodes, self._accept(plan, nodes), 200)
        status = next((fault for fault in plan.hits if isinstance(fault, ErrorStatus)), None)
        if status is not None:
            self._met(status)
        call_id, _ = _drawn(self._faults.seed, f"refused call {plan.number}")
        return self._told(plan, bad, (call_id, []), 200 if status is None else status.status)

    def _accept(self, plan: Plan, nodes: Sequence[Node]) -> tuple[str, list[Accepted]]:
        """Keep the good nodes as requests; returns the call's id and the requests."""
        seed, now, completion = self._faults.seed, plan.due_at, self._faults.completion
        ends = [fault for fault in plan.hits if isinstance(fault, FailItems | NeverFinish | ForgetItems)]
        first = self._store.next_serial
        requests = []
        for serial, node in enumerate((node for node in nodes if not node.code), first):
            request_id, chance = _drawn(seed, f"request {serial}")
            finish_at = now + completion.delay_s(chance)
            state, forget_at = "SUCCESS", math.inf
            for fault in ends:
                if not self._meets(fault, node):
                    continue
                if isinstance(fault, FailItems):
                    state = fault.status if state == "SUCCESS" else state
                elif isinstance(fault, NeverFinish):
                    finish_at = math.inf
                else:
                    forget_at = min(forget_at, now + fault.after_s)
            forget_at = min(forget_at, completion.forget_at(finish_at))
            requests.append(
                Accepted(serial, request_id, node.kind, node.value, node.alias, finish_at, forget_at, state)
            )
        call_id, _ = _drawn(seed, f"call {first}")
        self._store.accept(now, call_id, requests)
        return call_id, requests

    def _told(
        self, plan: Plan, nodes: Sequence[Node], accepted: tuple[str, list[Accepted]], status: int
    ) -> Response:
        call_id, requests = accepted
        ids = iter(requests)
        told = disfigured(
            [node.told("" if node.code else next(ids).id) for node in nodes],
            plan.hits,
            lambda purpose: self._faults.draw(plan.number, purpose),
            self._traffic.faults,
        )
        headers = {"Request-Id": call_id}
        for fault in plan.hits:
            if isinstance(fault, NoRequestId):
                self._met(fault)
                headers = {}
        return in_json({"bulk": told, "pageable": PAGEABLE}, status, headers)

    def _meets(self, fault: SubscriberFault, node: Node) -> bool:
        """Whether the fault meets the node, and count it; one that is bad anyway uses up no times."""
        place = self._places[id(fault)]
        if node.code or not fault.concerns(node.value, f"{self._faults.seed} {place}"):
            return False
        if fault.times is not None:
            if self._times[place, node.kind, node.value] == fault.times:
                return False
            self._times[place, node.kind, node.value] += 1
        self._met(fault)
        return True

    def _met(self, fault: Fault) -> None:
        self._traffic.faults[fault.kind] += 1


def _drawn(seed: int, purpose: str) -> tuple[str, float]:
    """Return a UUID and a number from 0 to 1 that depend on seed and purpose alone."""
    digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=22).digest()
    return str(UUID(bytes=digest[:16], version=4)), int.from_bytes(digest[16:]) / 2**48
