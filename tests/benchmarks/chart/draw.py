"""Draws how cost grows with the rows: `draw.py POINTS FILE.svg`, the points as JSON. Text stays text."""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt, ticker

PANELS = (
    ("rows_per_s", "rows per second", 1),
    ("peak_mb", "peak memory, MB", 1),
    ("ledger_bytes_per_row", "ledger, bytes per row", 1),
    ("reports_s", "reports, seconds per million rows", 1_000_000),
)


def draw(points: list[dict[str, Any]], path: str) -> None:
    # The same figures give the same file, so that a chart changes in a commit only when they do.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "simlift", "font.size": 9})
    figure, panels = plt.subplots(1, len(PANELS), figsize=(12, 3), layout="constrained")
    rows = [point["rows"] for point in points]
    for axes, (name, title, per_rows) in zip(panels, PANELS, strict=True):
        values = [point[name] * per_rows / (point["rows"] if per_rows > 1 else 1) for point in points]
        axes.plot(rows, values, marker="o", color="#1f6f8b")
        axes.set_title(title, fontsize=9)
        axes.set_xscale("log")
        axes.set_xticks(rows)
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value / 1e6:g} M"))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.10g}"))
        axes.set_ylim(0, 1.25 * max(values))
        axes.set_xlabel("rows")
        axes.grid(axis="y", color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(sys.argv[1]), sys.argv[2])
