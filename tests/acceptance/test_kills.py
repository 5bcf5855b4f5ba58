"""kill -9 of either side at random moments, as often as it likes: nothing is lost, doubled or guessed."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import inventories
from books import GOOD, compare
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from program import Program
    from proxy import Proxy, Request
    from vendors import Vendor

CONCURRENCY, BATCH_ITEMS = 4, 10
IN_FLIGHT_AT_MOST = CONCURRENCY * BATCH_ITEMS
QUICK = {"concurrency": CONCURRENCY, "batch_items": BATCH_ITEMS}
STEADY = "latency = { mean_s = 0.05, jitter_s = 0.04 }\n"
MOODY = f"""
{STEADY}
fault = [
  {{ kind = "html", commit = true, share = 0.03 }},
  {{ kind = "cut_after_commit", commit_items = 4, share = 0.03 }},
  {{ kind = "status", status = 502, commit = true, share = 0.03 }},
  {{ kind = "status", status = 503, share = 0.03 }},
  {{ kind = "busy", share = 0.03 }},
  {{ kind = "short_list", missing = 2, share = 0.05 }},
  {{ kind = "results_shuffled", share = 0.05 }},
  {{ kind = "slow", seconds = 0.4, share = 0.03 }},
  {{ kind = "refuse_items", item_share = 0.02 }},
]
"""


def delivery(simlift: Program, count: int) -> tuple[Path, list[str]]:
    lines = inventories.rows(count)
    return inventories.write(simlift.folder / "delivery.csv", lines), [line[0] for line in lines]


def told(simlift: Program, run_id: str) -> dict[str, dict[str, str]]:
    """Give what a run says of its rows by now."""
    if simlift("report", run_id).code != 0:
        return {}  # killed before there was a ledger
    return {outcome["key"]: outcome for outcome in simlift.outcomes(run_id)}


def asked(vendor: Vendor, requests: int) -> None:
    """Wait until so many requests have arrived at the vendor."""
    until(lambda: vendor.requests, lambda seen: seen >= requests, "requests")


def batches_repeated(lives: list[list[Request]]) -> list[int]:
    """Say for each life but the last how many of its requests hold a row that a later life sent again."""
    repeated = []
    later = {iccid for request in lives[-1] for iccid in request.iccids} if lives else set()
    for life in reversed(lives[:-1]):
        repeated.append(sum(not later.isdisjoint(request.iccids) for request in life))
        later |= {iccid for request in life for iccid in request.iccids}
    return repeated


def test_after_20_kills_at_random_moments_only_what_was_in_flight_is_sent_again(
    simlift: Program, start_vendor: Callable[..., Vendor], start_proxy: Callable[..., Proxy], seed: int
) -> None:
    draw = random.Random(seed)
    vendor = start_vendor(faults="latency = { mean_s = 0.07, jitter_s = 0.05 }")
    proxy = start_proxy(vendor.port)
    inventory, keys = delivery(simlift, 2000)
    job = simlift.job(proxy.url, **QUICK)
    command = ("run", inventory, "--job", job, "--run-id", "killed")

    kills, marks = 0, [0]
    told_before: dict[str, dict[str, str]] = {}
    while kills < 20:
        cold = kills % 5 == 4  # the installed command, which may be killed before it has begun
        process = simlift.start(*command, warm=not cold)
        assert process.kill_after(draw.uniform(0.0, 1.0 if cold else 0.3)), "finished before 20 kills"
        kills += 1
        marks.append(len(proxy.let_pass()))
        if draw.random() < 0.5:
            now = told(simlift, "killed")
            assert {key: now[key] for key in told_before} == told_before, "a row's end was told otherwise"
            told_before = now
    ended = simlift(*command)

    assert ended.code == 0, ended
    marks.append(len(journal := proxy.journal))
    lives = [journal[begin:end] for begin, end in pairwise(marks)]
    counts = compare(simlift, "killed", vendor, keys)
    print(counts, [len(life) for life in lives])
    assert set(counts) <= GOOD
    after = {outcome["key"]: outcome for outcome in simlift.outcomes("killed")}
    assert {key: after[key] for key in told_before} == told_before
    assert max(batches_repeated(lives)) <= CONCURRENCY, "more was repeated than could be in flight"
    sends = Counter(iccid for request in journal for iccid in request.iccids)
    for key, outcome in after.items():
        assert (sends[key] > 1) >= (outcome["status"] == "confirmed"), outcome
        # A claim that was not sent any more counts as a send: whether it was, nobody can know.
        assert sends[key] <= int(outcome["attempts"]) <= 1 + kills, outcome
    attempts = sum(int(outcome["attempts"]) for outcome in after.values())
    assert attempts - len(keys) <= kills * IN_FLIGHT_AT_MOST


def test_10_kills_while_the_vendor_has_its_moods_leave_the_books_in_agreement(
    simlift: Program, start_vendor: Callable[..., Vendor], seed: int
) -> None:
    draw = random.Random(seed)
    vendor = start_vendor(faults=f"seed = {seed}\n{MOODY}")
    inventory, keys = delivery(simlift, 1000)
    known = keys[3::40]
    vendor.plant(known)
    job = simlift.job(vendor.url, **QUICK, attempts=10, reply_timeout_s=0.3)
    command = ("run", inventory, "--job", job, "--run-id", "killed")
    for _ in range(10):
        simlift.start(*command).kill_after(draw.uniform(0.05, 0.25))
    ended = simlift(*command)
    assert ended.code == 1, ended
    counts = compare(simlift, "killed", vendor, keys, known=known)
    print(counts, vendor.traffic["faults"])
    assert counts.keys() <= GOOD | {"refused", "in_doubt"}


def test_a_vendor_killed_four_times_during_one_run_costs_no_row_and_no_operator(
    simlift: Program, start_vendor: Callable[..., Vendor], start_proxy: Callable[..., Proxy], seed: int
) -> None:
    draw = random.Random(seed)
    store = ("--store", str(simlift.folder / "vendor.sqlite"))
    # two requests of each life are carried out, and their answers on the way for an hour
    faults = f'{STEADY}fault = [{{ kind = "hang", commit = true, requests = [1, 5] }}]'
    vendor = start_vendor(*store, faults=faults)
    proxy = start_proxy(vendor.port)
    inventory, keys = delivery(simlift, 1200)
    job = simlift.job(proxy.url, **QUICK, attempts=30, reply_timeout_s=0.5)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "going-on")
    for kill in range(1, 5):
        asked(vendor, draw.randrange(1, 15))
        # arrived is not yet carried out
        until(lambda vendor=vendor: vendor.traffic["faults"].get("hang", 0), bool, "a request without answer")
        vendor.kill()
        vendor = start_vendor(*store, port=vendor.port, faults=faults if kill < 4 else STEADY)
    ended = process.end()

    assert ended.code == 0, ended
    counts = compare(simlift, "going-on", vendor, keys)
    print(counts)
    assert set(counts) <= GOOD
    assert counts["confirmed"] >= BATCH_ITEMS
    sends = Counter(iccid for request in proxy.journal for iccid in request.iccids)
    told_sends = {outcome["key"]: int(outcome["attempts"]) for outcome in simlift.outcomes("going-on")}
    assert told_sends == sends


def test_everything_at_once_ends_with_both_books_in_agreement(
    simlift: Program, start_vendor: Callable[..., Vendor], start_proxy: Callable[..., Proxy], seed: int
) -> None:
    """Either side is killed, the vendor has its moods, and the line between them is bad."""
    draw = random.Random(seed)
    store = ("--store", str(simlift.folder / "vendor.sqlite"))
    moods = f"seed = {seed}\n{MOODY}"
    vendor = start_vendor(*store, faults=moods)
    shares = dict.fromkeys(
        ("cut_before_request", "cut_after_request", "cut_in_reply_body", "delay_reply"), 0.03
    )
    proxy = start_proxy(vendor.port, seed=seed, delay_s=0.4, **shares)
    inventory, keys = delivery(simlift, 900)
    known = keys[3::40]
    vendor.plant(known)
    job = simlift.job(proxy.url, **QUICK, attempts=20, reply_timeout_s=0.3)
    command = ("run", inventory, "--job", job, "--run-id", "all")
    for _ in range(4):
        process = simlift.start(*command)
        asked(vendor, vendor.requests + 1)
        if draw.random() < 0.5:
            vendor.kill()
            vendor = start_vendor(*store, port=vendor.port, faults=moods)
        process.kill_after(draw.uniform(0.0, 0.15))
    ended = simlift(*command)
    assert ended.code == 1, ended
    counts = compare(simlift, "all", vendor, keys, known=known)
    print(counts)
    assert counts.keys() <= GOOD | {"refused", "in_doubt"}


# ---------------------------------------------------------------- two owners


def test_of_importers_started_on_one_run_at_the_same_moment_one_works_and_the_others_send_nothing(
    simlift: Program, start_vendor: Callable[..., Vendor], start_proxy: Callable[..., Proxy]
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "hang", commit = true, requests = [1, 2] }]')
    proxy = start_proxy(vendor.port)
    inventory, keys = delivery(simlift, 100)
    job = simlift.job(proxy.url, concurrency=1, batch_items=BATCH_ITEMS)
    run, resume = ("run", inventory, "--job", job, "--run-id", "owned"), ("resume", "owned")

    for life, commands in enumerate(([run] * 4, [run, resume] * 2), start=1):
        crowd = [simlift.start(*command) for command in commands]
        asked(vendor, life)  # and it is answered in an hour: the owner stays
        (owner,) = until(
            lambda crowd=crowd: [process for process in crowd if process.running],
            lambda running: len(running) <= 1,
            "the end of all others",
        )
        for process in crowd:
            if process is not owner:
                ended = process.end()
                assert (ended.code, ended.out) == (2, ""), ended
                assert "run owned is in use by process" in ended.err
        owner.kill()
        assert len(proxy.journal) == life

    assert simlift(*resume).code == 0
    counts = compare(simlift, "owned", vendor, keys)
    assert set(counts) <= GOOD
    assert counts["confirmed"] >= BATCH_ITEMS
    assert [len(request.iccids) for request in proxy.journal] == [BATCH_ITEMS] * (2 + 10)
