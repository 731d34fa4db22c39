"""What the case scripts share: finding the case, walking it, dates, writing reports."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

BUCKETS = (
    "Case Information",
    "Client",
    "Investigation",
    "Medical Records",
    "Insurance",
    "Lien",
    "Expenses",
    "Litigation",
)
IMAGE_TYPES = {".jpg", ".jpeg", ".png", ".heic", ".tif", ".tiff", ".gif", ".bmp"}
JUNK_NAMES = {"thumbs.db", "desktop.ini", ".ds_store"}
MONTHS = "january february march april may june july august september october november december"
_MONTH_NUMBER = {name[:3]: number for number, name in enumerate(MONTHS.split(), 1)}
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    r"(?<![\d/.-])(?:"
    r"(?P<y1>(?:19|20)\d\d)[-/._](?P<m1>\d{1,2})[-/._](?P<d1>\d{1,2})"
    r"|(?P<m2>\d{1,2})(?P<sep>[-/.])(?P<d2>\d{1,2})(?P=sep)(?P<y2>(?:19|20)?\d\d)"
    rf"|(?P<m3>{_MONTH})\s+(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y3>(?:19|20)\d\d)"
    rf"|(?P<d4>\d{{1,2}})\s+(?P<m4>{_MONTH})\s+(?P<y4>(?:19|20)\d\d)"
    r")(?!\d|[-/]\d)",
    re.IGNORECASE,
)


class CaseError(Exception):
    """Something the caller has to mend; its message is for people."""


def run(main: Callable[[], int]) -> NoReturn:
    """Runs a script's `main` and exits: what people can mend is one line, not a traceback."""
    name = Path(sys.argv[0]).stem
    # File names that are not UTF-8 can be printed, whatever the locale says.
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        status = main()
        sys.stdout.flush()
    except CaseError as error:
        sys.exit(f"{name}: {error}")
    except BrokenPipeError:
        # The reader has seen enough; flushing again at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        sys.exit(f"{name}: {error.filename or 'file system'}: {error.strerror}")
    sys.exit(status)


def warn_missing(*modules: str) -> None:
    """Says once what cannot be read for want of a package."""
    packages = {"pypdf": ("PDFs", "python3-pypdf"), "PIL": ("photographs", "python3-pil")}
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            what, package = packages[module]
            print(f"note: {what} are not read: install {package}", file=sys.stderr)


def add_case_arguments(parser: argparse.ArgumentParser, output_help: str = "") -> None:
    """Adds the arguments that every case script has; `--output` only where there is help for it."""
    parser.add_argument(
        "case",
        nargs="?",
        help="case folder or name (default: $CASE_NAME, else the current folder when it is a case)",
    )
    if output_help:
        parser.add_argument("--output", metavar="FILE", help=output_help)


def find_case(wanted: str | None) -> Path:
    """The case folder: the argument, else $CASE_NAME, else the current folder in `projects/`."""
    root = os.environ.get("WORKSPACE_ROOT", "")
    name = wanted or os.environ.get("CASE_NAME", "")
    if not name:
        here = Path.cwd()
        if here.parent.name == "projects":
            return here
        raise CaseError("no case: name one, set CASE_NAME, or run in a folder of projects/")
    candidates = [Path(name)] if wanted else []
    if root:
        candidates += [Path(root) / "projects" / name, Path(root) / name.lstrip("/")]
    if Path.cwd().name == name:
        candidates.append(Path.cwd())
    for candidate in candidates:
        if candidate.is_dir():
            return Path(os.path.abspath(candidate))
    raise CaseError(f"{name}: no such case folder")


def workspace_root(case: Path) -> Path:
    """$WORKSPACE_ROOT, else the folder above `projects/`, else the folder that holds the case."""
    root = os.environ.get("WORKSPACE_ROOT", "")
    if root and Path(root).is_dir():
        return Path(root)
    return case.parent.parent if case.parent.name == "projects" else case.parent


def report_path(case: Path, wanted: str | None, default_name: str) -> Path:
    """Where a report goes. `Reports/...` means the workspace's folder, never one in the case."""
    if not wanted:
        return workspace_root(case) / "Reports" / default_name
    path = Path(wanted)
    if not path.is_absolute() and path.parts and path.parts[0] == "Reports":
        return workspace_root(case) / path
    return path


def write_report(path: Path, text: str) -> None:
    """Writes the report, unless it already says exactly this."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
    except OSError as error:
        raise CaseError(f"write {path}: {error.strerror}") from error


def case_files(folder: Path) -> Iterator[Path]:
    """All regular files below `folder`, in a stable order; symbolic links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path


def is_junk(path: Path) -> bool:
    return path.name.lower() in JUNK_NAMES or path.name.startswith("~$")


def cell(text: str) -> str:
    """Text fit for one cell of a Markdown table."""
    return re.sub(r"\s+", " ", text).strip().replace("\\", "\\\\").replace("|", "\\|")


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def find_dates(text: str) -> list[tuple[int, dt.date]]:
    """Every date written in `text` with its offset; month before day, as in the United States."""
    found = []
    for match in _DATE.finditer(text):
        groups = match.groupdict()
        for form in "1234":
            if not groups["y" + form]:
                continue
            month, year = groups["m" + form], int(groups["y" + form])
            number = int(month) if month.isdigit() else _MONTH_NUMBER[month[:3].lower()]
            year += 0 if year >= 100 else (2000 if year < 70 else 1900)
            try:
                date = dt.date(year, number, int(groups["d" + form]))
            except ValueError:
                continue
            found.append((match.start(), date))
    return found
