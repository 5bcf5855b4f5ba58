from __future__ import annotations

import pytest

from pipeline.row_names import RowNames


def names_of(*files: str, rows: tuple[int, ...]) -> RowNames:
    names = RowNames(files)
    for before in rows:
        names.begin_file(before)
    return names


def test_a_row_of_an_only_file_goes_by_its_number() -> None:
    assert RowNames()(7) == "row 7"
    assert names_of("/in/a.csv", rows=(0,))(7) == "row 7"


@pytest.mark.parametrize(
    ("position", "name"), [(1, "a.csv:1"), (5, "a.csv:5"), (6, "c.csv.gz:1"), (9, "c.csv.gz:4")]
)
def test_a_row_of_several_files_goes_by_its_file_s_name_and_its_row_there(position: int, name: str) -> None:
    names = names_of("/in/a.csv", "/in/of-no-rows.csv", "s3://in/c.csv.gz", rows=(0, 5, 5))
    assert names(position) == name
    assert names.rows_before == 5


def test_a_member_of_an_archive_goes_by_its_own_name() -> None:
    assert names_of("/in/a.zip!x/b.csv", "/in/a.zip!x/c.csv", rows=(0, 1))(2) == "c.csv:1"


def test_files_of_one_name_go_by_their_whole_names() -> None:
    assert names_of("/in/1/a.csv", "/in/2/a.csv", rows=(0, 1))(2) == "/in/2/a.csv:1"
