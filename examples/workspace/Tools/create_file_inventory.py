#!/usr/bin/env python3
"""Lists what a case holds, by bucket (top-level folder): counts, sizes, types and dates."""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import caselib

_SUFFIX = {"json": "json", "markdown": "md", "csv": "csv"}


def collect(case: Path) -> dict[str, Any]:
    """The inventory as a plain document."""
    buckets: dict[str, dict[str, Any]] = {}
    for path in caselib.case_files(case):
        relative = path.relative_to(case)
        status = path.stat()
        entry = {
            "name": path.name,
            "path": str(relative),
            "size_bytes": status.st_size,
            "extension": path.suffix.lower(),
            "modified": dt.datetime.fromtimestamp(int(status.st_mtime), dt.UTC).isoformat(),
        }
        name = relative.parts[0] if len(relative.parts) > 1 else "root"
        buckets.setdefault(name, {"files": []})["files"].append(entry)
    for bucket in buckets.values():
        bucket.update(_totals(bucket["files"]))
    everything = [entry for bucket in buckets.values() for entry in bucket["files"]]
    totals = _totals(everything)
    return {
        "case_name": case.name,
        "total_files": totals.pop("file_count"),
        "total_size_mb": totals.pop("size_mb"),
        **totals,
        "buckets": dict(sorted(buckets.items())),
    }


def _totals(files: list[dict[str, Any]]) -> dict[str, Any]:
    types = Counter(entry["extension"] or "(none)" for entry in files)
    modified = [entry["modified"] for entry in files]
    return {
        "file_count": len(files),
        "size_mb": round(sum(entry["size_bytes"] for entry in files) / (1024 * 1024), 3),
        "types": dict(sorted(types.items())),
        "earliest": min(modified, default=None),
        "latest": max(modified, default=None),
    }


def as_markdown(inventory: dict[str, Any]) -> str:
    lines = [
        f"# Inventory of {caselib.cell(inventory['case_name'])}",
        "",
        f"{caselib.count(inventory['total_files'], 'file')}, {inventory['total_size_mb']} MB.",
        "",
        "| Bucket | Files | MB | Types | From | To |",
        "| --- | ---: | ---: | --- | --- | --- |",
    ]
    for name, bucket in inventory["buckets"].items():
        types = ", ".join(f"{number} {kind}" for kind, number in bucket["types"].items())
        cells = [name, bucket["file_count"], bucket["size_mb"], types]
        cells += [bucket["earliest"][:10], bucket["latest"][:10]]
        lines.append("| " + " | ".join(caselib.cell(str(value)) for value in cells) + " |")
    for name, bucket in inventory["buckets"].items():
        lines += [
            "",
            f"## {caselib.cell(name)}",
            "",
            "| File | Bytes | Modified |",
            "| --- | ---: | --- |",
        ]
        for entry in bucket["files"]:
            file = caselib.cell(entry["path"])
            lines.append(f"| {file} | {entry['size_bytes']} | {entry['modified'][:10]} |")
    return "\n".join(lines) + "\n"


def as_csv(inventory: dict[str, Any]) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["bucket", "path", "size_bytes", "extension", "modified"])
    for name, bucket in inventory["buckets"].items():
        for entry in bucket["files"]:
            values = (entry[key] for key in ("path", "size_bytes", "extension", "modified"))
            writer.writerow([name, *values])
    return table.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    caselib.add_case_arguments(
        parser, "where to write (default: Reports/CASE-inventory.FORMAT; - prints it instead)"
    )
    parser.add_argument("--format", choices=sorted(_SUFFIX), default="json")
    options = parser.parse_args()
    case = caselib.find_case(options.case)
    inventory = collect(case)
    if options.format == "json":
        text = json.dumps(inventory, indent=2) + "\n"
    else:
        text = as_markdown(inventory) if options.format == "markdown" else as_csv(inventory)
    if options.output == "-":
        print(text, end="")
        return 0
    name = f"{case.name}-inventory.{_SUFFIX[options.format]}"
    target = caselib.report_path(case, options.output, name)
    caselib.write_report(target, text)
    files, buckets = inventory["total_files"], len(inventory["buckets"])
    print(f"{case.name}: {caselib.count(files, 'file')}, {inventory['total_size_mb']} MB", end="")
    print(f" in {caselib.count(buckets, 'bucket')}")
    for bucket_name, bucket in inventory["buckets"].items():
        print(f"  {bucket['file_count']:5}  {bucket_name}")
    print(f"written to {target}")
    return 0


if __name__ == "__main__":
    caselib.run(main)
