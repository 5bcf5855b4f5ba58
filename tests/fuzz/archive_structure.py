"""Workbooks and archives made wrong within, and packed again; files compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import warnings
import zipfile
from typing import TYPE_CHECKING

import pyarrow as pa
from mutation import damaged, grown

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

_XML = (
    *(
        b"<c",
        b"<row",
        b"/>",
        b">",
        b'"',
        b"'",
        b'r="',
        b"XFD",
        b"1048576",
        b"A4294967296",
        b't="s"',
        b't="e"',
        b't="b"',
    ),
    *(
        b't="d"',
        b't="n"',
        b's="99"',
        b's="1"',
        b"<v>",
        b"</v>",
        b"</c>",
        b"&#0;",
        b"&#xD800;",
        b"&amp;",
        b"&x;",
        b"-1",
        b"1e308",
    ),
    *(
        b"NaN",
        b"inf",
        b"9" * 25,
        b"1e-320",
        b"-1e9",
        b"2958466",
        b"_xD800_",
        b"\xff\xfe",
        b"\x00",
        b"<si>",
        b"<is><t>",
        b"<x:c",
    ),
    *(
        b'<f t="shared" si="0" ref="A1:XFD1048576">',
        b'<!DOCTYPE a [<!ENTITY a "b">]>',
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"<?xml",
    ),
    *(
        b'count="4000000000"',
        b"rId9",
        b"../../x",
        b'<sheet name="a" sheetId="2" r:id="rId1"/>',
        b'state="hidden"',
        b"xl/worksheets",
    ),
    *(
        b'<mergeCell ref="A1:XFD1048576"/>',
        b'r="AAAA1"',
        b'r="A0"',
        b'r="1"',
        b'r="A99999999999999999999"',
        b'date1904="1"',
    ),
)


def compressed(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Give the bytes compressed, in one piece or several, and the name's end that goes with it."""
    codec, suffix = rng.choice([("gzip", ".gz"), ("zstd", ".zst"), ("bz2", ".bz2")])
    cut = rng.randrange(len(content) + 1) if rng.random() < 0.2 else len(content)
    pieces = [piece for piece in (content[:cut], content[cut:]) if piece] or [b""]
    return b"".join(
        pa.compress(piece, codec, asbytes=True) if codec == "zstd" else _packed(piece, codec)
        for piece in pieces
    ), suffix


def _packed(content: bytes, codec: str) -> bytes:
    return gzip.compress(content, 1, mtime=0) if codec == "gzip" else bz2.compress(content, 1)


def zipped(rng: random.Random, members: Sequence[tuple[str, bytes]]) -> bytes:
    """Give an archive of these members, packed in any of the ways that there are."""
    file = io.BytesIO()
    ways = [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]
    if rng.random() < 0.2:
        ways += [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, content in members:
            with archive.open(_info(name, rng.choice(ways)), "w", force_zip64=rng.random() < 0.2) as member:
                member.write(content)
        archive.comment = rng.choice([b"", b"", b"PK\x05\x06", b"x" * 300])
    return file.getvalue()


def _info(name: str, way: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = way
    return info


def part_changed(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Change a part or two of a workbook, and pack it again."""
    parts = _unzipped(content)
    likely = [
        name
        for name in parts
        if "sheet" in name or "Strings" in name or "styles" in name or "workbook" in name
    ]
    for name in rng.choices([*likely, *likely, *parts], k=rng.choice([1, 1, 1, 2, 3])):
        part = parts.get(name, b"")
        match rng.randrange(6):
            case 0:
                parts[name] = damaged(rng, part, [*parts.values(), rng.choice(others)])
            case 1 if rng.random() < 0.2:
                parts.pop(name, None)
            case 2 if rng.random() < 0.3:
                parts[name] = rng.choice(list(parts.values()) or [b""])
            case 3 if rng.random() < 0.1:
                parts[name] = grown(rng, part)
            case _:
                parts[name] = _xml_changed(rng, part)
    return zipped(rng, list(parts.items()))


def _xml_changed(rng: random.Random, part: bytes) -> bytes:
    pieces = re.split(rb"(?=<)|(?<=>)|(?=\s)|(?<==)", part)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at, to = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        match rng.randrange(5):
            case 0:
                pieces[at], pieces[to] = pieces[to], pieces[at]
            case 1:
                pieces[at] = rng.choice(_XML)
            case 2:
                pieces[at] += rng.choice(_XML)
            case 3:
                pieces[at:at] = pieces[to : to + rng.randrange(1, 20)]
            case _:
                pieces[at] = b""
    return b"".join(pieces)


def _unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def archive_changed(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Change members of an archive or their names, and pack it again."""
    members = list(_unzipped(content).items())
    at = rng.randrange(len(members))
    name, inner = members[at]
    match rng.randrange(6):
        case 0 | 1:
            members[at] = (name, damaged(rng, inner, others))
        case 2:
            odd = [
                "",
                "/",
                "../x.csv",
                ".hidden",
                "a\\b.csv",
                "C:x.csv",
                "x!y.csv",
                "a/b/c.json",
                "\x01",
                "é.csv",
                members[0][0],
            ]
            members[at] = (rng.choice(["", name]) + rng.choice(odd), inner)
        case 3:
            members.append(
                (rng.choice(["more.csv", "x.json", "in.zip", "__MACOSX/a", "mimetype"]), rng.choice(others))
            )
        case 4:
            members[at] = (name + ".gz", _packed(inner, rng.choice(["gzip", "bz2"])))
        case _:
            members[at] = (name, grown(rng, inner))
    return zipped(rng, members)


def ends_changed(rng: random.Random, content: bytes, _others: Sequence[bytes]) -> bytes:
    """Change the numbers of an archive's headers: sizes, flags, methods, places, counts."""
    marks = [
        found.start()
        for found in re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07|\x07\x08)", content)
    ]
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.choice(marks) + rng.choice(
            [4, 6, 8, 10, 14, 16, 18, 20, 22, 24, 26, 28, 30, 34, 38, 42, 44, 46]
        )
        width = rng.choice([1, 2, 4, 8])
        number = rng.choice(
            [0, 1, 2, 8, 9, 12, 14, 93, 99, 0x7F, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF, rng.getrandbits(8 * width)]
        )
        changed[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")[
            : max(0, len(changed) - at)
        ]
    return bytes(changed)
