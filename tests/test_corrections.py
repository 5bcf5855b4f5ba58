"""A corrected failures file is matched to its run by what that run said of the rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from ledger_in_memory import LedgerInMemory, row

from pipeline.corrections import count_said, words_in
from pipeline.files import LocalFile
from pipeline.model import Status
from pipeline.reports import write_failures, write_failures_jsonl, write_failures_xlsx
from pipeline.settings import Input
from pipeline.sources.csv_file import CsvSource
from pipeline.sources.json_file import JsonSource
from pipeline.sources.xlsx_file import XlsxSource

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.model import Exceptional

ROWS = [
    row(2, Status.REJECTED, cells=("8935", "a;b"), code="iccid_format", reason="row 2: not 19 digits"),
    row(5, Status.REFUSED, cells=("8936", "x"), code="000106", reason='=said "no"'),
    row(7, Status.DUPLICATE, cells=("8937", "x"), code="duplicate", reason="row 7: as in row 1"),
]
WORDS = {
    ("iccid_format", "row 2: not 19 digits"),
    ("106", '=said "no"'),
    ("duplicate", "row 7: as in row 1"),
}
ALIKE = dict.fromkeys(WORDS, frozenset({"8935", "8936", "8937", "x"}))


@dataclass(frozen=True)
class Held:
    """A file in memory."""

    content: bytes
    name: str = "corrected"

    @property
    def bytes_total(self) -> int:
        return len(self.content)

    def open(self) -> BinaryIO:
        return BytesIO(self.content)


def words_of(text: str | bytes) -> set[tuple[str, str]]:
    content = text.encode() if isinstance(text, str) else text
    return set(words_in(Held(content), object()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("write", "kind"),
    [(write_failures, CsvSource), (write_failures_jsonl, JsonSource), (write_failures_xlsx, XlsxSource)],
)
def test_every_failures_file_of_ours_leads_back_to_its_run(tmp_path: Path, write: Any, kind: Any) -> None:
    ledger = LedgerInMemory(*ROWS, row(1))
    write(ledger, tmp_path / "failures")
    file = LocalFile(tmp_path / "failures")
    words = words_in(file, kind(file, Input()))
    assert words.keys() == WORDS
    assert count_said(ledger, words) == 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_spreadsheet_may_have_saved_it_in_its_own_way(delimiter: str, encoding: str) -> None:
    lines = [
        ["iccid", "simlift_code", "simlift_reason"],
        ["8935", "106", "'=said"],
        ["8936"],
        ["1", "c", "ü"],
    ]
    text = "\r\n".join(delimiter.join(line) for line in lines)
    assert words_of(text.encode(encoding)) == {("106", "=said"), ("c", "ü")}


def test_json_may_have_been_laid_out_anew() -> None:
    objects = [{"iccid": "1", "simlift_code": "c", "simlift_reason": reason} for reason in ("r1", "{r2")]
    for text in (json.dumps(objects, indent=2), json.dumps({"profileItems": objects})):
        assert words_of(text) == {("c", "r1"), ("c", "{r2")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iccid,eid\n1,2\n",
        "iccid,note\n1,simlift_reason\n",
        '{"iccid": "simlift_reason"',
        '{"simlift_reason": 7, "simlift_code": null}',
        "[" * 100_000 + "{simlift_reason",
        b"\x00\xffsimlift_reason\x00\n",
        '"simlift_reason,simlift_code\n' + "x" * 200_000,
    ],
    ids=range(8),
)
def test_any_other_file_says_nothing(text: str | bytes) -> None:
    assert words_of(text) == set()


def test_only_the_first_hundred_rows_are_asked(tmp_path: Path) -> None:
    rows = [row(at, Status.REFUSED, cells=("8", "x"), reason=f"row {at}") for at in range(1, 300)]
    write_failures(LedgerInMemory(*rows), tmp_path / "failures.csv")
    assert len(words_of((tmp_path / "failures.csv").read_bytes())) == 100


def test_a_run_counts_for_what_it_said_itself() -> None:
    assert count_said(LedgerInMemory(*ROWS[:1]), ALIKE) == 1
    assert count_said(LedgerInMemory(row(1, Status.REFUSED, code="107", reason='=said "no"')), ALIKE) == 0
    assert count_said(LedgerInMemory(row(2, code="duplicate", reason="row 7: as in row 1")), ALIKE) == 0


@pytest.mark.parametrize(
    ("cells", "alike"),
    [
        (("1", "eid", "imei", "ac", "apn"), True),
        (("1", "eid", "other", "ac", ""), True),
        (("9", "8", "7", "6", "apn"), False),
        (("9",), True),
        ((), True),
    ],
)
def test_the_same_words_of_another_row_do_not_count(cells: tuple[str, ...], *, alike: bool) -> None:
    ledger = LedgerInMemory(row(1, Status.REJECTED, code="c", reason="row 1: apn is missing", cells=cells))
    mended = {("c", "row 1: apn is missing"): frozenset({"1", "eid", "imei", "ac", "apn"})}
    assert count_said(ledger, mended) == alike


def test_a_run_is_asked_no_further_than_it_has_to_be() -> None:
    seen: list[Exceptional] = []

    class Counting(LedgerInMemory):
        def exceptional(self, *statuses: Status) -> Any:
            for found in super().exceptional(*statuses):
                seen.append(found)
                yield found

    assert count_said(Counting(*ROWS, *(row(at, Status.REFUSED) for at in range(10, 50))), ALIKE) == 3
    assert len(seen) == 3
