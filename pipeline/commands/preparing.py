"""The commands before a first night: init, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import PREPARE, RUNS, AsJson, Runs, app, print_json, print_lines


@app.command(rich_help_panel=PREPARE, epilog="Example: simlift init nightly.toml")
def init(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file to write.")] = Path("job.toml"),
) -> None:
    """Ask five questions and write a job file."""
    from pipeline.catalogue import read_catalogue
    from pipeline.errors import UsageError
    from pipeline.new_job import Answers, job_text, next_steps, secrets_of, write_job, zone_here
    from pipeline.settings import nearest

    if job.exists():
        raise UsageError(f"{job}: is there already; choose another name, or move it away")
    known = {target.name: target for target in read_catalogue().targets}
    vendor = typer.prompt(f"1/5  Which vendor? ({', '.join(known)})", default=next(iter(known)))
    if vendor not in known:
        raise UsageError(f"vendor {vendor!r}: {nearest(vendor, list(known))}")
    address = typer.prompt("2/5  Its address, without a path (https://...)")
    secrets = typer.prompt(
        "3/5  Its credentials, each read from an environment variable",
        default=", ".join(secrets_of(known[vendor])),
    )
    rate = typer.prompt("4/5  How many requests per second does it allow?", default=10.0, type=float)
    hours = typer.prompt("5/5  At what hours may be sent, as 22:00-06:00? (empty: always)", default="")
    answers = Answers(
        target=vendor,
        base_url=address.strip(),
        secrets=tuple(filter(None, (key.strip() for key in secrets.split(",")))),
        requests_per_second=rate,
        hours=hours.strip(),
        zone=zone_here(),
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
