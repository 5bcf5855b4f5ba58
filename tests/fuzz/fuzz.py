"""Any bytes give rows, rejections or one clear error: held against files made wrong, for as long as you like.

python tests/fuzz/fuzz.py --source all --minutes 10 [--seed 1] [--keep FOLDER] [--pause-file FILE]
python tests/fuzz/fuzz.py --replay FOLDER/csv-1/case.csv

Each case is a good file damaged, or one that led where no earlier case had been, damaged further. It is
driven in a process of its own (worker.py) as an import drives it (driving.py). What is found is kept with all
that is needed to replay it. Exit code 1 when something was found.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from archive_structure import compressed  # noqa: E402 - found by the line above
from driving import Case, Read, drive  # noqa: E402 - likewise
from findings import Finding, Story, alike, report  # noqa: E402 - likewise
from good_files import GOOD, good_files  # noqa: E402 - likewise
from mutation import damaged, grown  # noqa: E402 - likewise
from structure import restructured  # noqa: E402 - likewise
from worker import Bounds, Ended, Worker  # noqa: E402 - likewise

from pipeline.files import codec_of  # noqa: E402 - likewise

if TYPE_CHECKING:
    from collections.abc import Callable

_SUFFIXES = ("", ".csv", ".json", ".out", ".xlsx", ".parquet", ".arrow", ".zip", ".gz", ".txt", ".dat")
_MOST_POOLED, _MOST_POOLED_BYTES = 600, 100_000
_MOST_IN_BLOCKS_BYTES = 500_000
_MOST_SCREENED_BYTES = 1_000_000
_KEPT_OF_A_KIND = 3
_SMALLEST_TRIES, _SMALLEST_S = 400, 60.0
_TOLD_EVERY_S = 60.0
_SLOW_S = 5.0  # such a case is kept, and is no finding
#: Of Parquet a chunk may take a minute, by design: nobody else can end pyarrow's work.
_BOUNDS = {"parquet": Bounds(wall_s=200.0)}


class Fuzzer:
    """Makes cases of one source from a seed, and drives them."""

    def __init__(
        self,
        source: str,
        seed: int,
        keep: Path,
        pause_file: Path | None = None,
        drive: Callable[[Path, Case], Read] = drive,
    ) -> None:
        self._source, self._seed, self._keep, self._pause_file = source, seed, keep, pause_file
        self._rng = random.Random(f"{source} {seed}")
        self._pool = list(good_files(source))
        self._foreign = [content for name in GOOD for content in good_files(name)]
        self._worker = Worker(_BOUNDS.get(source, Bounds()), drive)
        self._folder = keep
        self.story = Story()

    def run(self, minutes: float) -> Story:
        """Fuzz for so long; pauses do not count."""
        with closing(self._worker), tempfile.TemporaryDirectory(prefix="simlift-fuzz-") as folder:
            self._folder = Path(folder)
            left_s, told_s = 60 * minutes, time.monotonic()
            while left_s > 0:
                self._pause()
                began_s = time.monotonic()
                content, suffix, size = self._content()
                case = self._case(content, size)
                is_short = len(content) < _MOST_POOLED_BYTES
                ended = self._drive(content, suffix, case, traced=is_short and self._rng.random() < 0.3)
                self.story.count(ended)
                if ended.kind or ended.cpu_s > _SLOW_S:
                    self._found(ended, content, suffix, case)
                elif ended.edges and is_short:
                    self._pooled(content)
                left_s -= time.monotonic() - began_s
                if time.monotonic() - told_s > _TOLD_EVERY_S:
                    told_s = time.monotonic()
                    self._tell(left_s)
            self.story.edges = len(self._worker.edges)
        return self.story

    def replay(self, path: Path) -> Ended:
        """Drive a kept case."""
        told = json.loads((path.parent / "told.json").read_text("utf-8"))
        with closing(self._worker):
            return self._worker.run(path, Case(**told["case"]))

    # ------------------------------------------------------------ a case

    def _content(self) -> tuple[bytes, str, int]:
        """Give a file, the end of its name, and its size before it was compressed."""
        rng = self._rng
        content = rng.choice(self._pool if rng.random() < 0.6 else good_files(self._source))
        others = rng.choice([self._pool, self._pool, self._foreign])
        match rng.random():
            case draw if draw < 0.45:
                content = damaged(rng, content, others)
            case draw if draw < 0.90:
                content = restructured(rng, self._source, content, [*others[:50], *good_files(self._source)])
            case draw if draw < 0.93:
                content = damaged(
                    rng, restructured(rng, self._source, content, good_files(self._source)), others
                )
            case draw if draw < 0.945:
                content = grown(rng, content)
            case draw if draw < 0.955:
                content = rng.randbytes(rng.randrange(400))
            case draw if draw < 0.975:
                content = damaged(rng, rng.choice(self._foreign), [content])
        size = len(content)
        suffix = GOOD[self._source][0] if rng.random() < 0.7 else rng.choice(_SUFFIXES)
        if rng.random() < (0.25 if self._source == "zip" else 0.1):
            content, more = compressed(rng, content)
            suffix += more * (rng.random() < 0.7)
            if rng.random() < 0.25:
                content = damaged(rng, content, others)
        return content, suffix, size

    def _case(self, content: bytes, size: int) -> Case:
        rng = self._rng
        settings: dict[str, Any] = {}
        if rng.random() < (0.5 if self._source != "zip" else 0.15):
            settings["format"] = self._source if self._source != "zip" else rng.choice(list(GOOD)[:-1])
        elif rng.random() < 0.1:
            settings["format"] = rng.choice(list(GOOD)[:-1])
        if rng.random() < 0.1:
            settings["encoding"] = "latin-1"
        if rng.random() < 0.5:
            settings["quantity"] = "warn"
        if rng.random() < 0.1:
            settings["columns"] = {"iccid": rng.choice(["ICC ID", "iccid", "x", "Ki"])}
        is_small = size < _MOST_IN_BLOCKS_BYTES and rng.random() < 0.5
        sizes = (
            [5000, 50_000]
            if codec_of(content) or content.startswith(b"PK")
            else [1, 2, 3, 7, 16, 100, 1000, 5000]
        )
        # What is long takes long, and what each part of an import makes of it is no hang.
        screened = size < _MOST_SCREENED_BYTES and rng.random() < 0.4
        return Case(
            settings=settings,
            block_bytes=max(rng.choice(sizes), size // 500) if is_small else 0,
            target=rng.choice(["", "sim-express", "sim-express", "bulk-subscriber"]),
            screened=screened,
            examined=screened and rng.random() < 0.2,
            left=rng.random() < 0.1,
        )

    def _drive(self, content: bytes, suffix: str, case: Case, *, traced: bool = False) -> Ended:
        path = self._folder / f"case{suffix}"
        path.write_bytes(content)
        try:
            return self._worker.run(path, case, traced=traced)
        finally:
            path.unlink()

    def _pooled(self, content: bytes) -> None:
        if len(self._pool) < _MOST_POOLED:
            self._pool.append(content)
        else:
            self._pool[self._rng.randrange(len(good_files(self._source)), _MOST_POOLED)] = content

    def _pause(self) -> None:
        while self._pause_file and self._pause_file.exists():
            time.sleep(1)

    # ------------------------------------------------------------ a finding

    def _found(self, ended: Ended, content: bytes, suffix: str, case: Case) -> None:
        sort = alike(ended) or "slow"
        finding = self.story.findings.setdefault(sort, Finding(ended.words))
        finding.cases += 1
        if len(finding.kept) >= _KEPT_OF_A_KIND:
            return
        number = sum(len(known.kept) for known in self.story.findings.values()) + 1
        folder = self._keep / f"{self._source}-{self._seed}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        told = {"seed": self._seed, "number": self.story.cases, "case": asdict(case), **_words(ended)}
        (folder / "told.json").write_text(json.dumps(told, indent=1), "utf-8")
        (folder / f"case{suffix}").write_bytes(content)
        finding.kept.append(folder)
        print(f"{self._source}: {sort}\n    {folder}", flush=True)
        if ended.kind not in ("", "hang", "memory") and not finding.kept[1:]:
            (folder / f"smaller{suffix}").write_bytes(self._smaller(content, suffix, case, sort))

    def _smaller(self, content: bytes, suffix: str, case: Case, sort: str) -> bytes:
        """Leave out of a file what can be left out so that it still fails alike."""
        tries, began_s = 0, time.monotonic()
        size = len(content) // 2
        while size:
            at = 0
            while at < len(content):
                tries += 1
                if tries > _SMALLEST_TRIES or time.monotonic() - began_s > _SMALLEST_S:
                    return content
                less = content[:at] + content[at + size :]
                if alike(self._drive(less, suffix, case)) == sort:
                    content = less
                else:
                    at += size
            size //= 2
        return content

    def _tell(self, left_s: float) -> None:
        story = self.story
        print(
            f"{self._source}: {story.cases:,} cases, {len(self._worker.edges):,} steps seen, "
            f"{len(self._pool)} files, {story.found} findings, {left_s / 60:.1f} minutes to go",
            file=sys.stderr,
            flush=True,
        )


def _words(ended: Ended) -> dict[str, str]:
    return {"kind": ended.kind, "words": ended.words}


def main() -> int:
    """Run from the command line; exit code 1 when something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="all", choices=[*GOOD, "all"], help="which (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="for each source (%(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the cases (the time of day)")
    keep = Path(tempfile.gettempdir()) / "simlift-fuzz"
    parser.add_argument("--keep", type=Path, default=keep, help="where findings are kept (%(default)s)")
    parser.add_argument("--pause-file", type=Path, help="while this file exists, nothing is done")
    parser.add_argument("--replay", type=Path, help="drive a kept case again, and nothing else")
    options = parser.parse_args()
    if options.replay:
        ended = Fuzzer("csv", 0, options.keep).replay(options.replay)
        print(f"{ended.label}\n{ended.words}\n{ended.cpu_s:.1f} s, {ended.memory_bytes / 1e6:,.0f} MB")
        return int(bool(ended.kind))
    print(f"seed {options.seed}", flush=True)
    found = 0
    for source in GOOD if options.source == "all" else [options.source]:
        story = Fuzzer(source, options.seed, options.keep, options.pause_file).run(options.minutes)
        report(source, options.minutes, story)
        found += story.found
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
