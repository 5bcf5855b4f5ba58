"""The first import of all: the API page's own example through the whole program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from books import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Program
    from vendors import Vendor

DATA = Path(__file__).parents[1] / "data"
EXAMPLE = DATA / "sim_express_example.csv"
KNOWN_9, KNOWN_2, NEW_5 = "12345678912345678919", "12345678912345678912", "12345678912345678915"


def example_request() -> list[dict[str, str]]:
    items: list[dict[str, str]] = json.loads((DATA / "sim_express_example_request.json").read_text())[
        "profileItems"
    ]
    return items


def test_the_example_of_the_api_page_arrives_as_two_refused_and_one_succeeded(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    vendor.plant([KNOWN_9, KNOWN_2])

    ended = simlift("run", EXAMPLE, "--job", simlift.job(vendor.url), "--run-id", "first")

    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "1 of 3 rows read are good" in ended.out
    assert [(end["key"], end["status"], end["code"], end["reason"]) for end in simlift.outcomes("first")] == [
        (KNOWN_9, "refused", "exists", f"the iccid is exist in db, iccid:[{KNOWN_9}]"),
        (KNOWN_2, "refused", "exists", f"the iccid is exist in db, iccid:[{KNOWN_2}]"),
        (NEW_5, "succeeded", "", ""),
    ]
    compare(simlift, "first", vendor, [KNOWN_9, KNOWN_2, NEW_5], known=[KNOWN_9, KNOWN_2])
    assert (vendor.requests, vendor.traffic["max_items"]) == (1, 3)
    (item,) = (item for item in example_request() if item["iccid"] == NEW_5)
    held: dict[str, Any] = vendor.profile(NEW_5) or {}
    assert {name: held[name] for name in item} == item, "what arrived is not what the page's example sends"
