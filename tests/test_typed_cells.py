from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.sources.typed_cells import texts_of, weight


def texts(array: pa.Array) -> list[str]:
    column, _, wrong = texts_of(array)
    assert column.type == pa.string()
    assert not column.null_count
    assert not wrong
    cells: list[str] = column.to_pylist()
    return cells


# ---------------------------------------------------------------- text as it is

TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_text_of_every_type_is_as_it_stands_and_null_is_empty(kind: pa.DataType) -> None:
    cells = ["0089", "", None, "é\0 ", "x" * 100]
    array = pa.array([cell if cell is None else cell.encode() for cell in cells]).cast(pa.string()).cast(kind)
    assert texts(array) == ["0089", "", "", "é\0 ", "x" * 100]
    assert texts(array.slice(1, 3)) == ["", "", "é\0 "]
    assert texts_of(array)[1] is None


def test_a_null_among_views_may_say_anything_of_its_length() -> None:
    # A cast of pyarrow's believes it and dies.
    views = pa.array(["a", "x" * 20, "b"], pa.string_view()).buffers()
    astray = views[1].to_pybytes()[:16] + b"\0\0\0\x90" + b"\xff" * 12 + views[1].to_pybytes()[32:]
    array = pa.Array.from_buffers(pa.string_view(), 3, [pa.py_buffer(b"\5"), pa.py_buffer(astray), views[2]])
    array.validate(full=True)
    assert texts(array) == ["a", "", "b"]
    assert texts(array.slice(1)) == ["", "b"]
    assert weight(array) < 100


def test_dictionaries_and_runs_are_written_out() -> None:
    array = pa.array(["a", "b", None, "a", "a"])
    assert texts(array.dictionary_encode()) == ["a", "b", "", "a", "a"]
    assert texts(pc.run_end_encode(array).slice(1)) == ["b", "", "a", "a"]
    assert texts(array.cast(pa.large_string()).dictionary_encode().slice(2)) == ["", "a", "a"]
    assert texts(pa.array([7, None, 7]).dictionary_encode()) == ["7", "", "7"]


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("array", "printed"),
    [
        (pa.array([1, None], pa.int8()), ["1", ""]),
        (pa.array([2**64 - 1, None], pa.uint64()), ["18446744073709551615", ""]),
        (pa.array([0.5, None], pa.float16()), ["0.5", ""]),
        (pa.array([0.1, None], pa.float64()), ["0.1", ""]),
        (pa.array([float("nan"), None]), ["nan", ""]),
        (pa.array([Decimal("1.10"), None], pa.decimal128(20, 2)), ["1.10", ""]),
        (pa.array([Decimal("1.10"), None], pa.decimal256(50, 2)), ["1.10", ""]),
        (pa.array([5, None]).dictionary_encode(), ["5", ""]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_number_is_printed_and_marked(array: pa.Array, printed: list[str]) -> None:
    column, numbers, _ = texts_of(array)
    assert column.to_pylist() == printed
    assert numbers is not None
    assert numbers.to_pylist() == [True, False]


@pytest.mark.parametrize(
    ("array", "printed"),
    [
        (pa.array([True, None]), ["true", ""]),
        (pa.array([dt.date(2026, 1, 2), None]), ["2026-01-02", ""]),
        (pa.array([dt.datetime(2026, 1, 2, 3)], pa.timestamp("s")), ["2026-01-02 03:00:00"]),  # noqa: DTZ001
        (pa.array([0, None], pa.timestamp("s", tz="Europe/Berlin")), ["1970-01-01 00:00:00Z", ""]),
        (pa.array([0], pa.timestamp("s", tz="No/Where")), ["1970-01-01 00:00:00Z"]),
        (pa.array([dt.time(1, 2)], pa.time32("s")), ["01:02:00"]),
        (pa.array([3], pa.duration("s")), ["3"]),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), ["(1, 2, 3)"]),
        (pa.nulls(2), ["", ""]),
        (pa.array([b"\1" * 16, None], pa.uuid()), ["01010101-0101-0101-0101-010101010101", ""]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_other_types_are_printed_and_are_no_numbers(array: pa.Array, printed: list[str]) -> None:
    assert texts(array) == printed
    assert texts_of(array)[1] is None


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.time64("us"), pa.date64(), pa.timestamp("s", tz="UTC")], ids=str
)
def test_a_time_beyond_all_calendars_is_still_printed(kind: pa.DataType) -> None:
    assert len(texts(pa.array([2**62, -(2**63)], pa.int64()).view(kind))) == 2


# ---------------------------------------------------------------- nested

LEAVES = st.one_of(st.none(), st.text(max_size=3), st.integers(-9, 9), st.booleans())
NESTED = pa.struct(
    [
        pa.field("s", pa.string()),
        pa.field('é"', pa.int64()),
        pa.field(
            "l", pa.list_(pa.struct([pa.field("b", pa.bool_()), pa.field("m", pa.large_list(pa.string()))]))
        ),
    ]
)


def in_order(cell: Any) -> Any:
    """Put the members of drawn objects into the order of the type."""
    if isinstance(cell, list):
        return [in_order(item) for item in cell]
    if isinstance(cell, dict):
        return {name: in_order(cell[name]) for name in ("s", 'é"', "l", "b", "m") if name in cell}
    return cell


@given(
    st.lists(
        st.none()
        | st.fixed_dictionaries(
            {
                "s": st.none() | st.text(max_size=4),
                'é"': st.none() | st.integers(-5, 5),
                "l": st.none()
                | st.lists(
                    st.none()
                    | st.fixed_dictionaries(
                        {
                            "b": st.none() | st.booleans(),
                            "m": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=2),
                        }
                    ),
                    max_size=2,
                ),
            }
        ),
        max_size=5,
    ),
    st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_what_is_nested_is_compact_json(cells: list[Any], start: int) -> None:
    array = pa.array(cells, NESTED).slice(start)
    expected = [
        "" if cell is None else json.dumps(in_order(cell), ensure_ascii=False, separators=(",", ":"))
        for cell in cells
    ]
    assert texts(array) == expected[start:]
    assert weight(array) >= sum(map(len, expected[start:])) / 4


def test_entries_of_a_map_that_hold_key_material_are_left_out() -> None:
    cells = pa.array([[("ki", "A5"), ("apn", "iot")], [("PIN1", "0")]], pa.map_(pa.string(), pa.string()))
    assert texts(cells) == ['[{"key":"apn","value":"iot"}]', "[]"]


def test_maps_and_lists_of_fixed_size_and_other_leaves_are_json_too() -> None:
    assert texts(pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64()))[0:3]) == [
        '[{"key":"a","value":1}]',
        "",
        "[]",
    ]
    assert texts(pa.array([[1, 2], None, [3, None]], pa.list_(pa.float64(), 2))[1:]) == ["", "[3,null]"]
    assert texts(pa.array([[dt.date(2026, 1, 2)]])) == ['["2026-01-02"]']


def test_key_material_within_is_left_out() -> None:
    array = pa.array([{"x": {"Ki": "SECRET", "y": [{"opc": "SECRET", "z": 1}]}}])
    assert texts(array) == ['{"x":{"y":[{"z":1}]}}']
    assert texts(pa.array([{"ki": "SECRET"}])) == ["{}"]
