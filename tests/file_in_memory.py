"""A file of an inventory, held in memory: as good as one on disk for whoever reads it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class FileInMemory:
    content: bytes
    name: str = "in"

    @property
    def bytes_total(self) -> int:
        return len(self.content)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)
