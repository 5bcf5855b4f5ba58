"""The fault catalogue: what the file may say, and that chance depends on seed and request number alone."""

from __future__ import annotations

import os
import random
import re
import sys
from subprocess import run
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults
from pipeline.simulator.exchange import retry_after
from pipeline.simulator.fault_kinds import RefuseItems, Status
from pipeline.simulator.faults import Faults, FaultsError, catalogue, load, parse
from pipeline.simulator.traffic import SlidingWindow, Traffic

if TYPE_CHECKING:
    from pathlib import Path

ALL_KINDS = """
seed = 7
[latency]
mean_s = 0.02
jitter_s = 0.01
[[fault]]
kind = "status"
status = 429
retry_after_s = 1
share = 0.02
[[fault]]
kind = "cut_before_commit"
first = 3
[[fault]]
kind = "cut_after_commit"
requests = [2, 5]
commit_items = 10
[[fault]]
kind = "cut_in_reply"
[[fault]]
kind = "short_list"
missing = 2
[[fault]]
kind = "reorder_echo"
[[fault]]
kind = "results_shuffled"
[[fault]]
kind = "error_envelope"
commit = true
[[fault]]
kind = "busy"
[[fault]]
kind = "html"
[[fault]]
kind = "empty"
commit = true
[[fault]]
kind = "truncated_json"
[[fault]]
kind = "hang"
seconds = 5
[[fault]]
kind = "slow"
seconds = 0.5
[[fault]]
kind = "too_large"
items = 500
[[fault]]
kind = "refuse_items"
pattern = "89.*"
reason = "no, iccid:[{iccid}]"
[[fault]]
kind = "refuse_batch"
iccids = ["8935711001000034535"]
[[fault]]
kind = "no_echo"
[[fault]]
kind = "spelling"
spelling = "parameter-table"
[[fault]]
kind = "rate_limit"
requests_per_s = 8
[[fault]]
kind = "capacity"
concurrent = 4
"""


def test_a_file_may_name_every_kind_of_the_catalogue() -> None:
    faults = parse(ALL_KINDS)
    in_catalogue = re.findall(r"^  (\w+)", catalogue(), re.MULTILINE)
    assert sorted(fault.kind for fault in faults.fault) == sorted(in_catalogue)
    assert faults.capacity == 4
    assert [limit.requests_per_s for limit in faults.rate_limits] == [8]


BULK_KINDS = """
[completion]
mean_s = 2
jitter_s = 0.5
retention_s = 60
[[fault]]
kind = "status"
status = 503
on = "poll"
share = 0.1
[[fault]]
kind = "cut_before_commit"
on = "login"
[[fault]]
kind = "cut_after_commit"
[[fault]]
kind = "cut_in_reply"
[[fault]]
kind = "hang"
[[fault]]
kind = "html"
[[fault]]
kind = "empty"
[[fault]]
kind = "truncated_json"
[[fault]]
kind = "error_envelope"
code = "AUTH_1013"
message = "no"
[[fault]]
kind = "slow"
seconds = 1
[[fault]]
kind = "too_large"
items = 100
[[fault]]
kind = "rate_limit"
on = "poll"
requests_per_s = 8
[[fault]]
kind = "capacity"
concurrent = 4
[[fault]]
kind = "refuse_nodes"
values = ["222013090961859"]
code = "GLOBAL_1001"
times = 2
[[fault]]
kind = "refuse_call"
pattern = "2220.*"
[[fault]]
kind = "fail_items"
item_share = 0.1
status = "INTERNAL_ERROR"
times = 1
[[fault]]
kind = "never_finish"
item_share = 0.1
[[fault]]
kind = "forget_items"
item_share = 0.1
after_s = 1.5
[[fault]]
kind = "mixed"
[[fault]]
kind = "other_values"
nodes = 1
[[fault]]
kind = "empty_content"
[[fault]]
kind = "shuffle_nodes"
[[fault]]
kind = "missing_nodes"
missing = 2
[[fault]]
kind = "duplicate_nodes"
nodes = 2
[[fault]]
kind = "no_request_id"
[[fault]]
kind = "error_status"
status = 404
[[fault]]
kind = "no_v3"
[[fault]]
kind = "revoke_token"
requests = [3]
"""


