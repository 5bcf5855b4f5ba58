"""A line that cuts, delays and shortens whatever passes, both ways: the books agree all the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import inventories
import pytest
from books import compare
from proxy import FATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Program
    from proxy import Proxy
    from vendors import Vendor

CONCURRENCY, BATCH_ITEMS = 4, 10
PATIENT = {
    "concurrency": CONCURRENCY, "batch_items": BATCH_ITEMS, "attempts": 30, "reply_timeout_s": 0.3,
    "settle_s": 0.05,
}  # fmt: skip


def delivery(simlift: Program, count: int) -> tuple[str, list[str]]:
    lines = inventories.rows(count)
    path = inventories.write(simlift.folder / "delivery.csv", lines)
    return str(path), [line[0] for line in lines]


def sends(proxy: Proxy) -> Counter[str]:
    """Count how often each ICCID came by, whatever became of it."""
    return Counter(iccid for request in proxy.journal for iccid in request.iccids)


def attempts(simlift: Program, run_id: str) -> Counter[str]:
    return Counter({end["key"]: int(end["attempts"]) for end in simlift.outcomes(run_id)})


def test_whatever_the_line_does_every_row_is_held_once_and_told_rightly(
    simlift: Program, start_vendor: Callable[..., Vendor], start_proxy: Callable[..., Proxy], seed: int
) -> None:
    vendor = start_vendor()
    proxy = start_proxy(vendor.port, seed=seed, delay_s=0.4, **dict.fromkeys(FATES, 0.03))
    inventory, keys = delivery(simlift, 1000)
    known = keys[7::100]
    vendor.plant(known)
    job = simlift.job(proxy.url, **PATIENT)

    ended = simlift("run", inventory, "--job", job, "--run-id", "bad-line")

    assert ended.code in (0, 1), ended
    counts = compare(simlift, "bad-line", vendor, keys, known=known)
    print(counts, Counter(request.fate for request in proxy.journal))
    assert counts["succeeded"] + counts["confirmed"] >= len(keys) - len(known), "a bad line sank a good row"
    assert {end["key"] for end in simlift.outcomes("bad-line") if end["status"] == "refused"} <= set(known)
    # Begun on a connection that was just being closed, a request may never leave, but who can know?
    behind = sum(request.fate == "cut_behind_reply" for request in proxy.journal)
    unseen = attempts(simlift, "bad-line") - sends(proxy)
    assert attempts(simlift, "bad-line") >= sends(proxy), "a send that came by is not told"
    assert unseen.total() <= behind * BATCH_ITEMS, "a send is told that never came by"
    assert 0 <= simlift.summary("bad-line")["requests"] - len(proxy.journal) <= behind


#: What may be said of rows whose first request met this fate, and of how often they were sent.
STORIES = {
    **dict.fromkeys(("cut_before_request", "cut_in_request_head", "cut_in_request_body"), ("succeeded", 2)),
    "swallow_request": ("succeeded", 2),
    **dict.fromkeys(("cut_after_request", "cut_in_reply_head", "cut_in_reply_body"), ("confirmed", 2)),
    **dict.fromkeys(("shorten_reply", "swallow_reply"), ("confirmed", 2)),
    **dict.fromkeys(("cut_behind_reply", "delay_request", "delay_reply", "trickle_reply"), ("succeeded", 1)),
}


@pytest.mark.parametrize("fate", FATES)
def test_each_thing_a_line_can_do_ends_in_the_status_that_is_true(
    simlift: Program,
    quiet_vendor: Vendor,
    start_proxy: Callable[..., Proxy],
    seed: int,
    fate: str,
) -> None:
    first = 1 + 1000 * FATES.index(fate)
    lines = inventories.rows(BATCH_ITEMS, first=first)
    before = quiet_vendor.held
    proxy = start_proxy(quiet_vendor.port, seed=seed, delay_s=0.1, first=fate)
    job = simlift.job(proxy.url, **PATIENT)
    inventory = inventories.write(simlift.folder / "delivery.csv", lines)

    ended = simlift("run", inventory, "--job", job, "--run-id", "one")

    assert ended.code == 0, ended
    status, times = STORIES[fate]
    ends = {(end["status"], end["attempts"]) for end in simlift.outcomes("one")}
    assert ends == {(status, str(times))}
    assert proxy.journal[0].fate == fate
    assert quiet_vendor.held == before + BATCH_ITEMS
    assert attempts(simlift, "one") == sends(proxy)
