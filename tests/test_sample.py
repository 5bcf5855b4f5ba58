from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from pipeline.errors import UsageError
from pipeline.samples import Expect, Manifest, profiles, turns, write_fleet, write_sample
from pipeline.samples.defects import DEFECTS, ODDITIES

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = ["iccid", "eid", "imei", "ac", "cc", "apn"]
KINDS = {defect.kind for defect in DEFECTS if not defect.kind.startswith("numeric")}  # CSV has no numbers


def lines(path: Path) -> list[bytes]:
    header, *rows = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    assert header.decode() == ",".join(FIELDS)
    return rows


def cells(path: Path) -> list[list[str]]:
    return [line.decode("latin-1").split(",") for line in lines(path)]


def luhn_holds(digits: str) -> bool:
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(d // 10 + d % 10 for d in doubled)) % 10 == 0


def is_clean(line: bytes) -> bool:
    """Judge a row on its own, by the rules of the domain."""
    try:
        row = line.decode("utf-8").split(",")
    except UnicodeDecodeError:
        return False
    patterns = [
        r"89\d{18}",
        r"\d{32}",
        r"\d{15}",
        r"LPA:1\$smdp\.example\.com\$.+",
        r"(\d{4})?",
        r"iot\.example",
    ]
    whole = len(row) == 6 and all(map(re.fullmatch, patterns, row))
    return whole and luhn_holds(row[0]) and int(row[1]) % 97 == 1 and luhn_holds(row[2])


def told(manifest: Path) -> list[dict[str, Any]]:
    """Give the lines of a manifest that tell of rows."""
    _, *found, _ = map(json.loads, manifest.read_text("utf-8").splitlines())
    return [line for line in found if line["row"]]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest, list[dict[str, Any]]]:
    path = tmp_path_factory.mktemp("sample") / "mixed.csv"
    shares = {"bad_share": 0.05, "duplicate_share": 0.02, "odd_share": 0.01, "known_share": 0.01}
    manifest = write_sample(path, items=70_000, seed=3, manifest=path.with_suffix(".told"), **shares)  # type: ignore[arg-type]
    return path, manifest, told(path.with_suffix(".told"))


Mixed = tuple["Path", Manifest, list[dict[str, Any]]]


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


# What the rows between them show, and what a single one cannot.
OF_TWO = {"repeated_row", "shared_ac", "repeated_with_other_eid"}


def test_the_rows_that_are_not_clean_are_the_ones_the_manifest_names(mixed: Mixed) -> None:
    path, _, found = mixed
    alone = [line["row"] for line in found if line["kind"] not in OF_TWO]
    assert [position for position, line in enumerate(lines(path), 1) if not is_clean(line)] == alone


def test_the_manifest_counts_what_it_lists(mixed: Mixed) -> None:
    path, manifest, found = mixed
    begin, *_, end = map(json.loads, path.with_suffix(".told").read_text("utf-8").splitlines())
    assert begin["rows"] == manifest.rows == len(lines(path)) == 70_000
    assert begin["seed"] == 3
    assert Counter(line["kind"] for line in found) == {
        kind: count for kind, count in manifest.kinds.items() if kind != "byte_order_mark"
    }
    assert end["kinds"] == manifest.kinds
    gone = Counter(line["expect"] for line in found)
    assert end["sent"] == manifest.sent == 70_000 - gone["rejected"] - gone["duplicate"]


def test_the_shares_are_met_within_chance(mixed: Mixed) -> None:
    _, manifest, found = mixed
    harmless = sum(line["expect"] == "harmless" for line in found)
    repeated = manifest.kinds["repeated_row"] - manifest.kinds["repeated_padded"]
    assert len(found) - harmless - repeated == pytest.approx(3_500, rel=0.1)
    assert repeated == pytest.approx(1_400, rel=0.1)
    assert harmless == pytest.approx(700, rel=0.2)
    assert len(manifest.known) == pytest.approx(650, rel=0.2)


def test_a_repeated_row_is_an_earlier_clean_one_to_the_byte(mixed: Mixed) -> None:
    path, _, found = mixed
    rows, odd = lines(path), {line["row"] for line in found}
    for line in (line for line in found if line["kind"] == "repeated_row"):
        assert line["earlier_row"] < line["row"]
        assert line["earlier_row"] not in odd
        assert rows[line["row"] - 1] == rows[line["earlier_row"] - 1]


def test_late_rows_still_repeat_the_earliest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_BLOCK_ROWS", 50)
    monkeypatch.setattr(turns, "_ORIGINS_KEPT", 100)
    path, manifest = tmp_path / "long.csv", tmp_path / "told"
    write_sample(path, items=3_000, seed=1, bad_share=0, duplicate_share=0.2, manifest=manifest)
    late = [line for line in told(manifest) if line["row"] > 2_500]
    assert min(line["earlier_row"] for line in late) < 500


def test_the_known_are_good_rows_of_the_file_named_once(mixed: Mixed) -> None:
    path, manifest, found = mixed
    odd = {line["row"] for line in found}
    good = {row[0] for position, row in enumerate(cells(path), 1) if position not in odd}
    assert set(manifest.known) < good
    assert len(set(manifest.known)) == len(manifest.known)


@pytest.mark.parametrize("defect", [*DEFECTS, *ODDITIES], ids=lambda defect: defect.kind)
def test_a_defect_shows_in_its_one_cell_and_no_other(mixed: Mixed, defect: Any) -> None:
    path, _, found = mixed
    rows = cells(path)
    for line in (line for line in found if line["kind"] == defect.kind and "column" in line):
        row, column = rows[line["row"] - 1], FIELDS.index(line["column"])
        if defect.with_earlier:
            assert line["earlier_row"] < line["row"]
        else:
            assert is_clean(",".join([*row[:column], rows[0][column], *row[column + 1 :]]).encode("latin-1"))


