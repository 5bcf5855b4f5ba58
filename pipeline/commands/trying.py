"""The commands to try things with: simulate, sample."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.commands.console import TRY, app, print_lines
from pipeline.errors import UsageError


@app.command(
    rich_help_panel=TRY,
    epilog="Example: simlift simulate sim-express --port 8080 --faults config/faults.toml",
)
def simulate(
    vendor: Annotated[str, typer.Argument(metavar="VENDOR", help="sim-express or bulk-subscriber")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port on the loopback; 0: a free one.")
    ] = 0,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What goes wrong (TOML), see config/faults.toml.")
    ] = None,
) -> None:
    """Run a vendor's simulator on this machine until interrupted."""
    command = [sys.executable, "-m", "pipeline.simulator", vendor, "--port", str(port)]
    if faults is not None:
        command += ["--faults", str(faults)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, arguments are passed as a list


@app.command(
    rich_help_panel=TRY, epilog="Example: simlift sample --items 100000 --bad 0.01 --out sample.csv.gz"
)
def sample(
    *,
    items: Annotated[int, typer.Option(min=1, metavar="N", help="Rows to write.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File to write; its name tells format and compression.")
    ],
    bad: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Share of rows with a defect.")
    ] = 0.0,
    odd: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Share of rows written oddly, but sound.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed writes the same rows.")] = 1,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Whatever the name: csv, jsonl, out, parquet … (a wrong one lists all).",
        ),
    ] = "",
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Say here what is wrong where; else in OUT.manifest.jsonl."),
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
    print_lines([f"{out}: {written.text()}", *([f"what is wrong where: {manifest}"] if manifest else [])])
