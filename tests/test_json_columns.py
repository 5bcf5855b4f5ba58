from __future__ import annotations

from typing import Any

import pytest

from pipeline.sources.json_columns import JsonColumns, compact
from pipeline.sources.json_decoder import Number


def cells(columns: tuple[Any, Any]) -> tuple[dict[str, list[str]], dict[int, list[bool]]]:
    batch, numbers = columns
    return batch.to_pydict(), {index: flags.to_pylist() for index, flags in numbers.items()}


def test_a_run_becomes_columns_at_once() -> None:
    columns = JsonColumns(["a", "ki", "b"])
    run = columns.of_run(b'{"a":"1","ki":"SECRET"}\n{"b":"2","a":null},{"a":{}}', row_bytes=100)
    assert run is not None
    assert run[0] == len(b'{"a":"1","ki":"SECRET"}\n{"b":"2","a":null}')
    assert cells(run[1:]) == ({"0": ["1", ""], "1": ["", "2"]}, {})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b'{"a":1}',
        b'{"a":true}',
        b'{"a":[]}',
        b'{"c":"1"}',
        b'{"a":"1","a":"1"}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"}  {"}',
        b'{"a":"},{"}',
        b'{"a":"1"}{"a":1}',
        b'{"a":"1",}',
        b'{"a":"\n"}',
    ],
)
def test_a_run_that_needs_a_look_is_left(text: bytes) -> None:
    assert JsonColumns(["a", "b"]).of_run(text, row_bytes=100) is None


def test_columns_that_are_numbers_throughout_are_learnt() -> None:
    columns = JsonColumns(["n", "t"])
    assert columns.of_run(b'{"n":1,"t":true}', row_bytes=100) is None
    columns.of_rows([{"n": Number("7"), "t": None}, {"n": None, "t": True}])
    run = columns.of_run(b'{"n":12,"t":false}\n{"n":-3,"t":null}', row_bytes=100)
    assert run is not None
    assert cells(run[1:]) == ({"0": ["12", "-3"], "1": ["false", ""]}, {0: [True, True]})
    for unlike in (
        b'{"n":-0}',
        b'{"n":1.0}',
        b'{"n":"1"}',
        b'{"n":9223372036854775808}',
        b'{"n":1,"t":"true"}',
    ):
        assert columns.of_run(unlike, row_bytes=100) is None
    columns.learn([{"n": "x"}])
    assert columns.of_run(b'{"n":"12"}', row_bytes=100) is not None


def test_rows_become_columns_one_by_one() -> None:
    rows = [
        {"a": "x", "b": Number("1.50")},
        {"a": (("y", [None, True, Number("2")]),)},
        {"a": False, "b": "2"},
    ]
    assert cells(JsonColumns(["a", "b"]).of_rows(rows)) == (
        {"0": ["x", '{"y":[null,true,2]}', "false"], "1": ["1.50", "", "2"]},
        {1: [True, False, False]},
    )


def test_a_file_of_many_columns_is_read_in_small_blocks() -> None:
    many = [f"c{n}" for n in range(2_000)]
    assert JsonColumns(many).block_bytes < JsonColumns(["a"]).block_bytes / 1_000
    run = JsonColumns(many).of_run(b"{}\n" * 1_000_000, row_bytes=100)
    assert run is not None
    assert run[1].num_rows < 20_000


def test_key_material_is_left_out_of_compact_json() -> None:
    inner = (("ki", "SECRET"), ("x", ((("OPc", "SECRET")), ("y", "é\n"))))
    assert compact(inner) == '{"x":{"y":"é\\n"}}'
