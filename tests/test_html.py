"""report.html tells the truth in its first sentence, hides secrets, and needs nothing from outside."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from ledger_in_memory import LedgerInMemory, row
from told_runs import huge, night

from pipeline.chronicle import Event, EventKind
from pipeline.model import Doubt, Doubts, FindingTally, State, Status
from pipeline.reports import write_html

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags are balanced; collects the tags, and the text outside of <style>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)


@pytest.fixture
def source(tmp_path: Path) -> Any:
    def write(ledger: LedgerInMemory) -> str:
        write_html(ledger, tmp_path / "report.html")
        return (tmp_path / "report.html").read_text("utf-8")

    return write


@pytest.fixture
def page(source: Any) -> Any:
    return lambda ledger: Page(source(ledger)).text


def rows(good: int, bad: int = 0) -> list[Any]:
    return [row(n + 1, Status.SUCCEEDED if n < good else Status.REFUSED) for n in range(good + bad)]


def test_the_verdict_stands_on_top_with_its_commands_as_code(source: Any) -> None:
    text = source(LedgerInMemory(*rows(1, 1), row(3, Status.GAVE_UP)))
    assert (
        '<h1>Run nightly</h1>\n<p class="verdict look">1 of 3 rows is good; 2 need a look: '
        "first <code>simlift retry nightly</code>, then mend what is left in "
        "<code>failures.csv</code> and run that.</p>" in text
    )


def test_the_balance_is_checked_before_the_readers_eyes(page: Any) -> None:
    text = page(LedgerInMemory(*rows(3, 1)))
    assert "rows read 4 ✓ The seven statuses add up to it." in text


def test_a_run_that_does_not_balance_says_so_and_nothing_good(page: Any) -> None:
    text = page(LedgerInMemory(*rows(3), rows_read=4))
    assert "The run does not balance: 4 rows read, 3 accounted for; keep the run folder" in text
    assert "rows read 4 ✗ The seven statuses do not add up to it: they come to 3." in text
    assert "in the vendor's platform" not in text
    assert "Nothing is left to do" not in text


def test_a_stopped_run_says_why_and_how_to_resume(page: Any) -> None:
    ledger = LedgerInMemory(
        *rows(2), row(3, None), state=State.STOPPED, stop_reason="101003: <signature> mismatch"
    )
    text = page(ledger)
    assert (
        "The run was stopped before its end (101003: <signature> mismatch): "
        "2 of 2 rows settled so far are good; see to what stopped it, then simlift resume nightly goes"
        in text
    )
    assert "open 1" in text


def test_a_run_under_way_promises_nothing(page: Any) -> None:
    text = page(
        LedgerInMemory(*rows(2), state=State.RUNNING, rows_read=None, finished_at=None, exit_code=None)
    )
    assert "The run is not at its end: 2 of 2 rows settled so far are good" in text
    assert "rows read not known yet" in text
    assert "Nothing is left to do" not in text


def test_every_status_stands_in_the_balance(page: Any) -> None:
    ledger = LedgerInMemory(*(row(n, status) for n, status in enumerate(Status, start=1)))
    text = page(ledger)
    assert all(f"{status} 1 " in text for status in Status)
    assert "rows read 7" in text


def test_the_bar_has_a_piece_for_each_status_that_occurs(source: Any) -> None:
    assert re.findall(
        r'<span style="flex-grow:(\d+);background:var\(--(\w+)\)', source(LedgerInMemory(*rows(5, 2)))
    ) == [
        ("5", "succeeded"),
        ("2", "refused"),
    ]


def test_reasons_are_counted_with_one_masked_example(page: Any) -> None:
    reason = "the iccid is exist in db, iccid:[8935711111111111119]"
    ledger = LedgerInMemory(
        *rows(1),
        row(2, Status.REFUSED, code="E7", reason=reason),
        row(3, Status.REFUSED, code="E7", reason=reason),
        row(4, Status.CONFIRMED, code="good", reason="exists"),
    )
    text = page(ledger)
    assert "refused E7 2 the iccid is exist in db" in text
    assert "(row 2)" in text
    assert "8935711111111111119" not in text
    assert "893571" in text
    assert "exists" not in text


def test_a_flood_of_codes_is_cut_and_still_adds_up(page: Any) -> None:
    ledger = LedgerInMemory(*(row(n, Status.REFUSED, code=f"E{n}") for n in range(1, 131)))
    assert "30 more codes 30 see failures.csv" in page(ledger)


EVIL = "<script>alert(1)</script><img src='http://evil.example/x'>\"`${{ 7*7 }}{% raw %}"


def test_whatever_the_vendor_the_file_the_job_or_a_person_say_stays_text(source: Any) -> None:
    ledger = LedgerInMemory(
        row(1, Status.REFUSED, code=EVIL, reason=EVIL, key=EVIL),
        run_id=EVIL,
        target=EVIL,
        inventory=(f'"{EVIL}.csv',),
        formats=(EVIL,),
        fingerprint=EVIL,
        job={EVIL: {EVIL: EVIL}, "window": {"zone": EVIL}},
        stop_reason=EVIL,
        state=State.STOPPED,
        corrects=EVIL,
    )
    ledger.events_kept = [Event(0.0, EventKind.TUNE, EVIL, EVIL)]
    ledger.samples_kept = [replace(sample, holding=EVIL) for sample in night().samples()[:10]]
    ledger.findings_kept = [FindingTally(EVIL, 1, EVIL)]
    ledger.doubts_kept = Doubts((Doubt(1, 0.0, 1, EVIL, EVIL, {}),), 1, 1)
    page = Page(source(ledger))
    assert not {"script", "img", "foreignobject", "a"} & set(page.tags)
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    assert page.text.count("<script>alert(1)</script>") >= 12
    assert "49" not in page.text


def test_the_page_stands_alone(source: Any) -> None:
    page = Page(source(night()))
    assert "svg" in page.tags
    assert not {"script", "link", "img", "image", "iframe", "use"} & set(page.tags)
    assert not {"src", "href", "xlink:href"} & {name for name, _ in page.attributes}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_settings_are_shown_and_secrets_only_as_references(page: Any) -> None:
    job = {
        "target": {
            "kind": "sim-express",
            "base_url": "https://me:hunter2@sim.express",
            "access_code": "env:ACCESS",
            "secret_code": "a literal that should not be here",
        },
        "limits": {"requests_per_second": 10.0, "batch_items": None},
        "input": {
            "columns": {"ac": "Activation Code"},
            "defaults": {"apn": "iot.example", "cc": "4711", "ac": "LPA:1$h$m"},
        },
        "guards": {"new_code": "hold"},
        "notify": {
            "webhook": "https://chat.example/hooks/T0KEN?x=T0KEN",
            "command": ["/usr/bin/notify", "--token", "T0KEN"],
        },
    }
    text = page(LedgerInMemory(*rows(1), job=job))
    assert "target.access_code env:ACCESS" in text
    assert "target.base_url https://…@sim.express" in text
    assert "target.secret_code (not shown)" in text
    assert "limits.requests_per_second 10.0" in text
    assert "batch_items" not in text
    assert "input.columns.ac Activation Code" in text
    assert "input.defaults.apn iot.example" in text
    assert "guards.new_code hold" in text
    assert "notify.webhook https://chat.example/…" in text
    assert "notify.command /usr/bin/notify …" in text
    assert not [secret for secret in ("hunter2", "a literal", "4711", "LPA:", "T0KEN") if secret in text]


def test_a_login_in_the_way_to_the_inventory_is_not_passed_on(page: Any) -> None:
    text = page(
        LedgerInMemory(*rows(1), inventory=("sftp://me:hunter2@factory.example/8935711111111111119.csv",))
    )
    assert "sftp://…@factory.example/893571…1119.csv" in text


def test_an_activation_code_in_the_vendors_words_is_not_passed_on(page: Any) -> None:
    text = page(LedgerInMemory(row(1, Status.REFUSED, code="E7", reason="bad ac LPA:1$smdp.example$SECRET")))
    assert "bad ac ***" in text


# ---------------------------------------------------------------- how it went


def test_the_log_tells_who_asked_for_what_and_when_it_took_effect(page: Any) -> None:
    text = page(night())
    assert (
        "2 2026-01-02 00:06:00 +01:00 tune anna requests_per_second 1 -> 0.4 by anna: their batch job "
        "(in effect after 0.3 s)" in text
    )
    assert "4 2026-01-02 02:00:00 +01:00 hold bert held by bert: look at 893571…1119 first" in text


def test_a_wish_that_nobody_granted_is_told_as_such(page: Any) -> None:
    ledger = LedgerInMemory(*rows(1))
    ledger.events_kept = [Event(0.0, EventKind.STOP, "stopped by anna", "anna")]
    assert "stopped by anna (not in effect)" in page(ledger)


def test_what_held_the_pace_is_told_with_how_long(page: Any) -> None:
    assert re.search(r"held by bert 24 min \d\d s 1 2026-01-02 02:0\d:\d\d \+01:00", page(night()))


def test_lost_answers_are_told_with_how_their_items_ended(page: Any) -> None:
    text = page(night())
    assert "41 batches: for 41,000 of the items in them there was no trustworthy answer." in text
    assert "369 succeeded, 40,590 confirmed, 41 in_doubt." in text
    sent = "37 2026-01-01 23:10:00 +01:00 1,000 timeout no answer within 60 s"
    assert f"{sent} 9 succeeded, 990 confirmed, 1 in_doubt" in text
    assert "Answers that were lost None." in page(LedgerInMemory(*rows(1)))


def test_items_that_were_lost_more_than_once_are_said_to_be_counted_so(page: Any) -> None:
    ledger = LedgerInMemory(*rows(1))
    lost = (Doubt(1, 0.0, 10, "timeout", "no answer", {}), Doubt(2, 0.0, 3, "timeout", "no answer", {}))
    ledger.doubts_kept = Doubts(lost, 2, 13, {Status.CONFIRMED: 10})
    assert "for 13 of the items in them there was no trustworthy answer, each time one was lost counted." in (
        page(ledger)
    )


def test_findings_are_told_with_their_rows(page: Any) -> None:
    assert "eid_repeats 4,000 row 12: the EID of row 11" in page(night())


def test_the_inventory_stands_with_its_fingerprint_and_the_program_with_its_version(page: Any) -> None:
    text = page(night())
    assert "inventory deliveries/factory-7/2026-01-01.csv.gz (csv)" in text
    assert "fingerprint 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" in text
    assert re.search(r"report made by simlift \d+\.\d+\.\d+, Python 3\.\d+", text)


def test_the_pictures_are_drawn_with_title_legend_and_numbered_marks(source: Any) -> None:
    pictures = re.findall(r"<svg.*?</svg>", source(night()), re.DOTALL)
    assert [re.search(r"plot_title[^>]*>([^<]*)<", picture)[1] for picture in pictures] == [
        "Requests per second", "Rows per second", "Round trip, seconds", "Requests at once"
    ]  # fmt: skip
    for picture in pictures:
        words = re.findall(r"<text[^>]*>([^<]*)</text>", picture)
        assert {"number in the log", "held", "2", "3", "4", "5", "6", "7", "02:00"} <= set(words)


def test_open_tickets_are_drawn_where_the_vendor_gave_some(source: Any) -> None:
    ledger = night()
    ledger.samples_kept = [replace(sample, open_tickets=7) for sample in ledger.samples_kept]
    assert ">Open tickets</text>" in source(ledger)


@pytest.mark.parametrize("samples", [0, 1, 2])
def test_a_run_too_short_for_a_line_says_so_instead(source: Any, samples: int) -> None:
    ledger = night()
    ledger.samples_kept = ledger.samples_kept[:samples]
    text = source(ledger)
    assert "<svg" not in text
    assert "The run was too short to draw." in text


def test_a_run_in_which_nothing_moved_is_drawn_all_the_same(source: Any) -> None:
    ledger = night()
    still = {
        "rows": 0,
        "requests": 0,
        "round_trip_s": 0.0,
        "pushed_back": 0,
        "in_flight": 0,
        "rate_per_s": 0.001,
    }
    ledger.samples_kept = [replace(sample, **still) for sample in ledger.samples_kept]
    assert source(ledger).count("<svg") == 4


def test_writing_it_again_gives_the_same_bytes(source: Any) -> None:
    assert source(night()) == source(night())


@pytest.mark.parametrize("words", ["a reason that does not end ", '"', "<&", "\U0001f4a5"])
def test_a_page_stays_under_a_megabyte_whatever_the_run_was(source: Any, words: str) -> None:
    text = source(huge((words * 2_000)[:2_000]))
    assert len(text.encode()) < 1_000_000
    assert "9,900 more codes" in text
    assert "and 9,900 more" in text  # events
    assert "and 99,950 more batches" in text


def test_a_flood_of_words_is_cut(page: Any) -> None:
    text = page(LedgerInMemory(row(1, Status.REFUSED, reason="x" * 10_000)))
    assert max(map(len, text.split())) == 200
