"""Sample inventories in every format: sequential SIMs, a seeded share of what goes wrong in real life.

A row is a function of seed and position alone. A manifest says what is wrong where, and what `check` makes
of it.
"""

from __future__ import annotations

from pipeline.samples.defects import Expect
from pipeline.samples.fleet import write_fleet
from pipeline.samples.manifest import Manifest
from pipeline.samples.profiles import write_sample

__all__ = ["Expect", "Manifest", "write_fleet", "write_sample"]
