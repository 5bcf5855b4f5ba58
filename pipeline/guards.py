"""What stops a run before damage spreads: a canary, an error budget, a code never seen before. Pure.

One Guards serves a process, and every process counts anew. What never leaves (rejected, duplicate) is none
of its business: it counts items as they come to their end.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.identifiers import mask_text
from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pipeline.model import Batch, Completion, Exceptional, Settlement
    from pipeline.settings import Guards as Settings

_HOW_TO_GO_ON = (
    "look at failures.csv; then `simlift resume` goes on and counts anew, "
    "or allow more in the job file and repeat `simlift run --run-id`"
)


@dataclass(frozen=True, slots=True)
class Trip:
    """A guard that has tripped: why and how to go on, in words with masked identifiers, and its figures.

    `holds`: nothing may leave until somebody releases the run; else it is to be stopped.
    """

    words: str
    data: Mapping[str, Any]
    holds: bool = False


class Guards:
    """Hears of everything that is settled; says how much may be taken up, and when a guard trips.

    `seen` are the codes that items of this run were refused with before this process.
    """

    def __init__(self, settings: Settings, seen: Iterable[str] = ()) -> None:
        self._canary = _Canary(settings)
        self._budget = _Budget(settings)
        self._codes = _Codes(settings, seen)
        self._off = not (settings.canary_items or self._budget.on or self._codes.on)

    def admit(self, batch: Batch) -> int:
        """Say how many items of a batch, from its front, may be taken up now; they are held to be."""
        return self._canary.admit(batch)

    @property
    def waiting(self) -> bool:
        """True while nothing that has not left yet may be taken up, whatever it is."""
        return self._canary.waiting

    def waits_for(self) -> str:
        """Say in words what must end before anything else is taken up, or nothing."""
        return self._canary.waits_for()

    def settled(self, batch: Batch, settlement: Settlement) -> Trip | None:
        """Hear of a settlement: an item without a row of its own succeeded."""
        if self._off or settlement.leaves_all_open:
            return None
        return self._heard(batch.items.column("position").to_numpy(), settlement.exceptional)

    def completed(self, completion: Completion) -> Trip | None:
        """Hear what became of promised items."""
        if self._off:
            return None
        spoken_of = [*completion.plain, *(row.position for row in completion.exceptional)]
        return self._heard(np.sort(np.asarray(spoken_of, np.int64)), completion.exceptional)

    def _heard(self, positions: NDArray[np.int64], rows: Sequence[Exceptional]) -> Trip | None:
        left_open = [row.position for row in rows if row.status is None]
        ended = np.setdiff1d(positions, left_open, assume_unique=True) if left_open else positions
        bad = [row for row in rows if row.status is not None and not row.status.good]
        bad.sort(key=lambda row: row.position)
        trips = self._canary.heard(ended, bad), self._budget.heard(ended, bad), self._codes.heard(bad)
        # A stop goes before a hold.
        return next((trip for trip in trips if trip is not None), None)


class _Canary:
    """The first items go alone, a batch at a time; nothing else leaves until all of them have their end.

    It trips as soon as too many of them are not good, whatever becomes of the others. What an earlier process
    was promised leaves nobody any more and is only asked after, so it is neither held back nor counted.
    """

    def __init__(self, settings: Settings) -> None:
        self._items = self._left = settings.canary_items
        self._most = _most(settings.canary_share, settings.canary_items)
        self._share = settings.canary_share
        self._open: set[int] = set()
        self._bad: list[Exceptional] = []

    @property
    def waiting(self) -> bool:
        return bool(self._open)

    def waits_for(self) -> str:
        return f"the canary: {len(self._open):,} of the first {self._items:,} items are out" * self.waiting

    def admit(self, batch: Batch) -> int:
        if batch.promise is not None:
            return len(batch)
        if self._open:
            return 0
        if not self._left:
            return len(batch)
        count = min(len(batch), self._left)
        self._left -= count
        self._open.update(batch.items.column("position").slice(0, count).to_pylist())
        return count

    def heard(self, ended: NDArray[np.int64], bad: Sequence[Exceptional]) -> Trip | None:
        if not self._open:
            return None
        self._bad += [row for row in bad if row.position in self._open]
        self._open.difference_update(ended.tolist())
        if len(self._bad) <= self._most:
            return None
        final = self._items - self._left - len(self._open)
        rule = f"canary_share allows {_percent(self._share)} of {self._items:,}"
        return _stop("canary", self._bad, most=self._most, of=final, which="first", rule=rule)


class _Budget:
    """At most so many of the last items that ended may be other than good.

    A share is one of the whole window: while that is not full yet, few bad rows are no large share of it.
    """

    def __init__(self, settings: Settings) -> None:
        self._over = settings.budget_over_items
        limits = []
        if settings.budget_items:
            limits.append((settings.budget_items, f"budget_items allows {settings.budget_items:,}"))
        if settings.budget_share:
            most = _most(settings.budget_share, self._over)
            limits.append((most, f"budget_share allows {_percent(settings.budget_share)}"))
        self.on = bool(limits)
        self._most, self._rule = min(limits, default=(0, ""))
        # When it is full these are one too many, if they stand close enough: no more need be remembered.
        self._recent: deque[tuple[int, Exceptional]] = deque(maxlen=self._most + 1)
        self._ended = 0

    def heard(self, ended: NDArray[np.int64], bad: Sequence[Exceptional]) -> Trip | None:
        if not self.on:
            return None
        before, self._ended = self._ended, self._ended + len(ended)
        places = before + np.searchsorted(ended, [row.position for row in bad])
        for at, row in zip(places.tolist(), bad, strict=True):
            self._recent.append((at, row))
            span = at - self._recent[0][0] + 1
            if len(self._recent) > self._most and span <= self._over:
                counted = [row for _, row in self._recent]
                rule = f"{self._rule} of {self._over:,}"
                return _stop("budget", counted, most=self._most, of=span, which="last", rule=rule)
        return None


class _Codes:
    """An item refused with a code that nobody knows yet: a person should look before there are more."""

    def __init__(self, settings: Settings, seen: Iterable[str]) -> None:
        self.on = settings.new_code != "go"
        self._holds = settings.new_code == "hold"
        self._known = {*settings.known_codes, *seen}

    def heard(self, bad: Sequence[Exceptional]) -> Trip | None:
        if not self.on:
            return None
        refused = [row for row in bad if row.status is Status.REFUSED and row.code not in self._known]
        if not refused:
            return None
        codes = Counter(row.code for row in refused)
        self._known.update(codes)
        first = refused[0]
        others = f" (and {len(codes) - 1} more)" if len(codes) > 1 else ""
        how = "look at it, then `simlift release` lets the run go on" if self._holds else _HOW_TO_GO_ON
        words = f"a code never seen before in this run: {_said(first)}{others}; {how}"
        return Trip(words, {"guard": "new_code", "codes": dict(codes)}, self._holds)


def _stop(guard: str, bad: Sequence[Exceptional], *, most: int, of: int, which: str, rule: str) -> Trip:
    codes = Counter(row.code for row in bad)
    often = codes.most_common(1)[0][0]
    example = next(row for row in bad if row.code == often)
    what = f"{len(bad):,} of the {which} {of:,} items were not good, [guards] {rule}"
    words = f"{what}; most often {_said(example)}; {_HOW_TO_GO_ON}"
    return Trip(words, {"guard": guard, "bad": len(bad), "of": of, "allowed": most, "codes": dict(codes)})


def _said(row: Exceptional) -> str:
    return ": ".join(filter(None, (row.code or "no code", mask_text(row.reason))))


def _most(share: float, items: int) -> int:
    """Give the greatest number that is no more than this share of so many items."""
    return math.floor(round(share * items, 6))  # 0.29 * 100 is 28.999…


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
