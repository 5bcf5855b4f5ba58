"""The fixed replies of the stub: what each path answers, whatever it was sent.

How many entries a reply has is fixed when the stub is started: every batch that reaches it must have so many.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

IMPORT_PATH = "/v1/profile/importProfileList"
BATCH_ITEMS = 1_000


@dataclass(frozen=True, slots=True)
class FixedReply:
    """What one path answers; `header` is a header more, as "Name: value"."""

    path: str
    body: bytes
    content_type: str
    header: str = ""


def fixed_replies(items: int = BATCH_ITEMS) -> list[FixedReply]:
    """Give SIM Express's reply to so many profiles and Elasticsearch's to so many documents: all good."""
    results = [{"result": "SUCCEED", "reason": None}] * items
    profiles = {"errorCode": "0", "errorMsg": None, "resultList": results}
    documents = {"errors": False, "took": 30, "items": [_indexed(number) for number in range(items)]}
    return [
        FixedReply(IMPORT_PATH, _json(profiles), "application/json"),
        FixedReply(
            "/_bulk",
            _json(documents),
            "application/vnd.elasticsearch+json;compatible-with=9",
            "X-Elastic-Product: Elasticsearch",
        ),
    ]


def _indexed(number: int) -> dict[str, object]:
    """Give one entry of a `_bulk` reply, with the fields that Elasticsearch 9 gives it."""
    entry = {
        "_index": "profiles",
        "_id": f"8935711{number:013}",
        "_version": 1,
        "result": "created",
        "_shards": {"total": 2, "successful": 1, "failed": 0},
        "_seq_no": number,
        "_primary_term": 1,
        "status": 201,
    }
    return {"index": entry}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
