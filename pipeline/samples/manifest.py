"""The manifest of a sample: what is odd in it and where, as counts and as a file of JSON lines.

The first line says what was asked for, the last one counts; between them stands a line for each odd row.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from pipeline.samples.defects import Expect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.samples.defects import Defect


@dataclass(slots=True)
class Manifest:
    """What a sample of `rows` rows holds, counted: `kinds` by name, `expected` by what becomes of a row.

    `known` are the keys of those good rows that a demonstration plants in the vendor beforehand.
    """

    rows: int
    kinds: Counter[str] = field(default_factory=Counter)
    expected: Counter[Expect] = field(default_factory=Counter)
    known: list[str] = field(default_factory=list)
    _file: IO[str] | None = None

    @property
    def sent(self) -> int:
        """How many rows would be sent."""
        return self.rows - self.expected[Expect.REJECTED] - self.expected[Expect.DUPLICATE]

    def text(self) -> str:
        """Give the counts on one line."""
        counts = ", ".join(f"{self.expected[one]:,} {one}" for one in Expect if self.expected[one])
        return f"{self.rows:,} rows, {self.sent:,} would be sent" + (f"; {counts}" if counts else "")

    def note(self, position: int, defect: Defect, clean: Sequence[str] = (), earlier: int = 0) -> None:
        """Write down an odd row: its `position` counts from 1, 0 is the file as a whole.

        `clean` are the cells without the defect; `earlier` is the position of the row it goes with.
        """
        self.kinds[defect.kind] += 1
        self.expected[defect.expect] += 1
        if self._file is None:
            return
        line: dict[str, Any] = {"row": position, "kind": defect.kind, "expect": str(defect.expect)}
        if defect.code:
            line["codes"] = [defect.code.format(*clean).lower()]
        if defect.field:
            line["column"] = defect.field
        if defect.fails:
            line["check_digits"] = "wrong"
        if earlier:
            line["earlier_row"] = earlier
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")


@contextmanager
def kept_manifest(path: Path | None, inventory: str, rows: int, **asked: Any) -> Iterator[Manifest]:
    """Give an empty manifest; with a `path` what is noted is written there as it comes. Raises OSError."""
    if path is None:
        yield Manifest(rows)
        return
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps({"inventory": inventory, "rows": rows, **asked}) + "\n")
        manifest = Manifest(rows, _file=file)
        yield manifest
        counts = {str(expect): manifest.expected[expect] for expect in Expect}
        kinds = dict(sorted(manifest.kinds.items()))
        file.write(json.dumps({"sent": manifest.sent, **counts, "kinds": kinds}) + "\n")
