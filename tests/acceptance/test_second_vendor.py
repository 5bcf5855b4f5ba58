"""bulk-subscriber: what a vendor accepts now and finishes later is waited for, and is never sent twice."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import inventories
import pytest
from books import GOOD, compare_fleet
from vendors import PASSWORD, USERNAME
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from program import Process, Program
    from vendors import Vendor

    StartVendor = Callable[..., Vendor]

LATENCY = "latency = { mean_s = 0.015, jitter_s = 0.01 }\n"
CONFIG = Path(__file__).parents[2] / "config"
YET_TO_FINISH = "the vendor has accepted {} rows that it has yet to finish"


@pytest.fixture
def start_fleet(start_vendor: StartVendor) -> StartVendor:
    """Give a starter of bulk subscriber platforms, which are gone after the test."""

    def start(*options: str, finish_s: float = 0.0, jitter_s: float = 0.0, faults: str = "") -> Vendor:
        completion = f"completion = {{ mean_s = {finish_s}, jitter_s = {jitter_s} }}\n"
        return start_vendor(*options, kind="bulk-subscriber", faults=completion + faults)

    return start


def fleet(simlift: Program, count: int) -> tuple[Path, list[tuple[str, str]]]:
    """Write an inventory; give it with each row's key and alias."""
    rows = [(inventories.iccid(number), f"truck {number}") for number in range(1, count + 1)]
    inventory = inventories.write(simlift.folder / "fleet.csv", rows, header=("iccid", "alias"))
    return inventory, [(f"ICCID:{number}", alias) for number, alias in rows]


def open_tickets(simlift: Program, run_id: str) -> int:
    """Count the rows that the ledger, as anybody may read it, holds a ticket of."""
    ended = simlift("status", run_id, "--json")
    return int(json.loads(ended.out).get("open_tickets", 0)) if ended.code == 0 else 0


def until_it_only_waits(simlift: Program, run_id: str, rows: int) -> None:
    until(lambda: open_tickets(simlift, run_id), lambda found: found == rows, f"{rows} open tickets")


