#!/usr/bin/env python3
"""Makes the sample workspace: untidy case folders of real documents about invented people.

The same seed gives the same bytes and the same file times.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import sample_cases

_FOLDERS = ("projects", "Tools", "Database", "Reports")
_TOOLS = Path(__file__).resolve().parent / "workspace" / "Tools"
_TOOLS_DATE = dt.datetime(2024, 1, 2, 9, 0)
_FOLDER_DATE = dt.datetime(2024, 12, 2, 9, 0)


def seconds(moment: dt.datetime) -> int:
    return int(moment.replace(tzinfo=dt.UTC).timestamp())


def write(path: Path, data: bytes, moment: dt.datetime, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, (seconds(moment), seconds(moment)))


def make(target: Path, files: Iterable[sample_cases.File]) -> int:
    """Writes the workspace and returns how many case files it has."""
    for folder in _FOLDERS:
        (target / folder).mkdir(parents=True, exist_ok=True)
    number = 0
    for file in files:
        write(target / "projects" / file.path, file.data, file.modified)
        number += 1
    write(target / "Database" / "cases.csv", sample_cases.REGISTER.encode(), _FOLDER_DATE)
    for script in sorted(_TOOLS.glob("*.py")):
        mode = 0o755 if os.access(script, os.X_OK) else 0o644
        write(target / "Tools" / script.name, script.read_bytes(), _TOOLS_DATE, mode)
    # Last and from the leaves up: writing into a folder changes its time.
    for parent, _, _ in os.walk(target, topdown=False):
        os.chmod(parent, 0o755)
        os.utime(parent, (seconds(_FOLDER_DATE), seconds(_FOLDER_DATE)))
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", metavar="DIR", type=Path, help="where to make it; new or empty")
    parser.add_argument(
        "--seed", type=int, default=2024, help="changes pictures (default: %(default)s)"
    )
    options = parser.parse_args()
    target: Path = options.target
    try:
        if target.exists() and not target.is_dir():
            sys.exit(f"make_workspace: {target}: not a folder; name a new or empty one")
        if target.is_dir() and any(target.iterdir()):
            sys.exit(f"make_workspace: {target}: not empty; name a new or empty folder")
        if not sample_cases.can_make_photos():
            print(
                "make_workspace: no photographs without Pillow (install python3-pil)",
                file=sys.stderr,
            )
        number = make(target, sample_cases.files(options.seed))
    except OSError as error:
        sys.exit(f"make_workspace: {error.filename or target}: {error.strerror}")
    print(f"{target}: {number} files in {len(sample_cases.CASES)} cases, and the scripts in Tools/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
