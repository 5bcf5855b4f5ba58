"""Runs for the tests of the report, told as a ledger in memory: a night with everything, and a huge one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ledger_in_memory import LedgerInMemory

from pipeline.chronicle import Event, EventKind, Sample
from pipeline.model import Doubt, Doubts, FindingTally, State, Status, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

BEGAN = 1_767_304_800.0  # 23:00 in Berlin, on New Year's Day
HOUR = 3600.0
ICCID = "8935711111111111119"


class Told(LedgerInMemory):
    """A run whose counts and tally are told, not added up from rows."""

    def __init__(self, counts: Mapping[Status, int], tally: Iterable[Tally] = (), **facts: Any) -> None:
        super().__init__(**({"rows_read": sum(counts.values())} | facts))
        self._counts, self._tally = counts, list(tally)

    def counts(self) -> Mapping[Status, int]:
        return {status: self._counts.get(status, 0) for status in Status}

    def tally(self) -> Sequence[Tally]:
        return self._tally


def moments(until: float) -> Iterator[float]:
    """Yield when a run that lasts `until` seconds is sampled."""
    at = 0.0
    while at < until:
        yield at
        at += max(1.0, at / 300)


def night() -> Told:
    """Tell seven hours with a hold, a slower hour, push-backs and a process that was killed and resumed."""
    ledger = Told(
        {
            Status.SUCCEEDED: 19_812_345, Status.CONFIRMED: 41_000, Status.REFUSED: 1_203,
            Status.GAVE_UP: 310, Status.IN_DOUBT: 12, Status.REJECTED: 5_120, Status.DUPLICATE: 98,
        },
        [
            Tally(Status.REJECTED, "iccid", 5_120, 17, "ICC ID: 18 digits, wants 19 or 20"),
            Tally(Status.REFUSED, "000106", 1_100, 204_113, f"the iccid is exist in db, iccid:[{ICCID}]"),
            Tally(Status.GAVE_UP, "000999", 310, 990_001, "system busy"),
            Tally(Status.REFUSED, "000107", 103, 17_201_113, "the profile type is unknown: <TELNA-3>"),
            Tally(Status.DUPLICATE, "duplicate", 98, 88_120, "ICC ID stood in row 12 before"),
            Tally(Status.IN_DOUBT, "timeout", 12, 2_300_419, "no answer within 60 s"),
        ],
        run_id="20260101-2300-night",
        inventory=("deliveries/factory-7/2026-01-01.csv.gz", "deliveries/factory-7/2026-01-02.csv.gz"),
        formats=("csv", "csv"),
        fingerprint="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        started_at=BEGAN, finished_at=BEGAN + 7 * HOUR, duration_s=6.4 * HOUR, requests=20_455, exit_code=1,
        job={
            "target": {"kind": "sim-express", "base_url": "https://sim.express", "access_code": "env:ACCESS"},
            "limits": {"batch_items": 1000, "requests_per_second": 1.0, "concurrency": 16},
            "window": {"open": "22:00-06:00", "zone": "Europe/Berlin"},
        },
    )  # fmt: skip
    ledger.events_kept = [
        Event(BEGAN, EventKind.STARTED, "the run began", id=1),
        Event(BEGAN + 1.1 * HOUR, EventKind.TUNE,
              "requests_per_second 1 -> 0.4 by anna: their batch job", "anna",
              taken_at=BEGAN + 1.1 * HOUR + 0.3, id=2),
        Event(BEGAN + 2.2 * HOUR, EventKind.TUNE, "requests_per_second 0.4 -> 1 by anna", "anna",
              taken_at=BEGAN + 2.2 * HOUR + 0.4, id=3),
        Event(BEGAN + 3 * HOUR, EventKind.HOLD, f"held by bert: look at {ICCID} first", "bert",
              taken_at=BEGAN + 3 * HOUR + 0.2, id=4),
        Event(BEGAN + 3.4 * HOUR, EventKind.RELEASE, "released by bert", "bert",
              taken_at=BEGAN + 3.4 * HOUR + 0.2, id=5),
        Event(BEGAN + 5 * HOUR, EventKind.STARTED, "taken up again", id=6),
        Event(BEGAN + 6.9 * HOUR, EventKind.WINDOW, "the window closes at 06:00", id=7),
        Event(BEGAN + 7 * HOUR, EventKind.ENDED, "finished", id=8),
    ]  # fmt: skip
    ledger.samples_kept = [*_samples(BEGAN, 4.4 * HOUR), *_samples(BEGAN + 5 * HOUR, 2 * HOUR)]
    ledger.findings_kept = [
        FindingTally("eid_repeats", 4_000, "row 12: the EID of row 11"),
        FindingTally("imsi_jump", 12, "row 990: the IMSIs leave their order"),
    ]
    ledger.doubts_kept = Doubts(
        tuple(
            Doubt(number * 37, BEGAN + number * 600, 1000, "timeout", "no answer within 60 s",
                  {Status.CONFIRMED: 990, Status.SUCCEEDED: 9, Status.IN_DOUBT: 1})
            for number in range(1, 42)
        ),
        41,
        41_000,
        {Status.CONFIRMED: 40_590, Status.SUCCEEDED: 369, Status.IN_DOUBT: 41},
    )  # fmt: skip
    return ledger


def _samples(began: float, seconds: float) -> Iterator[Sample]:
    rows = requests = 0.0
    before = 0.0
    for at in moments(seconds):
        now = began + at - BEGAN
        held = 3 * HOUR <= now < 3.4 * HOUR
        allowed = 0.4 if 1.1 * HOUR <= now < 2.2 * HOUR else 1.0
        rate = 0.0 if held else allowed * (0.93 + 0.05 * math.sin(now / 700))
        requests += rate * (at - before)
        rows += 990 * rate * (at - before)
        busy = "the vendor pushed back, 12 s left" if 6 * HOUR < now < 6.1 * HOUR else ""
        yield Sample(
            at=began + at,
            rows=int(rows),
            requests=int(requests),
            in_flight=0 if held else round(6 + 3 * math.sin(now / 900)),
            concurrency=0 if not at else 16 if now < 2 * HOUR else 9,
            rate_per_s=allowed,
            round_trip_s=0.0 if held or not at else 6 + 2 * math.sin(now / 1100),
            pushed_back=math.ceil((at - before) / 5) if 6 * HOUR < now < 6.3 * HOUR else 0,
            holding="held by bert" if held else busy,
        )
        before = at


def huge(long: str) -> Told:
    """Tell 100 million rows with more of everything than a page holds, all of it in these words."""
    ledger = Told(
        {Status.SUCCEEDED: 99_980_000, Status.REFUSED: 10_000, Status.DUPLICATE: 10_000},
        [Tally(Status.REFUSED, f"{number}{long}", 1, number, long) for number in range(1, 10_001)],
        inventory=tuple(f"{number}{long}.csv" for number in range(10_000)),
        state=State.STOPPED,
        stop_reason=long,
        job={"guards": {"known_codes": [str(number) for number in range(100_000)]},
             "input": {"columns": {f"field{number}": long for number in range(1_000)}}},
    )  # fmt: skip
    reasons = [f"{number}{long}" for number in range(5_000)]
    ledger.samples_kept = [
        Sample(BEGAN + at, at * 10, at, at % 16, 16, 10.0, 0.5, at % 3, at, reasons[at % 5_000])
        for at in range(100_000)
    ]
    ledger.events_kept = [
        Event(BEGAN + at * 10, EventKind.TUNE, long, long, {"concurrency": at}, id=at + 1)
        for at in range(10_000)
    ]
    ledger.findings_kept = [FindingTally(f"finding{number}", 1, long) for number in range(10_000)]
    ledger.doubts_kept = Doubts(
        tuple(
            Doubt(number, BEGAN, 1000, "timeout", long, {Status.CONFIRMED: 1000}) for number in range(10_000)
        ),
        100_000,
        100_000_000,
    )
    return ledger
