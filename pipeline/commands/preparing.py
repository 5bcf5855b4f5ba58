"""The commands before a first night: init, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.console import PREPARE, RUNS, AsJson, Runs, app, print_json, print_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.new_job import Answers


@app.command(rich_help_panel=PREPARE, epilog="Example: simlift init nightly.toml")
def init(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file to write.")] = Path("job.toml"),
) -> None:
    """Ask five questions and write a job file."""
    from dataclasses import replace

    from pipeline.catalogue import read_catalogue
    from pipeline.errors import UsageError
    from pipeline.new_job import (
        Answers,
        job_text,
        next_steps,
        secrets_of,
        usual_secrets,
        write_job,
        zone_here,
    )
    from pipeline.settings import nearest

    if job.exists():
        raise UsageError(f"{job}: is there already; choose another name, or move it away")
    known = {target.name: target for target in read_catalogue().targets}

    def vendor_named(name: str) -> Answers:
        if name.strip() not in known:
            raise typer.BadParameter(f"vendor {name!r}: {nearest(name, list(known))}")
        vendor = known[name.strip()]
        return Answers(vendor.name, "https://vendor.example", usual_secrets(vendor), 1.0, zone=zone_here())

    def with_answer(question: str, default: object, read: Callable[[str], dict[str, Any]]) -> Answers:
        """Ask until the answer is one that a job may have."""

        def sound(answer: str) -> Answers:
            try:
                changed = replace(answers, **read(str(answer).strip()))
                job_text(changed)
            except ValueError:
                raise typer.BadParameter(f"{answer!r} is no number") from None
            except UsageError as error:
                raise typer.BadParameter(str(error)) from None
            return changed

        answered: Answers = typer.prompt(question, default=default, value_proc=sound)
        return answered

    answers: Answers = typer.prompt(
        f"1/5  Which vendor? ({', '.join(known)})", default=next(iter(known)), value_proc=vendor_named
    )
    answers = with_answer(
        "2/5  Its address, without a path (https://...)", None, lambda text: {"base_url": text}
    )
    answers = with_answer(
        f"3/5  Its credentials, by name ({', '.join(secrets_of(known[answers.target]))}); each is to be read "
        "from an environment variable",
        ", ".join(answers.secrets),
        lambda text: {"secrets": tuple(filter(None, (key.strip() for key in text.split(","))))},
    )
    answers = with_answer(
        "4/5  How many requests per second does it allow?",
        "10.0",
        lambda text: {"requests_per_second": float(text)},
    )
    answers = with_answer(
        "5/5  At what hours may be sent, as 22:00-06:00? (empty: always)", "", lambda text: {"hours": text}
    )
    write_job(job, job_text(answers))
    print_lines(next_steps(job, answers))


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
