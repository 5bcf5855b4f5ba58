from __future__ import annotations

import csv
import gzip
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from pipeline import sample
from pipeline.errors import UsageError
from pipeline.sample import HEADER, KINDS, Manifest, write_sample

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = ["iccid", "eid", "imei", "ac", "cc", "apn"]


def lines(path: Path) -> list[bytes]:
    header, *rows = path.read_bytes().splitlines()
    assert header.decode() == HEADER == ",".join(FIELDS)
    return rows


def cells(path: Path) -> list[list[str]]:
    return [line.decode("latin-1").split(",") for line in lines(path)]


def luhn_holds(digits: str) -> bool:
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(d // 10 + d % 10 for d in doubled)) % 10 == 0


def is_good(line: bytes) -> bool:
    """Judge a row on its own, by the rules of the domain."""
    try:
        row = line.decode("utf-8").split(",")
    except UnicodeDecodeError:
        return False
    patterns = [r"89\d{18}", r"\d{32}", r"\d{15}", r"LPA:1\$.+\$.+", r"(\d{4})?", r"iot\.example"]
    return len(row) == 6 and all(map(re.fullmatch, patterns, row))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    path = tmp_path_factory.mktemp("sample") / "mixed.csv"
    manifest = write_sample(
        path, items=70_000, seed=3, bad_share=0.05, duplicate_share=0.02, known_share=0.01
    )
    return path, manifest


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    path = tmp_path_factory.mktemp("sample") / "clean.csv"
    write_sample(path, items=40_000, seed=1, bad_share=0)
    return cells(path)


def test_every_iccid_has_20_digits_begins_with_89_and_passes_luhn(clean: list[list[str]]) -> None:
    assert all(re.fullmatch(r"89\d{18}", row[0]) and luhn_holds(row[0]) for row in clean)


def test_iccids_run_in_sequence_across_blocks(clean: list[list[str]]) -> None:
    numbers = [int(row[0][:-1]) for row in clean]
    assert numbers == list(range(numbers[0], numbers[0] + 40_000))


def test_every_eid_has_32_digits_and_leaves_1_when_divided_by_97(clean: list[list[str]]) -> None:
    assert all(re.fullmatch(r"89\d{30}", row[1]) and int(row[1]) % 97 == 1 for row in clean)


def test_every_imei_has_15_digits_and_passes_luhn(clean: list[list[str]]) -> None:
    assert all(re.fullmatch(r"\d{15}", row[2]) and luhn_holds(row[2]) for row in clean)


def test_eids_imeis_and_matching_ids_do_not_repeat(clean: list[list[str]]) -> None:
    for column in (1, 2, 3):
        assert len({row[column] for row in clean}) == 40_000


def test_a_confirmation_code_stands_exactly_where_the_activation_code_asks_for_one(
    clean: list[list[str]],
) -> None:
    asking = [row[3].endswith("$$1") for row in clean]
    assert asking == [bool(re.fullmatch(r"\d{4}", row[4])) for row in clean]
    assert 0 < sum(asking) < 40_000 / 20
    assert all(re.fullmatch(r"LPA:1\$smdp\.example\.com\$[0-9A-F]{16}(\$\$1)?", row[3]) for row in clean)


def test_the_rows_that_are_not_good_are_the_ones_the_manifest_names(mixed: tuple[Path, Manifest]) -> None:
    path, manifest = mixed
    named = sorted(position for positions in manifest.bad_positions.values() for position in positions)
    assert [position for position, line in enumerate(lines(path), 1) if not is_good(line)] == named


def test_the_counts_add_up_to_the_rows_of_the_file(mixed: tuple[Path, Manifest]) -> None:
    path, manifest = mixed
    assert len(lines(path)) == manifest.rows == 70_000
    assert manifest.good + manifest.duplicates + sum(manifest.bad.values()) == manifest.rows
    assert len({row[0] for row in cells(path) if is_good(",".join(row).encode())}) == manifest.good


def test_the_shares_are_met_within_chance(mixed: tuple[Path, Manifest]) -> None:
    _, manifest = mixed
    assert sum(manifest.bad.values()) == pytest.approx(3_500, rel=0.1)
    assert manifest.duplicates == pytest.approx(1_400, rel=0.1)
    assert len(manifest.known) == pytest.approx(650, rel=0.2)


def test_a_duplicate_repeats_an_earlier_good_row_to_the_byte(mixed: tuple[Path, Manifest]) -> None:
    path, manifest = mixed
    duplicates = set(manifest.duplicate_positions)
    first_seen: dict[bytes, int] = {}
    for position, line in enumerate(lines(path), 1):
        if position in duplicates:
            assert is_good(line)
            assert first_seen[line] < position
        else:
            first_seen[line] = position


def test_late_duplicates_still_repeat_the_earliest_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "_BLOCK_ROWS", 50)
    monkeypatch.setattr(sample, "_ORIGINS_KEPT", 100)
    manifest = write_sample(tmp_path / "long.csv", items=3_000, seed=1, bad_share=0, duplicate_share=0.2)
    rows = lines(tmp_path / "long.csv")
    late = [position for position in manifest.duplicate_positions if position > 2_500]
    assert min(rows.index(rows[position - 1]) for position in late) < 500


def test_the_known_are_good_rows_of_the_file_named_once(mixed: tuple[Path, Manifest]) -> None:
    path, manifest = mixed
    assert set(manifest.known) < {row[0] for row in cells(path) if is_good(",".join(row).encode())}
    assert len(set(manifest.known)) == len(manifest.known)


