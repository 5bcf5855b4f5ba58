"""The commands that tell how things stand: status, report, trace, targets."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.commands.console import (
    LOOK,
    PREPARE,
    RUNS,
    AsJson,
    RunId,
    RunIdOrAll,
    Runs,
    app,
    of_each,
    print_json,
    print_lines,
)


@app.command(rich_help_panel=LOOK, epilog="Example: simlift status --watch")
def status(
    run_id: RunIdOrAll = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look on at the run under way until it ends.")
    ] = False,
) -> None:
    """Show how runs stand."""
    from pipeline import reports
    from pipeline.attended import result_lines
    from pipeline.reports.shown import shown
    from pipeline.runs import existing_run, owner_of, run_ids

    if watch:
        from rich.console import Console

        from pipeline.watching import look_on, run_to_watch

        run_id = run_id or run_to_watch(runs)
        look_on(existing_run(runs, run_id), Console(stderr=True))
    found = of_each(
        [run_id] if run_id else run_ids(runs),
        runs,
        lambda ledger: (reports.summary(ledger), ledger.standing(), shown(ledger.run().stop_reason, 1_000)),
    )
    under_way = {summary.run_id: owner_of(runs / summary.run_id) for summary, _, _ in found}
    if as_json:
        data = [
            reports.status_data(summary, standing, under_way[summary.run_id])
            for summary, standing, _ in found
        ]
        print_json(data[0] if run_id else data)
    elif not found:
        print_lines([f"no runs in {runs}"])
    else:
        for summary, standing, because in found:
            print_lines(result_lines(summary, runs / summary.run_id, because))
            print_lines(reports.status_lines(summary, standing, under_way[summary.run_id]))


@app.command(rich_help_panel=LOOK, epilog="Example: simlift report 20261122-031500-9f2c")
def report(run_id: RunId, runs: Runs = RUNS) -> None:
    """Write the reports of a run again from its ledger."""
    from pipeline import reports
    from pipeline.attended import result_lines
    from pipeline.runs import existing_run, open_ledger

    folder = existing_run(runs, run_id)
    ledger = open_ledger(folder, read_only=True)
    try:
        print_lines(result_lines(reports.write_all(ledger, folder), folder))
    finally:
        ledger.close()


@app.command(rich_help_panel=LOOK, epilog="Example: simlift trace 89357110010000345350")
def trace(
    key: Annotated[str, typer.Argument(metavar="KEY", help="An ICCID (or other key), whole.")],
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one ICCID (or other key), over all runs."""
    from pipeline import reports
    from pipeline.errors import UsageError
    from pipeline.runs import keys_meant, run_ids

    if not key.strip():
        raise UsageError("trace: the key is empty; give an ICCID (or other key), whole")
    traces = of_each(run_ids(runs), runs, lambda ledger: reports.traced(ledger, keys_meant(ledger, key)))
    entries = [entry for trace in traces for entry in trace]
    if as_json:
        print_json([entry.data() for entry in entries])
    elif entries:
        print_lines(reports.trace_text(entries))
    else:
        print_lines([f"{key} stands in no run in {runs}"])
    raise typer.Exit(0 if entries else 1)


@app.command(rich_help_panel=PREPARE, epilog="Example: simlift targets --json")
def targets(as_json: AsJson = False) -> None:
    """List the targets and sources that are installed, each target with its settings and columns."""
    from pipeline.catalogue import read_catalogue

    found = read_catalogue()
    if as_json:
        print_json(found.data())
    else:
        print_lines(found.text())
    raise typer.Exit(0 if found.sound else 1)
