"""The command line: thin commands, exit codes, what is printed where.

Results go to standard output, progress and errors to standard error. Heavy imports wait until a command
needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from pipeline.errors import SimliftError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from pipeline.contracts import Ledger

app = typer.Typer(
    name="simlift",
    help="Bulk import of SIM and eSIM inventories, every row accounted for on evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

InventoryFiles = Annotated[
    list[str],
    typer.Argument(metavar="INVENTORY", help="Files, folders, patterns or addresses; - is standard input."),
]
JobFile = Annotated[Path, typer.Option("--job", help="Job file (TOML), see config/.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder in which runs are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
RUNS = Path("runs")
EXIT_USAGE, EXIT_STOPPED = 2, 3  # of model.ExitCode, which costs an import of numpy
T = TypeVar("T")


@app.command(epilog="Example: simlift demo --items 20000 --seed 7")
def demo(
    items: Annotated[int, typer.Option(min=1, help="Rows of the sample inventory.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of the vendor's faults.")] = 1,
    target: Annotated[str, typer.Option(help="The vendor: sim-express or bulk-subscriber.")] = "sim-express",
    runs: Runs = RUNS,
) -> None:
    """Show the whole thing against the embedded simulator, and compare both sides' books."""
    from pipeline.demo import run_demo

    raise typer.Exit(run_demo(target=target, items=items, seed=seed, runs=runs))


@app.command(epilog="Example: simlift check delivery.csv.gz --job config/sim-express.toml --within 6h")
def check(
    inventory: InventoryFiles,
    job: JobFile,
    as_json: AsJson = False,
    within: Annotated[
        str, typer.Option(help="Time there is, such as 6h or 2h30m; 1 if it does not do.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Folder to write failures.csv to.")] = None,
) -> None:
    """Validate an inventory without sending anything: what is wrong where, how many calls, how long."""
    from pipeline.contracts import CompletingTarget
    from pipeline.examination import examine
    from pipeline.importer import open_target
    from pipeline.inventory import open_inventory
    from pipeline.plan import Plan, seconds_of
    from pipeline.settings import load_job
    from pipeline.spooling import in_files

    within_s = seconds_of(within) if within else None
    loaded = load_job(job)
    target, _ = open_target(loaded, resolve_secrets=False)
    with in_files(inventory, loaded.input, None) as files:
        findings = examine(open_inventory(files, loaded.input, target.rules), loaded, target, out)
    plan = Plan(findings.batches, loaded.limits, isinstance(target, CompletingTarget), within_s)
    if as_json:
        _print_json(findings.data(plan))
    else:
        _print_lines(findings.text(plan))
    raise typer.Exit(0 if findings.clean and plan.fits else 1)


@app.command(
    epilog="Example: simlift run delivery.csv.gz --job config/sim-express.toml --run-id 2026-11-22-factory-7"
)
def run(
    inventory: InventoryFiles,
    job: JobFile,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Name the run; repeating it is safe.")
    ] = None,
    runs: Runs = RUNS,
) -> None:
    """Import an inventory. With --run-id: start, go on if unfinished, only report if finished."""
    from pipeline.attended import carry_out
    from pipeline.runs import new_run_id, run_folder, start
    from pipeline.settings import load_job

    name = run_id or new_run_id()
    work = start(inventory, load_job(job), runs, name)
    raise typer.Exit(carry_out(work, run_folder(runs, name)))


@app.command(epilog="Example: simlift resume 20261122-031500-9f2c")
def resume(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The run to go on with.")], runs: Runs = RUNS
) -> None:
    """Go on with a run after a crash or a stop."""
    from pipeline.attended import carry_out
    from pipeline.runs import existing_run, go_on

    folder = existing_run(runs, run_id)
    raise typer.Exit(carry_out(go_on(folder), folder))


@app.command(epilog="Example: simlift retry 20261122-031500-9f2c --code 000106")
def retry(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The run whose rows to send again.")],
    code: Annotated[list[str] | None, typer.Option(help="Rows refused with this code too.")] = None,
    runs: Runs = RUNS,
) -> None:
    """Send again what gave up, what is in doubt, and what was refused with a code named here."""
    from pipeline.attended import carry_out
    from pipeline.runs import existing_run, try_again

    folder = existing_run(runs, run_id)
    raise typer.Exit(carry_out(try_again(folder, code or ()), folder))


@app.command(epilog="Example: simlift status --json")
def status(
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN_ID]", help="One run; without it, all.")
    ] = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Show how runs stand."""
    from pipeline import reports
    from pipeline.attended import result_lines
    from pipeline.runs import run_ids

    found = _of_each([run_id] if run_id else run_ids(runs), runs, reports.summary)
    if as_json:
        data = [s.data() | ({"open_tickets": s.open_tickets} if s.open_tickets else {}) for s in found]
        _print_json(data[0] if run_id else data)
    elif not found:
        _print_lines([f"no runs in {runs}"])
    else:
        for summary in found:
            _print_lines(result_lines(summary, runs / summary.run_id))


@app.command(epilog="Example: simlift report 20261122-031500-9f2c")
def report(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The run to report on.")], runs: Runs = RUNS
) -> None:
    """Write the reports of a run again from its ledger."""
    from pipeline import reports
    from pipeline.attended import result_lines
    from pipeline.runs import existing_run, open_ledger

    folder = existing_run(runs, run_id)
    ledger = open_ledger(folder, read_only=True)
    try:
        _print_lines(result_lines(reports.write_all(ledger, folder), folder))
    finally:
        ledger.close()


@app.command(epilog="Example: simlift trace 89357110010000345350")
def trace(
    key: Annotated[str, typer.Argument(metavar="KEY", help="An ICCID (or other key), whole.")],
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Tell what became of one ICCID, in every run."""
    from pipeline import reports
    from pipeline.runs import keys_meant, run_ids

    traces = _of_each(run_ids(runs), runs, lambda ledger: reports.traced(ledger, keys_meant(ledger, key)))
    entries = [entry for trace in traces for entry in trace]
    if as_json:
        _print_json([entry.data() for entry in entries])
    elif entries:
        _print_lines(reports.trace_text(entries))
    else:
        _print_lines([f"{key} stands in no run in {runs}"])
    raise typer.Exit(0 if entries else 1)