DAMAGE = {
    "short_iccid": (0, r"89\d{16}"),
    "letters_in_iccid": (0, r"89\d{12}O\d{5}"),
    "scientific_iccid": (0, r"8\.93571E\+19"),
    "short_eid": (1, r"\d{31}"),
    "scientific_imei": (2, r"3\.\d{5}E\+14"),
    "missing_apn": (5, r""),
    "undecodable_byte": (5, r"iot\.ex\xe4mple"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_defect_damages_its_one_cell_and_no_other(mixed: tuple[Path, Manifest], kind: str) -> None:
    path, manifest = mixed
    column, pattern = DAMAGE[kind]
    rows = cells(path)
    assert manifest.bad_positions[kind]
    for position in manifest.bad_positions[kind]:
        row = rows[position - 1]
        assert re.fullmatch(pattern, row[column])
        assert is_good(",".join([*row[:column], rows[0][column], *row[column + 1 :]]).encode())


@pytest.mark.parametrize(("kind", "width"), [("missing_cell", 5), ("extra_cell", 7)])
def test_a_ragged_row_has_one_cell_too_few_or_too_many(
    mixed: tuple[Path, Manifest], kind: str, width: int
) -> None:
    path, manifest = mixed
    rows = cells(path)
    assert {len(rows[position - 1]) for position in manifest.bad_positions[kind]} == {width}


def test_an_undecodable_row_is_not_utf_8(mixed: tuple[Path, Manifest]) -> None:
    path, manifest = mixed
    rows = lines(path)
    for position in manifest.bad_positions["undecodable_byte"]:
        with pytest.raises(UnicodeDecodeError):
            rows[position - 1].decode("utf-8")


def test_a_handful_of_bad_rows_shows_every_kind(tmp_path: Path) -> None:
    manifest = write_sample(tmp_path / "bad.csv", items=len(KINDS), seed=1, bad_share=1)
    assert manifest.bad == dict.fromkeys(KINDS, 1)
    assert manifest.good == 0


def test_the_kinds_of_defect_take_turns(mixed: tuple[Path, Manifest]) -> None:
    _, manifest = mixed
    assert max(manifest.bad.values()) - min(manifest.bad.values()) <= 1


def test_the_first_row_is_never_a_duplicate(tmp_path: Path) -> None:
    manifest = write_sample(tmp_path / "same.csv", items=50, seed=1, bad_share=0, duplicate_share=1)
    assert manifest.duplicate_positions == tuple(range(2, 51))
    assert len(set(lines(tmp_path / "same.csv"))) == manifest.good == 1


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    for name, seed in (("a.csv.gz", 5), ("b.csv.gz", 5), ("c.csv.gz", 6)):
        write_sample(tmp_path / name, items=1_000, seed=seed, bad_share=0.1, duplicate_share=0.1)
    assert (tmp_path / "a.csv.gz").read_bytes()[4:8] == bytes(4)  # no time in the gzip header
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.csv.gz", "b.csv.gz", "c.csv.gz"))
    assert a == b
    assert a != c


def test_a_path_that_ends_in_gz_is_compressed(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz"):
        write_sample(tmp_path / name, items=500, seed=2, bad_share=0.1)
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()


def test_no_items_give_a_header_alone(tmp_path: Path) -> None:
    manifest = write_sample(tmp_path / "empty.csv", items=0, seed=1, bad_share=0.5)
    assert (manifest.rows, manifest.good) == (0, 0)
    assert lines(tmp_path / "empty.csv") == []


def test_a_clean_sample_is_plain_csv(tmp_path: Path) -> None:
    write_sample(tmp_path / "clean.csv", items=300, seed=9, bad_share=0)
    with (tmp_path / "clean.csv").open(newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert all(list(row) == FIELDS and None not in row.values() for row in rows)


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": -1},
        {"bad_share": 1.5},
        {"bad_share": float("nan")},
        {"known_share": -0.1},
        {"bad_share": 0.6, "duplicate_share": 0.6},
    ],
)
def test_nonsense_is_refused_before_a_file_is_made(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="sample: "):
        write_sample(tmp_path / "none.csv", **{"items": 10, "seed": 1, "bad_share": 0.0} | wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "none.csv").exists()


shares = st.fixed_dictionaries(
    {"bad_share": st.floats(0, 0.5), "duplicate_share": st.floats(0, 0.5), "known_share": st.floats(0, 1)}
)


@settings(max_examples=40, deadline=None)
@given(items=st.integers(0, 300), seed=st.integers(), shares=shares)
def test_any_sample_is_what_its_manifest_says(
    tmp_path_factory: pytest.TempPathFactory, items: int, seed: int, shares: dict[str, float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    manifest = write_sample(path, items=items, seed=seed, **shares)
    rows = lines(path)
    good = [line for line in rows if is_good(line)]
    assert len(rows) == items
    assert len(good) == manifest.good + manifest.duplicates
    assert len(set(good)) == manifest.good
    assert set(manifest.known) <= {line.decode().split(",")[0] for line in good}
    assert all(luhn_holds(line[:20].decode()) and int(line[21:53]) % 97 == 1 for line in good)


def test_memory_does_not_depend_on_the_length(tmp_path: Path) -> None:
    peak = (
        "import resource, sys, pathlib; from pipeline.sample import write_sample;"
        "write_sample(pathlib.Path(sys.argv[1]), items=int(sys.argv[2]), seed=1, bad_share=0);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    small, large = (
        int(subprocess.check_output([sys.executable, "-c", peak, str(tmp_path / "m.csv"), str(items)]))
        for items in (70_000, 400_000)
    )
    assert large < small * 1.1
