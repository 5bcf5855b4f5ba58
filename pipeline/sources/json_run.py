"""Finds the run of flat objects that a text begins with, so that a columnar parser can read it all at once.

Looks at braces alone, a whole block at a time. What stands within them is the parser's business.
"""

from __future__ import annotations

import numpy as np

_OPEN, _CLOSE, _COMMA, _LINE_BREAK = b"{},\n"
_BETWEEN = np.zeros(256, np.bool_)
_BETWEEN[list(b" \t\r\n,")] = True
_WIDEST_GAP = 64


def flat_run(text: bytes, longest: int) -> tuple[bytes, int]:
    """Give the objects that a text begins with, white space between them, and how many they are.

    None is longer than `longest` bytes.

    Objects in which no brace stands, white space and commas between them: everything at the top is surely
    an object (a brace in quotes ends the run, or leaves it with quotes that do not close). pyarrow needs
    that: it dies of a `null` at the top (github.com/apache/arrow/issues/11044).
    """
    array = np.frombuffer(text, np.uint8)
    opens, closes = np.flatnonzero(array == _OPEN), np.flatnonzero(array == _CLOSE)
    count = min(len(opens), len(closes))
    if not count or opens[0] > _WIDEST_GAP or not _BETWEEN[array[: opens[0]]].all():
        return b"", 0
    lengths = closes[:count] - opens[:count] + 1
    in_turn = (lengths > 0) & (lengths <= longest)
    in_turn[:-1] &= in_turn[1:]  # else two close: the first may stand in quotes
    following = opens[1 : count + 1]
    in_turn[: len(following)] &= closes[: len(following)] < following
    count = _leading(in_turn)
    if not count:
        return b"", 0
    gaps, gap_ends = closes[: count - 1] + 1, opens[1:count]
    clean = np.ones(count - 1, np.bool_)
    commas = [np.flatnonzero(array[: opens[0]] == _COMMA)]
    for ahead in range(_WIDEST_GAP + 1):
        inside = np.flatnonzero(gaps + ahead < gap_ends)
        if not len(inside):
            break
        at = gaps[inside] + ahead
        clean[inside] &= _BETWEEN[array[at]] & (ahead < _WIDEST_GAP)
        commas.append(at[array[at] == _COMMA])
    count = _leading(clean) + 1
    end = int(closes[count - 1]) + 1
    comma_at = np.concatenate(commas)
    comma_at = comma_at[comma_at < end]
    if not len(comma_at):
        return text[:end], count
    run = array[:end].copy()
    run[comma_at] = _LINE_BREAK
    return run.tobytes(), count


def _leading(flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """Count the flags that are set before the first that is not."""
    return len(flags) if flags.all() else int(np.argmin(flags))
