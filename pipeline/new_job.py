"""A job file made of a few answers, for `simlift init`: short, with comments, ready for `doctor`."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.settings import job_from
from pipeline.work import open_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.catalogue import InstalledTarget

_SOME_ADDRESS = "https://vendor.example"
_ZONE_FILE = Path("/etc/timezone")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person was asked: `secrets` are keys of [target], `hours` as [window] open has them, or none."""

    target: str
    base_url: str
    secrets: tuple[str, ...]
    requests_per_second: float
    hours: str = ""
    zone: str = "UTC"


def secrets_of(target: InstalledTarget) -> tuple[str, ...]:
    """Give the secrets to ask about: those that a target requires or, where it leaves a choice, all."""
    secrets = [setting for setting in target.settings if setting.secret]
    return tuple(s.key for s in secrets if s.required) or tuple(s.key for s in secrets)


def usual_secrets(target: InstalledTarget) -> tuple[str, ...]:
    """Give the secrets to propose: the first ones of those to ask about that together make a sound job."""
    asked = secrets_of(target)
    for number in range(len(asked), 0, -1):
        try:
            job_text(Answers(target.name, _SOME_ADDRESS, asked[:number], 1.0))
        except UsageError:
            continue
        return asked[:number]
    return asked


@dataclass(frozen=True, slots=True)
class Question:
    """One thing a person is asked: `read` turns the answer into a part of Answers, or raises ValueError."""

    words: str
    default: str | None
    read: Callable[[str], dict[str, Any]]


def questions_about(target: InstalledTarget) -> list[Question]:
    """Give what is asked once the target is known."""
    return [
        Question("Its address, without a path (https://...)", None, lambda text: {"base_url": text}),
        Question(
            f"Its credentials, by name ({', '.join(secrets_of(target))}); each is to be read "
            "from an environment variable",
            ", ".join(usual_secrets(target)),
            lambda text: {"secrets": tuple(filter(None, (key.strip() for key in text.split(","))))},
        ),
        Question(
            "How many requests per second does it allow?",
            "10.0",
            lambda text: {"requests_per_second": float(text)},
        ),
        Question(
            "At what hours may be sent, as 22:00-06:00? (empty: always)", "", lambda text: {"hours": text}
        ),
    ]


def answers_about(target: InstalledTarget) -> Answers:
    """Give answers that make a job of this target, to be replaced one by one."""
    return Answers(target.name, _SOME_ADDRESS, usual_secrets(target), 1.0, zone=zone_here())


def with_answer(answers: Answers, question: Question, text: str) -> Answers:
    """Take an answer in. Raises UsageError for one that no job may have."""
    try:
        changed = replace(answers, **question.read(text.strip()))
    except ValueError:
        raise UsageError(f"{text!r} is no number") from None
    job_text(changed)
    return changed


def variable_for(target: str, secret: str) -> str:
    """Name the environment variable of a secret."""
    return f"{target}_{secret}".replace("-", "_").upper()


def zone_here() -> str:
    """Give the name of this machine's time zone, UTC where it does not tell."""
    try:
        return os.environ.get("TZ") or _ZONE_FILE.read_text("ascii").strip() or "UTC"
    except (OSError, UnicodeDecodeError):
        return "UTC"


def job_text(answers: Answers) -> str:
    """Write the job file. Raises UsageError for an answer that no job may have."""
    secrets = [f'{key} = "env:{variable_for(answers.target, key)}"' for key in answers.secrets]
    window = (
        ["", "[window]", f"open = {_quoted(answers.hours)}", f"zone = {_quoted(answers.zone)}"]
        if answers.hours
        else []
    )
    text = "\n".join(
        [
            "# Made by simlift init. Every key and what it means: docs/job-file.md",
            "[target]",
            f"kind = {_quoted(answers.target)}",
            f"base_url = {_quoted(answers.base_url)}",
            "# a secret is always a reference: env:NAME or file:PATH",
            *secrets,
            "",
            "[limits]",
            f"requests_per_second = {answers.requests_per_second!r}    # in any second at most this many",
            "concurrency = 16             # ceiling; the pace finds the right number below it",
            "",
            "[guards]",
            "canary_items = 1000          # the first batch alone; go on only if at most",
            "canary_share = 0.05          # this share of it is not good",
            *window,
            "",
        ]
    )
    job = job_from(tomllib.loads(text), where="init")
    open_target(job, resolve_secrets=False)
    return text


def write_job(path: Path, text: str) -> None:
    """Write a new file. Raises UsageError where there is one already, or where it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path}: is there already; choose another name, or move it away") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def next_steps(path: Path, answers: Answers) -> list[str]:
    """Say what to do with the new job."""
    return [
        f"{path} is written. Next:",
        *(f"  export {variable_for(answers.target, key)}=..." for key in answers.secrets),
        f"  simlift doctor {path}",
        f"  simlift check INVENTORY --job {path}",
    ]


def _quoted(text: str) -> str:
    """Write text as a TOML basic string, which JSON's strings are too."""
    return json.dumps(text, ensure_ascii=False)
