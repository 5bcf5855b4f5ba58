"""What a test may ask the bulk subscriber platform past its API: what it did to which subscriber."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.simulator.bulk_subscriber_nodes import FORMS
from pipeline.simulator.exchange import in_json

if TYPE_CHECKING:
    from pipeline.simulator.bulk_subscriber_store import SubscriberStore
    from pipeline.simulator.exchange import Response


def answer(store: SubscriberStore, now: float, method: str, path: str, body: bytes) -> Response:
    """Answer `GET /subscribers/count`, `GET /subscribers/{type}/{value}` or `POST /subscribers`."""
    if (method, path) == ("POST", "/subscribers"):
        return _plant(store, body)
    match path.split("/") if method == "GET" else []:
        case ["", "subscribers", "count"]:
            return in_json({"count": store.count(now)})
        case ["", "subscribers", kind, value]:
            found = store.find(now, kind, value)
            return in_json(found or {"error": "no such subscriber"}, 200 if found else 404)
    return in_json({"error": f"there is no {method} {path}"}, 404)


def _plant(store: SubscriberStore, body: bytes) -> Response:
    try:
        subscribers = [_subscriber(entry) for entry in json.loads(body)["subscribers"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return in_json({"error": f"nothing planted: {error!r}"}, 400)
    return in_json({"planted": store.plant(subscribers)})


def _subscriber(entry: Any) -> tuple[str, str, str | None]:
    """Read `{"type":…,"value":…,"alias":…}`; without an alias the subscriber has none."""
    kind, value, alias = entry["type"], entry["value"], entry.get("alias")
    if not FORMS[kind].fullmatch(value) or not (alias is None or isinstance(alias, str)):
        raise ValueError("a subscriber needs type, value of that form, and a text as alias if any")
    return kind, value, alias
