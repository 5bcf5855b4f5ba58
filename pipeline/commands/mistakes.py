"""What is said about a command line that cannot be understood: one line, what, where, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def mistake(error: typer.TyperException) -> str:
    """Say what is wrong with a command line, what may have been meant, and where to read on."""
    context = getattr(error, "ctx", None)
    program: str = context.command_path if context else "simlift"
    command = program.partition(" ")[2]
    # Of a choice the values stand on lines of their own, and pydantic names the class of its errors.
    words = " ".join(_without_possibilities(error).split()).replace("Value error, ", "").rstrip(".")
    first = f"{words[:1].lower()}{words[1:]}"
    near = " or ".join(getattr(error, "possibilities", None) or ())
    parts = [first, f"did you mean {near}?" if near else "", f"see {program} --help"]
    return (f"{command}: " if command else "") + "; ".join(filter(None, parts)).replace("?; ", "? ")


def _without_possibilities(error: typer.TyperException) -> str:
    return error.message if getattr(error, "possibilities", None) else error.format_message()
