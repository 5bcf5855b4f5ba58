"""Files made wrong from within, by those who know the format: what is around the damage is whole again.

Without it most damage would be caught by the first checksum, and nothing behind that be reached.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from archive_structure import archive_changed, ends_changed, part_changed
from binary_structure import body_changed, footer_changed, frame_changed, message_changed
from mutation import damaged
from text_structure import ANY_TEXT, cells_moved, out_lines_put_in, tokens_moved

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from text_structure import Change

_CHANGES: dict[str, tuple[Change, ...]] = {
    "csv": (*ANY_TEXT, cells_moved, cells_moved, cells_moved),
    "json": (*ANY_TEXT, tokens_moved, tokens_moved, tokens_moved, tokens_moved),
    "out": (*ANY_TEXT, out_lines_put_in, out_lines_put_in, out_lines_put_in, cells_moved),
    "xlsx": (part_changed, part_changed, part_changed, ends_changed),
    "arrow": (message_changed,),
    "parquet": (footer_changed, body_changed, body_changed),
    "spooled": (frame_changed,),
    "zip": (archive_changed, archive_changed, ends_changed),
}
#: What a change may stumble over in a file that is wrong already.
_NO_LONGER_OF_THE_FORMAT = (
    *(ValueError, LookupError, OSError, NotImplementedError, RuntimeError, EOFError),
    *(struct.error, zlib.error, zipfile.BadZipFile),
)


def restructured(rng: random.Random, name: str, content: bytes, others: Sequence[bytes]) -> bytes:
    """Give a file of the format `name` that is wrong within, or has only been damaged where it is none."""
    change = rng.choice(_CHANGES[name])
    try:
        return change(rng, content, others)
    except _NO_LONGER_OF_THE_FORMAT:
        return damaged(rng, content, others)
