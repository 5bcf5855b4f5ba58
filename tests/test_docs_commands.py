"""docs/commands.md and every --help name every command and option there is, and their examples are real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline.cli import app
from pipeline.model import Status

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", *(ROOT / "config").iterdir()])
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PAGE = (ROOT / "docs" / "commands.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## simlift (\w+)\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROW = re.compile(r"^\| `(.+?)` \| (.*?) \| (.+) \|$", re.MULTILINE)
EXAMPLE = re.compile(r"^(?:    |  |#   |\$ )(?:[A-Z_]+=\S+ )*(simlift .+)$", re.MULTILINE)
PLACEHOLDERS = re.compile(r"[{\[…]|\.\.\.|\b[A-Z]{2,}(?:_ID)?\b")


def examples_in(text: str) -> list[str]:
    """Give the commands that stand on lines of their own: no synopses, which hold placeholders."""
    lines = [re.split(r"\s(?:[|&>#]|2>)", line)[0].strip() for line in EXAMPLE.findall(text)]
    return [line for line in lines if not PLACEHOLDERS.search(line)]


def parse(example: str) -> None:
    """Parse a command as the command line does, without carrying it out. Raises typer.TyperException."""
    _, *words = shlex.split(example)
    if not words or words[0].startswith("--"):
        return
    assert words[0] in COMMANDS, f"{example}: no such command"
    COMMANDS[words[0]].make_context(f"simlift {words[0]}", words[1:])


def test_every_command_has_its_section_and_no_other_has() -> None:
    assert SECTIONS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_stands_there_with_its_default(name: str) -> None:
    rows = {head.split()[0]: (head, default) for head, default, _ in ROW.findall(SECTIONS[name])}
    found = {}
    for parameter in COMMANDS[name].params:
        head = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar
        assert head in rows, f"{head} is not in the section of {name}"
        shown = "" if parameter.default in (None, "", False) else f"`{parameter.default}`"
        found[head] = "required" if parameter.required else shown
        assert rows[head][1] == found[head], head
        if parameter.param_type_name == "option" and not parameter.is_flag:
            assert " " in rows[head][0], f"{head}: say what it takes"
    assert rows.keys() == found.keys(), "an option that is not there any more"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_tells_exit_codes_and_shows_an_example(name: str) -> None:
    assert "\nExit codes: " in SECTIONS[name]
    assert [example for example in examples_in(SECTIONS[name]) if example.startswith(f"simlift {name}")]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_says_what_everything_is_and_shows_an_example_that_parses(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.rich_help_panel, "it stands in no group"
    for parameter in command.params:
        assert parameter.help, parameter.name
    for text in (command.help, *(parameter.help for parameter in command.params)):
        assert "[" not in text, "rich takes it for markup and leaves it out"
    assert command.epilog.startswith(f"Example: simlift {name} ")
    parse(command.epilog.removeprefix("Example: "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_parses(page: Path) -> None:
    for example in examples_in(page.read_text("utf-8")):
        parse(example)


def test_the_pages_show_commands() -> None:
    found = {example for page in PAGES for example in examples_in(page.read_text("utf-8"))}
    assert {example.split()[1] for example in found} >= COMMANDS.keys()


def test_the_guide_says_of_every_status_and_every_exit_code_what_to_do() -> None:
    guide = (ROOT / "docs" / "operators-guide.md").read_text("utf-8")
    for status in Status:
        (row,) = re.findall(rf"^\| `{status}` \| (yes|no) \| .+ \| .+ \|$", guide, re.MULTILINE)
        assert (row == "yes") == status.good
    codes = re.findall(r"^\| ([\d, ]+) \| .+ \| .+ \|$", guide, re.MULTILINE)
    told = {int(code) for row in codes for code in row.split(",")}
    assert told >= {0, 1, 2, 3, 130, 143}
    for case in guide.partition("\n## What to do when ...\n")[2].split("\n### ")[1:]:
        assert re.findall(r"^\*\*(See|Means|Type):\*\*", case, re.MULTILINE) == ["See", "Means", "Type"], case


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".md"], ids=lambda page: page.name)
def test_every_link_to_a_page_of_ours_leads_somewhere(page: Path) -> None:
    for place, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
        target = page.parent / place if place else page
        assert target.exists(), place
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_a_wrong_example_would_be_seen() -> None:
    assert examples_in("text\n    simlift run a.csv --job b.toml 2> log &\n    simlift resume RUN_ID\n") == [
        "simlift run a.csv --job b.toml"
    ]
    with pytest.raises(typer.TyperException):
        parse("simlift run a.csv --jobb b.toml")
