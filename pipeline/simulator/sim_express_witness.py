"""What a test may ask SIM Express past its API: which profiles it has, and to have some beforehand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.simulator.exchange import in_json
from pipeline.simulator.store import Profile

if TYPE_CHECKING:
    from pipeline.simulator.exchange import Response
    from pipeline.simulator.store import Store


def answer(store: Store, method: str, path: str, body: bytes) -> Response:
    """Answer `GET /profiles/count`, `GET /profiles/{iccid}` or `POST /profiles`."""
    if (method, path) == ("POST", "/profiles"):
        return _plant(store, body)
    if method != "GET" or not path.startswith("/profiles/"):
        return in_json({"error": f"there is no {method} {path}"}, 404)
    iccid = path.removeprefix("/profiles/")
    if iccid == "count":
        return in_json({"count": store.count})
    found = store.find(iccid)
    return in_json({"error": "no such profile"}, 404) if found is None else in_json(found)


def _plant(store: Store, body: bytes) -> Response:
    try:
        profiles = _profiles(json.loads(body))
    except (ValueError, TypeError, AttributeError) as error:
        return in_json({"error": f"nothing planted: {error}"}, 400)
    known = store.add(profiles, planted=True)
    return in_json({"planted": len(profiles) - len(known)})


def _profiles(document: Any) -> list[Profile]:
    """Read `{"profiles":[{"iccid":…}]}` or `{"iccids":[…]}`; the first of equal ICCIDs counts."""
    entries = document.get("profiles", [{"iccid": iccid} for iccid in document.get("iccids", ())])
    planted: dict[str, Profile] = {}
    for entry in entries:
        profile = Profile(**entry)
        if not profile.iccid or not all(value is None or isinstance(value, str) for value in profile):
            raise ValueError("every profile needs an iccid, and all its values must be text")
        planted.setdefault(profile.iccid, profile)
    if not planted:
        raise ValueError("neither profiles nor iccids given")
    return list(planted.values())
