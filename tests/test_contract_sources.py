"""Our own sources, held to the contract that a stranger's is held to."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from pipeline.sources.csv_file import CsvSource
from simlift_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Sequence


class TestCsv(SourceContract):
    kind = CsvSource
    cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        return text.getvalue().encode()


class TestCsvWithSemicolonsCompressed(TestCsv):
    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=";", quoting=csv.QUOTE_ALL).writerows([header, *rows])
        return gzip.compress(text.getvalue().encode(), mtime=0)
