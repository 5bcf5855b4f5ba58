"""CSV, JSON and OUT files made wrong by those who know of cells, tokens and lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mutation import NASTY, damaged, transcoded, with_lines_moved, with_other_line_ends

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    Change = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

_DELIMITERS = (b",", b";", b"\t", b"|")
_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{}:,]|\s+', re.DOTALL)
_JSON_TOKENS = (
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b",",
        b'"',
        b"null",
        b"true",
        b"-0",
        b"1e999",
        b"-",
        b"01",
        b"NaN",
        b"Infinity",
    ),
    *(
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'"\\x"',
        b'"\n"',
        b'"}"',
        b'"{"',
        b"9" * 30,
        b"9" * 5000,
        b"{}",
        b"[]",
    ),
    *(
        b'"iccid"',
        b'"Ki"',
        b'{"pin":1}',
        b'[{"a":1}]',
        b"\n",
        b" " * 80,
        b"[" * 50,
        b'{"":' * 40,
        b"[" * 3000,
        b"/*",
        b"'a'",
    ),
)
_OUT_LINES = (
    *(
        b"*HEADER DESCRIPTION *",
        b"header description",
        b"*INPUT VARIABLES",
        b"OUTPUT VARIABLES DESCRIPTION",
        b"* remark",
    ),
    *(
        b"***",
        b"***  **",
        b"Quantity: 3",
        b"Quantity: x",
        b"Qty.: 1,000",
        b"quan:" + b"9" * 400,
        b"Quantity: 00000000002",
    ),
    *(
        b"var_out:",
        b"var_out: ICCID",
        b"var_Out: ICCID/IMSI/KI",
        b"varout: ICCID,IMSI",
        b"var_out_list:ICCID/IMSI/KI/",
        b"var_out://",
    ),
    *(
        b"8900000000000000003 001 A5EC",
        b"8900000000000000003,001,A5EC",
        b"a:b",
        b":",
        b"*",
        b"\t \t",
        b"LPA:1$a$b",
        b"LPA:1$a b c",
    ),
)


def cells_moved(rng: random.Random, content: bytes, _others: Sequence[bytes]) -> bytes:
    """Swap, repeat and replace cells of some lines; or have another delimiter throughout."""
    delimiter = max(_DELIMITERS, key=content.count)
    if rng.random() < 0.2:
        return content.replace(delimiter, rng.choice(_DELIMITERS), rng.choice([-1, -1, 10, 1]))
    lines = content.split(b"\n")
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(lines)) if rng.random() < 0.6 else 0
        cells = lines[at].split(delimiter)
        one, other = rng.randrange(len(cells)), rng.randrange(len(cells))
        match rng.randrange(5):
            case 0:
                cells[one], cells[other] = cells[other], cells[one]
            case 1:
                cells[one] = rng.choice(NASTY)
            case 2:
                cells[one] = b'"' + cells[one] + rng.choice([b'"', b"", b'""', b'"x', b'" '])
            case 3:
                cells.insert(one, cells[other])
            case _:
                cells[one] = rng.choice([b"", b" ", cells[one] + b"\n" + cells[other]])
        lines[at] = delimiter.join(cells)
    return b"\n".join(lines)


def tokens_moved(rng: random.Random, content: bytes, _others: Sequence[bytes]) -> bytes:
    """Swap, repeat, replace and leave out tokens of JSON."""
    tokens = _JSON_TOKEN.findall(content)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at, to = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(6):
            case 0:
                tokens[at], tokens[to] = tokens[to], tokens[at]
            case 1:
                tokens[at] = rng.choice(_JSON_TOKENS)
            case 2:
                tokens.insert(at, rng.choice(_JSON_TOKENS))
            case 3 if len(tokens) > 1:
                del tokens[at]
            case 4:
                tokens[at:at] = tokens[to : to + rng.randrange(1, 12)]
            case _:
                tokens[at] += tokens[to]
    return b"".join(tokens)


def out_lines_put_in(rng: random.Random, content: bytes, _others: Sequence[bytes]) -> bytes:
    lines = content.split(b"\n")
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at = rng.randrange(len(lines))
        line = (
            rng.choice([b"", b"", b" ", b"\t", b"\xef\xbb\xbf"])
            + rng.choice(_OUT_LINES)
            + rng.choice([b"", b"", b"\r", b" "])
        )
        lines[at : at + rng.randrange(2)] = [line]
    return b"\n".join(lines)


ANY_TEXT: tuple[Change, ...] = (
    lambda rng, content, others: transcoded(rng, damaged(rng, content, others)),
    lambda rng, content, _: transcoded(rng, content),
    lambda rng, content, _: with_other_line_ends(rng, content),
    lambda rng, content, _: with_lines_moved(rng, content),
    lambda rng, content, others: with_lines_moved(rng, damaged(rng, content, others)),
)
