"""What a value on the command line may be."""

from __future__ import annotations

import argparse
import math


def port(text: str) -> int:
    """Read a port; 0 is any free one. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535, 0 for any free one)")
    return int(text)


def above_zero(text: str) -> int:
    """Read a number of things. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def seconds(text: str) -> float:
    """Read a time in seconds. Raises ArgumentTypeError."""
    try:
        time_s = float(text)
    except ValueError:
        time_s = math.nan
    if not (math.isfinite(time_s) and time_s > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return time_s
