"""The rate a vendor allows without saying so, found out by its push-backs. Pure; times are passed in.

A search between what went well and what was pushed back, at rest ever longer once the two are close.
"""

from __future__ import annotations

import math
from collections import deque

CLOSE = 1.035  # the search ends when what was refused is so near to what went well
DROP = 0.1  # taken off a rate that was believed good and is pushed back; doubles if it happens again
MISLED = 0.5  # a rate lowered to this share, and still pushed back: start over
TRIAL_S = 2.0  # a rate must go well for so long,
TRIAL_REPLIES = 60  # and for so many replies
REST_REPLIES = 1600  # replies before the vendor is asked for more again: each time four times as many,
LONGEST_REST_REPLIES = 25_600  # but no more than these
BINDING = 0.9  # replies that come more slowly than this share of the rate say nothing about it


class LearnedRate:
    """How many requests per second may leave; `per_s` is None until the vendor first pushes back.

    The first push-back gives two bounds: what was accepted in the last second, and what was sent. From
    then on the rate climbs in growing steps, never beyond the middle of what went well and what was pushed
    back; at a push-back it returns to what went well, and takes that back if it is pushed back there.
    With the two bounds close together it rests, and tries for more after 1,600 replies, then 6,400, then
    25,600: a hidden rate costs a push-back or two each time, so the rarer the trials, the nearer to none.

    Push-back that does not cease at half the rate tells of another rate, or of no rate at all: what was
    learned is forgotten, and the next push-back teaches anew. So chance 429s cannot choke a run.
    """

    def __init__(self) -> None:
        self.per_s: float | None = None
        self._well = 0.0  # the highest rate that went well
        self._refused = math.inf  # the lowest rate above it that was pushed back
        self._step = self._drop = 0.0
        self._learned = 0.0  # the highest rate that went well since the first push-back, or believed to
        self._rest_replies = REST_REPLIES
        self._clean = 0  # replies at this rate since it was set
        self._last_second: deque[float] = deque()  # when its replies came
        self._counted = -math.inf  # when a push-back last counted

    def replied(self, now: float) -> None:
        """Note a success."""
        self._last_second.append(now)
        self._forget(now)
        if self.per_s is None or len(self._last_second) < BINDING * self.per_s:
            return
        self._clean += 1
        trial_replies = max(TRIAL_REPLIES, int(TRIAL_S * self.per_s))
        if self._clean == trial_replies:
            self._drop = 0.0
            self._well = max(self._well, self.per_s)
            self._learned = max(self._learned, self._well)
        resting = self._refused <= CLOSE * self._well
        if self._clean < (self._rest_replies if resting else trial_replies):
            return
        if resting:
            self._refused, self._step = math.inf, 0.0
            self._rest_replies = min(LONGEST_REST_REPLIES, 4 * self._rest_replies)
        self._step = 2 * self._step or CLOSE - 1
        self._set(min((self._well + self._refused) / 2, self._well * (1 + self._step)))

    def pushed_back(self, now: float, sent_per_s: float) -> None:
        """Note a push-back; those of one second count once, and none where nothing is accepted at all."""
        self._forget(now)
        if not self._last_second or now < self._counted + 1.0:
            return
        self._counted, self._step = now, 0.0
        if self.per_s is None:
            self._refused = sent_per_s
            # A run's first replies do not fill a second: over one they would look like hardly any.
            span_s = now - self._last_second[0]
            accepted_per_s = len(self._last_second) / span_s if span_s > 0 else math.inf
            self._well = min((1 - DROP) * sent_per_s, accepted_per_s)
        else:
            self._refused = self.per_s
            if self.per_s <= self._well:
                self._drop = min(0.5, 2 * self._drop or DROP)
                self._well = self.per_s * (1 - self._drop)
        self._learned = max(self._learned, self._well)
        if self._well < MISLED * self._learned:
            self._learned = self._drop = 0.0
            self.per_s = None
        else:
            self._set(self._well)

    def _set(self, per_s: float) -> None:
        self.per_s, self._clean = per_s, 0

    def _forget(self, now: float) -> None:
        while self._last_second and self._last_second[0] <= now - 1.0:
            self._last_second.popleft()