def accepted_and_written(vendor: Vendor, rows: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Say how often the vendor accepted and carried out each row."""
    found = [vendor.subscriber(key) for key, _ in rows]
    return [(subscriber["accepted"], subscriber["writes"]) for subscriber in found]


def every_file(simlift: Program, run_id: str) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in (simlift.runs / run_id).iterdir()}
    assert files.keys() >= {"ledger.sqlite", "log.jsonl", "report.html", "summary.json", "outcomes.csv"}
    return files


# ---------------------------------------------------------------- the first import


def test_the_first_import_goes_as_the_readme_says(simlift: Program) -> None:
    simlift.warm = False
    inventory = inventories.write(
        simlift.folder / "fleet.csv",
        [
            ("ICCID", "8935711001000000007", "truck 7"),
            ("msisdn", "+39 333 123 4567", "Köln, »north«"),
            ("IMSI", "222013090961859", "<null>"),
            ("IMEI", "352030001001007", ""),
            ("SIM", "8935711001000000015", "truck 8"),
        ],
        header=("type", "value", "alias"),
    )
    process = simlift.start("simulate", "bulk-subscriber", "--port", "0")
    listening = re.search(r"http://\S+", process.first_line())
    assert listening
    job = (CONFIG / "bulk-subscriber.toml").read_text("utf-8")
    changes = {"https://vendor.example": listening[0], "first_poll_s = 2 ": "first_poll_s = 0.1 "}
    for written, quick in changes.items():
        assert written in job
        job = job.replace(written, quick)
    (simlift.folder / "job.toml").write_text(job, "utf-8")

    checked, ended = simlift.together(
        ("check", inventory, "--job", "job.toml"),
        ("run", inventory, "--job", "job.toml", "--run-id", "first"),
    )

    assert (checked.code, ended.code) == (1, 1), ended
    assert "5 rows read, 3 would be sent" in checked.out
    assert "3 of 5 rows read are good" in ended.out
    outcomes = [(end["key"], end["status"], end["code"]) for end in simlift.outcomes("first")]
    assert outcomes == [
        ("ICCID:8935711001000000007", "succeeded", ""),
        ("MSISDN:393331234567", "succeeded", ""),
        ("IMSI:222013090961859", "succeeded", ""),
        ("352030001001007", "rejected", "nothing_to_change"),
        ("8935711001000000015", "rejected", "type_format"),
    ]
    process.signal(signal.SIGTERM)
    assert process.end().code == 0


def test_a_blank_cell_changes_nothing_and_the_null_marker_clears(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet()
    cleared, left, changed = (f"IMSI:22201309096185{number}" for number in range(3))
    vendor.plant_subscribers({cleared: "old", left: "old", changed: "old"})
    cells = [(cleared, "<null>"), (left, " "), (changed, 'the "new" one')]
    inventory = inventories.write(
        simlift.folder / "fleet.csv",
        [(key.removeprefix("IMSI:"), alias) for key, alias in cells],
        header=("IMSI", "Label"),
    )
    ended = simlift("run", inventory, "--job", simlift.fleet_job(vendor.url), "--run-id", "one")
    assert ended.code == 1, ended
    rows = [(cleared, ""), (left.removeprefix("IMSI:"), ""), (changed, 'the "new" one')]
    assert compare_fleet(simlift, "one", vendor, rows) == {"succeeded": 2, "rejected": 1}
    assert vendor.subscriber(left) == vendor.subscriber(left) | {"alias": "old", "accepted": 0}


def test_the_demo_compares_both_sides_books(simlift: Program) -> None:
    ended = simlift("demo", "--target", "bulk-subscriber", "--items", "300", "--seed", "3", warm=False)
    assert ended.code == 0, ended
    assert "they agree" in ended.out
    (folder,) = simlift.runs.iterdir()
    assert simlift.summary(folder.name)["balanced"]


def test_what_is_installed_is_listed_with_its_settings(simlift: Program) -> None:
    ended = simlift("targets", "--json", warm=False)
    assert ended.code == 0, ended
    for word in ("bulk-subscriber", "sim-express", "null_marker", "csv"):
        assert f'"{word}"' in ended.out


def test_two_rows_that_name_one_sim_are_a_finding_and_both_are_sent(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet()
    inventory = inventories.write(
        simlift.folder / "fleet.csv",
        [("ICCID", "8935711001000000007", "222013090961859", "a"), ("IMSI", "222013090961859", "", "b")],
        header=("type", "value", "imsi", "alias"),
    )
    job = simlift.fleet_job(vendor.url)
    checked = simlift("check", inventory, "--job", job)
    assert (checked.code, "1 x same_sim" in checked.out) == (0, True), checked
    assert simlift("run", inventory, "--job", job, "--run-id", "one").code == 0
    rows = [("ICCID:8935711001000000007", "a"), ("IMSI:222013090961859", "b")]
    assert compare_fleet(simlift, "one", vendor, rows) == {"succeeded": 2}


# ---------------------------------------------------------------- killed, stopped, gone on with


def test_a_run_killed_while_it_only_waits_asks_again_and_sends_nothing(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet()
    inventory, rows = fleet(simlift, 60)
    job = simlift.fleet_job(vendor.url, first_poll_s=60)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "killed")
    until_it_only_waits(simlift, "killed", 60)
    process.kill()
    before = vendor.traffic

    ended = simlift("resume", "killed")

    assert ended.code == 0, ended
    assert compare_fleet(simlift, "killed", vendor, rows) == {"succeeded": 60}
    assert accepted_and_written(vendor, rows) == [(1, 1)] * 60
    assert {outcome["attempts"] for outcome in simlift.outcomes("killed")} == {"1"}
    after = vendor.traffic
    assert (before["sends"], before["polls"]) == (3, 0)
    assert (after["sends"], after["polls"]) == (3, 3), "one question a call"


def test_a_run_killed_in_the_middle_sends_again_only_what_was_in_flight(
    simlift: Program, start_fleet: StartVendor
) -> None:
    # the third call is accepted, but its answer is on the way for an hour
    vendor = start_fleet(
        finish_s=0.3,
        faults='fault = [{ kind = "hang", commit = true, seconds = 3600.0, on = "send", requests = [3] }]',
    )
    inventory, rows = fleet(simlift, 60)
    job = simlift.fleet_job(vendor.url, batch_items=10, concurrency=1)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "killed")
    until(lambda: vendor.subscriber(rows[20][0]), lambda seen: seen["accepted"] == 1, "the third call")
    process.kill()

    ended = simlift("resume", "killed")

    assert ended.code == 0, ended
    assert set(compare_fleet(simlift, "killed", vendor, rows)) <= GOOD
    often = [accepted for accepted, _ in accepted_and_written(vendor, rows)]
    assert often == [1] * 20 + [2] * 10 + [1] * 30
    attempts = [outcome["attempts"] for outcome in simlift.outcomes("killed")]
    assert attempts == [str(times) for times in often]


def test_a_run_killed_at_any_moment_ends_with_every_row_good(
    simlift: Program, start_fleet: StartVendor, seed: int
) -> None:
    vendor = start_fleet("--token-uses", "7", finish_s=0.15, jitter_s=0.1, faults=LATENCY)
    inventory, rows = fleet(simlift, 200)
    job = simlift.fleet_job(vendor.url, batch_items=5)
    command = ("run", inventory, "--job", job, "--run-id", "killed")
    kills = 0
    for number in range(20):
        # later each time, so that it comes to its end at last
        if not simlift.start(*command).kill_after(0.05 + (seed % 97) / 2000 + 0.05 * number):
            break
        kills += 1
    ended = simlift(*command)
    assert ended.code == 0, ended
    assert kills > 1
    assert set(compare_fleet(simlift, "killed", vendor, rows)) <= GOOD
    twice = sum(accepted - 1 for accepted, _ in accepted_and_written(vendor, rows))
    assert twice <= kills * 4 * 5, "more was sent again than was in flight"


def test_a_run_that_only_waits_says_so_and_a_signal_ends_it_at_once(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet()
    inventory, rows = fleet(simlift, 40)
    job = simlift.fleet_job(vendor.url, first_poll_s=60)
    terminal, standard_error = os.openpty()
    try:
        process: Process = simlift.start(
            "run", inventory, "--job", job, "--run-id", "waits", stderr=standard_error
        )
        until_it_only_waits(simlift, "waits", 40)
        status = simlift("status", "waits")
        shown = until(
            lambda: os.read(terminal, 100_000).decode("utf-8", "replace"),
            lambda text: "next question in" in text,
            "that it only waits",
        )
        process.signal(signal.SIGINT)
        ended = process.end()
    finally:
        os.close(terminal)
        os.close(standard_error)

    assert (status.code, YET_TO_FINISH.format(40) in status.out) == (0, True), status
    assert status.out.startswith("run waits: running, 0 of 0 rows settled are good\n")
    assert "only waiting for the vendor to finish 40 rows, next question in" in shown
    assert (ended.code, YET_TO_FINISH.format(40) in ended.out) == (130, True), ended
    assert simlift.summary("waits")["state"] == "interrupted"
    assert vendor.traffic["polls"] == 0
    assert simlift("run", inventory, "--job", job, "--run-id", "waits").code == 0
    assert compare_fleet(simlift, "waits", vendor, rows) == {"succeeded": 40}
    assert accepted_and_written(vendor, rows) == [(1, 1)] * 40


def test_a_vendor_that_is_away_while_it_is_waited_for_costs_no_row(
    simlift: Program, start_fleet: StartVendor
) -> None:
    store = ("--store", str(simlift.folder / "vendor.sqlite"))
    vendor = start_fleet(*store, finish_s=1.5)
    inventory, rows = fleet(simlift, 40)
    job = simlift.fleet_job(vendor.url)
    process = simlift.start("run", inventory, "--job", job, "--run-id", "away")
    until_it_only_waits(simlift, "away", 40)
    vendor.kill()
    ended = process.end()
    assert ended.code == 3, ended
    assert YET_TO_FINISH.format(40) in ended.out
    assert simlift.failures("away") == []

    vendor = start_fleet(*store, "--port", str(vendor.port))
    ended = simlift("resume", "away")
    assert ended.code == 0, ended
    assert compare_fleet(simlift, "away", vendor, rows) == {"succeeded": 40}
    assert vendor.traffic["sends"] == 0


# ---------------------------------------------------------------- not finished in time


def test_what_is_not_finished_in_time_is_kept_and_asked_after_again_by_resume(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet(finish_s=2.0)
    inventory, rows = fleet(simlift, 30)
    job = simlift.fleet_job(vendor.url, give_up_s=0.2)
    command = ("run", inventory, "--job", job, "--run-id", "late")
    ended = simlift(*command)
    assert ended.code == 1, ended
    assert compare_fleet(simlift, "late", vendor, rows) == {"in_doubt": 30}
    assert {end["code"] for end in simlift.outcomes("late")} == {"still_open"}
    asked = vendor.requests
    assert (simlift(*command).code, vendor.requests) == (1, asked), "a finished run is only reported"

    until(lambda: simlift("resume", "late").code, lambda code: code == 0, "every row good")

    assert compare_fleet(simlift, "late", vendor, rows) == {"succeeded": 30}
    assert accepted_and_written(vendor, rows) == [(1, 1)] * 30
    assert vendor.traffic["sends"] == 2


def test_what_is_never_finished_is_sent_again_by_retry_alone(
    simlift: Program, start_fleet: StartVendor
) -> None:
    inventory, rows = fleet(simlift, 30)
    lost = rows[7][0]
    value = lost.removeprefix("ICCID:")
    vendor = start_fleet(faults=f'fault = [{{ kind = "never_finish", values = ["{value}"], times = 1 }}]')
    job = simlift.fleet_job(vendor.url, give_up_s=0.2, batch_items=30)
    assert simlift("run", inventory, "--job", job, "--run-id", "lost").code == 1
    asked = vendor.traffic

    assert simlift("resume", "lost").code == 1
    asked_again = vendor.traffic
    assert (asked["sends"], asked_again["sends"]) == (1, 1)
    assert asked_again["polls"] > asked["polls"]

    assert simlift("retry", "lost").code == 0
    assert vendor.traffic["sends"] == 2
    sent = vendor.requests
    assert (simlift("retry", "lost").code, vendor.requests) == (0, sent), "nothing is left to retry"
    assert compare_fleet(simlift, "lost", vendor, rows) == {"succeeded": 30}
    assert vendor.subscriber(lost) == vendor.subscriber(lost) | {"accepted": 2, "writes": 1}


# ---------------------------------------------------------------- the token


def test_a_token_that_expires_in_mid_run_costs_one_login_each_time(
    simlift: Program, start_fleet: StartVendor
) -> None:
    uses = 8
    vendor = start_fleet("--token-uses", str(uses), finish_s=0.1, faults=LATENCY)
    inventory, rows = fleet(simlift, 200)
    job = simlift.fleet_job(vendor.url, batch_items=5, concurrency=8)
    ended = simlift("run", inventory, "--job", job, "--run-id", "tokens")
    assert ended.code == 0, ended
    assert compare_fleet(simlift, "tokens", vendor, rows) == {"succeeded": 200}
    assert accepted_and_written(vendor, rows) == [(1, 1)] * 200
    traffic = vendor.traffic
    admitted = traffic["sends"] + traffic["polls"] - traffic["unauthorized"]
    assert admitted > 4 * uses
    assert traffic["logins"] == math.ceil(admitted / uses), traffic
    assert traffic["unauthorized"] <= 8 * traffic["logins"], traffic


def test_a_wrong_password_stops_the_run_with_one_login_and_one_line(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet()
    inventory, rows = fleet(simlift, 60)
    simlift.environment["BULK_SUBSCRIBER_PASSWORD"] = "wr0ng-p4ssword"
    ended = simlift("run", inventory, "--job", simlift.fleet_job(vendor.url), "--run-id", "wrong")
    assert ended.code == 3, ended
    because = [line for line in ended.out.splitlines() if "because" in line]
    assert because == [
        "  because: http_401: credentials refused: HTTP 401: AUTH_1002: User name or password is wrong"
    ]
    assert (vendor.traffic["requests"], vendor.traffic["logins"]) == (1, 1)
    assert "wr0ng-p4ssword" not in ended.out + ended.err
    for name, content in every_file(simlift, "wrong").items():
        assert b"wr0ng-p4ssword" not in content, name
    simlift.environment["BULK_SUBSCRIBER_PASSWORD"] = PASSWORD
    assert simlift("resume", "wrong").code == 0
    assert compare_fleet(simlift, "wrong", vendor, rows) == {"succeeded": 60}


def test_a_ready_token_that_ends_stops_the_run_and_another_one_goes_on(
    simlift: Program, start_fleet: StartVendor
) -> None:
    store = ("--store", str(simlift.folder / "vendor.sqlite"))
    vendor = start_fleet(
        *store, "--token", "first-T0KEN-of-all",
        faults='fault = [{ kind = "revoke_token", on = "send", requests = [3] }]',
    )  # fmt: skip
    inventory, rows = fleet(simlift, 60)
    token = simlift.folder / "token"
    token.write_text("first-T0KEN-of-all\n", "utf-8")
    job = simlift.fleet_job(vendor.url, token=f"file:{token}", concurrency=1)
    ended = simlift("run", inventory, "--job", job, "--run-id", "ready")
    assert ended.code == 3, ended
    assert "the token was refused" in ended.out
    assert vendor.traffic["logins"] == 0
    vendor.kill()

    vendor = start_fleet(*store, "--token", "second-T0KEN-of-all", "--port", str(vendor.port))
    token.write_text("second-T0KEN-of-all\n", "utf-8")
    assert simlift("resume", "ready").code == 0
    assert set(compare_fleet(simlift, "ready", vendor, rows)) <= GOOD
    assert {accepted for accepted, _ in accepted_and_written(vendor, rows)} == {1}
    for name, content in every_file(simlift, "ready").items():
        assert b"T0KEN" not in content, name


def test_what_opens_the_door_shows_nowhere_even_if_the_vendor_repeats_it(
    simlift: Program, start_fleet: StartVendor
) -> None:
    token = start_fleet(faults="seed = 5\n").token()  # of the same seed come the same tokens
    words = f"no: {USERNAME} {PASSWORD} {token}"
    inventory, rows = fleet(simlift, 10)
    value = rows[3][0].removeprefix("ICCID:")
    vendor = start_fleet(
        faults=f"""seed = 5
fault = [
  {{ kind = "error_envelope", code = "GLOBAL_1001", message = "{words}", on = "send", first = 1 }},
  {{ kind = "refuse_nodes", values = ["{value}"], message = "{words}" }},
  {{ kind = "error_envelope", code = "GLOBAL_1001", message = "{words}", on = "poll", first = 1 }},
]
"""
    )
    ended = simlift("run", inventory, "--job", simlift.fleet_job(vendor.url), "--run-id", "quiet")
    assert ended.code == 1, ended
    (refused,) = simlift.failures("quiet")
    assert refused["simlift_reason"].startswith("no: ")
    assert set(vendor.traffic["faults"]) == {"error_envelope", "refuse_nodes"}
    places = every_file(simlift, "quiet") | {"streams": (ended.out + ended.err).encode()}
    for name, content in places.items():
        for secret in (USERNAME, PASSWORD, token):
            assert secret.encode() not in content, f"a secret stands in {name}"
    for name in ("log.jsonl", "report.html", "streams"):
        assert value.encode() not in places[name], f"a whole ICCID stands in {name}"


def test_wrong_credentials_in_the_job_file_are_told_in_one_line_and_nothing_is_sent(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet()
    inventory, _ = fleet(simlift, 1)
    one_way = "credentials are either username and password, or token"
    wrong = {
        'username = "env:BULK_SUBSCRIBER_USERNAME"': one_way,
        "": one_way,
        'token = "env:BULK_SUBSCRIBER_USERNAME"\npassword = "env:BULK_SUBSCRIBER_PASSWORD"': one_way,
        'token = "aaa.bbb.ccc"': "never the secret itself",
        'token = "env:NOT_SET_HERE"': "the environment variable NOT_SET_HERE is not set",
        'token = "file:nowhere"': "the secret file nowhere cannot be read",
    }
    commands = []
    for number, lines in enumerate(wrong):
        job = simlift.folder / f"job{number}.toml"
        job.write_text(f'[target]\nkind = "bulk-subscriber"\nbase_url = "{vendor.url}"\n{lines}\n', "utf-8")
        commands.append(("run", inventory, "--job", job))
    for ended, words in zip(simlift.together(*commands), wrong.values(), strict=True):
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.count("\n") == 1, ended.err
        assert words in ended.err
        assert "aaa.bbb.ccc" not in ended.err
    assert (vendor.requests, simlift.runs.exists()) == (0, False)


# ---------------------------------------------------------------- everything at once


def test_every_kind_of_fault_in_one_run_leaves_the_books_in_agreement(
    simlift: Program, start_fleet: StartVendor
) -> None:
    vendor = start_fleet(
        "--token-uses", "50", finish_s=0.15, jitter_s=0.14,
        faults="""seed = 11
latency = { mean_s = 0.01, jitter_s = 0.01 }
fault = [
  { kind = "html", on = "send", share = 0.03 },
  { kind = "empty", on = "poll", share = 0.03 },
  { kind = "truncated_json", share = 0.03 },
  { kind = "cut_in_reply", share = 0.03 },
  { kind = "cut_after_commit", on = "send", commit_items = 3, share = 0.05 },
  { kind = "cut_before_commit", share = 0.03 },
  { kind = "error_envelope", share = 0.03 },
  { kind = "status", status = 500, on = "send", commit = true, share = 0.03 },
  { kind = "status", status = 503, share = 0.03 },
  { kind = "status", status = 429, on = "login", first = 1 },
  { kind = "refuse_nodes", item_share = 0.01 },
  { kind = "refuse_nodes", item_share = 0.01, code = "GLOBAL_1001", times = 1 },
  { kind = "refuse_call", item_share = 0.005 },
  { kind = "fail_items", item_share = 0.02 },
  { kind = "fail_items", item_share = 0.02, status = "INTERNAL_ERROR", times = 1 },
  { kind = "forget_items", item_share = 0.01, times = 1 },
  { kind = "mixed", share = 0.2 },
  { kind = "other_values", nodes = 1, share = 0.03 },
  { kind = "empty_content", share = 0.2 },
  { kind = "shuffle_nodes", share = 0.3 },
  { kind = "missing_nodes", share = 0.03 },
  { kind = "duplicate_nodes", share = 0.1 },
  { kind = "no_request_id", share = 0.1 },
  { kind = "no_v3", on = "poll", share = 0.05 },
  { kind = "revoke_token", on = "poll", requests = [5] },
]
""",
    )  # fmt: skip
    inventory, rows = fleet(simlift, 400)
    job = simlift.fleet_job(vendor.url, batch_items=10, concurrency=8, attempts=10)
    ended = simlift("run", inventory, "--job", job, "--run-id", "all")
    assert ended.code == 1, ended
    counts = compare_fleet(simlift, "all", vendor, rows)
    print(counts, vendor.traffic)
    assert len(vendor.traffic["faults"]) >= 17, vendor.traffic
    assert counts["succeeded"] > 350
    assert counts["gave_up"] == 0
    assert "still_open" not in {outcome["code"] for outcome in simlift.outcomes("all")}
