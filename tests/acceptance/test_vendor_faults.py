"""Whatever the vendor does, both sides' books agree afterwards, and only what must be is sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import inventories
from books import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Ended, Program
    from vendors import Vendor

ROWS = 40
KEYS = [inventories.iccid(number) for number in range(1, ROWS + 1)]


def imported(simlift: Program, vendor: Vendor, rows: int = ROWS, **limits: object) -> Ended:
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(rows))
    job = simlift.job(vendor.url, **({"batch_items": 10, "concurrency": 1} | limits))
    return simlift("run", inventory, "--job", job, "--run-id", "one")


# ---------------------------------------------------------------- answers that are none


def test_a_batch_whose_answer_is_lost_is_in_doubt_until_the_vendor_says_it_is_there(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(
        faults="""
fault = [
  { kind = "html", commit = true, requests = [1] },
  { kind = "empty", commit = true, requests = [2] },
  { kind = "truncated_json", requests = [3] },
  { kind = "cut_after_commit", commit_items = 4, requests = [4] },
]
"""
    )
    # one at a time, and no repeat before the four batches are out: batch n is request n
    ended = imported(simlift, vendor, ROWS + 10, settle_s=0.5)

    assert ended.code == 0, ended
    keys = [inventories.iccid(number) for number in range(1, ROWS + 11)]
    assert compare(simlift, "one", vendor, keys) == {"confirmed": 34, "succeeded": 16}
    outcomes = simlift.outcomes("one")
    assert {outcome["status"] for outcome in outcomes[:34]} == {"confirmed"}
    assert [outcome["attempts"] for outcome in outcomes] == ["2"] * 40 + ["1"] * 10
    lost = [entry["code"] for entry in simlift.log("one") if entry["event"] == "no answer for the items"]
    assert lost == ["reply_unreadable", "reply_empty", "reply_unreadable", "connection_lost"]


def test_every_kind_of_fault_in_one_run_leaves_the_books_in_agreement(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    faults = """
seed = 11
latency = { mean_s = 0.01, jitter_s = 0.01 }
fault = [
  { kind = "html", share = 0.05 },
  { kind = "empty", commit = true, share = 0.05 },
  { kind = "truncated_json", share = 0.05 },
  { kind = "cut_in_reply", share = 0.05 },
  { kind = "cut_after_commit", commit_items = 3, share = 0.05 },
  { kind = "cut_before_commit", share = 0.05 },
  { kind = "error_envelope", commit = true, share = 0.05 },
  { kind = "status", status = 500, share = 0.05 },
  { kind = "status", status = 503, share = 0.05 },
  { kind = "status", status = 504, commit = true, share = 0.05 },
  { kind = "busy", share = 0.05 },
  { kind = "short_list", missing = 2, share = 0.1 },
  { kind = "reorder_echo", share = 0.2 },
  { kind = "results_shuffled", share = 0.1 },
  { kind = "no_echo", share = 0.1 },
  { kind = "spelling", share = 0.2 },
  { kind = "slow", seconds = 0.7, share = 0.02 },
  { kind = "refuse_items", item_share = 0.03 },
  { kind = "refuse_items", item_share = 0.02, reason = "not today" },
  { kind = "too_large", items = 15, share = 0.2 },
  { kind = "rate_limit", requests_per_s = 150 },
  { kind = "capacity", concurrent = 6 },
]
"""
    vendor = start_vendor(faults=faults)
    rows = 800
    keys = [inventories.iccid(number) for number in range(1, rows + 1)]
    known = keys[5::50]
    vendor.plant(known)
    ended = imported(simlift, vendor, rows, batch_items=20, concurrency=8, attempts=10, reply_timeout_s=0.5)
    assert ended.code == 1, ended
    counts = compare(simlift, "one", vendor, keys, known=known)
    print(counts, vendor.traffic)
    assert len(vendor.traffic["faults"]) >= 15, vendor.traffic
    assert counts["refused"] >= 0.02 * rows


# ---------------------------------------------------------------- who is sent again, and when


def test_only_the_items_concerned_are_sent_again(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    busy = KEYS[3:6]
    vendor = start_vendor(
        faults='fault = [{ kind = "refuse_items", reason = "system busy", requests = [1], '
        f"iccids = {busy} }}]"
    )
    ended = imported(simlift, vendor, batch_items=40)
    assert ended.code == 0
    assert compare(simlift, "one", vendor, KEYS) == {"succeeded": ROWS}
    again = [end["key"] for end in simlift.outcomes("one") if end["attempts"] != "1"]
    assert again == busy
    assert vendor.requests == 2


def test_the_vendors_wish_to_wait_is_honoured_in_both_its_forms(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(
        faults="""
