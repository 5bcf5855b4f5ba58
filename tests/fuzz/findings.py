"""What came of fuzzing: how cases ended, and which of them failed alike."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from worker import Ended


@dataclass
class Finding:
    """Cases that failed alike."""

    words: str
    cases: int = 0
    kept: list[Path] = field(default_factory=list)


@dataclass
class Story:
    """What came of fuzzing one source."""

    cases: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    slowest_s: float = 0.0
    most_bytes: int = 0
    edges: int = 0

    @property
    def found(self) -> int:
        """Count the kinds of findings."""
        return len(self.findings) - ("slow" in self.findings)

    def count(self, ended: Ended) -> None:
        """Count a case in."""
        self.cases += 1
        self.labels[ended.label] += 1
        self.reasons.update(ended.reasons)
        self.slowest_s = max(self.slowest_s, ended.cpu_s)
        self.most_bytes = max(self.most_bytes, ended.memory_bytes)


def alike(ended: Ended) -> str:
    """Say what a finding is, in words that are the same for another case of it."""
    if ended.kind == "":
        return ""
    places = re.findall(
        r'File "[^"]*/(pipeline/[^"]*|tests/fuzz/driving.py)", line ([0-9]+), in (\w+)', ended.words
    )
    last = next((place for place in reversed(places) if place[0].startswith("pipeline")), ("", "", ""))
    line = ended.words.strip().splitlines()[-1][:200] if ended.words.strip() else ""
    words = re.sub(r"[0-9]+", "0", line) if ended.kind not in ("hang", "memory") else ""
    if ended.kind == "Breach":
        words = words[:60]
    return f"{ended.kind} at {last[0]}:{last[1]} {last[2]} {words}"


def report(source: str, minutes: float, story: Story) -> None:
    """Print how the cases of a source ended."""
    print(
        f"\n{source}: {minutes:g} minutes, {story.cases:,} cases, {story.found} findings; slowest "
        f"{story.slowest_s:.1f} s of processor time, most memory {story.most_bytes / 1e6:,.0f} MB, "
        f"{story.edges:,} steps seen"
    )
    for label, count in story.labels.most_common(40):
        print(f"{count:9,}  {label}")
    for reason, count in story.reasons.most_common(40):
        print(f"{count:9,}  row: {reason}")
    for alike, finding in story.findings.items():
        print(f"FOUND {finding.cases:,} times: {alike}\n    {', '.join(map(str, finding.kept))}")
        print("    " + finding.words.strip().replace("\n", "\n    ")[:3000])
    sys.stdout.flush()
