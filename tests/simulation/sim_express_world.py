"""SIM Express in a story: profiles by their ICCID, done or refused in the reply itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from drawn_inventory import position_in
from fault_draws import GENERAL, Draws, draw_faults, plain, some
from pydantic import SecretStr
from sim_express_rows import SimExpressRows
from world import Sent, Told, World

from pipeline.simulator.fault_kinds import NoEcho, ReorderEcho, ResultsShuffled, ShortList
from pipeline.simulator.faults import Faults
from pipeline.simulator.sim_express import SimExpress as Logic
from pipeline.simulator.store import Profile, Store
from pipeline.targets.sim_express import Settings, SimExpress

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from drawn_inventory import DrawnInventory, Row
    from fault_draws import Draw
    from plan import Plan
    from world import Ended

    from pipeline.simulator.exchange import Plan as Judgement, Response as VendorsResponse
    from pipeline.wire import Request

ACCESS_CODE, SECRET_CODE = "simulation-access", "simulation-secret"
GOOD = frozenset({"succeeded", "confirmed"})
NOT_TAKEN = frozenset({"refused", "gave_up"})
_NAMED = re.compile(r"iccid:\[(\d+)\]")
_MOVED = ShortList | ResultsShuffled | ReorderEcho | NoEcho


class SimExpressWorld(World):
    """A profile that is held was imported by us, or planted before we came."""

    name = "sim-express"
    max_items = (1000, 1000, 1000, 59, 20, 7)

    def __init__(self, plan: Plan) -> None:
        self._planted = plan.inventory.planted
        self._exists_is_good = plan.job["target"]["on_exists"] == "ok"
        self._held: dict[str, str | None] = {}
        self.store = Store()
        if self._planted:
            self.store.add([Profile(iccid) for iccid in sorted(self._planted)], planted=True)

    # ------------------------------------------------------------ the vendor's part of a plan

    @classmethod
    def rows(cls, rng: random.Random) -> SimExpressRows:
        return SimExpressRows(rng)

    @classmethod
    def draw_tables(cls, rng: random.Random) -> dict[str, dict[str, Any]]:
        target = {
            "kind": cls.name,
            "base_url": "https://vendor.example",
            "access_code": "env:SIMULATION_ACCESS_CODE",
            "secret_code": "env:SIMULATION_SECRET_CODE",
            "on_exists": rng.choice(["refused", "refused", "refused", "ok"]),
        }
        return {"target": target}

    @classmethod
    def draw_faults(
        cls, rng: random.Random, inventory: DrawnInventory, job: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        faults = draw_faults(Draws(rng, inventory, job["limits"], "iccids"), _FAULTS, _readable)
        return faults, [fault for fault in faults if fault["kind"] == "refuse_items" and not some(fault)]

    # ------------------------------------------------------------ the vendor

    def logic(self, faults: dict[str, Any], max_items: int) -> Logic:
        return Logic(
            self.store,
            access_code=ACCESS_CODE,
            secret_code=SECRET_CODE,
            faults=Faults.model_validate(faults),
            max_items=max_items,
        )

    def settings(self, job: Mapping[str, Any]) -> Settings:
        codes = {"access_code": SecretStr(ACCESS_CODE), "secret_code": SecretStr(SECRET_CODE)}
        return Settings(**(job["target"] | codes))

    def target(self, job: Mapping[str, Any], clock: Callable[[], float], ids: random.Random) -> SimExpress:
        return SimExpress(
            self.settings(job), clock=clock, new_request_id=lambda: f"{ids.getrandbits(128):032x}"
        )

    def close(self) -> None:
        self.store.close()

    # ------------------------------------------------------------ the witness

    def read(self, request: Request) -> Sent:
        items = json.loads(request.body)["profileItems"]
        return Sent("send", {position_in(item["ac"]): item["iccid"] for item in items})

    def told(self, sent: Sent, reply: VendorsResponse, judgement: Judgement) -> Told:
        """Give the rows whose end is plain: named in a final no, or a success where nothing is moved."""
        if judgement.refusal is not None or judgement.ending is not None:
            return Told()
        document = json.loads(reply.body)
        results = document.get("resultList") or document.get("resultItems") or []
        position_of = {iccid: position for position, iccid in sent.rows.items()}
        final = [_NAMED.search(entry["reason"] or "") for entry in results if not _passes(entry["reason"])]
        told = [position_of[named[1]] for named in final if named]
        if not any(isinstance(fault, _MOVED) for fault in judgement.hits):
            pairs = zip(sent.rows, results, strict=True)
            told += [position for position, entry in pairs if entry["result"] == "SUCCEED"]
        return Told(frozenset(told))

    # ------------------------------------------------------------ the vendor's books

    def unfounded(self, now: float, ended: Mapping[int, Ended]) -> Iterable[str]:
        """Nothing is done later than it is told: the books are compared at the end."""
        return ()

    def open_books(self, now: float) -> None:
        self._held = dict(self.store._db.execute("SELECT iccid, ac FROM profiles"))

    def judge(self, row: Row, line: Mapping[str, Any]) -> Iterable[str]:
        """Judge a row by what the vendor holds: because it was sent, or because it was planted before."""
        status = line["status"]
        if any(name != row.key for name in _NAMED.findall(line["reason"])):
            yield f"its reason names another: {line['reason']}"
        if row.key not in self._held:
            if status in GOOD:
                yield "the vendor does not hold it"
            return
        planted = row.key in self._planted
        if planted:
            if status == "succeeded" and not self._exists_is_good:
                yield "the vendor held it before and never said it succeeded"
        else:
            if status in NOT_TAKEN:
                yield "the vendor holds it"
            if self._held[row.key] != row.mark:
                yield "the vendor holds it with another row's activation code"
        if status == "refused" and line["code"] == "exists" and (self._exists_is_good or not planted):
            yield "refused because it exists, though that is good here or it was not there before we came"


def _passes(reason: str | None) -> bool:
    return "busy" in (reason or "") or "error" in (reason or "")


# ---------------------------------------------------------------- what goes wrong

_ENVELOPES = (
    ("000001", "server error"),
    ("000001", "server error"),
    ("999999", "system exception"),
    ("900001", "system busy"),
    ("000106", "parameter error"),
    ("000101", "the request is malformed"),
    ("000107", "profileItems is more than 1000"),
    ("101003", "the signature is wrong"),
)
_MAY_HAVE_TAKEN = {"000001", "999999"}


def _readable(kinds: Sequence[str]) -> Sequence[str]:
    """Leave out what no reply could be read right with.

    Positions lie where results are moved about, and an entry without a name could be told by nothing.
    """
    if "results_shuffled" in kinds or {"reorder_echo", "no_echo"} <= set(kinds):
        return [kind for kind in kinds if kind not in _NAMELESS]
    return kinds


def _error_envelope(d: Draws) -> dict[str, Any]:
    code, message = d.rng.choice(_ENVELOPES)
    commit = d.maybe_commits() if code in _MAY_HAVE_TAKEN else {}
    return {"kind": "error_envelope", "code": code, "message": message, **commit, **d.whom()}


def _refuse_items(reasons: Sequence[str], *, passing: bool = False) -> Draw:
    """A final no is the vendor's rule and so holds for every request; a passing one comes and goes."""
    return lambda d: {
        "kind": "refuse_items",
        "reason": d.rng.choice(reasons),
        **d.which(0.1 if passing else 0.005),
        **({"share": round(d.rng.uniform(0.2, 1), 3)} if passing else {}),
    }


_FAULTS: dict[str, Draw] = GENERAL | {
    "error_envelope": _error_envelope,
    "busy": plain("busy"),
    "short_list": lambda d: {"kind": "short_list", "missing": d.rng.choice([1, 1, 3, 9]), **d.whom()},
    "reorder_echo": plain("reorder_echo"),
    "results_shuffled": plain("results_shuffled"),
    "no_echo": plain("no_echo"),
    "spelling": plain("spelling"),
    "refuse_items": _refuse_items(
        ["the profile is not allowed, iccid:[{iccid}]", "the eid is exist in db, iccid:[{iccid}]"]
    ),
    "refuse_items nameless": _refuse_items(["the profile is not allowed"]),
    "refuse_items busy": _refuse_items(["system busy, iccid:[{iccid}]"], passing=True),
    "refuse_items error": _refuse_items(["system error, iccid:[{iccid}]"], passing=True),
    "refuse_items passing nameless": _refuse_items(["system busy", "server error"], passing=True),
    "refuse_batch": lambda d: {
        "kind": "refuse_batch", "code": d.rng.choice(["000106", "000103"]), **d.which()
    },
}  # fmt: skip
_NAMELESS = frozenset({"refuse_items nameless", "refuse_items passing nameless"})
