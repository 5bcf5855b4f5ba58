"""The largest batch the vendor takes, learned from what it refuses. Pure."""

from __future__ import annotations

import re

_GOOD_ENOUGH = 0.01  # a bound this close to the true one is not worth another refused call
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+|\d+")


class BatchSize:
    """`bound`: how many items may be sent together now.

    A refused size lowers it: to what the vendor's words name, else to one less (a bound meant exclusively),
    else halfway to the largest size that was taken. An accepted size raises it halfway to the smallest that
    was refused, until the two are close. The job's own bound is never exceeded.
    """

    def __init__(self, most_items: int) -> None:
        self.bound = most_items
        self._accepted = 0
        self._refused = most_items + 1
        self._first = most_items
        self._named = False
        self._suspected = 0
        self._parts_taken = 0

    def refused(self, items: int, words: str = "") -> None:
        """Learn that a batch was refused for its size; `words` are the vendor's."""
        if items >= self._refused:
            return
        if items <= self._accepted:  # taken before, refused now: what was learned no longer holds
            self._accepted = 0
        self._refused = items
        named = [int(number.replace(",", "")) for number in _NUMBER.findall(words)]
        named = [number for number in named if self._accepted < number < items]
        self._named = bool(named)
        if named:
            self.bound = max(named)
        elif items == self._first:
            self.bound = items - 1
        else:
            self.bound = (self._accepted + items) // 2
        self.bound = max(1, self.bound)

    def accepted(self, items: int) -> None:
        """Learn that a batch of this size was taken."""
        self._note_part(items)
        if items >= self._refused:  # refused before, taken now: likewise
            self._refused = self._first + 1
        if items <= self._accepted:
            return
        self._accepted = items
        close = self._refused - items <= 1 + items * _GOOD_ENOUGH
        if items >= self.bound and not close and not self._named:
            self.bound = min((items + self._refused) // 2, self._refused - 1)

    def suspect(self, items: int) -> None:
        """Note a batch refused without a word on its size, larger than any that was taken."""
        if items > self._accepted:
            self._suspected, self._parts_taken = items, 0

    def culprit(self) -> None:
        """Note that a single item was refused alone: then it was not the size."""
        self._suspected = 0

    def _note_part(self, items: int) -> None:
        """Conclude from two parts that were taken whole that their batch was refused for its size."""
        if self._suspected // 2 <= items < self._suspected:
            self._parts_taken += 1
            if self._parts_taken >= 2:  # noqa: PLR2004 - both halves
                suspected, self._suspected = self._suspected, 0
                self._accepted = max(self._accepted, items)
                self.refused(suspected)
