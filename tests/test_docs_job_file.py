"""docs/job-file.md names every key there is, with its type, bounds and default as the models have them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from pipeline.plugins import every
from pipeline.secret_references import Reference
from pipeline.settings import Job, job_from
from pipeline.work import open_target

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "job-file.md").read_text("utf-8")
SECTIONS = re.split(r"^#{2,3} (?=\[)", PAGE, flags=re.MULTILINE)[1:]
TABLES: dict[str, type[BaseModel]] = {
    name: field.annotation
    for name, field in Job.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
TARGETS: dict[str, type[BaseModel]] = {
    f'[target] kind = "{plugin.name}"': plugin.loaded.settings for plugin in every("targets")
}
MODELS = {f"[{name}]": model for name, model in TABLES.items()} | TARGETS
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)
BLOCKS = [
    (page.name, block)
    for page in sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"])
    if not page.name.startswith("a-")
    for block in re.findall(r"^```toml\n(.+?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
]
TARGET = '[target]\nkind = "sim-express"\naccess_code = "env:A"\nsecret_code = "env:B"\n'


def rows_of(heading: str) -> dict[str, tuple[str, str]]:
    (section,) = [text for text in SECTIONS if text.startswith(f"{heading}\n")]
    return {key: (kind, default) for key, kind, default, _ in ROW.findall(section)}


def kind_of(annotation: Any, bounds: str = "") -> str:
    """Say a type as the page does."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in (SecretStr, Reference):
        return "secret"
    if origin is Literal:
        *others, last = (f'`"{value}"`' for value in inner)
        return f"{', '.join(others)} or {last}"
    if origin is list:
        return f"list of {kind_of(inner[0])}"
    if origin is dict:
        return f"table of {kind_of(inner[1])}"
    if hasattr(annotation, "__metadata__"):  # Annotated
        return kind_of(inner[0], bounds_of([b for m in inner[1:] for b in getattr(m, "metadata", [m])]))
    if inner:
        return " or ".join(kind_of(each) for each in inner if each is not type(None)) + bounds
    names = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    return names[annotation] + bounds


def bounds_of(metadata: list[Any]) -> str:
    low = [f"from {m.ge:g}" for m in metadata if isinstance(m, Ge)]
    low += [f"above {m.gt:g}" for m in metadata if isinstance(m, Gt)]
    words = " ".join(low + [f"to {m.le:g}" for m in metadata if isinstance(m, Le)])
    return f", {words}" if words else ""


def default_of(cell: str) -> Any:
    match cell:
        case "required":
            return PydanticUndefined
        case "none":
            return None
        case _:
            return tomllib.loads(f"it = {cell.strip('`')}")["it"]


def test_every_table_and_every_target_has_its_section_and_no_other_has() -> None:
    headings = {text.partition("\n")[0] for text in SECTIONS} - {"[target]"}
    assert headings == MODELS.keys()


@pytest.mark.parametrize("heading", MODELS)
def test_every_key_stands_there_in_the_model_s_order_with_its_type_and_its_default(heading: str) -> None:
    rows = rows_of(heading)
    model = MODELS[heading]
    assert list(rows) == list(model.model_fields)
    for key, field in model.model_fields.items():
        kind, default = rows[key]
        assert kind == kind_of(field.annotation, bounds_of(field.metadata)), key
        actual = field.get_default(call_default_factory=True)
        if isinstance(actual, SecretStr):
            actual = None
        assert default_of(default) == actual, key
        assert type(default_of(default)) in (type(actual), int), key


def test_every_key_that_is_mentioned_with_its_table_exists() -> None:
    for page in sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"]):
        for table, key in re.findall(r"`?\[(\w+)\]`? `?(\w+(?<!_))", page.read_text("utf-8")):
            if table in TABLES and "_" in key:
                assert key in TABLES[table].model_fields, f"{page.name}: [{table}] {key}"


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(BLOCKS)])
def test_every_example_is_a_job_that_loads(page: str, block: str) -> None:
    text = block if "[target]" in block else TARGET + block
    open_target(job_from(tomllib.loads(text), where=page), resolve_secrets=False)
