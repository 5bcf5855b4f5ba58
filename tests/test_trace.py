"""The story of one key, told run by run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_in_memory import LedgerInMemory, row

from pipeline.model import STILL_OPEN, Attempt, Exceptional, Status
from pipeline.reports import trace_text, traced

KEY = "8935711111111111119"
AT = 1_767_225_700.0
LOST = Attempt(
    3, AT, 1_000, "lost", "timeout", "no complete answer within reply_timeout_s", "4ce9d9cd", AT + 60
)
ANSWERED = Attempt(9, AT + 66, 500, "answered", request_id="77aa", ended_at=AT + 67.25)


def told(*attempts: Attempt, found: Exceptional, **facts: object) -> list[str]:
    ledger = LedgerInMemory(found, **facts)
    ledger.attempts_kept[found.position] = list(attempts)
    return trace_text(traced(ledger, [found.key]))


def test_the_whole_story_of_a_row_is_told_from_its_file_to_its_end() -> None:
    reason = f"the iccid is exist in db, iccid:[{KEY}]"
    found = row(17, Status.CONFIRMED, key=KEY, sends=2, batch=9, code="exists", reason=reason, in_doubt=True)
    assert told(LOST, ANSWERED, found=found) == [
        f"2026-01-01T00:00:00Z  run nightly (sim-express)  {KEY}",
        "  row 17 of profiles.csv",
        (
            "  2026-01-01T00:01:40Z  batch 3, 1,000 items, request 4ce9d9cd: no trustworthy answer"
            " after 60.0 s (timeout: no complete answer within reply_timeout_s)"
        ),
        (
            "  2026-01-01T00:02:46Z  batch 9, 500 items, request 77aa: already there after 1.2 s"
            f" (exists: {reason})"
        ),
        (
            "  confirmed: an answer was lost, and the vendor then said that it is there"
            f" (exists: {reason}); sent 2 times, last in batch 9"
        ),
    ]


def test_runs_are_told_oldest_first_with_a_blank_line_between_them() -> None:
    first = LedgerInMemory(row(17, Status.REFUSED, key=KEY, sends=6, batch=9, code="E7", reason="no"))
    second = LedgerInMemory(row(1, key=KEY), row(2), run_id="again", started_at=1_767_312_000.0)
    entries = [*traced(second, [KEY]), *traced(first, [KEY])]
    assert trace_text(entries) == [
        f"2026-01-01T00:00:00Z  run nightly (sim-express)  {KEY}",
        "  row 17 of profiles.csv",
        "  refused by the vendor (E7: no); sent 6 times, last in batch 9",
        "",
        f"2026-01-02T00:00:00Z  run again (sim-express)  {KEY}",
        "  row 1 of profiles.csv",
        "  succeeded; sent once in batch 1",
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.SUCCEEDED, "succeeded when it was sent again, after an answer was lost"),
        (Status.REFUSED, "refused by the vendor; an earlier send had no trustworthy answer"),
        (Status.IN_DOUBT, "no trustworthy answer; an earlier send had no trustworthy answer"),
    ],
)
def test_how_a_doubt_was_resolved_is_said(status: Status, words: str) -> None:
    died = Attempt(3, AT, 1_000, "died")
    *_, last = told(died, ANSWERED, found=row(1, status, key="k", sends=2, batch=9))
    assert words in last


def test_a_doubt_that_came_last_is_the_status_and_no_earlier_one() -> None:
    *_, last = told(LOST, found=row(1, Status.IN_DOUBT, key="k", batch=3))
    assert "earlier" not in last


def test_an_open_row_is_told_as_open() -> None:
    ledger = LedgerInMemory(row(1, None, key="k", in_doubt=True))
    (entry,) = traced(ledger, ["k"])
    assert "open, to be sent again; an earlier send had no trustworthy answer" in trace_text([entry])[-1]
    assert entry.data()["status"] is None


def test_a_row_that_was_never_sent_says_why() -> None:
    *_, rejected = told(found=row(1, Status.REJECTED, key="k", code="iccid_short", reason="iccid: too short"))
    assert rejected == "  rejected by our screening, never sent (iccid_short: iccid: too short)"
    *_, duplicate = told(found=row(4, Status.DUPLICATE, key="k", reason="the same key stood in row 1"))
    assert duplicate == "  duplicate of an earlier row, never sent (the same key stood in row 1)"


def test_a_promise_is_told_when_it_was_given_and_when_it_was_kept() -> None:
    accepted = Attempt(1, AT, 200, "answered", request_id="call", ended_at=AT + 0.5)
    *_, sent, last = told(accepted, found=row(1, None, key="k", ticket="t1"))
    assert sent.endswith("batch 1, 200 items, request call: accepted, to be finished later after 0.5 s")
    assert "accepted, the vendor has yet to finish it, ticket t1" in last
    kept = replace(accepted, completed_at=AT + 30)
    *_, sent, _ = told(kept, found=row(1, key="k"))
    assert sent.endswith("request call: accepted after 0.5 s, and by 2026-01-01T00:02:10Z: succeeded")
    still_open = row(1, Status.IN_DOUBT, key="k", code=STILL_OPEN, ticket="t1")
    *_, last = told(accepted, found=still_open)
    assert "(still_open), ticket t1" in last


def test_a_row_of_several_files_is_named_by_its_own() -> None:
    files = {"inventory": ("a.csv", "b.csv"), "starts": (0, 10), "rows_read": 30}
    assert told(found=row(10, key="k"), **files)[1] == "  row 10 of a.csv"
    assert told(found=row(13, key="k"), **files)[1] == "  row 3 of b.csv (row 13 of the inventory)"
    begun = files | {"rows_read": 12}
    assert told(found=row(13, key="k"), **begun)[1] == "  row 13", "it may stand in a file not yet begun"
    assert told(found=row(13, key="k"), **(files | {"starts": ()}))[1] == "  row 13"


def test_as_data_a_row_has_its_history_beside_the_keys_it_always_had() -> None:
    ledger = LedgerInMemory(row(1, key="k", batch=9, sends=2))
    ledger.attempts_kept[1] = [LOST, ANSWERED]
    (entry,) = traced(ledger, ["k"])
    data = entry.data()
    history = data.pop("history")
    assert list(data) == [
        "run_id", "target", "started_at", "position", "key", "status", "code", "reason", "attempts", "batch",
        "in_doubt", "ticket", "file", "row",
    ]  # fmt: skip
    assert (data["status"], data["attempts"], data["file"], data["row"]) == (
        "succeeded",
        2,
        "profiles.csv",
        1,
    )
    assert [send["ended"] for send in history] == ["lost", "succeeded"]
    assert history[0] == {
        "batch": 3, "items": 1_000, "sent_at": "2026-01-01T00:01:40Z", "request_id": "4ce9d9cd",
        "ended": "lost", "code": "timeout", "reason": LOST.reason, "ended_at": "2026-01-01T00:02:40Z",
        "completed_at": None,
    }  # fmt: skip


def test_the_vendors_words_can_neither_break_a_line_nor_drive_the_terminal() -> None:
    lines = told(
        replace(LOST, reason="a\r\n\x1b[2Jb"), found=row(1, Status.REFUSED, key="k", reason="a\r\n\x1b[2Jb")
    )
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_an_unknown_key_has_no_trace() -> None:
    assert trace_text(traced(LedgerInMemory(row(1)), ["nobody"])) == []
