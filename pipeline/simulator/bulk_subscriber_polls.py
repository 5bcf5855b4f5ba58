"""The polls: what became of one request (v2), or of all requests of one bulk call (v3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.simulator.bulk_subscriber_faults import ErrorStatus
from pipeline.simulator.bulk_subscriber_nodes import disfigured
from pipeline.simulator.bulk_subscriber_replies import content_reply, error_reply

if TYPE_CHECKING:
    from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults
    from pipeline.simulator.bulk_subscriber_store import SubscriberStore
    from pipeline.simulator.exchange import Plan, Response
    from pipeline.simulator.traffic import Traffic


class Polls:
    """Answers polls from the store."""

    def __init__(self, store: SubscriberStore, faults: BulkSubscriberFaults, traffic: Traffic) -> None:
        self._store = store
        self._faults = faults
        self._traffic = traffic

    def reply(self, plan: Plan) -> Response:
        """Return the reply to a poll for `asked_id`: the API's version, a blank, the id."""
        version, _, asked_id = plan.asked_id.partition(" ")
        if version == "v2":
            status = self._store.status(plan.due_at, asked_id)
            return self._unknown(plan) if status is None else content_reply([{"status": status}])
        statuses = self._store.statuses(plan.due_at, asked_id)
        if not statuses:
            return self._unknown(plan)
        nodes = [{"requestId": request_id, "status": status} for request_id, status in statuses]
        return content_reply(
            disfigured(
                nodes,
                plan.hits,
                lambda purpose: self._faults.draw(plan.number, purpose),
                self._traffic.faults,
            )
        )

    def _unknown(self, plan: Plan) -> Response:
        for fault in plan.hits:
            if isinstance(fault, ErrorStatus):
                self._traffic.faults[fault.kind] += 1
                return error_reply("GLOBAL_1003", "No such request", fault.status)
        return error_reply("GLOBAL_1003", "No such request")
