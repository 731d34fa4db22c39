#!/usr/bin/env python3
"""Sorts an untidy case into the eight buckets, by moves only: nothing is deleted or overwritten.

A folder whose files all belong to one bucket moves as a whole. What already lies in a bucket stays.
Files that neither name nor text explains go to `Case Information/To Review`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import errno
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import caselib
import classify


@dataclass(frozen=True)
class Move:
    source: Path
    target: Path
    why: str
    files: int
    is_folder: bool


@dataclass
class Planner:
    """Collects the moves of one case; `left` are the entries that stay, with the reason."""

    case: Path
    moves: list[Move] = field(default_factory=list)
    left: list[tuple[Path, str]] = field(default_factory=list)
    taken: set[Path] = field(default_factory=set)
    verdicts: dict[Path, classify.Verdict] = field(default_factory=dict)

    def plan(self) -> None:
        folders_first = sorted(self.case.iterdir(), key=lambda entry: (not entry.is_dir(), entry))
        for entry in folders_first:
            if entry.is_symlink() or not entry.is_dir():
                self._plan_entry(entry)
            elif entry.name not in caselib.BUCKETS:
                self._plan_top_folder(entry)

    def _plan_top_folder(self, folder: Path) -> None:
        bucket = classify.bucket_alias(folder.name)
        if not bucket:
            self._plan_folder(folder)
            return
        why = f"“{folder.name}” stands for the bucket"
        if not self._exists(self.case / bucket):
            self._add(folder, self.case / bucket, why)
            return
        for entry in sorted(folder.iterdir()):
            if entry.is_symlink():
                self.left.append((entry, "symbolic link"))
                continue
            self._add(entry, self.case / bucket / entry.name, why)

    def _plan_folder(self, folder: Path) -> None:
        """Moves the whole folder where it is of one mind, else looks at what is in it."""
        files = [path for path in caselib.case_files(folder) if not caselib.is_junk(path)]
        verdicts = [self._verdict(path) for path in files]
        known = {verdict.bucket for verdict in verdicts if verdict.known}
        whole = verdicts and len(known) <= 1 and not classify.is_generic(folder.name)
        if whole and not _has_links(folder):
            first = next((v for v in verdicts if v.known), None)
            review = self._same_folder(self.case / "Case Information", classify.TO_REVIEW)
            parent = self.case / first.bucket if first else review
            why = f"all of the folder: {first.why}" if first else "nothing in it says enough"
            self._add(folder, parent / folder.name, why)
            return
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                self._plan_folder(entry)
            else:
                self._plan_entry(entry)

    def _plan_entry(self, entry: Path) -> None:
        if entry.is_symlink() or not entry.is_file():
            self.left.append(
                (entry, "symbolic link" if entry.is_symlink() else "not a regular file")
            )
        elif caselib.is_junk(entry):
            self.left.append((entry, "made by a program, not by a person"))
        else:
            verdict = self._verdict(entry)
            parent = self.case / verdict.bucket
            if verdict.folder:
                parent = self._same_folder(parent, verdict.folder)
            self._add(entry, parent / entry.name, verdict.why)

    def _same_folder(self, parent: Path, name: str) -> Path:
        """`parent/name`, or the folder there, now or soon, whose name differs in case alone."""
        there = sorted(parent.iterdir()) if parent.is_dir() else []
        there = [entry for entry in there if entry.is_dir() and not entry.is_symlink()]
        there += sorted(path for path in self.taken if path.parent == parent)
        return next((path for path in there if path.name.lower() == name.lower()), parent / name)

    def _verdict(self, path: Path) -> classify.Verdict:
        """Asked for a file and for every folder above it, so it is kept."""
        if path not in self.verdicts:
            self.verdicts[path] = classify.classify(path, self.case)
        return self.verdicts[path]

    def _exists(self, path: Path) -> bool:
        return path in self.taken or os.path.lexists(path)

    def _add(self, source: Path, target: Path, why: str) -> None:
        is_folder = source.is_dir()
        stem, suffix = (target.name, "") if is_folder else (target.stem, target.suffix)
        number = 2
        while self._exists(target):
            target = target.with_name(f"{stem} ({number}){suffix}")
            number += 1
        inside = list(caselib.case_files(source)) if is_folder else []
        # What comes with a folder is taken too, and so is every folder made on the way.
        for path in [target, *(target / path.relative_to(source) for path in inside)]:
            self.taken.update((path, *path.parents))
        self.moves.append(Move(source, target, why, len(inside) if is_folder else 1, is_folder))


def _has_links(folder: Path) -> bool:
    for parent, folders, names in os.walk(folder):
        if any(os.path.islink(os.path.join(parent, name)) for name in folders + names):
            return True
    return False


def move(source: Path, target: Path) -> None:
    """Renames; a folder that the file system cannot rename is moved file by file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "appeared meanwhile")
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV or not source.is_dir():
            raise
        target.mkdir()
        for entry in sorted(source.iterdir()):
            move(entry, target / entry.name)
        source.rmdir()


