#!/usr/bin/env python3
"""Reads a case's medical records and bills: who treated when, for what, and what was billed.

Writes one Markdown report with a chronology and totals by provider. A document that is there twice
counts once.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import caselib
import classify
import documents

_TYPES = {".pdf", ".docx", ".txt"}
_PROVIDER_LABEL = re.compile(
    r"^\s*(?:provider|facility|clinic|hospital)\s*:\s*(\S.{2,79})$", re.I | re.M
)
_PROVIDER_NAME = re.compile(
    r"\b(hospital|medical center|clinic|chiropractic|orthop\w+|radiology|imaging|physical therapy|"
    r"emergency medical services|ems|pharmacy|urgent care|physicians|health center)\b",
    re.IGNORECASE,
)
_DATE_LABEL = re.compile(
    r"\b(?:dates? of (?:service|visit|exam)|service dates?|visit date|exam date|dos|admitted|"
    r"seen on|date filled)\b[:\s]*",
    re.IGNORECASE,
)
_FINDING = re.compile(
    r"^\s*(?:diagnos[ie]s|assessment|impression|procedure|treatment|chief complaint|dispensed)"
    r"\s*:\s*(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_AMOUNT = re.compile(r"\$\s?(\d{1,3}(?:,\d{3})+(?:\.\d\d)?|\d+(?:\.\d\d)?)")
_TOTAL = re.compile(
    r"^\s*(?:total|total (?:charges|billed|amount|due)|amount billed|balance due)\b[^$\n]*"
    + _AMOUNT.pattern,
    re.IGNORECASE | re.MULTILINE,
)


@dataclass
class Record:
    """What one medical document says."""

    path: Path
    provider: str = ""
    dates: list[dt.date] = field(default_factory=list)
    finding: str = ""
    lines: list[tuple[dt.date, str, Decimal]] = field(default_factory=list)
    billed: Decimal = Decimal(0)
    notes: list[str] = field(default_factory=list)


def read_case(case: Path) -> tuple[list[Record], list[tuple[Path, str]]]:
    """The medical documents, and those that may be medical but cannot be read, with the reason."""
    records, unread = [], []
    for path in caselib.case_files(case):
        if path.suffix.lower() not in _TYPES or caselib.is_junk(path):
            continue
        top = path.relative_to(case).parts[0]
        bucket = classify.bucket_alias(top) if path.parent != case else ""
        # Other buckets are trusted: a lien letter full of medical words is still a lien letter.
        if bucket not in ("", "Medical Records", "Case Information"):
            continue
        verdict = classify.classify(path, case)
        if "Medical Records" in (bucket, verdict.bucket):
            records.append(read_record(path, case))
        elif not verdict.known and verdict.why != classify.UNCLEAR:
            unread.append((path, verdict.why))
    return records, unread


def read_record(path: Path, case: Path) -> Record:
    record = Record(path)
    document = documents.read_document(path)
    if document.problem:
        record.notes.append(document.problem)
    record.provider = find_provider(document.text, path, case)
    for line in document.text.splitlines():
        dates = [date for _, date in caselib.find_dates(line)]
        amounts = _AMOUNT.findall(line)
        label = _DATE_LABEL.search(line)
        if label:
            record.dates += [
                date for offset, date in caselib.find_dates(line) if offset >= label.start()
            ]
        elif dates and amounts and not _TOTAL.match(line):
            what = _AMOUNT.sub("", line).strip()
            what = re.sub(r"^[\d/.-]+\s*", "", what)
            record.lines.append((dates[0], what, _money(amounts[-1])))
    record.dates = sorted({*record.dates, *(date for date, _, _ in record.lines)})
    finding = _FINDING.search(document.text)
    record.finding = finding.group(1).strip() if finding else ""
    listed = sum((amount for _, _, amount in record.lines), Decimal(0))
    totals = [_money(match) for match in _TOTAL.findall(document.text)]
    record.billed = max(totals) if totals else listed
    if totals and record.lines and listed != record.billed:
        record.notes.append(f"total {_shown(record.billed)}, but its lines make {_shown(listed)}")
    if document.text and not (record.dates or record.billed):
        record.notes.append("no date of service and no amount found")
    return record


def find_provider(text: str, path: Path, case: Path) -> str:
    labelled = _PROVIDER_LABEL.search(text)
    if labelled:
        return labelled.group(1).strip()
    for line in text.splitlines()[:12]:
        line = line.strip()
        if len(line) <= 60 and _PROVIDER_NAME.search(line) and ":" not in line and line[-1:] != ".":
            return line
    parent = path.parent
    named = parent != case and not classify.bucket_alias(parent.name)
    return parent.name if named and not classify.is_generic(parent.name) else "(unknown)"


def _money(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _shown(amount: Decimal) -> str:
    return f"${amount:,.2f}" if amount else ""


def drop_copies(records: list[Record]) -> tuple[list[Record], list[tuple[Path, Path]]]:
    """The records without byte-for-byte copies, and the pairs (copy, the one that counts)."""
    first: dict[str, Record] = {}
    copies = []
    for record in records:
        digest = hashlib.sha256(record.path.read_bytes()).hexdigest()
        if digest in first:
            copies.append((record.path, first[digest].path))
        else:
            first[digest] = record
    return list(first.values()), copies


def chronology(records: list[Record], case: Path) -> list[tuple[str, ...]]:
    """Rows of date, provider, what, billed and file, in order of date."""
    rows = []
    for record in records:
        file = str(record.path.relative_to(case))
        billed_dates = {date for date, _, _ in record.lines}
        for date, what, amount in record.lines:
            rows.append((date.isoformat(), record.provider, what, _shown(amount), file))
        for date in record.dates:
            if date not in billed_dates:
                rows.append((date.isoformat(), record.provider, record.finding, "", file))
    return sorted(rows)


def notes_on(
    case: Path,
    records: list[Record],
    copies: list[tuple[Path, Path]],
    unread: list[tuple[Path, str]],
) -> list[str]:
    """What a person should look at, one line each."""
    notes = [(record.path, note) for record in records for note in record.notes]
    notes += [(path, f"{problem}; may be medical") for path, problem in unread]
    notes += [(path, f"a copy of {other.relative_to(case)}, not counted") for path, other in copies]
    return [f"{path.relative_to(case)}: {note}" for path, note in sorted(notes)]


def as_markdown(case: Path, records: list[Record], notes: list[str]) -> str:
    dates = sorted(date for record in records for date in record.dates)
    period = f", {dates[0]} to {dates[-1]}" if dates else ""
    total = sum((record.billed for record in records), Decimal(0))
    lines = [
        f"# Medical records of {caselib.cell(case.name)}",
        "",
        f"{caselib.count(len(records), 'document')}{period}. Billed in all: **${total:,.2f}**.",
        "",
        "## Chronology",
        "",
        "| Date | Provider | What | Billed | Document |",
        "| --- | --- | --- | ---: | --- |",
    ]
    lines += ["| " + " | ".join(map(caselib.cell, row)) + " |" for row in chronology(records, case)]
    lines += ["", "## Totals by provider", ""]
    lines += [
        "| Provider | Documents | Dates of service | Billed |",
        "| --- | ---: | ---: | ---: |",
    ]
    by_provider: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_provider[record.provider].append(record)
    for provider, own in sorted(by_provider.items()):
        days = len({date for record in own for date in record.dates})
        billed = _shown(sum((record.billed for record in own), Decimal(0))) or "$0.00"
        lines.append(f"| {caselib.cell(provider)} | {len(own)} | {days} | {billed} |")
    if notes:
        lines += ["", "## To look at", "", *(f"- {caselib.cell(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    caselib.add_case_arguments(parser, "the report (default: Reports/CASE-medical.md)")
    parser.add_argument("--verbose", action="store_true", help="say what each document gave")
    options = parser.parse_args()
    case = caselib.find_case(options.case)
    caselib.warn_missing("pypdf")
    found, unread = read_case(case)
    records, copies = drop_copies(found)
    notes = notes_on(case, records, copies, unread)
    if options.verbose:
        for record in found:
            print(f"{record.path.relative_to(case)}")
            print(
                f"    {record.provider}; {caselib.count(len(record.dates), 'date')} of service; ",
                end="",
            )
            print("; ".join([_shown(record.billed) or "nothing billed", *record.notes]))
    target = caselib.report_path(case, options.output, f"{case.name}-medical.md")
    caselib.write_report(target, as_markdown(case, records, notes))
    total = sum((record.billed for record in records), Decimal(0))
    providers = {record.provider for record in records} - {"(unknown)"}
    print(
        f"{case.name}: {caselib.count(len(records), 'medical document')}, "
        f"{caselib.count(len(providers), 'provider')}, billed ${total:,.2f}"
    )
    if notes:
        print(f"  to look at: {caselib.count(len(notes), 'document')}")
    print(f"written to {target}")
    return 0


if __name__ == "__main__":
    caselib.run(main)
