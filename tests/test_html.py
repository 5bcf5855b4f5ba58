"""report.html tells the truth in its first sentence, hides secrets, and needs nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from ledger_in_memory import LedgerInMemory, row

from pipeline.model import State, Status
from pipeline.reports import trace_text, traced, write_html

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


def test_a_run_without_a_bad_row_says_that_all_are_in(page: Any) -> None:
    assert "All 1,200 rows are in the vendor's platform." in page(LedgerInMemory(*rows(1_200)))


def test_a_run_with_bad_rows_counts_both(page: Any) -> None:
    assert "1,199 of 1,201 rows are good; 2 need a look." in page(LedgerInMemory(*rows(1_199, 2)))


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        (1, 0, "The only row is in the vendor's platform."),
        (0, 1, "0 of 1 row are good; 1 needs a look."),
        (1, 1, "1 of 2 rows is good; 1 needs a look."),
        (0, 0, "The inventory holds no rows; nothing was sent."),
    ],
)
def test_small_runs_are_told_in_good_english(page: Any, good: int, bad: int, sentence: str) -> None:
    assert sentence in page(LedgerInMemory(*rows(good, bad)))


def test_a_run_that_does_not_balance_says_so_and_nothing_good(page: Any) -> None:
    text = page(LedgerInMemory(*rows(3), rows_read=4))
    assert "The run does not balance: 4 rows read, 3 accounted for." in text
    assert "in the vendor's platform." not in text
    assert "Nothing is left to do" not in text


def test_a_stopped_run_says_why_and_how_to_resume(page: Any) -> None:
    ledger = LedgerInMemory(
        *rows(2), row(3, None), state=State.STOPPED, stop_reason="101003: <signature> mismatch"
    )
    text = page(ledger)
    assert (
        "The run was stopped before its end (101003: <signature> mismatch): "
        "2 of 2 rows settled so far are good." in text
    )
    assert "simlift resume nightly" in text
    assert "open 1" in text


def test_a_run_under_way_promises_nothing(page: Any) -> None:
    text = page(
        LedgerInMemory(*rows(2), state=State.RUNNING, rows_read=None, finished_at=None, exit_code=None)
    )
    assert "The run is under way: 2 of 2 rows settled so far are good." in text
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


def test_whatever_the_vendor_the_file_or_the_job_say_stays_text(source: Any) -> None:
    evil = "<script>alert(1)</script><img src='http://evil.example/x'>\""
    ledger = LedgerInMemory(
        row(1, Status.REFUSED, code=evil, reason=evil, key=evil),
        run_id=evil,
        target=evil,
        inventory=(evil,),
        job={evil: {evil: evil}},
        stop_reason=evil,
        state=State.STOPPED,
    )
    page = Page(source(ledger))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.text.count("<script>alert(1)</script>") >= 8


def test_the_page_stands_alone(source: Any) -> None:
    page = Page(source(LedgerInMemory(*rows(1, 1))))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
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
    }
    text = page(LedgerInMemory(*rows(1), job=job))
    assert "target.access_code env:ACCESS" in text
    assert "target.base_url https://…@sim.express" in text
    assert "target.secret_code (not shown)" in text
    assert "limits.requests_per_second 10.0" in text
    assert "batch_items" not in text
    assert "input.columns.ac Activation Code" in text
    assert "input.defaults.apn iot.example" in text
    assert not [secret for secret in ("hunter2", "a literal", "4711", "LPA:") if secret in text]


# ---------------------------------------------------------------- trace


def test_a_trace_tells_every_run_oldest_first_with_the_key_whole() -> None:
    key = "8935711111111111119"
    first = LedgerInMemory(row(17, Status.REFUSED, key=key, sends=6, batch=9, code="E7", reason="no"))
    second = LedgerInMemory(row(1, key=key), row(2), run_id="again", started_at=1_767_312_000.0)
    entries = [*traced(second, [key]), *traced(first, [key])]
    one, other = trace_text(entries)
    assert one.startswith(f"2026-01-01T00:00:00Z  run nightly (sim-express)  row 17  {key}  ")
    assert one.endswith("  refused by the vendor (E7: no); sent 6 times, last in batch 9")
    assert other.startswith(f"2026-01-02T00:00:00Z  run again (sim-express)  row 1  {key}  ")
    assert other.endswith("  succeeded; sent once in batch 1")
    assert entries[0].data()["status"] == "succeeded"


def test_an_open_row_is_traced_as_open() -> None:
    (entry,) = traced(LedgerInMemory(row(1, None, key="k", in_doubt=True)), ["k"])
    assert "open, to be sent again; an earlier send had no trustworthy answer" in trace_text([entry])[0]
    assert entry.data()["status"] is None


def test_a_rejected_row_was_never_sent() -> None:
    (line,) = trace_text(
        traced(LedgerInMemory(row(1, Status.REJECTED, key="k", reason="iccid: too short")), ["k"])
    )
    assert line.endswith("rejected by our screening, never sent (iccid: too short)")


def test_the_vendors_words_can_neither_break_a_line_nor_drive_the_terminal() -> None:
    ledger = LedgerInMemory(row(1, Status.REFUSED, key="k", reason="a\r\n\x1b[2Jb"))
    (line,) = trace_text(traced(ledger, ["k"]))
    assert line.isprintable()


def test_an_unknown_key_has_no_trace() -> None:
    assert trace_text(traced(LedgerInMemory(row(1)), ["nobody"])) == []
