"""How many requests may be open now, learned from round trips and push-backs alone.

Pure: no I/O and no clock of its own; every time is passed in, in seconds of one steady clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from pipeline.learned_rate import LearnedRate

NEWEST = 0.4  # weight of the newest round trip in the moving average
DEVIATIONS = 2.5  # a round trip so far off its average is no noise,
NOISE = 0.05  # nor is it below this share of the average
DECREASE = 0.9
WORTH = 0.25  # a change of the limit by x % must change the throughput by more than a quarter of x %
QUEUED = 1.5  # an average so far above the least round trip means that requests wait for one another
JUDGED_REPLIES = 8  # fewer round trips are no evidence
LONGEST_REST = 32  # round trips between two trials, after 2, 4, 8 and so on
WALL_REPLIES = 100  # replies without push-back before a wall is tried, then four times as many, and so on
WALL_STEP = 0.04
LONGEST_PATIENCE = 25_600
MISLED = 0.5  # a wall that came down to this share of its height was none


class _Trial(Enum):
    NONE = auto()
    UP = auto()
    DOWN = auto()


@dataclass(slots=True)
class _Wall:
    """The limit at which the vendor pushed back: a trial there that fails makes the next four times rarer.

    Push-back that does not cease at half the limit tells of another wall, or of mere chance: forgotten.
    """

    at: float = math.inf
    highest: float = 0.0
    patience: int = WALL_REPLIES
    clean: int = 0
    step: float = 0.0

    def hit(self, at: int) -> None:
        if self.step:
            self.patience = min(LONGEST_PATIENCE, 4 * self.patience)
        self.at, self.clean, self.step = at, 0, 0.0
        self.highest = max(self.highest, at)
        if at < MISLED * self.highest:
            self.at, self.patience, self.highest = math.inf, WALL_REPLIES, 0.0

    def replied(self) -> None:
        self.clean += 1
        if self.clean < self.patience or math.isinf(self.at):
            return
        if self.step:
            self.patience = max(WALL_REPLIES, self.patience // 4)
        self.step = min(1.0, 2 * self.step or WALL_STEP)
        self.at, self.clean = self.at * (1 + self.step), 0

    def below(self, ceiling: int) -> int:
        """Give the highest limit that is worth a try."""
        return ceiling if math.isinf(self.at) else max(1, min(ceiling, math.ceil(self.at) - 1))


class Concurrency:
    """The number of requests that may be open (`limit`, from 1 to `ceiling`) and their `rate_per_s`.

    After Vector's adaptive concurrency, judged once per average round trip of the successes, outliers left
    out. A raise is a trial, made only if the limit was really reached. It stays if the round trip is no
    worse than its moving average allows: throughput, limit / round trip, must gain a quarter of what was
    added, less the noise. The step doubles from 1 with each raise that stays (slow start, which thus
    resumes when capacity comes back) and falls back to 1. A raise that does not stay, a ceiling reached
    with requests that wait for one another, or a round trip above the average by 2.5 deviations multiplies
    by 0.9, again as a trial: taken back if it costs throughput.
    Push-back multiplies by 0.9 at once, or takes the raise back, and leaves a wall, tried ever more rarely.

    Few requests and short round trips exceed a hidden rate even at limit 1: so that is learned as well.
    """

    def __init__(self, ceiling: int) -> None:
        self.limit = 1
        self._ceiling = ceiling
        self._open = 0
        self._reached = False
        self._rate = LearnedRate()
        self._wall = _Wall()
        self._heard = False  # a success came since a push-back last counted
        self._round_trips: list[float] = []  # of requests opened since `_measured_from`
        self._changed = self._measured_from = self._judge_at = -math.inf
        self._good = 1  # the last limit that proved good; round trips below are at this limit
        self._average = self._deviation = self._noise = 0.0
        self._least = math.inf
        self._trial = _Trial.NONE
        self._step = 1
        self._resting = 0  # round trips left before the next trial
        self._rest = 2

    @property
    def ceiling(self) -> int:
        """The most that `limit` may ever be."""
        return self._ceiling

    @ceiling.setter
    def ceiling(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._good = min(self._good, ceiling)
        self.limit = min(self.limit, ceiling)
        self._reached = self._open >= self.limit

    @property
    def in_flight(self) -> int:
        """How many requests have left and are not answered yet."""
        return self._open

    @property
    def rate_per_s(self) -> float | None:
        """Requests per second that may leave, spaced evenly; None while no limit is known."""
        return self._rate.per_s

    def forget_rate(self) -> None:
        """Take it that no rate is known, until the vendor pushes back again."""
        self._rate = LearnedRate()

    def opened(self, now: float) -> None:  # noqa: ARG002 - every event has its time
        """Note that a request left."""
        self._open += 1
        self._reached = self._reached or self._open >= self.limit

    def closed(
        self, now: float, *, round_trip_s: float | None, pushed_back: bool, over_rate: bool = True
    ) -> None:
        """Note how a request ended: `round_trip_s` for a success, `pushed_back` for 429, 503 and timeout.

        A success may be pushed back in part. `over_rate` is False where a push-back speaks of load alone
        (503, timeout): it lowers the limit, but teaches no rate.
        """
        self._open -= 1
        if round_trip_s is not None:
            self._heard = True
            self._rate.replied(now)
            if self._reached:
                self._wall.replied()
            if now - round_trip_s >= self._measured_from - 1e-9:
                self._round_trips.append(max(round_trip_s, 1e-6))
        if pushed_back:
            self.pushed_back(now, over_rate=over_rate)
        elif self._enough(now):
            self._judge(now)

    def pushed_back(self, now: float, *, over_rate: bool = True) -> None:
        """Note a push-back, also one found only later, in a reply that is already closed.

        Counts once per round trip, and once only while nothing succeeds: silence has no limit to find.
        """
        if over_rate and self._average:
            self._rate.pushed_back(now, (self._open + 1) / self._average)
        if not self._heard or now < self._changed + self._average:
            return
        self._heard = False
        if self._reached:
            self._wall.hit(self.limit)
            if self._trial is not _Trial.UP:
                self._good = max(1, int(self.limit * DECREASE))
            self._settle(now, 0)

    def _enough(self, now: float) -> bool:
        count = len(self._round_trips)
        if not self._average or self._step == self._good:  # slow start from 1: no time to lose
            return count >= self.limit
        return count >= JUDGED_REPLIES and (count >= self.limit or now >= self._judge_at)

    def _judge(self, now: float) -> None:
        trips = sorted(self._round_trips)
        count, reached = len(trips), self._reached
        middle = trips[count // 8 : count - count // 8]
        trip = sum(middle) / len(middle)
        noise = (trips[3 * count // 4] - trips[count // 4]) / math.sqrt(count) / trip
        self._least = min(self._least, trip)
        self._measure_anew(now)
        if not self._average:
            self._accept(trip, noise)
        if self._trial is _Trial.NONE:
            self._judge_rest(now, trip, noise, reached=reached)
        elif reached:
            self._judge_trial(now, trip, noise, certain=count >= JUDGED_REPLIES)

    def _judge_trial(self, now: float, trip: float, noise: float, *, certain: bool) -> None:
        growth = self.limit / self._good
        gain = growth * self._average / trip / growth**WORTH
        doubt = math.hypot(noise, self._noise)
        if self._trial is _Trial.UP:
            if gain >= 1 - doubt or not certain:
                self._accept(trip, noise)
                self._step, self._rest = 2 * self._step, 2
                self._try_up(now)
            else:
                self._step = 1
                self._try_down(now)
        elif gain >= 1 + doubt:
            self._accept(trip, noise)
            self._step = min(4, 2 * self._step)
            self._try_down(now)
        else:
            self._settle(now, self._rest)
            self._rest = min(LONGEST_REST, 2 * self._rest)

    def _judge_rest(self, now: float, trip: float, noise: float, *, reached: bool) -> None:
        excess = trip - self._average
        is_news = abs(excess) > max(DEVIATIONS * self._deviation, NOISE * self._average)
        self._deviation += NEWEST * (abs(excess) - self._deviation)
        self._average += NEWEST * excess
        self._noise += NEWEST * (noise - self._noise)
        self._resting -= 1
        if is_news:
            self._accept(trip, noise)
            self._step, self._rest, self._resting = 1, 2, 0
        if is_news and excess > 0:
            self._try_down(now)
        elif self._resting <= 0 and reached:
            self._try_up(now)

    def _accept(self, trip: float, noise: float) -> None:
        self._good, self._average, self._noise = self.limit, trip, noise
        self._deviation = max(self._deviation, noise * trip)

    def _try_up(self, now: float) -> None:
        limit = min(self._good + self._step, self._wall.below(self._ceiling))
        if limit > self._good:
            self._set(now, limit, _Trial.UP)
        elif limit == self._ceiling and self._average > QUEUED * self._least:
            self._step = 1
            self._try_down(now)
        else:
            self._settle(now, 1)

    def _try_down(self, now: float) -> None:
        limit = int(self._good * DECREASE**self._step)
        if limit >= 1:
            self._set(now, limit, _Trial.DOWN)
        else:
            self._settle(now, self._rest)

    def _settle(self, now: float, rest: int) -> None:
        self._step, self._resting = 1, rest
        self._set(now, self._good, _Trial.NONE)

    def _set(self, now: float, limit: int, trial: _Trial) -> None:
        self._trial = trial
        if limit == self.limit:
            return
        self.limit, self._changed = limit, now
        # The first round trip after a change shows the change itself, which for a few requests is nothing.
        self._measure_anew(now + (self._average if limit >= JUDGED_REPLIES else 0.0))

    def _measure_anew(self, begin: float) -> None:
        self._measured_from = max(self._measured_from, begin) if self._changed < begin else begin
        self._judge_at = begin + 2 * self._average
        self._round_trips.clear()
        self._reached = self._open >= self.limit
