"""Good files of the formats that are text, in the dialects that occur: what is made wrong begins right."""

from __future__ import annotations

import codecs
import json
import tempfile
from pathlib import Path

from pipeline.samples import write_sample

_DATA = Path(__file__).parents[1] / "data"
_KEY = "A5EC2E7A5EC2E7A5EC2E7A5EC2E7A5EC"
_ROWS = [
    (
        f"893571100100000{n:04}",
        f"8904903200412345123456789012{n:04}",
        f"LPA:1$smdp.example$M-{n}",
        f"c{n}",
        "iot.example",
    )
    for n in range(1, 13)
]
_NAMES = ("iccid", "eid", "ac", "cc", "apn")


def sample(kind: str, suffix: str, items: int = 40) -> bytes:
    """Give a sample with defects and oddities of every kind that its format can express."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"s{suffix}"
        write_sample(path, items=items, seed=5, bad_share=0.3, duplicate_share=0.05, odd_share=0.1, kind=kind)
        return path.read_bytes()


def csv_files() -> list[bytes]:
    """Give CSV: all delimiters and none, quotes, line ends, marks, encodings, keys, odd lines."""
    plain = [",".join(_NAMES), *map(",".join, _ROWS)]
    quoted = [
        '"ICC ID","note, long"',
        '"8935711001000000007","says ""hi""',
        'twice, and\r\nbreaks"',
        "1,2",
        '3,"x"',
    ]
    odd = [
        *('\ufeff"ICCID (Required)";E-ID;IMEI;Label', "help text;32 digits;15 digits;any", "", "   ;  "),
        *(
            '="8935711001000000007";8.93571E+18;490154203237518;5" display',
            "8935711001000000015;;;ä",
            "ragged;1",
        ),
    ]
    keys = [
        "iccid\tKi\tOPc\tPIN1\tADM-2 (hex)\timsi",
        *(f"{row[0]}\t{_KEY}\t{_KEY}\t0000\t\t001" for row in _ROWS),
    ]
    failures = [
        "iccid,ac,simlift_status,simlift_code,simlift_reason,simlift_raw",
        '8935711001000000007,LPA:1$a$b,rejected,iccid_length,"row 3: ""x"" is short",',
        ',,rejected,unreadable,row 4: has 1 cell,"a\r\nb"',
    ]
    texts = ["\n".join(lines) + "\n" for lines in (plain, quoted, odd, keys, failures)]
    bar = "iccid|alias\r\n" + "\r\n".join(f"{row[0]}|SIM {row[3]}" for row in _ROWS)
    one = "iccid\n" + "\n".join(row[0] for row in _ROWS)
    return [
        *(text.encode() for text in texts),
        *(bar.encode(), one.encode(), bar.replace("\r\n", "\r").encode(), b"*MARKER*\n" + texts[0].encode()),
        codecs.BOM_UTF16_LE + texts[2].encode("utf-16-le"),
        codecs.BOM_UTF16_BE + texts[0].encode("utf-16-be"),
        texts[2].encode("latin-1", "replace"),
        sample("csv", ".csv"),
        (_DATA / "sim_express_example.csv").read_bytes(),
    ]


def json_files() -> list[bytes]:
    """Give JSON: lines, values one after the other, arrays, an object around one, odd values, keys."""
    rows = [dict(zip(_NAMES, row, strict=True)) for row in _ROWS]
    odd = [
        {
            "ICC ID": "8935711001000000007",
            "imei": 490154203237518,
            "ok": True,
            "more": {"a": [1, -0, 1e400], "ki": _KEY},
        },
        {"ICC ID": 8.93571e18, "imei": None, "ok": False, "more": [{"pin": "0000"}, []]},
        {"ICC ID": "\ud83d\udcf1 \u2028\x00", "imei": -1, "ok": "true", "more": '}{,[]"\\'},
    ]
    lone = '{"iccid":"a\\ud800","n":0.10}\n{"iccid":"b","iccid":"c"}\n{"n":-0,"iccid":null}\n'
    lone += 'null\n[1]\n"x"\n12\n{'
    keys = [{"iccid": row[0], "Ki": _KEY, "opc": _KEY, "n": number} for number, row in enumerate(_ROWS)]
    api = {"a": {"b": [1]}, "profileItems": rows, "after": [1, {"x": "]"}]}
    lines = ["\n".join(json.dumps(row) for row in table) for table in (rows, odd, keys)]
    arrays = [
        json.dumps(rows),
        json.dumps(odd, indent=1),
        json.dumps(api),
        json.dumps(api, indent="\t"),
        json.dumps([]),
    ]
    return [
        *(text.encode() for text in (*lines, *arrays, lone)),
        json.dumps(odd, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        codecs.BOM_UTF16_LE + lines[0].encode("utf-16-le"),
        codecs.BOM_UTF8 + b" ".join(line.encode() for line in lines[0].splitlines()),
        b"".join(lines[2].encode().splitlines()),
        *(sample("jsonl", ".jsonl"), sample("json", ".json"), sample("json-array", ".json")),
        (_DATA / "sim_express_example_request.json").read_bytes(),
    ]


def out_files() -> list[bytes]:
    """Give OUT files: the three dialects, several batches and sections, remarks, quantities."""
    starred = (
        "*HEADER DESCRIPTION                        *\nCustomer        : Footel\nQuantity        : 2\n"
        "Batch No        : 2019092901\n***************************************\n*INPUT VARIABLES\n"
        "var_In: ICCID\n*OUTPUT VARIABLES\nvar_Out: ICCID/IMSI/KI\n"
        f"8900000000000000003F 001010000000001 {_KEY}\n8900000000000000011F 001010000000002 {_KEY}\n"
        "***************************************\n"
    )
    bare = (
        "HEADER DESCRIPTION\nCustomer:        FooTel: Inc.\nQuanitity:        1,002\n"
        "Batch:           00000001\n"
        "Transport_key:   11\nOUTPUT VARIABLES\nvar_out:ICCID/IMSI/PIN1/PUK1/KI/Access_Control/Code Retailer/"
        "ADM2\n"
        f"8900000000000000003 001010000000001 0000 00000000 {_KEY} 0001 1 9\n"
        f"  8900000000000000011\t001010000000002  0000 00000000 {_KEY} 0001 1 9  \n* remark\nshort row\n"
    )
    comma = (
        "Quantity: 2\nvar_out: ICCID,IMSI,LPA\n8900000000000000003,001,LPA:1$a.b$c\n8900000000000000011,,\n"
        "var_out_list:ICCID/IMSI/LPA\n8900000000000000029 002 LPA:1$$\n"
    )
    return [
        *(text.encode() for text in (starred, bare, comma, starred * 3, starred + bare.replace("PIN1/", ""))),
        bare.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF8 + comma.replace("002", "é").encode("latin-1"),
        codecs.BOM_UTF16_LE + starred.encode("utf-16-le"),
        b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n",
        *(sample("out", ".out"), sample("out-bare", ".out"), sample("out-comma", ".out")),
    ]
