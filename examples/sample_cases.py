"""The case folders of the sample workspace: which documents they hold, under which untidy names."""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Iterator
from dataclasses import dataclass

import sample_documents as documents
import sample_texts as texts

WILSON, HARLAN, TEST = "Wilson-MVA-2024", "Harlan-Slip-2023", "Test-Case-001"
CASES = (WILSON, HARLAN, TEST)
REGISTER = f"""case,client,kind,opened
{WILSON},Dana Wilson,motor vehicle accident,2024-03-20
{HARLAN},Joan Harlan,slip and fall,2023-11-17
{TEST},Terry Test,test,2023-11-21
"""
_PASSWORD = "rotator"
_SCENE = (48.20711, -122.91384)
_OFFICE = "Marlow & Finch <office@marlow-finch.example>"


@dataclass(frozen=True)
class File:
    """A file below `projects/`."""

    path: str
    data: bytes
    modified: dt.datetime


def can_make_photos() -> bool:
    try:
        importlib.import_module("PIL.Image")
    except ImportError:
        return False
    return True


def files(seed: int) -> Iterator[File]:
    """All files of all cases; photographs only where Pillow is there."""
    yield from _placed(WILSON, _wilson_papers())
    yield from _placed(WILSON, _wilson_mails())
    yield from _placed(HARLAN, _harlan())
    yield from _placed(TEST, _test())
    if can_make_photos():
        yield from _photos(seed)


def _placed(case: str, entries: dict[str, tuple[str, bytes]]) -> Iterator[File]:
    for name, (day, data) in entries.items():
        yield File(f"{case}/{name}", data, dt.datetime.fromisoformat(f"{day}T15:30:00"))


def _pdf(text: str) -> bytes:
    return documents.pdf(text)


