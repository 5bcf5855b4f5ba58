"""A real terminal, driven by tmux: what a person sees of a run, and from another shell."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING

import inventories
import pytest
from program import SIMLIFT
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from program import Program
    from vendors import Vendor


class Terminal:
    """One screen on which a shell command runs; `screen` is what stands there, without colours."""

    def __init__(self, server: str, name: str, folder: Path, command: str, *, width: int) -> None:
        # A server of its own, whose windows have this size: beside others tmux gives it theirs for a while.
        settings = folder / f"{name}.conf"
        settings.write_text(f"set -g default-size {width}x30\n", "utf-8")
        self._tmux = ["tmux", "-f", str(settings), "-L", server]
        self._name = name
        size = ["-x", str(width), "-y", "30"]
        shell = f'cd {shlex.quote(str(folder))}; {command}; echo "[exit $?]"; exec cat'
        self._run("new-session", "-d", *size, "-s", name, shell)

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def screen(self) -> str:
        """Give what stands on the screen."""
        return self._run("capture-pane", "-p", "-t", self._name)

    def cursor_is_shown(self) -> bool:
        """Tell whether the cursor can be seen."""
        return self._run("display-message", "-p", "-t", self._name, "#{cursor_flag}").strip() == "1"

    def press(self, key: str) -> None:
        """Press a key."""
        self._run("send-keys", "-t", self._name, key)

    def close(self) -> None:
        """Close the terminal under whatever runs in it."""
        self._run("kill-server")

    def until(self, words: str) -> str:
        """Wait for words on the screen; give the screen."""
        return until(self.screen, lambda screen: words in " ".join(screen.split()), words)


@pytest.fixture
def start_terminal(simlift: Program) -> Iterator[Callable[..., Terminal]]:
    """Give a starter of terminals that run simlift, which are gone after the test."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed, so no terminal can be driven")
    servers: list[str] = []

    def start(*words: str | Path, width: int = 100, environment: str = "") -> Terminal:
        secrets = " ".join(
            f"{name}={shlex.quote(simlift.environment[name])}"
            for name in ("SIM_EXPRESS_ACCESS_CODE", "SIM_EXPRESS_SECRET_CODE")
        )
        surroundings = f"env -u NO_COLOR -u COLUMNS -u LINES {secrets} {environment}"
        command = f"{surroundings} {shlex.join([SIMLIFT, *map(str, words)])}"
        name = uuid.uuid4().hex[:8]
        servers.append(f"simlift-{name}")
        return Terminal(servers[-1], name, simlift.folder, command, width=width)

    yield start
    for server in servers:
        subprocess.run(["tmux", "-L", server, "kill-server"], check=False, capture_output=True)


def steady(simlift: Program, vendor: Vendor, *, rows: int = 3000) -> tuple[Path, Path]:
    """Give an inventory and a job that takes a minute and a half, unless it is tuned."""
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(rows))
    return inventory, simlift.job(vendor.url, batch_items=10, concurrency=4, requests_per_second=3.0)


def test_a_run_shows_how_it_stands_and_leaves_the_screen_clean(
    simlift: Program, start_vendor: Callable[..., Vendor], start_terminal: Callable[..., Terminal]
) -> None:
    inventory, job = steady(simlift, start_vendor())
    terminal = start_terminal("run", inventory, "--job", job, "--run-id", "night")

    screen = terminal.until("pace: the limit of 3 requests/s")

    assert re.search(r"\d+%", screen)
    assert "rows/s" in screen
    assert "of 3 requests/s" in screen
    assert "at most 4" in screen
    for status in ("succeeded", "confirmed", "refused", "gave_up", "in_doubt", "rejected", "duplicate"):
        assert status in screen
    assert simlift("tune", "night", "--requests-per-second", "1000").code == 0
    ended = terminal.until("[exit 0]")
    assert "3,000 of 3,000 rows read are good" in ended
    assert "in flight" not in ended
    assert terminal.cursor_is_shown()


def test_another_shell_looks_on_and_sees_the_run_held_released_and_ended(
    simlift: Program, start_vendor: Callable[..., Vendor], start_terminal: Callable[..., Terminal]
) -> None:
    inventory, job = steady(simlift, start_vendor())
    terminal = start_terminal("run", inventory, "--job", job, "--run-id", "night")
    terminal.until("requests/s")
    other = start_terminal("status", "--watch", width=60)
    other.until("pace: the limit of 3 requests/s")
    assert simlift("hold", "night", "--because", "the vendor called").code == 0
    for each in (terminal, other):
        screen = each.until("the vendor called")
        assert "holding: held by" in screen
        assert "after the release" in " ".join(screen.split())
    assert simlift("release", "night").code == 0
    assert simlift("tune", "night", "--requests-per-second", "1000").code == 0
    assert "3,000 of 3,000 rows read are good" in " ".join(other.until("[exit 0]").split())


def test_who_looks_on_may_leave_without_a_trace(
    simlift: Program, start_vendor: Callable[..., Vendor], start_terminal: Callable[..., Terminal]
) -> None:
    inventory, job = steady(simlift, start_vendor())
    terminal = start_terminal("run", inventory, "--job", job, "--run-id", "night")
    terminal.until("requests/s")
    other = start_terminal("status", "night", "--watch")
    other.until("of 3 requests/s")
    other.press("C-c")
    screen = other.until("[exit 130]")
    assert "Traceback" not in screen
    assert other.cursor_is_shown()
    assert simlift("stop", "night").code == 0
    terminal.until("[exit 3]")


def test_a_run_whose_terminal_is_closed_drains_and_can_be_resumed(
    simlift: Program, start_vendor: Callable[..., Vendor], start_terminal: Callable[..., Terminal]
) -> None:
    vendor = start_vendor()
    inventory, job = steady(simlift, vendor)
    terminal = start_terminal("run", inventory, "--job", job, "--run-id", "night")
    terminal.until("pace: the limit of 3 requests/s")
    terminal.close()
    summary = simlift.runs / "night" / "summary.json"
    until(summary.exists, bool, "the reports of the run")
    assert simlift.summary("night")["exit_code"] == 129
    assert vendor.held == simlift.summary("night")["counts"]["succeeded"]


def test_without_colours_none_are_shown(
    simlift: Program, start_vendor: Callable[..., Vendor], start_terminal: Callable[..., Terminal]
) -> None:
    inventory, job = steady(simlift, start_vendor(), rows=600)
    terminal = start_terminal("run", inventory, "--job", job, "--run-id", "night", environment="NO_COLOR=1")
    terminal.until("pace: the limit of 3 requests/s")
    coloured = terminal._run("capture-pane", "-e", "-p", "-t", terminal._name)
    assert not re.search(r"\x1b\[(3[1-7]|9[1-7])m", coloured)
    assert simlift("stop", "night").code == 0
    terminal.until("[exit 3]")


def test_there_is_nothing_to_look_on_at_when_no_run_is_under_way(simlift: Program) -> None:
    ended = simlift("status", "--watch")
    assert ended.code == 2
    assert "no single run in runs is under way" in ended.err
    assert ended.err.count("\n") == 1