def test_every_kind_that_a_row_can_have_is_there(mixed: Mixed) -> None:
    _, manifest, _ = mixed
    assert set(manifest.kinds) == KINDS | {defect.kind for defect in ODDITIES} | {"byte_order_mark"}
    single = [manifest.kinds[defect.kind] for defect in DEFECTS if defect.kind in KINDS - {"repeated_row"}]
    assert max(single) - min(single) <= 0.2 * max(single)


def test_a_handful_of_bad_rows_shows_every_kind_that_needs_no_good_one(tmp_path: Path) -> None:
    alone = {defect.kind for defect in DEFECTS if defect.kind in KINDS and not defect.with_earlier}
    manifest = write_sample(tmp_path / "bad.csv", items=len(alone), seed=1, bad_share=1)
    assert manifest.kinds == dict.fromkeys(alone, 1)


def test_the_first_row_is_never_a_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "same.csv"
    write_sample(path, items=50, seed=1, bad_share=0, duplicate_share=1, manifest=tmp_path / "told")
    assert [line["row"] for line in told(tmp_path / "told")] == list(range(2, 51))
    assert len(set(lines(path))) == 1


def test_what_is_odd_elsewhere_leaves_the_other_rows_as_they_are(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.csv", items=2_000, seed=4, bad_share=0)
    write_sample(tmp_path / "b.csv", items=2_000, seed=4, bad_share=0.2, odd_share=0.2)
    both = list(zip(lines(tmp_path / "a.csv"), lines(tmp_path / "b.csv"), strict=True))
    assert 1_000 < sum(a == b for a, b in both) < 1_300


def test_no_items_give_a_header_alone(tmp_path: Path) -> None:
    manifest = write_sample(tmp_path / "empty.csv", items=0, seed=1, bad_share=0.5)
    assert (manifest.rows, manifest.sent) == (0, 0)
    assert lines(tmp_path / "empty.csv") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": -1},
        {"bad_share": 1.5},
        {"bad_share": float("nan")},
        {"known_share": -0.1},
        {"bad_share": 0.6, "duplicate_share": 0.6},
        {"bad_share": 0.6, "odd_share": 0.6},
        {"wrong_quantity": True},
        {"kind": "xls"},
    ],
)
def test_nonsense_is_refused_before_a_file_is_made(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="sample: "):
        write_sample(tmp_path / "none.csv", **{"items": 10, "seed": 1, "bad_share": 0.0} | wrong)
    assert not (tmp_path / "none.csv").exists()


def test_a_manifest_does_not_take_the_place_of_its_inventory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(UsageError, match="both"):
        write_sample(path, items=1, seed=1, bad_share=0, manifest=path)


shares = st.fixed_dictionaries(
    {
        "bad_share": st.floats(0, 0.3),
        "duplicate_share": st.floats(0, 0.3),
        "odd_share": st.floats(0, 0.3),
        "known_share": st.floats(0, 1),
    }
)


@settings(max_examples=40, deadline=None)
@given(items=st.integers(0, 300), seed=st.integers(), shares=shares)
def test_any_sample_is_what_its_manifest_says(
    tmp_path_factory: pytest.TempPathFactory, items: int, seed: int, shares: dict[str, float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    manifest = write_sample(path, items=items, seed=seed, manifest=path.with_suffix(".told"), **shares)  # type: ignore[arg-type]
    found = {line["row"]: line for line in told(path.with_suffix(".told"))}
    rows = lines(path)
    assert len(rows) == items
    clean = [line for at, line in enumerate(rows, 1) if at not in found]
    assert all(map(is_clean, clean))
    assert len(set(clean)) == len(clean)
    assert manifest.sent == items - sum(
        line["expect"] in (Expect.REJECTED, Expect.DUPLICATE) for line in found.values()
    )
    assert set(manifest.known) <= {line.decode().split(",")[0] for line in clean}


def test_memory_does_not_depend_on_the_length(tmp_path: Path) -> None:
    peak = (
        "import re, sys, pathlib; from pipeline.samples import write_sample;"
        "path = pathlib.Path(sys.argv[1]);"
        "told = path.with_suffix('.told');"
        "write_sample(path, items=int(sys.argv[2]), seed=1, bad_share=0.02, manifest=told);"
        # Not getrusage: it starts from what these tests hold.
        "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    small, large = (
        int(subprocess.check_output([sys.executable, "-c", peak, str(tmp_path / "m.csv"), str(items)]))
        for items in (70_000, 400_000)
    )
    assert large < small * 1.1


# ---------------------------------------------------------------- fleets


def test_a_fleet_is_what_its_manifest_says(tmp_path: Path) -> None:
    path, manifest = tmp_path / "fleet.jsonl", tmp_path / "told"
    written = write_fleet(path, items=2_000, seed=2, bad_share=0.1, duplicate_share=0.05, manifest=manifest)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    found = told(manifest)
    assert len(rows) == written.rows == 2_000
    assert written.sent == 2_000 - len(found)
    odd = {line["row"] for line in found}
    keys = [(row["type"], row["value"]) for at, row in enumerate(rows, 1) if at not in odd]
    assert len(set(keys)) == written.sent
    assert {kind for kind, _ in keys} == {"ICCID", "IMSI", "MSISDN"}
    assert all(luhn_holds(value) for kind, value in keys if kind == "ICCID")
    for line in (line for line in found if line["expect"] == "duplicate"):
        assert rows[line["row"] - 1] == rows[line["earlier_row"] - 1]
