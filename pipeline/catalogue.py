"""What `simlift targets` lists: the targets and sources installed, their settings and their columns."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from pydantic import SecretStr
from pydantic_core import to_jsonable_python

from pipeline.plugins import every
from pipeline.rules import rules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic.fields import FieldInfo

    from pipeline.plugins import Group, Plugin
    from pipeline.rules import Rule

T = TypeVar("T")
_NAMES: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a [target] table; `default` is None for a required key and for a secret."""

    key: str
    required: bool
    default: Any
    secret: bool
    description: str


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a target's rows, and the other names its column goes by.

    A pair of columns, each by its names, can stand in for a field that is `joined_from` them.
    """

    field: str
    required: bool
    default: str | None
    aliases: tuple[str, ...]
    joined_from: tuple[tuple[str, ...], ...]
    description: str


@dataclass(frozen=True, slots=True)
class InstalledTarget:
    """A target as its author describes it; `completes` says that its vendor finishes later."""

    name: str
    distribution: str
    description: str
    most_batch_items: int
    completes: bool
    settings: tuple[Setting, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class InstalledSource:
    """A source as its author describes it; `suffixes` are the ends of its files' names."""

    name: str
    distribution: str
    description: str
    suffixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that cannot be loaded, or is not what it is registered as; `problem` is one line."""

    kind: str
    name: str
    distribution: str
    problem: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that is installed."""

    targets: tuple[InstalledTarget, ...]
    sources: tuple[InstalledSource, ...]
    broken: tuple[Broken, ...]

    @property
    def sound(self) -> bool:
        """True when every plugin can be used."""
        return not self.broken

    def data(self) -> dict[str, Any]:
        """Give the catalogue as plain data."""
        return asdict(self)

    def text(self) -> list[str]:
        """Give the catalogue as lines."""
        lines = [line for target in self.targets for line in _lines_of(target)]
        for source in self.sources:
            lines += [f"source {source.name} ({source.distribution}): {', '.join(source.suffixes)}"]
            lines += [f"  {source.description}"]
        return lines + [f"{one.kind} {one.name} ({one.distribution}): {one.problem}" for one in self.broken]


def read_catalogue() -> Catalogue:
    """Load and describe every plugin; one that is broken hides no other."""
    targets, broken_targets = _described("targets", _target)
    sources, broken_sources = _described("sources", _source)
    return Catalogue(targets, sources, broken_targets + broken_sources)


def _described(what: Group, describe: Callable[[Plugin], T]) -> tuple[tuple[T, ...], tuple[Broken, ...]]:
    found: list[T] = []
    broken: list[Broken] = []
    for plugin in every(what):
        problem = plugin.problem
        if not problem:
            try:
                found.append(describe(plugin))
            except Exception as error:  # noqa: BLE001 - a stranger's class may lack anything
                problem = f"is no {what.removesuffix('s')}: {' '.join(str(error).split())}"
        if problem:
            broken.append(Broken(what.removesuffix("s"), plugin.name, plugin.distribution, problem))
    return tuple(found), tuple(broken)


# ---------------------------------------------------------------- describing


def _target(plugin: Plugin) -> InstalledTarget:
    kind = plugin.loaded
    return InstalledTarget(
        name=plugin.name,
        distribution=plugin.distribution,
        description=_first_line(kind),
        most_batch_items=kind.most_batch_items,
        completes=hasattr(kind, "poll"),
        settings=tuple(_setting(key, info) for key, info in kind.settings.model_fields.items()),
        columns=tuple(_column(rule) for rule in rules_of(kind.rules)),
    )


def _source(plugin: Plugin) -> InstalledSource:
    return InstalledSource(
        plugin.name, plugin.distribution, _first_line(plugin.loaded), tuple(plugin.loaded.suffixes)
    )


def _setting(key: str, info: FieldInfo) -> Setting:
    secret = info.annotation is SecretStr
    default = None if secret or info.is_required() else info.get_default(call_default_factory=True)
    default = to_jsonable_python(default, fallback=str)
    # A closed set of words says more than what it is for: both are shown.
    choices = _words_for(info.annotation)
    parts = (info.description, choices if info.description is None or '"' in choices else None)
    description = "; ".join(part for part in parts if part)
    return Setting(key, info.is_required(), default, secret, description)


def _words_for(annotation: Any) -> str:
    """Say what a setting without a description takes."""
    if annotation is SecretStr:
        return 'a secret by reference: "env:NAME" or "file:PATH"'
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(word) for word in get_args(annotation))
    if get_origin(annotation) is dict:
        return f"a table; each value {_words_for(get_args(annotation)[1])}"
    return _NAMES.get(annotation, "")


def _column(rule: Rule) -> Column:
    joined = (rule.joined.first, rule.joined.second) if rule.joined else ()
    forms = rule.forms_by.forms if rule.forms_by else ()
    described = "; ".join(f"{form.name}: {form.description}" for form in forms) or rule.words
    free_text = described == "text of the form None"
    return Column(
        field=rule.name,
        required=rule.required,
        default=rule.default,
        aliases=(*rule.aliases, *(name for form in forms for name in (form.name.lower(), *form.aliases))),
        joined_from=joined,
        description="text" if free_text else described,
    )


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


# ---------------------------------------------------------------- as text


def _lines_of(target: InstalledTarget) -> list[str]:
    later = ", each finished later" if target.completes else ""
    settings = (
        (setting.key, "required" if setting.required else _shown(setting), setting.description)
        for setting in target.settings
    )
    columns = (
        (column.field, "required" if column.required else "optional", "; ".join(_about(column)))
        for column in target.columns
    )
    return [
        f"target {target.name} ({target.distribution})",
        f"  {target.description}",
        f"  at most {target.most_batch_items:,} rows per batch{later}",
        "  [target] settings",
        *_table(settings),
        "  columns",
        *_table(columns),
    ]


def _shown(setting: Setting) -> str:
    return "optional" if setting.secret or setting.default in ({}, None) else json.dumps(setting.default)


def _about(column: Column) -> Iterable[str]:
    yield column.description
    if column.aliases:
        yield f"also {', '.join(column.aliases)}"
    if column.joined_from:
        yield f"or {' with '.join('/'.join(names) for names in column.joined_from)}"


def _table(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """Lay out rows of three cells; the last one may be long."""
    found = list(rows)
    widths = [max((len(row[at]) for row in found), default=0) for at in (0, 1)]
    return [
        f"    {first:{widths[0]}}  {second:{widths[1]}}  {last}".rstrip() for first, second, last in found
    ]
