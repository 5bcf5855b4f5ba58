"""How a run stands beside its summary: at work or left alone, and how fast, as data and as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.model import State

if TYPE_CHECKING:
    from pipeline.reports.summary import Summary
    from pipeline.standing import Standing


def status_data(summary: Summary, standing: Standing | None, owner: str) -> dict[str, Any]:
    """Give a run for scripts: its summary and, while a process is at work on it, how it stands."""
    data = summary.data()
    if summary.open_tickets:
        data["open_tickets"] = summary.open_tickets
    if owner and standing and summary.state is State.RUNNING:
        data["progress"] = {"at": standing.at, "process": owner} | progress_data(standing)
    return data


def progress_data(standing: Standing) -> dict[str, Any]:
    """Give how a run stands as plain figures."""
    now = standing.snapshot
    return {
        "share": round(now.share, 4),
        "settled": now.settled,
        "rows_read": now.rows_read,
        "requests": now.requests,
        "duration_s": round(now.duration_s, 3),
        "rows_per_s": round(standing.rows_per_s, 1),
        "requests_per_s": round(standing.requests_per_s, 3),
        "allowed_requests_per_s": round(now.rate_per_s, 3),
        "in_flight": now.in_flight,
        "concurrency": now.concurrency,
        "concurrency_ceiling": now.ceiling,
        "waiting": now.waiting,
        "open_tickets": now.open_tickets,
        "holding": now.holding,
        "bound_by": standing.bound_by,
        "paused": now.paused,
        "eta_s": None if standing.eta_s is None else round(standing.eta_s, 1),
    }


def status_lines(summary: Summary, standing: Standing | None, owner: str) -> list[str]:
    """Say who is at work on a run that is not finished, and how it stands."""
    if summary.state is State.FINISHED:
        return []
    if summary.state is not State.RUNNING:
        return [f"  simlift resume {summary.run_id} goes on from there"]
    if not owner:
        return [f"  no process is at work on it; simlift resume {summary.run_id} goes on"]
    lines = [f"  process {owner} is at work on it; simlift status {summary.run_id} --watch looks on"]
    if standing and standing.bound_by:
        word = "holding" if standing.snapshot.holding else "pace"
        lines.append(f"  {word}: {standing.bound_by}")
    return lines
