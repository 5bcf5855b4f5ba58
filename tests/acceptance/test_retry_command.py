"""`simlift retry`: what did not succeed and may, sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import inventories
from books import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Program
    from vendors import Vendor

KEYS = [inventories.iccid(number) for number in (1, 2, 3)]


def test_rows_that_ended_in_doubt_are_asked_for_again_and_confirmed(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "empty", commit = true, first = 6 }]')
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(3))
    job = simlift.job(vendor.url, batch_items=1, concurrency=1, attempts=2)
    ended = simlift("run", inventory, "--job", job, "--run-id", "one")
    assert ended.code == 1, ended
    assert compare(simlift, "one", vendor, KEYS) == {"in_doubt": 3}

    ended = simlift("retry", "one")
    assert ended.code == 0, ended
    assert compare(simlift, "one", vendor, KEYS) == {"confirmed": 3}
    assert [outcome["attempts"] for outcome in simlift.outcomes("one")] == ["3"] * 3


def test_a_refusal_is_retried_only_when_its_code_is_named(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    vendor.plant(KEYS[:1])
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(3))
    ended = simlift("run", inventory, "--job", simlift.job(vendor.url), "--run-id", "one")
    assert ended.code == 1, ended

    sent = vendor.requests
    assert simlift("retry", "one").code == 1
    assert vendor.requests == sent
    assert simlift("retry", "one", "--code", "exists").code == 1
    assert vendor.requests == sent + 1
    assert [outcome["attempts"] for outcome in simlift.outcomes("one")] == ["2", "1", "1"]


def test_a_profile_that_is_already_there_is_good_where_the_job_says_so(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    vendor.plant(KEYS[:1])
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(3))
    job = simlift.job(vendor.url, target='on_exists = "ok"')
    assert simlift("run", inventory, "--job", job, "--run-id", "one").code == 0
    assert next((o["status"], o["code"]) for o in simlift.outcomes("one")) == ("succeeded", "exists")
