"""Decides which of the eight buckets a document belongs to, by its name, type, folder and words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import caselib
import documents

TO_REVIEW = "To Review"
UNCLEAR = "neither name nor text says enough"
# A folder with such a name says nothing about what lies in it.
_GENERIC_FOLDER = re.compile(
    r"(uncategori[sz]ed|unsorted|misc\w*|other|new folder|downloads?|stuff|temp|tmp|scan(s|ned)?|"
    r"inbox|desktop|files|documents|docs)\b[\s\d()_.-]*$",
    re.IGNORECASE,
)
_THRESHOLD = 3
_PAGES = 3
_CHARACTERS = 8000


@dataclass(frozen=True)
class Verdict:
    """A bucket, perhaps a folder in it, and the reason. `known` is false for a file to look at."""

    bucket: str
    folder: str
    why: str
    known: bool


# Per bucket: words that say it alone, words that only add weight. Earlier buckets win a tie.
_WORDS: dict[str, tuple[str, str]] = {
    "Lien": (
        r"liens?|subrogation|right of recovery|conditional payments?|secondary payer",
        r"medicare|medicaid|health plan|reimbursement",
    ),
    "Litigation": (
        r"(?<!chief )complaint|summons|interrogator\w+|depositions?|subpoena|plaintiffs?|"
        r"motion (?:to|for)|discovery|pleadings?|affidavit|transcripts?|docket|answer to|"
        r"requests? for production|scheduling order|federal register|cfr part|mediation",
        r"courts?|defendants?|counsel|hearing|trial|judge|petitioner|statute|jury|answer",
    ),
    "Insurance": (
        r"claim (?:no|number)|adjuster|policy (?:no|number)|declarations|dec page|insurer|"
        r"demand letter|denial letter|settlement offer|bodily injury|(?:under|un)insured|полис",
        r"insurance|claims?|policy|coverage|premium|settlement|demand|denial|carrier",
    ),
    "Medical Records": (
        r"patient|diagnos[ie]s|dates? of service|mri|x ?rays?|radiology|physical therapy|"
        r"chiropract\w+|emergency (?:room|department)|medical (?:records?|bills?)|hospital|"
        r"orthop\w+|prescriptions?|pharmacy|ems|ambulance|discharge|справк\w+|выписк\w+",
        r"records?|visits?|clinic|treatment|exam|injury|therapy|nurse|physician|dr|er|pt|"
        r"doctor|medical|bill",
    ),
    "Expenses": (
        r"expenses?|filing fee|receipts?|mileage|court reporter|postage|process server|"
        r"expert fees?",
        r"invoice|fees?|costs?|paid|payee|amount|travel|parking",
    ),
    "Client": (
        r"retainer|engagement (?:letter|agreement)|fee agreement|intake|authori[sz]ation|hipaa|"
        r"driver s? ?licen[cs]e|power of attorney|client|id card|passport|wage loss|договор",
        r"signed|consent|questionnaire|date of birth|wages?|employer|employment",
    ),
    "Investigation": (
        r"police|(?:crash|accident|incident|collision) (?:reports?|diagram)|witness\w*|photos?|"
        r"photographs?|scene|background checks?|surveillance|skid marks?|"
        r"property damage|repair estimate|фото",
        r"reports?|officer|statement|diagram|damage|vehicles?|weather",
    ),
    "Case Information": (
        r"case (?:summary|memo|plan|information|notes)|contacts?|to do|memo|notes",
        r"summary|letter|correspondence|timeline|checklist|read ?me|important",
    ),
}
_PATTERNS = {
    bucket: tuple(re.compile(rf"\b(?:{words})\b") for words in pair)
    for bucket, pair in _WORDS.items()
}
_ALIASES = {
    "medical": "Medical Records",
    "meds": "Medical Records",
    "liens": "Lien",
    "costs": "Expenses",
    "expense": "Expenses",
    "case info": "Case Information",
} | {bucket.lower(): bucket for bucket in caselib.BUCKETS}


def bucket_alias(folder_name: str) -> str:
    """The bucket that a folder's name stands for, or nothing."""
    return _ALIASES.get(_plain(folder_name), "")


def is_generic(folder_name: str) -> bool:
    return bool(_GENERIC_FOLDER.match(folder_name))


def classify(path: Path, case: Path) -> Verdict:
    """Where one file of `case` belongs."""
    kind = path.suffix.lower()
    document = documents.read_document(path, _PAGES)
    folders = [part for part in path.relative_to(case).parts[:-1] if not is_generic(part)]
    sources = [
        ("name", _plain(path.stem), 4, 2),
        ("folder", _plain(" / ".join(folders)), 2, 1),
        ("text", _plain(document.text[:_CHARACTERS]), 2, 1),
    ]
    best, best_score, best_why = "", 0, ""
    for bucket, patterns in _PATTERNS.items():
        score, reasons = _score(patterns, sources)
        if bucket == "Investigation" and kind in caselib.IMAGE_TYPES:
            score, reasons = score + _THRESHOLD, ["is a picture", *reasons]
        if score > best_score:
            best, best_score, best_why = bucket, score, "; ".join(reasons)
    if best_score >= _THRESHOLD:
        photo = best == "Investigation" and kind in caselib.IMAGE_TYPES
        return Verdict(best, "Photos" if photo else "", best_why, True)
    if kind == ".eml":
        return Verdict(
            "Case Information", "Correspondence", "is a mail, nothing more specific", True
        )
    why = document.problem or UNCLEAR
    return Verdict("Case Information", TO_REVIEW, why, False)


def _score(
    patterns: tuple[re.Pattern[str], ...], sources: list[tuple[str, str, int, int]]
) -> tuple[int, list[str]]:
    score, reasons = 0, []
    for label, text, strong, weak in sources:
        for pattern, weight in zip(patterns, (strong, weak), strict=True):
            words = sorted(set(pattern.findall(text)))
            score += weight * min(len(words), 4)
            reasons += [f"{label} has “{word}”" for word in words[:2]]
    return score, reasons[:4]


def _plain(text: str) -> str:
    """Lower case, with separators turned into single spaces."""
    return re.sub(r"[\W_]+", " ", text.lower()).strip()
