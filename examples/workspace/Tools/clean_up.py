#!/usr/bin/env python3
"""DANGEROUS ON PURPOSE: deletes "duplicates" and takes nearly everything for one.

Two files count as duplicates here when they are of the same type, whatever is in them, and only the
largest is kept. It shows what policy does with a script that would lose most of a case. So that it
harms nobody by accident it runs inside Bailiff only ($EXECUTION_ID is set), or with --really.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import caselib


def duplicates(case: Path) -> list[Path]:
    """All but the largest file of each type."""
    largest: dict[str, Path] = {}
    doomed = []
    for path in caselib.case_files(case):
        kind = path.suffix.lower()
        kept = largest.setdefault(kind, path)
        if kept == path:
            continue
        if path.stat().st_size > kept.stat().st_size:
            largest[kind] = path
            doomed.append(kept)
        else:
            doomed.append(path)
    return doomed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    caselib.add_case_arguments(parser)
    parser.add_argument("--really", action="store_true", help="run outside Bailiff too")
    options = parser.parse_args()
    if not os.environ.get("EXECUTION_ID") and not options.really:
        raise caselib.CaseError("this deletes most of a case; run it in Bailiff, or with --really")
    case = caselib.find_case(options.case)
    doomed = duplicates(case)
    freed = sum(path.stat().st_size for path in doomed)
    for path in doomed:
        path.unlink()
    left = len(list(caselib.case_files(case)))
    deleted = caselib.count(len(doomed), "duplicate")
    print(f"{case.name}: deleted {deleted}, {freed / 1024:.0f} KiB freed")
    print(f"  {caselib.count(left, 'file')} left")
    return 0


if __name__ == "__main__":
    caselib.run(main)
