"""Any number of seeds, on all given processes; a seed that fails is printed with the command that replays it.

python tests/simulation/soak.py --seeds 20000 [--first 1] [--jobs 2]
python tests/simulation/soak.py --seed 12345 --trace
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import pyarrow as pa  # noqa: E402 - found by the line above
import structlog  # noqa: E402 - likewise
from story import Ended, tell  # noqa: E402 - likewise

PIECE = 25  # seeds that a process tells at a time


def tell_piece(first: int, count: int) -> list[Ended]:
    """Tell a few stories, silently."""
    _silence()
    pa.set_cpu_count(1)  # a process has one core
    return [tell(seed) for seed in range(first, first + count)]


def _silence() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _without_time() -> None:
    processors = [structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=False)]
    structlog.configure(processors=processors)


def soak(first: int, seeds: int, jobs: int) -> int:
    """Tell all stories; print those that fail, and what all of them together have met. Gives the failures."""
    began = time.monotonic()
    pieces = [(at, min(PIECE, first + seeds - at)) for at in range(first, first + seeds, PIECE)]
    seen: Counter[str] = Counter()
    failed = told = 0
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as processes:
        for endeds in processes.map(tell_piece, *zip(*pieces, strict=True)):
            for ended in endeds:
                told += 1
                seen.update(ended.seen)
                failed += bool(ended.breaches)
                if ended.breaches:
                    _complain(ended)
            if sys.stderr.isatty():
                print(f"\r{told} seeds, {failed} failed", end="", file=sys.stderr)
    print(f"{told} seeds, {failed} failed, {time.monotonic() - began:.1f} s")
    print(", ".join(f"{name} {count:,}" for name, count in sorted(seen.items())))
    return failed


def _complain(ended: Ended) -> None:
    print(f"seed {ended.seed}: {ended.breaches[0]}")
    for words in ended.breaches[1:4]:
        print(f"    {words}")
    print(f"    replay: python tests/simulation/soak.py --seed {ended.seed} --trace", flush=True)


def replay(seed: int, *, trace: bool) -> int:
    """Tell one story; with `trace` everything that is seen of it, with its virtual time."""
    if trace:
        _without_time()
    else:
        _silence()
    ended = tell(seed, trace=trace)
    print(ended)
    return len(ended.breaches)


def main() -> int:
    """Run from the command line; exit code 1 when a seed failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="processes (%(default)s)")
    parser.add_argument("--seed", type=int, help="tell only this one")
    parser.add_argument("--trace", action="store_true", help="tell all that is seen of it")
    options = parser.parse_args()
    if options.seed is not None:
        return int(replay(options.seed, trace=options.trace) > 0)
    return int(soak(options.first, options.seeds, options.jobs) > 0)


if __name__ == "__main__":
    sys.exit(main())
