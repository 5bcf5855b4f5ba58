"""The bodies of the bulk subscriber API that are no list of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.simulator.bulk_subscriber_nodes import PAGEABLE
from pipeline.simulator.exchange import Response, in_json

if TYPE_CHECKING:
    from collections.abc import Mapping


def content_reply(content: list[dict[str, str]]) -> Response:
    """Return a success with its content."""
    return in_json({"errorCode": "", "errorMessage": "", "content": content, "pageable": PAGEABLE})


def error_reply(
    code: str, message: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error of a whole call: no nodes, `content` is a text then."""
    document = {"errorCode": code, "errorMessage": message, "content": "", "pageable": {}}
    return in_json(document, status, headers)