def test_the_second_vendors_file_may_name_every_kind_of_its_own_catalogue() -> None:
    faults = parse(BULK_KINDS, BulkSubscriberFaults)
    in_catalogue = re.findall(r"^  (\w+)", catalogue(BulkSubscriberFaults), re.MULTILINE)
    assert sorted(fault.kind for fault in faults.fault) == sorted(in_catalogue)
    assert "[completion] (mean_s, jitter_s, retention_s)" in catalogue(BulkSubscriberFaults)
    assert faults.completion.delay_s(0.5) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[fault]]\nkind = "busy"', "fault 1: Input tag 'busy'"),
        (
            '[[fault]]\nkind = "status"\nstatus = 503\non = "call"',
            "fault 1, status, on: Input should be 'send'",
        ),
        ('[[fault]]\nkind = "fail_items"', "one of values, pattern and item_share must be given"),
        ('[[fault]]\nkind = "fail_items"\niccids = ["89"]', "fault 1, fail_items, iccids: unknown key"),
        ('[[fault]]\nkind = "fail_items"\npattern = "1"\ntimes = 0', "times: Input should be greater"),
        ("[completion]\nmean_s = -1", "completion, mean_s: Input should be greater"),
    ],
)
def test_what_the_second_vendor_does_not_know_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(FaultsError, match=re.escape(complaint)) as refused:
        parse(text, BulkSubscriberFaults)
    assert "\n" not in str(refused.value)


def test_a_fault_on_one_sort_of_call_goes_by_the_number_within_that_sort() -> None:
    text = '[[fault]]\nkind = "html"\non = "poll"\n'
    listed = parse(f"{text}requests = [2]", BulkSubscriberFaults)
    assert [bool(listed.hits(9, "poll", number)) for number in (1, 2, 3)] == [False, True, False]
    assert not listed.hits(2, "send", 2)
    drawn = parse(f"{text}share = 0.5", BulkSubscriberFaults)
    hit = [bool(drawn.hits(number, "poll", number)) for number in range(200)]
    assert hit == [bool(drawn.hits(number + 1000, "poll", number)) for number in range(200)]
    assert 60 < sum(hit) < 140


def test_on_send_is_what_the_first_vendor_does_anyway() -> None:
    faults = parse('[[fault]]\nkind = "busy"\non = "send"\nrequests = [2]')
    assert [bool(faults.hits(number)) for number in (1, 2, 3)] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sead = 7", "sead: unknown key"),
        ("seed = 'x'", "seed: Input should be a valid integer"),
        ('[[fault]]\nkind = "cut"', "fault 1: Input tag 'cut'"),
        ("[[fault]]\nshare = 0.5", "fault 1: Unable to extract tag"),
        ('[[fault]]\nkind = "busy"\nretry_after = 1', "fault 1, busy, retry_after: unknown key"),
        ('[[fault]]\nkind = "busy"\n[[fault]]\nkind = "status"', "fault 2, status, status: missing"),
        ('[[fault]]\nkind = "status"\nstatus = 200', "fault 1, status, status: Input should be greater"),
        ('[[fault]]\nkind = "busy"\nshare = 2', "fault 1, busy, share: Input should be less"),
        ('[[fault]]\nkind = "busy"\nrequests = [0]', "fault 1, busy, requests, 0: Input should be greater"),
        ('[[fault]]\nkind = "busy"\nshare = 0.1\nfirst = 2', "only one of share, first and requests"),
        (
            '[[fault]]\nkind = "capacity"\nconcurrent = 2\nshare = 0.1',
            "fault 1, capacity, share: unknown key",
        ),
        ('[[fault]]\nkind = "refuse_items"', "one of iccids, pattern and item_share must be given"),
        ('[[fault]]\nkind = "refuse_items"\npattern = "("', "pattern: no regular expression"),
        ("[latency]\nmean_s = -1", "latency, mean_s: Input should be greater"),
        ("seed =", "not TOML"),
        ('[[fault]]\nkind = "busy"\non = "poll"', "fault 1, busy, on: this vendor knows no poll"),
        (
            '[[fault]]\nkind = "rate_limit"\nrequests_per_s = 1\non = "login"',
            "rate_limit, on: this vendor knows no",
        ),
        ('[[fault]]\nkind = "mixed"', "fault 1: Input tag 'mixed'"),
        ("[completion]\nmean_s = 1", "completion: unknown key"),
    ],
)
def test_what_the_catalogue_does_not_know_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(FaultsError, match=re.escape(complaint)) as refused:
        parse(text)
    assert "\n" not in str(refused.value)


