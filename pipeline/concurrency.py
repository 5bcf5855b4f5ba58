"""How many requests may be open now, and how fast they may follow: learned from the replies alone.

Pure: no I/O and no clock of its own; every time is passed in, in seconds of one steady clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

AVERAGE_OF = 0.4  # weight of the newest round trip in the moving average
DEVIATIONS = 2.5  # a round trip so far above its average is latency that grew
DECREASE = 0.9
PAYS = 0.25  # a raise by x % must bring a quarter of x % more throughput
JUDGED_REPLIES = 8  # fewer round trips are no evidence of a latency
LONGEST_REST = 32  # round trips between two tries to do better
WALL_REPLIES = 100  # replies without push-back before a wall is leaned upon for the first time
WALL_MOVES = 1.05
BELOW_WALL = 0.98


@dataclass(slots=True)
class _Wall:
    """Where the vendor pushed back last, and how long to keep away from there.

    It is leaned upon (moved up by 5 %) after `patience` replies without push-back. If it stands, the
    patience doubles; if it gives, the patience is halved.
    """

    at: float = math.inf
    patience: int = WALL_REPLIES
    clean: int = 0
    leaning: bool = False

    def hit(self, at: float) -> None:
        if self.leaning:
            self.patience *= 2
        self.at, self.clean, self.leaning = at, 0, False

    def passed(self) -> None:
        self.clean += 1
        if self.clean >= self.patience:
            if self.leaning:
                self.patience = max(WALL_REPLIES, self.patience // 2)
            self.at, self.clean, self.leaning = self.at * WALL_MOVES, 0, True


class _LearnedRate:
    """The rate that the vendor allows, once it has pushed back. `per_s` is None before that."""

    def __init__(self) -> None:
        self.per_s: float | None = None
        self._wall = _Wall()
        self._second: deque[float] = deque()  # when replies of the last second came
        self._since = -math.inf  # when a push-back was last counted
        self._accepted = 0  # replies since then

    def accepted(self, now: float) -> None:
        self._second.append(now)
        self._accepted += 1
        self._forget(now)
        if self.per_s is None:
            return
        self.per_s += max(0.0, BELOW_WALL * self._wall.at - self.per_s) / (4 * max(1.0, self.per_s))
        if len(self._second) >= DECREASE * self.per_s:
            self._wall.passed()

    def pushed_back(self, now: float) -> None:
        self._forget(now)
        if not self._accepted or now < self._since + 1.0:
            return
        if self.per_s is None:
            if not self._second:
                return
            at = float(len(self._second))
        else:
            average = self._accepted / (now - self._since)
            at = (
                (self.per_s + min(self.per_s, average)) / 2 if average < DECREASE * self.per_s else self.per_s
            )
        self._wall.hit(at)
        self.per_s = DECREASE * at
        self._since, self._accepted = now, 0

    def _forget(self, now: float) -> None:
        while self._second and self._second[0] <= now - 1.0:
            self._second.popleft()


class _Move(Enum):
    NONE = 0
    UP = 1
    DOWN = 2


class Concurrency:
    def __init__(self, ceiling: int) -> None:
        self.limit = 1
        self._ceiling = ceiling
        self._open = 0
        self._reached = False
        self._wall = _Wall()
        self._rate = _LearnedRate()
        self._round_trips: list[float] = []
        self._since = -math.inf  # when the limit was last changed
        self._judge_at = -math.inf
        # The last limit that proved good, and its round trip
        self._good = 1
        self._average = self._deviation = self._noise = 0.0
        self._move = _Move.NONE
        self._step = 1
        self._rest = 0
        self._patience = 2
        self._heard = False  # a success since the last push-back that was counted

    @property
    def rate_per_s(self) -> float | None:
        return self._rate.per_s

    def opened(self, now: float) -> None:
        self._open += 1
        self._reached = self._reached or self._open >= self.limit

    def closed(self, now: float, *, round_trip_s: float | None, pushed_back: bool) -> None:
        self._open -= 1
        if round_trip_s is not None:
            self._heard = True
            self._rate.accepted(now)
            if self._reached:
                self._wall.passed()
            if now - round_trip_s >= self._since - 1e-9:
                self._round_trips.append(round_trip_s)
        if pushed_back:
            self.push_back(now)
        elif self._round_trips:
            starting = not self._average or self._step == self._good
            enough = self.limit if starting else max(self.limit, JUDGED_REPLIES)
            if len(self._round_trips) >= enough or (
                now >= self._judge_at and len(self._round_trips) >= JUDGED_REPLIES
            ):
                self._judge(now)

    def push_back(self, now: float) -> None:
        self._rate.pushed_back(now)
        if not self._heard or now < self._since + self._average:
            return
        self._heard = False
        if not self._reached:
            return
        self._wall.hit(self.limit)
        if self._move is _Move.UP:
            self._good = min(self._good, self.limit - 1) or 1
        else:
            self._good = max(1, int(self.limit * DECREASE))
        self._settle(now, rest=0)

    def _cap(self) -> int:
        return min(self._ceiling, max(1, math.ceil(min(self._wall.at, 1e9)) - 1))

    def _judge(self, now: float) -> None:
        trips = sorted(self._round_trips)
        count = len(trips)
        trip = trips[(count - 1) // 2]
        noise = (trips[3 * count // 4] - trips[count // 4]) / math.sqrt(count) / trip
        reached = self._reached
        self._round_trips.clear()
        self._reached = self._open >= self.limit
        self._judge_at = now + (self._average or trip)
        if not self._average:
            self._accept(trip, noise)
        if self._move is not _Move.NONE:
            if not reached:
                return
            growth = self.limit / self._good
            gain = growth * self._average / trip
            doubt = 2 * math.hypot(noise, self._noise)
            if self._move is _Move.UP:
                if count < JUDGED_REPLIES or gain >= growth**PAYS * (1 - doubt):
                    self._accept(trip, noise)
                    self._step *= 2
                    self._patience = 2
                    self._try_up(now)
                else:
                    self._step = 1
                    self._try_down(now)
            elif gain >= growth**PAYS * (1 + doubt):
                self._accept(trip, noise)
                self._try_down(now)
            else:
                self._settle(now, rest=self._patience)
                self._patience = min(LONGEST_REST, 2 * self._patience)
            return
        excess = trip - self._average
        far = max(DEVIATIONS * self._deviation, 0.05 * self._average)
        self._deviation += AVERAGE_OF * (abs(excess) - self._deviation)
        self._average += AVERAGE_OF * excess
        self._noise += AVERAGE_OF * (noise - self._noise)
        self._rest -= 1
        if abs(excess) > far:
            self._accept(trip, noise)
            self._patience = 2
            if excess > 0:
                self._try_down(now)
                return
            self._rest = 0
        if self._rest <= 0 and reached:
            self._try_up(now)

    def _accept(self, trip: float, noise: float) -> None:
        self._good, self._average, self._noise = self.limit, trip, noise
        self._deviation = max(self._deviation, noise * trip)

    def _try_up(self, now: float) -> None:
        limit = min(self._good + self._step, self._cap())
        if limit <= self._good:
            self._settle(now, rest=1)
        else:
            self._set(now, limit, _Move.UP)

    def _try_down(self, now: float) -> None:
        limit = int(self._good * DECREASE)
        if limit < 1:
            self._settle(now, rest=self._patience)
        else:
            self._set(now, limit, _Move.DOWN)

    def _settle(self, now: float, rest: int) -> None:
        self._step = 1
        self._rest = rest
        self._set(now, self._good, _Move.NONE)

    def _set(self, now: float, limit: int, move: _Move) -> None:
        self._move = move
        if limit != self.limit:
            self._since = now
            self._round_trips.clear()
            self._reached = self._open >= limit
            self._judge_at = now + 2 * self._average
            self.limit = limit
