"""The bulk subscriber update in a story: accepted with a ticket, asked after, done or not done later."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bulk_subscriber_faults import PASSING, draw_all, draw_completion
from bulk_subscriber_rows import BulkSubscriberRows
from drawn_inventory import position_in
from fault_draws import spread
from pydantic import SecretStr
from world import EPOCH_S, Sent, Told, World

from pipeline.simulator.bulk_subscriber import BulkSubscriber as Logic
from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults, MissingNodes, Mixed
from pipeline.simulator.bulk_subscriber_store import SubscriberStore
from pipeline.targets.bulk_subscriber import BulkSubscriber, Settings

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from drawn_inventory import DrawnInventory, Row
    from plan import Plan
    from world import Ended

    from pipeline.simulator.exchange import Plan as Judgement, Response as VendorsResponse
    from pipeline.wire import Request

SECRETS = {"username": "simulation-user", "password": "simulation-password", "token": "simulation-token"}
LOGIN, BULK = "/api/v2/auth/token", "/api/v2/bulk/subscriber"
POLLS = {"/api/v2/global/call/": "v2", "/api/v3/global/call/": "v3"}
#: Statuses under which the nodes of a reply count: one that passes, or a 5xx, speaks for the whole call.
NODES_COUNT = frozenset({200, 400, 403, 404, 409, 422})
_INSTANT_S = 1e-6  # what floating point may add up to
_LONG_AFTER_S = 1e9  # when all is finished that ever will be

_OF_TICKETS = """
SELECT requests.id, type || ':' || value, calls.id, iif(finish_at <= :now, state, 'OPEN')
FROM requests LEFT JOIN calls ON serial BETWEEN first AND last
WHERE requests.id IN (SELECT value FROM json_each(:tickets))
"""
_REQUESTS = "SELECT type || ':' || value, state FROM requests WHERE finish_at <= ?"
_EVER_SENT = "SELECT DISTINCT type || ':' || value FROM requests"
_ALIASES = "SELECT type || ':' || value, alias FROM subscribers"
_DONE, _UNDONE = ("SUCCESS", "FAILURE"), ("INTERNAL_ERROR", "unknown")


class BulkSubscriberWorld(World):
    """A subscriber's alias was set by us, or planted before we came, or it has none."""

    name = "bulk-subscriber"
    endings = (
        "asked", "asked", "told", "told", "login-sent", "login-answered",
        "complete-before", "complete-before", "complete-after", "complete-after",
    )  # fmt: skip
    max_items = (200, 200, 200, 59, 20, 7)

    def __init__(self, plan: Plan) -> None:
        rows = plan.inventory.to_send.values()
        self._position_of = {row.key: row.position for row in rows}
        self._key_of = {row.position: row.key for row in rows}
        codes = plan.job["target"]["codes"]
        self._passing = PASSING | {code for code, what in codes.items() if what == "passing"}
        self._ready = "token" in plan.job["target"]
        self._lied: set[int] = set()
        self._states: dict[str, set[str]] = {}
        self._aliases: dict[str, str | None] = {}
        self._planted = {key: f"old {key}" for key in sorted(plan.inventory.planted)}
        self.store = SubscriberStore()
        self.store.plant((*key.split(":"), alias) for key, alias in self._planted.items())  # type: ignore[misc]

    # ------------------------------------------------------------ the vendor's part of a plan

    @classmethod
    def rows(cls, rng: random.Random) -> BulkSubscriberRows:
        return BulkSubscriberRows(rng)

    @classmethod
    def draw_tables(cls, rng: random.Random) -> dict[str, dict[str, Any]]:
        longest_s = round(spread(rng, 0.5, 60), 3)
        given = rng.choice([("username", "password"), ("username", "password"), ("token",)])
        return {
            "target": {
                "kind": cls.name,
                "base_url": "https://vendor.example",
                "codes": rng.choice([{}, {}, {"SUBSCRIBER_1003": "passing"}]),
                **{name: f"env:SIMULATION_{name.upper()}" for name in given},
            },
            "completion": {
                "first_poll_s": round(min(longest_s, spread(rng, 0.05, 10)), 3),
                "longest_poll_s": longest_s,
                "give_up_s": round(longest_s * spread(rng, 0.3, 15), 3),
                "most_open": rng.choice([100_000, 100_000, 1, 7, 50]),
            },
        }

    @classmethod
    def draw_faults(
        cls, rng: random.Random, inventory: DrawnInventory, job: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return draw_all(rng, inventory, job)

    @classmethod
    def draw_more(cls, rng: random.Random, job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        give_up_s = job["completion"]["give_up_s"]
        completion = draw_completion(rng, give_up_s)
        tokens = {
            "token_life_s": rng.choice([86_400.0, round(spread(rng, 0.5, 300), 3)]),
            "token_uses": rng.choice([None, None, None, round(spread(rng, 2, 60))]),
        }
        well = {"mean_s": min(completion["mean_s"], give_up_s / 10), "jitter_s": 0.0}
        return {"completion": completion, "tokens": tokens}, {"completion": well}

    # ------------------------------------------------------------ the vendor

    def logic(self, faults: dict[str, Any], max_items: int) -> Logic:
        faults = dict(faults)
        return Logic(
            self.store,
            username=SECRETS["username"],
            password=SECRETS["password"],
            token=SECRETS["token"] if self._ready else None,
            **faults.pop("tokens", {}),
            faults=BulkSubscriberFaults.model_validate(faults),
            max_items=max_items,
        )

    def settings(self, job: Mapping[str, Any]) -> Settings:
        given = {name: SecretStr(value) for name, value in SECRETS.items() if name in job["target"]}
        return Settings(**(job["target"] | given))

    def target(
        self, job: Mapping[str, Any], clock: Callable[[], float], ids: random.Random
    ) -> BulkSubscriber:
        return BulkSubscriber(self.settings(job))

    def close(self) -> None:
        self.store.close()

    # ------------------------------------------------------------ the witness

    def read(self, request: Request) -> Sent:
        if request.path == LOGIN:
            return Sent("login")
        for path, version in POLLS.items():
            if request.path.startswith(path):
                return Sent("poll", asked=f"{version} {request.path.removeprefix(path)}")
        rows = {}
        for entry in json.loads(request.body)["bulk"]:
            key = _key(entry)
            rows[position_in(entry["content"].get("alias", "")) or self._position_of.get(key, 0)] = key
        return Sent("send", rows)

    def told(self, sent: Sent, reply: VendorsResponse, judgement: Judgement) -> Told:
        """Read nodes and states that name their own rows; another vendor's page or half a body tells none."""
        try:
            document = json.loads(reply.body)
        except ValueError:
            return Told()
        if sent.call == "poll":
            return self._told_by_poll(sent.asked, document, reply, judgement)
        if sent.call == "login" or reply.status not in NODES_COUNT:
            return Told()
        nodes = document.get("bulk", [])
        if any(isinstance(fault, Mixed) for fault in judgement.hits) and _hidden(nodes, judgement):
            # It looks like a NAK, of which nothing is carried out; and yet the vendor took what it hides.
            self._lied.update(sent.rows)
        if judgement.refusal is not None or judgement.ending is not None:
            return Told()
        position_of = {key: position for position, key in sent.rows.items()}
        plain = [position_of.get(_key(node), 0) for node in nodes if node["errorCode"] not in self._passing]
        return Told(frozenset(plain) - {0})

    def _told_by_poll(
        self, asked: str, document: dict[str, Any], reply: VendorsResponse, judgement: Judgement
    ) -> Told:
        version, _, asked_id = asked.partition(" ")
        clear = judgement.refusal is None and judgement.ending is None
        states: dict[str, str] = {}
        if version == "v2":
            if document.get("errorCode") == "GLOBAL_1003":
                states[asked_id] = "unknown"
            elif clear and document["content"]:
                states[asked_id] = document["content"][0]["status"]
        elif clear and document["content"]:
            states = {entry["requestId"]: entry["status"] for entry in document["content"]}
        return Told(
            done=frozenset(ticket for ticket, state in states.items() if state in _DONE),
            undone=frozenset(ticket for ticket, state in states.items() if state in _UNDONE),
        )

    # ------------------------------------------------------------ the vendor's books

    def _tickets(self, now: float, tickets: Iterable[str]) -> list[tuple[str, str, str, str]]:
        """Give ticket, key, call and state at `now` of tickets that the vendor gave, forgotten or not."""
        facts = {"now": EPOCH_S + now + _INSTANT_S, "tickets": json.dumps(list(tickets))}
        return self.store._db.execute(_OF_TICKETS, facts).fetchall()

    def strangers(self, promised: Mapping[int, tuple[str, str]]) -> Iterable[str]:
        tickets = [ticket for ticket, _ in promised.values()]
        given = {ticket: (key, call) for ticket, key, call, _ in self._tickets(0.0, tickets)}
        for position, (ticket, call) in promised.items():
            key, its_call = given.get(ticket, ("", ""))
            if key != self._key_of.get(position) or call not in ("", its_call):
                yield f"row {position} holds a ticket of {key or 'nobody'}, call {call}"

    def unfounded(self, now: float, ended: Mapping[int, Ended]) -> Iterable[str]:
        held = [end.ticket for end in ended.values() if end.ticket]
        states = {ticket: (key, state) for ticket, key, _, state in self._tickets(now, held)}
        for position, end in ended.items():
            key, state = states.get(end.ticket, ("", "nowhere"))
            wanted = "SUCCESS" if end.status in ("succeeded", "confirmed") else None
            if end.status == "refused" and end.code == "FAILURE":
                wanted = "FAILURE"
            if wanted is not None and (state != wanted or key != self._key_of[position]):
                yield f"row {position} ends as {end.status} {end.code}, its request is {state}"

    def open_books(self, now: float) -> None:
        at = EPOCH_S + min(now, _LONG_AFTER_S) + _INSTANT_S
        self.store.count(at)  # carries out what is due
        states = defaultdict(set)
        for key, state in self.store._db.execute(_REQUESTS, (at,)):
            states[key].add(state)
        self._states = dict(states)
        self._aliases = dict(self.store._db.execute(_ALIASES))

    def odd_entries(self) -> Iterable[str]:
        sent = {key for (key,) in self.store._db.execute(_EVER_SENT)}
        for key in sorted(sent.difference(self._position_of))[:5]:
            yield f"the vendor accepted {key}, which was never to be sent"

    def judge(self, row: Row, line: Mapping[str, Any]) -> Iterable[str]:
        status, code = line["status"], line["code"]
        states, alias = self._states.get(row.key, set()), self._aliases.get(row.key)
        before = self._planted.get(row.key)
        if status == "confirmed":
            yield "this vendor never says that anything is there already"
        if status == "succeeded":
            if "SUCCESS" not in states:
                yield "the vendor did not carry it out"
            elif (alias or "") != row.mark:
                yield "the vendor has another alias"
        elif alias != before and not ("SUCCESS" in states and (alias or "") == row.mark):
            yield "the vendor has an alias that nobody gave"
        if status == "refused" and code == "FAILURE":
            if "FAILURE" not in states:
                yield "the vendor did not let it fail"
        elif status in ("refused", "gave_up") and "SUCCESS" in states and row.position not in self._lied:
            yield "the vendor carried it out"


def _key(entry: Mapping[str, Any]) -> str:
    identifiers = entry["subscriberIdentifiers"]
    return f"{identifiers['type']}:{identifiers['value']}"


def _hidden(nodes: list[Mapping[str, Any]], judgement: Judgement) -> bool:
    """Tell whether a mixed reply leaves out all nodes that were accepted."""
    missing = any(isinstance(fault, MissingNodes) for fault in judgement.hits)
    return missing and bool(nodes) and not any(node["requestId"] for node in nodes)
