"""The commands before a first night: init, doctor."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pipeline.commands.console import PREPARE, RUNS, AsJson, Runs, app, print_json, print_lines
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.catalogue import InstalledTarget

T = TypeVar("T")


@app.command(rich_help_panel=PREPARE, epilog="Example: simlift init nightly.toml")
def init(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file to write.")] = Path("job.toml"),
) -> None:
    """Ask five questions and write a job file."""
    from pipeline.catalogue import read_catalogue
    from pipeline.new_job import answers_about, job_text, next_steps, questions_about, with_answer, write_job
    from pipeline.tables import nearest

    if job.exists():
        raise UsageError(f"{job}: is there already; choose another name, or move it away")
    known = {target.name: target for target in read_catalogue().targets}

    def vendor_named(name: str) -> InstalledTarget:
        if name.strip() not in known:
            raise UsageError(f"vendor {name!r}: {nearest(name, list(known))}")
        return known[name.strip()]

    vendor = _ask(f"1/5  Which vendor? ({', '.join(known)})", next(iter(known)), vendor_named)
    answers = answers_about(vendor)
    for number, question in enumerate(questions_about(vendor), 2):
        answers = _ask(
            f"{number}/5  {question.words}", question.default, partial(with_answer, answers, question)
        )
    write_job(job, job_text(answers))
    print_lines(next_steps(job, answers))


def _ask(words: str, default: str | None, read: Callable[[str], T]) -> T:
    """Ask until the answer can be read."""

    def sound(answer: str) -> T:
        try:
            return read(answer)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None

    answered: T = typer.prompt(words, default=default, value_proc=sound)
    return answered


@app.command(rich_help_panel=PREPARE, epilog="Example: simlift doctor config/sim-express.toml")
def doctor(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file (TOML).")],
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Look a job over without importing: secrets, DNS, TLS, clock, write access, free disk."""
    import asyncio

    from pipeline.doctor import Found, Mark, examine_job
    from pipeline.settings import load_job

    async def looked_over() -> list[Found]:
        found = []
        async for each in examine_job(load_job(job), runs):
            found.append(each)
            if not as_json:
                print_lines([each.line()])
        return found

    found = asyncio.run(looked_over())
    if as_json:
        print_json([each.data() for each in found])
    raise typer.Exit(1 if any(each.mark is Mark.FAIL for each in found) else 0)
