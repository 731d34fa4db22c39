#!/usr/bin/env python3
"""Prints the text of PDFs. Locked, broken and empty ones are reported, each with its own message.

Exit status: 0 when at least one could be read, 2 when none could.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import caselib
import documents


def find_file(name: str) -> Path:
    """The file as named from here, else from the workspace's root."""
    path = Path(name)
    root = os.environ.get("WORKSPACE_ROOT", "")
    if not path.exists() and root:
        return Path(root) / name.lstrip("/")
    return path


def read(name: str, pages: int, password: str) -> documents.Document:
    path = find_file(name)
    if not path.exists():
        return documents.Document(problem="no such file")
    if not path.is_file():
        return documents.Document(problem="not a file")
    try:
        return documents.read_pdf(path, pages, password)
    except OSError as error:
        return documents.Document(problem=f"unreadable ({error.strerror})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="from the current folder or the root"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write the text there instead of printing it"
    )
    parser.add_argument("--pages", type=int, default=0, metavar="N", help="only the first N pages")
    parser.add_argument("--password", default="", help="for locked files")
    options = parser.parse_args()
    if options.pages < 0:
        parser.error(f"--pages: {options.pages} is not a number of pages; use 1 or more")
    texts, readable = [], 0
    for name in options.files:
        document = read(name, options.pages, options.password)
        # A scan opens well, it only has no text layer: that counts as read.
        opened = bool(document.text) or document.problem.startswith("no text")
        readable += opened
        if document.problem:
            print(f"{name}: {document.problem}", file=sys.stderr)
        if not opened:
            continue
        heading = (
            f"== {name} ({caselib.count(document.pages, 'page')})\n"
            if len(options.files) > 1
            else ""
        )
        texts.append(heading + document.text.rstrip() + "\n")
    text = "\n".join(texts)
    if options.output and readable:
        target = caselib.report_path(Path.cwd(), options.output, "")
        caselib.write_report(target, text)
        print(f"{caselib.count(readable, 'file')} read, text in {target}")
    elif not options.output:
        print(text, end="")
    if len(options.files) > 1:
        print(f"{readable} of {caselib.count(len(options.files), 'file')} read", file=sys.stderr)
    return 0 if readable else 2


if __name__ == "__main__":
    caselib.run(main)
