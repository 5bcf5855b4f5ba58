"""The commands that read an inventory: demo, check, run, resume, retry."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import (
    IMPORT,
    PREPARE,
    RUNS,
    TRY,
    AsJson,
    InventoryFiles,
    JobFile,
    RunId,
    Runs,
    app,
    print_json,
    print_lines,
)
from pipeline.log_form import LogForm

Log = Annotated[
    LogForm, typer.Option("--log", help="Show the log on standard error instead of the progress.")
]
MetricsPort = Annotated[
    int,
    typer.Option(min=0, max=65535, metavar="PORT", help="Serve Prometheus metrics at this port; 0: none."),
]
MetricsHost = Annotated[str, typer.Option(metavar="ADDRESS", help="Address at which metrics are served.")]
LOOPBACK = "127.0.0.1"


@app.command(rich_help_panel=TRY, epilog="Example: simlift demo --items 20000 --seed 7")
def demo(
    items: Annotated[int, typer.Option(min=1, metavar="N", help="Rows of the sample inventory.")] = 200_000,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the sample and of the vendor's faults.")
    ] = 1,
    target: Annotated[
        str, typer.Option(metavar="KIND", help="The vendor: sim-express or bulk-subscriber.")
    ] = "sim-express",
    runs: Runs = RUNS,
) -> None:
    """Show the whole thing against the embedded simulator, and compare both sides' books."""
    from pipeline.demo import run_demo

    raise typer.Exit(run_demo(target=target, items=items, seed=seed, runs=runs))


@app.command(
    rich_help_panel=PREPARE,
    epilog="Example: simlift check delivery.csv.gz --job config/sim-express.toml --within 6h",
)
def check(
    inventory: InventoryFiles,
    job: JobFile,
    as_json: AsJson = False,
    within: Annotated[
        str, typer.Option(metavar="TIME", help="Time there is, such as 6h or 2h30m; 1 if it does not do.")
    ] = "",
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write failures.csv there.")] = None,
) -> None:
    """Validate an inventory without sending anything: what is wrong where, how many calls, how long."""
    from pipeline.contracts import CompletingTarget
    from pipeline.examination import examine
    from pipeline.inventory import open_inventory
    from pipeline.plan import Plan, seconds_of
    from pipeline.settings import load_job
    from pipeline.spooling import in_files
    from pipeline.window import schedule_of
    from pipeline.work import open_target

    within_s = seconds_of(within) if within else None
    loaded = load_job(job)
    target, _ = open_target(loaded, resolve_secrets=False)
    with in_files(inventory, loaded.input, None) as files:
        findings = examine(open_inventory(files, loaded.input, target.rules), loaded, target, out)
    schedule = schedule_of(loaded)
    plan = Plan(
        findings.batches,
        loaded.limits,
        isinstance(target, CompletingTarget),
        within_s,
        schedule if schedule.changes else None,
        starts_at=time.time(),
    )
    if as_json:
        print_json(findings.data(plan))
    else:
        print_lines(findings.text(plan))
    raise typer.Exit(0 if findings.clean and plan.fits else 1)


@app.command(
    rich_help_panel=IMPORT,
    epilog="Example: simlift run delivery.csv.gz --job config/sim-express.toml --run-id 2026-11-22-factory-7",
)
def run(
    *,
    inventory: InventoryFiles,
    job: JobFile,
    run_id: Annotated[
        str | None, typer.Option("--run-id", metavar="ID", help="Name the run; repeating it is safe.")
    ] = None,
    runs: Runs = RUNS,
    log: Log = LogForm.NONE,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Import an inventory. With --run-id: start, go on if unfinished, only report if finished."""
    from pipeline.attended import carry_out, surroundings
    from pipeline.runs import new_run_id, run_folder, start
    from pipeline.settings import load_job

    name = run_id or new_run_id()
    with surroundings(log, metrics_port, metrics_host) as around:
        work = start(inventory, load_job(job), runs, name)
        raise typer.Exit(carry_out(work, run_folder(runs, name), around))


@app.command(rich_help_panel=IMPORT, epilog="Example: simlift resume 20261122-031500-9f2c")
def resume(
    run_id: RunId,
    runs: Runs = RUNS,
    log: Log = LogForm.NONE,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Go on with a run after a crash or a stop."""
    from pipeline.attended import carry_out, surroundings
    from pipeline.runs import existing_run, go_on

    folder = existing_run(runs, run_id)
    with surroundings(log, metrics_port, metrics_host) as around:
        raise typer.Exit(carry_out(go_on(folder), folder, around))


@app.command(rich_help_panel=IMPORT, epilog="Example: simlift retry 20261122-031500-9f2c --code 000106")
def retry(
    *,
    run_id: RunId,
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Rows refused with this code too; may be repeated."),
    ] = None,
    runs: Runs = RUNS,
    log: Log = LogForm.NONE,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Send again what gave up, what is in doubt, and what was refused with a code named here."""
    from pipeline.attended import carry_out, surroundings
    from pipeline.runs import existing_run, try_again

    folder = existing_run(runs, run_id)
    with surroundings(log, metrics_port, metrics_host) as around:
        raise typer.Exit(carry_out(try_again(folder, code or ()), folder, around))
