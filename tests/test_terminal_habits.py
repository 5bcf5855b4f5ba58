"""What a person at a terminal is used to: near misses, one line a mistake, completion, NO_COLOR."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

SIMLIFT = str(Path(sys.executable).with_name("simlift"))
ESCAPES = re.compile(r"\x1b\[([0-9;]*)m")
SGR_COLOURS = {*range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108), 38, 48}


def simlift(*words: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SIMLIFT, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("resum r", "no such command 'resum'. Did you mean 'resume'? see simlift --help"),
        ("frobnicate", "no such command 'frobnicate'; see simlift --help"),
        ("--verson", "no such option: --verson; did you mean --version? see simlift --help"),
        ("run", "run: missing argument 'INVENTORY'; see simlift run --help"),
        ("run a.csv", "run: missing option '--job'; see simlift run --help"),
        ("run a --jobb b", "run: no such option: --jobb; did you mean --job? see simlift run --help"),
        (
            "run a --job b --log yaml",
            (
                "run: invalid value for '--log': 'yaml' is not one of 'none', 'console', 'json'; "
                "see simlift run --help"
            ),
        ),
        ("report a b", "report: got unexpected extra argument(s) (b); see simlift report --help"),
        ("tune a", "tune: nothing to change; give --requests-per-second or --concurrency"),
        (
            "stop a",
            ("no run 'a' in runs; there is none in {here}/runs: go to where it was started, or give --runs"),
        ),
        ("trace ", "trace: the key is empty; give an ICCID (or other key), whole"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_says_what_to_do(words: str, said: str, tmp_path: Path) -> None:
    # however narrow, and however colourful the terminal says it is
    ended = simlift(*words.split(" "), folder=tmp_path, COLUMNS="30", FORCE_COLOR="1")
    told = f"simlift: {said.format(here=tmp_path)}\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", told)


def test_without_a_command_the_help_is_shown_and_it_is_no_success() -> None:
    ended = simlift()
    assert (ended.returncode, ended.stderr) == (2, "")
    assert "Usage: simlift" in ended.stdout
    assert ended.stdout == simlift("--help").stdout


def test_init_without_answers_writes_nothing_and_says_so(tmp_path: Path) -> None:
    ended = simlift("init", "job.toml", folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.endswith(
        "simlift: standard input ended before the last answer; nothing was written\n"
    )
    assert not (tmp_path / "job.toml").exists()


def test_the_version_is_told() -> None:
    ended = simlift("--version")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"simlift \d+\.\d+\.\d+\S*\n", ended.stdout)


def test_the_help_groups_the_commands() -> None:
    page = simlift("--help").stdout
    titles = re.findall(r"^╭─ (.+?) ─", page, re.MULTILINE)
    assert titles == [
        "Options", "Before a run", "Import", "Look", "Steer a run, from another shell", "Try it out"
    ]  # fmt: skip


@pytest.mark.parametrize("columns", ["30", "60", "69", "70", "200"])
def test_no_name_of_an_option_is_cut_short_however_narrow_the_terminal(columns: str) -> None:
    page = simlift("run", "--help", COLUMNS=columns).stdout
    assert all(option in page for option in ("--job", "--run-id", "--metrics-port", "--metrics-host"))
    assert "…" not in page


@pytest.mark.parametrize("page", [("--help",), ("run", "--help"), ("run", "--jobb")])
def test_no_color_is_honoured_on_a_terminal(page: tuple[str, ...]) -> None:
    plain, coloured = (_on_a_terminal(*page, **env) for env in ({"NO_COLOR": "1"}, {}))
    assert "simlift" in plain
    assert not _colours(plain)
    assert bool(_colours(coloured)) == ("--help" in page), "else this test shows nothing"


def _on_a_terminal(*words: str, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}
    clean |= {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [SIMLIFT, *words], stdout=theirs, stderr=theirs, stdin=theirs, env=clean
    ) as process:
        os.close(theirs)
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # as Linux tells the end of a terminal
            pass
        process.wait(60)
    os.close(ours)
    return shown.decode()


def _colours(text: str) -> set[int]:
    numbers = {int(n) for sequence in ESCAPES.findall(text) for n in sequence.split(";") if n}
    return numbers & SGR_COLOURS


def test_a_reader_that_has_gone_is_no_traceback_and_no_success() -> None:
    with subprocess.Popen(
        [SIMLIFT, "targets"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == ("", 141)


# ---- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_a_script_that_completes(shell: str) -> None:
    ended = simlift(_SIMLIFT_COMPLETE=f"source_{shell}")
    assert ended.returncode == 0
    assert "_SIMLIFT_COMPLETE=complete_" in ended.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("simlift re", ["resume", "retry", "report", "release"]),
        ("simlift run --jo", ["--job"]),
        ("simlift resume 2026", ["2026-11-22-north", "2026-11-23-south"]),
        *((f"simlift {command} 2026-11-23", ["2026-11-23-south"]) for command in (
            "retry", "status", "report", "tune", "hold", "release", "stop"
        )),
        ("simlift resume --runs elsewhere ", ["other"]),
        ("simlift resume --runs nowhere ", []),
    ],
)  # fmt: skip
def test_commands_options_and_run_ids_are_completed(line: str, offered: list[str], tmp_path: Path) -> None:
    for name in ("runs/2026-11-22-north", "runs/2026-11-23-south", "elsewhere/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs" / "2026-notes.txt").touch()
    words = line.split(" ")
    ended = simlift(
        folder=tmp_path, _SIMLIFT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.split()) == sorted(offered)


def test_bash_itself_completes_a_run_id(tmp_path: Path) -> None:
    (tmp_path / "runs" / "2026-11-22-north").mkdir(parents=True)
    script = f"""
        PATH={Path(SIMLIFT).parent}:$PATH
        eval "$(_SIMLIFT_COMPLETE=source_bash simlift)"
        COMP_WORDS=(simlift resume 20) COMP_CWORD=2 COMP_LINE="simlift resume 20" COMP_POINT=17
        _simlift_completion simlift
        echo "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (ended.stdout, ended.stderr) == ("2026-11-22-north\n", "")


def test_completion_is_installed_for_the_shell_one_is_in(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(SIMLIFT).parent}:{os.environ['PATH']}",
    }
    ended = subprocess.run(
        ["bash", "--norc", "-c", "simlift --install-completion; true"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert "bash completion installed in" in ended.stdout
    assert any("_simlift_completion" in path.read_text("utf-8") for path in tmp_path.rglob("*.sh"))


def test_looking_at_the_help_imports_nothing_heavy() -> None:
    heavy = ("numpy", "pyarrow", "pydantic", "aiohttp", "rich")
    code = f"import sys, pipeline.cli; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