fault = [
  { kind = "status", status = 429, retry_after_s = 1.0, requests = [2] },
  { kind = "status", status = 503, retry_after_s = 1.0, retry_after_date = true, requests = [4] },
]
"""
    )
    ended = imported(simlift, vendor)
    assert ended.code == 0
    assert compare(simlift, "one", vendor, KEYS) == {"succeeded": ROWS}
    summary = simlift.summary("one")
    assert (vendor.requests, summary["requests"]) == (6, 6)
    assert summary["duration_s"] >= 2.0, "the job file's own waits are 50 ms at most"
    assert vendor.traffic["peak_requests_in_one_second"] <= 3, "after a push-back another one left too early"


def test_one_bad_item_does_not_sink_its_neighbours(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    bad = [KEYS[4], KEYS[21], KEYS[22]]
    vendor = start_vendor(faults=f'fault = [{{ kind = "refuse_batch", iccids = {bad} }}]')
    ended = imported(simlift, vendor, batch_items=20)
    assert ended.code == 1
    assert compare(simlift, "one", vendor, KEYS) == {"succeeded": ROWS - 3, "refused": 3}
    refused = [end for end in simlift.outcomes("one") if end["status"] == "refused"]
    assert [end["key"] for end in refused] == bad
    assert {(end["code"], end["reason"]) for end in refused} == {("000106", "parameter error")}


def test_a_vendor_that_takes_fewer_items_gets_fewer(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor("--max-items", "15")
    ended = imported(simlift, vendor, batch_items=20)
    assert ended.code == 0
    assert compare(simlift, "one", vendor, KEYS) == {"succeeded": ROWS}


# ---------------------------------------------------------------- the end of the run


def test_a_closed_door_stops_the_run_at_once_with_the_vendors_words(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    doors = (401, 403, 404, 405)
    faults = ", ".join(
        f'{{ kind = "status", status = {status}, requests = [{number + 2}] }}'
        for number, status in enumerate(doors)
    )
    vendor = start_vendor(faults=f"fault = [{faults}]")
    ended = imported(simlift, vendor)
    for number, status in enumerate(doors):
        assert (ended.code, vendor.requests) == (3, number + 2)
        assert f"http_{status}: HTTP {status}: " in ended.out
        assert "We will be back." in ended.out
        assert compare(simlift, "one", vendor, KEYS, whole=False) == {"succeeded": 10}
        if status != doors[-1]:
            ended = simlift("resume", "one")


def test_wrong_credentials_stop_the_run_and_it_goes_on_with_the_right_ones(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor()
    right = simlift.environment["SIM_EXPRESS_SECRET_CODE"]
    simlift.environment["SIM_EXPRESS_SECRET_CODE"] = "wr0ng-secret"
    ended = imported(simlift, vendor)
    assert ended.code == 3
    assert "101003" in ended.out
    assert "wr0ng-secret" not in ended.out + ended.err
    assert (vendor.requests, vendor.held) == (1, 0)
    assert simlift.outcomes("one") == []
    simlift.environment["SIM_EXPRESS_SECRET_CODE"] = right
    assert simlift("resume", "one").code == 0
    assert compare(simlift, "one", vendor, KEYS) == {"succeeded": ROWS}


def test_a_clock_in_the_wrong_unit_stops_the_run_and_says_so(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor("--timestamp-unit", "ms")
    ended = imported(simlift, vendor)
    assert ended.code == 3
    assert "101001" in ended.out
    assert "try another timestamp_unit" in ended.out
    assert (vendor.requests, vendor.held) == (1, 0)


def test_a_refusal_that_hits_every_item_alike_stops_the_run(
    simlift: Program, start_vendor: Callable[..., Vendor]
) -> None:
    vendor = start_vendor(
        faults='fault = [{ kind = "error_envelope", code = "000301", message = "contract has ended" }]'
    )
    rows = 300
    ended = imported(simlift, vendor, rows, batch_items=20)
    assert ended.code == 3
    assert "contract has ended" in ended.out
    keys = [inventories.iccid(number) for number in range(1, rows + 1)]
    counts = compare(simlift, "one", vendor, keys, whole=False)
    assert sum(counts.values()) < 20, "the whole inventory was spent on a refusal that is not the items'"