def test_a_complaint_about_a_file_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match=r"faults file .*none\.toml: No such file"):
        load(tmp_path / "none.toml")


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), number=st.integers(1, 10**6))
def test_the_fate_of_a_request_depends_on_seed_and_number_alone(seed: int, number: int) -> None:
    text = ALL_KINDS.replace("seed = 7", f"seed = {seed}")
    one, other = parse(text), parse(text)
    for earlier in random.Random(seed).sample(range(1, 1000), 5):
        one.hits(earlier)
    assert one.hits(number) == other.hits(number)
    assert one.wait_s(number) == other.wait_s(number)


def test_the_fate_of_a_request_is_the_same_in_another_process() -> None:
    script = (
        "import sys; from pipeline.simulator.faults import parse; f = parse(sys.argv[1]);"
        "print([n for n in range(1, 500) if any(h.kind == 'status' for h in f.hits(n))])"
    )
    elsewhere = run(
        [sys.executable, "-c", script, ALL_KINDS], capture_output=True, text=True, check=True, env=os.environ
    )
    here = parse(ALL_KINDS)
    hit = [number for number in range(1, 500) if any(fault.kind == "status" for fault in here.hits(number))]
    assert elsewhere.stdout.strip() == str(hit)
    assert hit


def test_a_share_is_met_over_many_requests_and_moves_with_the_seed() -> None:
    def hit(seed: int) -> list[int]:
        faults = parse(f'seed = {seed}\n[[fault]]\nkind = "busy"\nshare = 0.1')
        return [number for number in range(1, 3001) if faults.hits(number)]

    assert 230 < len(hit(1)) < 370
    assert hit(1) != hit(2)


def test_first_and_requests_hit_by_number() -> None:
    first = parse('[[fault]]\nkind = "busy"\nfirst = 2')
    listed = parse('[[fault]]\nkind = "busy"\nrequests = [2, 5]')
    assert [number for number in range(1, 8) if first.hits(number)] == [1, 2]
    assert [number for number in range(1, 8) if listed.hits(number)] == [2, 5]


def test_latency_stays_within_its_jitter_and_slow_adds_to_it() -> None:
    faults = parse(
        '[latency]\nmean_s = 0.02\njitter_s = 0.01\n[[fault]]\nkind = "slow"\nseconds = 3\nrequests = [4]'
    )
    waits = [faults.wait_s(number) for number in range(1, 100)]
    assert 3.01 <= waits.pop(3) <= 3.03
    assert all(0.01 <= wait <= 0.03 for wait in waits)
    assert len(set(waits)) > 90
    assert Faults().wait_s(1) == 0


def test_items_drawn_by_share_are_the_same_in_every_request() -> None:
    fault = RefuseItems(kind="refuse_items", item_share=0.1)
    iccids = [f"8935711{number:013d}" for number in range(3000)]
    meant = [iccid for iccid in iccids if fault.concerns(iccid, 7)]
    assert 230 < len(meant) < 370
    assert meant == [iccid for iccid in iccids if fault.concerns(iccid, 7)]
    assert meant != [iccid for iccid in iccids if fault.concerns(iccid, 8)]
    assert not fault.concerns(None, 7)


def test_retry_after_comes_in_whole_seconds_or_as_a_date() -> None:
    assert retry_after(784111776.2, None, as_date=True) == {}
    assert retry_after(784111776.2, 0.5, as_date=False) == {"Retry-After": "1"}
    assert retry_after(784111776.2, 0.5, as_date=True) == {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}


def test_a_status_fault_stores_nothing_unless_told() -> None:
    assert not Status(kind="status", status=500).commits
    assert Status(kind="status", status=500, commit=True).commits


def test_the_window_holds_one_second_and_not_its_far_end() -> None:
    window = SlidingWindow()
    for time_s in (10.0, 10.5, 10.999):
        window.add(time_s)
    assert window.count(10.999) == 3
    assert window.count(11.0) == 2
    assert window.count(12.0) == 0


def test_traffic_remembers_its_peaks() -> None:
    traffic = Traffic()
    for time_s in (1.0, 1.1, 1.2, 5.0):
        traffic.arrive(time_s)
    with traffic.open_request(), traffic.open_request():
        pass
    with traffic.open_request():
        pass
    told = traffic.as_json()
    assert told["requests"] == 4
    assert told["peak_requests_in_one_second"] == 3
    assert told["peak_concurrency"] == 2