def carry_out(case: Path, moves: list[Move]) -> list[tuple[Move, str]]:
    """Makes the moves; returns those that failed, with the reason."""
    for bucket in caselib.BUCKETS:
        if not any(planned.target == case / bucket for planned in moves):
            (case / bucket).mkdir(exist_ok=True)
    failed = []
    for planned in moves:
        try:
            move(planned.source, planned.target)
        except OSError as error:
            failed.append((planned, error.strerror or str(error)))
    return failed


def as_markdown(planner: Planner, failed: list[tuple[Move, str]], empty: list[Path]) -> str:
    case = planner.case
    reasons = dict(failed)
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    files = sum(planned.files for planned in planner.moves)
    lines = [
        f"# {caselib.cell(case.name)}, organized {now}",
        "",
        f"{caselib.count(len(planner.moves), 'move')} of {caselib.count(files, 'file')}.",
        "",
        "| From | To | Why |",
        "| --- | --- | --- |",
    ]
    for planned in planner.moves:
        slash = "/" if planned.is_folder else ""
        why = f"NOT MOVED: {reasons[planned]}" if planned in reasons else planned.why
        cells = [f"{path.relative_to(case)}{slash}" for path in (planned.source, planned.target)]
        lines.append("| " + " | ".join(caselib.cell(text) for text in [*cells, why]) + " |")
    if planner.left:
        lines += ["", "Left where it was:", ""]
        lines += [f"- {caselib.cell(str(p.relative_to(case)))}: {why}" for p, why in planner.left]
    if empty:
        lines += ["", "Folders that are empty now:", ""]
        lines += [f"- {caselib.cell(str(path.relative_to(case)))}" for path in empty]
    return "\n".join(lines) + "\n"


def empty_folders(case: Path) -> list[Path]:
    """Folders without anything but folders in them, the eight buckets aside."""
    filled = {case}
    folders = []
    for parent, _, names in os.walk(case):
        folders.append(Path(parent))
        if names:
            filled.update((Path(parent), *Path(parent).parents))
    buckets = {case / bucket for bucket in caselib.BUCKETS}
    return sorted(set(folders) - filled - buckets)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    caselib.add_case_arguments(parser, "the report (default: Reports/CASE-organize.md)")
    parser.add_argument("--dry-run", action="store_true", help="print the moves, change nothing")
    options = parser.parse_args()
    case = caselib.find_case(options.case)
    caselib.warn_missing("pypdf")
    planner = Planner(case)
    planner.plan()
    if options.dry_run:
        for planned in planner.moves:
            print(f"{planned.source.relative_to(case)} -> {planned.target.relative_to(case)}")
            print(f"    {planned.why}")
        print(
            f"{case.name}: {caselib.count(len(planner.moves), 'move')} to make; nothing was changed"
        )
        return 0
    if not planner.moves:
        print(f"{case.name}: nothing to move")
        return 0
    failed = carry_out(case, planner.moves)
    report = caselib.report_path(case, options.output, f"{case.name}-organize.md")
    # Earlier moves stay on record: a later run adds to the report.
    before = report.read_text("utf-8", "replace") + "\n" if report.is_file() else ""
    caselib.write_report(report, before + as_markdown(planner, failed, empty_folders(case)))
    moved = [planned for planned in planner.moves if planned not in dict(failed)]
    counts: Counter[str] = Counter()
    for planned in moved:
        counts[planned.target.relative_to(case).parts[0]] += planned.files
    total = caselib.count(sum(counts.values()), "file")
    print(f"{case.name}: {caselib.count(len(moved), 'move')}, {total} sorted")
    for bucket in caselib.BUCKETS:
        if counts[bucket]:
            print(f"  {counts[bucket]:5}  {bucket}")
    for planned, reason in failed:
        print(f"  not moved: {planned.source.relative_to(case)}: {reason}", file=sys.stderr)
    print(f"report: {report}")
    return 1 if failed else 0


if __name__ == "__main__":
    caselib.run(main)
