#!/usr/bin/env python3
"""Builds one chronology of a case from mails, photographs (EXIF) and documents (name, text).

Writes Reports/CASE-chronology.csv and .md. File times are not used: copying changes them.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import email.utils
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import caselib
import documents

_LABEL = re.compile(
    r"\b(?:date(?: of (?:service|visit|exam|accident|incident|loss|report|filing|filled))?|"
    r"dates of service|dated|filed|date filled|issued|report date|visit date)\b[:\s]*$",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\d(?:,| and|,? to)\s*$")
_NOT_AN_EVENT = re.compile(r"\b(?:birth|dob|born|expires?|due|run)\b[^\n]{0,20}$", re.IGNORECASE)
_DATES_PER_DOCUMENT = 12
_EXIF_IFD, _GPS_IFD, _TAKEN, _CHANGED = 0x8769, 0x8825, 0x9003, 0x0132


@dataclass(frozen=True, order=True)
class Event:
    date: str
    time: str
    kind: str
    what: str
    file: str
    basis: str


class Undated(Exception):
    """Why a file gives no event."""


def mail_events(path: Path, file: str) -> list[Event]:
    mail = documents.read_mail(path)
    sender = documents.mail_header(mail, "From") or "(no sender)"
    subject = documents.mail_header(mail, "Subject") or "(no subject)"
    what = f"{subject}, from {sender}"
    received = documents.mail_header(mail, "Received").rpartition(";")[2]
    for header, text in (("Date", documents.mail_header(mail, "Date")), ("Received", received)):
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            continue
        # "-0000" gives a moment without a zone; it is in UTC all the same.
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
        clock = moment.strftime("%H:%M UTC")
        return [Event(moment.date().isoformat(), clock, "mail", what, file, f"{header} header")]
    raise Undated("mail without a date that can be read")


def photo_events(path: Path, file: str) -> list[Event]:
    try:
        from PIL import Image
    except ImportError:
        raise Undated("photograph not read (install python3-pil)") from None
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            own, gps = dict(exif.get_ifd(_EXIF_IFD)), dict(exif.get_ifd(_GPS_IFD))
        taken = str(own.get(_TAKEN) or exif.get(_CHANGED) or "").strip("\0 ")
    except Exception as error:  # A damaged picture may break the decoder in any way.
        raise Undated(f"broken picture ({type(error).__name__})") from None
    try:
        moment = dt.datetime.strptime(taken, "%Y:%m:%d %H:%M:%S")
    except ValueError:
        raise Undated("picture without a date in its EXIF data") from None
    place = _place(gps)
    what = f"photograph {path.name}" + (f" at {place}" if place else "")
    return [Event(moment.date().isoformat(), moment.strftime("%H:%M"), "photo", what, file, "EXIF")]


def _place(gps: dict[int, Any]) -> str:
    """Latitude and longitude in degrees, empty when the picture has none or they make no sense."""
    try:
        values = []
        for reference, angle, negative in ((1, 2, "S"), (3, 4, "W")):
            degrees, minutes, seconds = (float(part) for part in gps[angle])
            value = degrees + minutes / 60 + seconds / 3600
            values.append(-value if gps[reference] == negative else value)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return ""
    return f"{values[0]:.5f}, {values[1]:.5f}"


def document_events(path: Path, file: str) -> list[Event]:
    """Dates in the name; else those with a label in the text; else the first one in the text."""
    document = documents.read_document(path)
    lines = (line.strip() for line in document.text.splitlines())
    title = next((line for line in lines if re.search(r"[^\W\d_]{3}", line)), "")
    what = f"{path.stem}: {title[:80]}" if title else path.stem
    named = [date for _, date in caselib.find_dates(path.stem)]
    if named:
        return [_document_event(date, what, file, "name") for date in named]
    labelled, others = _labelled_dates(document.text)
    dates = sorted(set(labelled))[:_DATES_PER_DOCUMENT] or others[:1]
    if not dates:
        raise Undated(document.problem or "no date in name or text")
    basis = "text, labelled" if labelled else "text, first date"
    return [_document_event(date, what, file, basis) for date in dates]


def _labelled_dates(text: str) -> tuple[list[dt.date], list[dt.date]]:
    """The dates that follow a label, also in a list ("Dates of service: a, b"), and the others."""
    labelled, others = [], []
    label_holds = False
    for offset, date in caselib.find_dates(text):
        before = text[max(0, offset - 40) : offset].rpartition("\n")[2]
        label_holds = bool(_LABEL.search(before)) or (label_holds and bool(_LISTED.search(before)))
        if label_holds:
            labelled.append(date)
        elif not _NOT_AN_EVENT.search(before):
            others.append(date)
    return labelled, others


def _document_event(date: dt.date, what: str, file: str, basis: str) -> Event:
    return Event(date.isoformat(), "", "document", what, file, basis)


def collect(case: Path) -> tuple[list[Event], list[tuple[str, str]]]:
    """The events in order, and the files that gave none with the reason."""
    events, undated = [], []
    for path in caselib.case_files(case):
        if caselib.is_junk(path):
            continue
        kind, file = path.suffix.lower(), str(path.relative_to(case))
        try:
            if kind == ".eml":
                events += mail_events(path, file)
            elif kind in caselib.IMAGE_TYPES:
                events += photo_events(path, file)
            else:
                events += document_events(path, file)
        except Undated as reason:
            undated.append((file, str(reason)))
        except OSError as error:
            undated.append((file, f"unreadable ({error.strerror})"))
    return sorted(events), undated


def as_csv(events: list[Event]) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["date", "time", "kind", "what", "file", "basis"])
    for event in events:
        writer.writerow([_harmless(value) for value in _values(event)])
    return table.getvalue()


def _harmless(text: str) -> str:
    """A mail's subject must not become a formula in somebody's spreadsheet."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _values(event: Event) -> tuple[str, ...]:
    return (event.date, event.time, event.kind, event.what, event.file, event.basis)


def as_markdown(case: Path, events: list[Event], undated: list[tuple[str, str]]) -> str:
    lines = [
        f"# Chronology of {caselib.cell(case.name)}",
        "",
        "| Date | Time | Kind | What | File | From |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += ["| " + " | ".join(map(caselib.cell, _values(event))) + " |" for event in events]
    if undated:
        lines += ["", "## Without a date", ""]
        lines += [f"- {caselib.cell(file)}: {reason}" for file, reason in undated]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    caselib.add_case_arguments(
        parser, "the table; the .md goes beside it (default: Reports/CASE-chronology.csv)"
    )
    options = parser.parse_args()
    case = caselib.find_case(options.case)
    caselib.warn_missing("pypdf", "PIL")
    events, undated = collect(case)
    table = caselib.report_path(case, options.output, f"{case.name}-chronology.csv")
    text = table.with_suffix(".md")
    if text == table:
        raise caselib.CaseError(f"--output: {table} would be both table and text; name a .csv file")
    caselib.write_report(table, as_csv(events))
    caselib.write_report(text, as_markdown(case, events, undated))
    period = f", {events[0].date} to {events[-1].date}" if events else ""
    print(f"{case.name}: {caselib.count(len(events), 'event')}{period}")
    if undated:
        print(f"  {caselib.count(len(undated), 'file')} without a date")
    print(f"written to {table} and {text.name}")
    return 0


if __name__ == "__main__":
    caselib.run(main)
