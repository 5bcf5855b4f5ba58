"""The least a tap can be: csv.DictReader and json.dumps, a RECORD message a row, to standard output."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path


def main() -> None:
    with Path(sys.argv[1]).open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        properties = {name: {"type": "string"} for name in rows.fieldnames or ()}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        about = {"type": "SCHEMA", "stream": "profiles", "schema": schema, "key_properties": ["iccid"]}
        write = sys.stdout.write
        write(f"{json.dumps(about)}\n")
        for row in rows:
            write(f"{json.dumps({'type': 'RECORD', 'stream': 'profiles', 'record': row})}\n")
        write('{"type": "STATE", "value": {"done": true}}\n')


if __name__ == "__main__":
    main()
