"""A report file that only its owner may read, and that is there whole or not at all."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import SimliftError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import TextIOWrapper


@contextmanager
def private_file(path: Path) -> Iterator[TextIOWrapper]:
    """Open a UTF-8 text file of mode 0600 that takes the place of `path` when the block ends well.

    Line ends are written as given; `.buffer` takes bytes. If the block fails, what stood at `path` before
    stays as it was. Raises SimliftError when the disk does not play along.
    """
    try:
        # mkstemp makes the file 0600 from its first instant, and no two writers share a name.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            # A lone surrogate (from a file name, say) must not cost the whole report.
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:  # noqa: PTH123 - a descriptor is no path
                yield file
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise SimliftError(
            f"report {path}: cannot be written: {error.strerror or type(error).__name__}; "
            f"make room or set the permissions right, then run: simlift report {path.parent.name}"
        ) from None