@app.command(epilog="Example: simlift targets --json")
def targets(as_json: AsJson = False) -> None:
    """List the targets and sources that are installed, each target with its settings and columns."""
    from pipeline.catalogue import read_catalogue

    found = read_catalogue()
    if as_json:
        _print_json(found.data())
    else:
        _print_lines(found.text())
    raise typer.Exit(0 if found.sound else 1)


@app.command(epilog="Example: simlift simulate sim-express --port 8080 --faults config/faults.toml")
def simulate(
    vendor: Annotated[str, typer.Argument(metavar="VENDOR", help="sim-express or bulk-subscriber")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback; 0: a free one.")] = 0,
    faults: Annotated[
        Path | None, typer.Option(help="What goes wrong (TOML), see config/faults.toml.")
    ] = None,
) -> None:
    """Run a vendor's simulator on this machine until interrupted."""
    command = [sys.executable, "-m", "pipeline.simulator", vendor, "--port", str(port)]
    if faults is not None:
        command += ["--faults", str(faults)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, arguments are passed as a list


@app.command(epilog="Example: simlift sample --items 100000 --bad 0.01 --out sample.csv.gz")
def sample(
    *,
    items: Annotated[int, typer.Option(min=1, help="Rows to write.")],
    out: Annotated[Path, typer.Option(help="File to write; its name tells format and compression.")],
    bad: Annotated[float, typer.Option(min=0, max=1, help="Share of rows with a defect.")] = 0.0,
    odd: Annotated[float, typer.Option(min=0, max=1, help="Share of rows written oddly, but sound.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed writes the same rows.")] = 1,
    kind: Annotated[
        str,
        typer.Option(
            "--format", help="Whatever the name: csv, jsonl, out, parquet … (a wrong one lists all)."
        ),
    ] = "",
    manifest: Annotated[
        Path | None, typer.Option(help="Say here what is wrong where; else in OUT.manifest.jsonl.")
    ] = None,
    wrong_quantity: Annotated[
        bool, typer.Option("--wrong-quantity", help="In the head of an OUT file.")
    ] = False,
) -> None:
    """Write a realistic inventory to try things with and, where something is wrong, what and where."""
    from pipeline.samples import write_sample

    if manifest is None and (bad or odd or wrong_quantity):
        manifest = out.with_name(f"{out.name}.manifest.jsonl")
    asked: dict[str, Any] = {"kind": kind, "manifest": manifest, "wrong_quantity": wrong_quantity}
    try:
        written = write_sample(out, items=items, seed=seed, bad_share=bad, odd_share=odd, **asked)
    except OSError as error:
        raise UsageError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from None
    _print_lines([f"{out}: {written.text()}", *([f"what is wrong where: {manifest}"] if manifest else [])])


def _of_each(names: list[str], runs: Path, read: Callable[[Ledger], T]) -> list[T]:
    """Read something of each run; where there are several, a damaged one does not hide the others."""
    from pipeline.runs import existing_run, open_ledger

    found = []
    for name in names:
        try:
            ledger = open_ledger(existing_run(runs, name), read_only=True)
            try:
                found.append(read(ledger))
            finally:
                ledger.close()
        except SimliftError as error:
            if len(names) == 1:
                raise
            sys.stderr.write(f"simlift: {error}\n")
    return found


def _print_lines(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _print_json(data: object) -> None:
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def main() -> None:
    """Run the command line; errors meant for the operator become one line and an exit code."""
    signal.signal(signal.SIGINT, _exit_on_signal)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    # No matrix is multiplied here: the threads that numpy would start for it only spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What a chunk or a batch leaves behind is freed by counting: looking for more seldom saves a twentieth.
    gc.set_threshold(50_000, 20, 20)
    try:
        app()
    except UsageError as error:
        sys.stderr.write(f"simlift: {error}\n")
        sys.exit(EXIT_USAGE)
    except SimliftError as error:
        sys.stderr.write(f"simlift: {error}\n")
        sys.exit(EXIT_STOPPED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(128 + signal.SIGPIPE)
    except Exception:  # noqa: BLE001 - what slips through is a defect of ours
        # It must not look like a finished run, which Python's own exit code 1 would say.
        sys.stderr.write(traceback.format_exc())
        sys.stderr.write(
            "simlift: this is a defect of simlift; the run can be resumed, please report the above\n"
        )
        sys.exit(EXIT_STOPPED)