def _wilson_papers() -> dict[str, tuple[str, bytes]]:
    er_bill = _pdf(texts.ER_BILL)
    pharmacy = texts.PHARMACY.format
    broken = _pdf(texts.CHIROPRACTIC + "\f" + texts.CHIROPRACTIC)
    loose, scans = "uncategorized", "uncategorized/scans 7-13"
    return {
        "IMPORTANT!! read first.txt": ("2024-11-25", texts.READ_FIRST.encode()),
        "notes.txt": ("2024-07-15", texts.NOTES.encode()),
        "contacts.csv": ("2024-10-30", texts.CONTACTS.encode()),
        "Wilson intake form.PDF": ("2024-03-20", _pdf(texts.INTAKE)),
        "retainer agreement (signed).pdf": ("2024-03-20", _pdf(texts.RETAINER)),
        "police report – Fernhollow PD 24-03117.pdf": ("2024-04-05", _pdf(texts.POLICE)),
        "Medical Records/Fernhollow General/ER record 2024-03-14.pdf": (
            "2024-04-03",
            _pdf(texts.ER_RECORD),
        ),
        "Medical Records/Fernhollow General/ER bill.pdf": ("2024-04-03", er_bill),
        "Medical Records/PT visits Mar-May (Millbrook).pdf": ("2024-05-20", _pdf(texts.PT_RECORDS)),
        "Pharmacy receipts/04-02-2024.pdf": (
            "2024-04-02",
            _pdf(
                pharmacy(date="04/02/2024", drug="naproxen", doctor="A. Brandt, MD", amount="18.20")
            ),
        ),
        "Pharmacy receipts/04-19-2024.pdf": (
            "2024-04-19",
            _pdf(
                pharmacy(date="04/19/2024", drug="naproxen", doctor="I. Kovats, MD", amount="22.75")
            ),
        ),
        f"{loose}/ER bill (1).pdf": ("2024-04-03", er_bill),
        f"{loose}/records_001.pdf": ("2024-06-03", _pdf(texts.CHIROPRACTIC)),
        f"{loose}/MRI report (Larch Street Radiology).pdf": ("2024-04-12", _pdf(texts.MRI)),
        f"{loose}/EMS run sheet.PDF": ("2024-04-08", _pdf(texts.EMS)),
        f"{loose}/invoice 8812.pdf": ("2024-06-25", _pdf(texts.ORTHO_BILL)),
        f"{loose}/скан справки.pdf": ("2024-04-10", _pdf(texts.CERTIFICATE)),
        f"{loose}/HIPAA authorization.pdf": ("2024-03-20", _pdf(texts.HIPAA)),
        f"{loose}/dec page.pdf": ("2024-03-22", _pdf(texts.DECLARATIONS)),
        f"{loose}/draft demand letter v2.docx": ("2024-08-12", documents.docx(texts.DEMAND)),
        f"{loose}/lien notice Ashby Health Plan.pdf": ("2024-05-30", _pdf(texts.LIEN)),
        f"{loose}/expenses_001.csv": ("2024-11-20", texts.EXPENSES.encode()),
        f"{loose}/filing fee receipt.pdf": ("2024-10-04", _pdf(texts.FILING_FEE)),
        f"{loose}/empty.pdf": ("2024-07-01", b""),
        f"{loose}/broken download.pdf": ("2024-07-01", broken[: len(broken) // 3]),
        f"{loose}/locked.pdf": ("2024-06-25", documents.pdf(texts.ORTHO_LOCKED, _PASSWORD)),
        f"{loose}/New folder (2)/deposition notice – Cole.pdf": (
            "2024-11-11",
            _pdf(texts.DEPOSITION),
        ),
        f"{loose}/New folder (2)/interrogatories.docx": (
            "2024-11-04",
            documents.docx(texts.INTERROGATORIES),
        ),
        f"{scans}/complaint (filed).pdf": ("2024-10-04", _pdf(texts.COMPLAINT)),
        f"{scans}/answer.PDF": ("2024-10-28", _pdf(texts.ANSWER)),
        f"{scans}/NM letter 7-13.pdf": ("2024-07-15", _pdf(texts.DENIAL)),
        f"{scans}/Untitled.pdf": ("2024-07-13", _pdf(texts.UNTITLED)),
    }


def _wilson_mails() -> dict[str, tuple[str, bytes]]:
    offer = documents.Attachment("offer NM-4471.pdf", "application", "pdf", _pdf(texts.OFFER))
    malformed = (
        b"From: \xffdana wilson <dana.wilson@mail.example\n"
        b"Date: someday last week\nSubject: =?utf-9?B?bm90IGEgY2hhcnNldA=?=\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/mixed; boundary="never"\n\n--ever\nContent-Type: text/plain\n\n'
        b"The mail program gave up half-way through thi"
    )
    folder = "Correspondence"
    return {
        f"{folder}/Re_ Claim NM-4471 - offer.eml": (
            "2024-09-05",
            documents.mail(
                {
                    "From": "Ruth Ambrose <r.ambrose@northgate.example>",
                    "To": _OFFICE,
                    "Date": "Thu, 05 Sep 2024 10:12:41 -0700",
                    "Subject": "Re: Claim NM-4471, settlement offer",
                },
                "Counsel,\n\nplease find the settlement offer of the insurer attached.\n\n"
                "R. Ambrose, adjuster\n",
                "<p>Counsel,</p><p>please find the settlement offer <b>attached</b>.</p>",
                (offer,),
            ),
        ),
        f"{folder}/FW_ что я видел.eml": (
            "2024-03-27",
            documents.mail(
                {
                    "From": "Олег Сорокин <o.sorokin@post.example>",
                    "To": _OFFICE,
                    "Date": "Wed, 27 Mar 2024 21:03:10 +0300",
                    "Subject": "Что я видел 14 марта (witness statement)",
                },
                "Hello,\n\nthe van did not brake at all. The light was red. I am a witness.\n"
                "Фургон не тормозил.\n\nOleg\n",
            ),
        ),
        f"{folder}/records request – Fernhollow General.eml": (
            "2024-04-03",
            documents.mail(
                {
                    "From": "Records <records@fernhollow-general.example>",
                    "To": _OFFICE,
                    "Date": "Wed, 03 Apr 2024 08:30:00 -0700",
                    "Subject": "Medical records request, patient Wilson",
                },
                "The hospital has sent the emergency department record and the bill by post.\n",
            ),
        ),
        f"{folder}/discovery deadline.eml": (
            "2024-11-12",
            documents.mail(
                {
                    "From": "Lena Marsh <l.marsh@marshlaw.example>",
                    "To": _OFFICE,
                    "Date": "Tue, 12 Nov 2024 16:45:09 -0800",
                    "Subject": "24-CV-0932: discovery, deposition of Mr. Cole",
                },
                "Counsel,\n\ndefendants answer the interrogatories by December 9.\n",
            ),
        ),
        f"{folder}/hello.eml": (
            "2024-06-21",
            documents.mail(
                {
                    "From": "Dana Wilson <dana.wilson@mail.example>",
                    "To": _OFFICE,
                    "Date": "Fri, 21 Jun 2024 19:20:00 -0700",
                    "Subject": "=?utf-8?q?how_I_feel_today?=",
                },
                "Hi,\n\nthe shot helped, I slept through for the first time. Thank you.\n\nDana\n",
            ),
        ),
        f"{folder}/message malformed.eml": ("2024-06-30", malformed),
    }


def _harlan() -> dict[str, tuple[str, bytes]]:
    headers = {
        "From": "T. Reyes <t.reyes@stonebridge.example>",
        "To": _OFFICE,
        "Date": "Mon, 04 Dec 2023 09:00:00 -0800",
        "Subject": "Claim SC-88210 – store video",
    }
    return {
        "case summary.docx": ("2023-11-20", documents.docx(texts.HARLAN_SUMMARY)),
        "Engagement Letter - HARLAN.PDF": ("2023-11-17", _pdf(texts.HARLAN_FEE)),
        "incident report (store 12).pdf": ("2023-11-22", _pdf(texts.HARLAN_INCIDENT)),
        "MEDICAL/urgent care 11-08-2023.pdf": ("2023-11-30", _pdf(texts.HARLAN_URGENT)),
        "MEDICAL/hand clinic.pdf": ("2024-01-04", _pdf(texts.HARLAN_HAND)),
        "misc/hand clinic.pdf": ("2023-11-30", _pdf(texts.HARLAN_URGENT + "\fReceived by fax\n")),
        "misc/conditional payment.pdf": ("2024-02-09", _pdf(texts.HARLAN_LIEN)),
        "misc/ack.pdf": ("2023-12-04", _pdf(texts.HARLAN_CLAIM)),
        "misc/video.eml": (
            "2023-12-04",
            documents.mail(
                headers, "The adjuster has asked the store to keep the video of the claim.\n"
            ),
        ),
        "misc/Invoice-104.pdf": ("2024-02-21", _pdf(texts.HARLAN_EXPERT)),
    }


def _test() -> dict[str, tuple[str, bytes]]:
    return {
        "letter.docx": ("2023-11-21", documents.docx(texts.TEST_LETTER)),
        "visit.pdf": ("2024-01-10", _pdf(texts.TEST_VISIT)),
        "todo.txt": ("2024-01-11", b"case notes: nothing to do\n"),
    }


def _photos(seed: int) -> Iterator[File]:
    scene = f"{WILSON}/Photos from scene"
    crash = dt.datetime(2024, 3, 14, 17, 55, 12)
    taken: dict[str, tuple[dt.datetime, tuple[float, float] | None]] = {
        f"{scene}/DSC_0101.JPG": (crash, _SCENE),
        f"{scene}/DSC_0102.JPG": (crash + dt.timedelta(seconds=48), None),
        f"{scene}/DSC_0103.JPG": (crash + dt.timedelta(minutes=4), None),
        f"{scene}/skid marks (2).jpg": (crash + dt.timedelta(minutes=6), None),
        f"{WILSON}/IMG_2041.JPG": (dt.datetime(2024, 3, 16, 11, 2, 30), None),
        f"{WILSON}/uncategorized/IMG_2042.jpeg": (dt.datetime(2024, 3, 16, 11, 3, 5), None),
        f"{WILSON}/uncategorized/фото перекрёстка.jpg": (dt.datetime(2024, 4, 1, 12, 40), _SCENE),
        f"{HARLAN}/IMG_0007.JPG": (dt.datetime(2023, 11, 9, 14, 12), None),
        f"{HARLAN}/wet floor – aisle 4.jpg": (dt.datetime(2023, 11, 8, 10, 31), None),
        f"{TEST}/photo.jpg": (dt.datetime(2024, 1, 9, 8, 0), None),
    }
    for path, (moment, place) in taken.items():
        yield File(path, documents.photo(f"{seed} {path}", moment, place), moment)
    # What the camera's memory card leaves beside the pictures, and what the scanner makes.
    yield File(f"{scene}/Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(508), crash)
    picture = documents.photo(f"{seed} scan", dt.datetime(2024, 7, 13, 9, 0))
    scan = documents.scanned_pdf(picture, 640, 480)
    yield File(
        f"{WILSON}/uncategorized/scans 7-13/scan0001.pdf", scan, dt.datetime(2024, 7, 13, 9, 1)
    )
