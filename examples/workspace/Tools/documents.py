"""Reads untidy documents: PDFs, mails, word-processor files, plain text.

Every reader returns a `Document` and never raises for what a document holds: `problem` says in a
few words why there is no text, for example "locked (needs a password)".
"""

from __future__ import annotations

import email
import email.errors
import email.header
import email.message
import logging
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import caselib

TEXT_TYPES = {".txt", ".csv", ".md", ".log"}
_WORD_NAMESPACE = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DOCX_LIMIT = 64 * 1024 * 1024
_TEXT_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Document:
    """The text of one document, or the reason why there is none."""

    text: str = ""
    problem: str = ""
    pages: int = 0


def read_document(path: Path, max_pages: int = 0) -> Document:
    """The text of any document that has one; 0 pages means all."""
    kind = path.suffix.lower()
    if kind in caselib.IMAGE_TYPES:
        return Document()
    try:
        if path.stat().st_size == 0:
            return Document(problem="empty (0 bytes)")
        if kind == ".pdf":
            return read_pdf(path, max_pages)
        if kind == ".docx":
            return _read_docx(path)
        if kind == ".eml":
            return _read_mail_text(path)
        if kind in TEXT_TYPES:
            with path.open("rb") as file:
                return Document(file.read(_TEXT_LIMIT).decode("utf-8", "replace"), pages=1)
    except OSError as error:
        return Document(problem=f"unreadable ({error.strerror})")
    return Document()


def read_pdf(path: Path, max_pages: int = 0, password: str = "") -> Document:
    """The text of a PDF, as much of it as can be had."""
    try:
        import pypdf
    except ImportError:
        return Document(problem="not read (install python3-pypdf to read PDFs)")
    if path.stat().st_size == 0:
        return Document(problem="empty (0 bytes)")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(password):
            wrong = "wrong password" if password else "needs a password"
            return Document(problem=f"locked ({wrong})")
        pages = len(reader.pages)
    except pypdf.errors.DependencyError:
        return Document(problem="locked (AES; install python3-pycryptodome to try a password)")
    except Exception as error:  # A damaged file may break the reader in any way.
        return Document(problem=f"broken ({type(error).__name__}: {caselib.cell(str(error))[:80]})")
    texts, failed = [], 0
    for number in range(min(pages, max_pages or pages)):
        try:
            texts.append(reader.pages[number].extract_text())
        except Exception:
            failed += 1
    if failed and not any(texts):
        return Document(
            problem=f"broken (none of {caselib.count(pages, 'page')} can be read)", pages=pages
        )
    text = "\n\f".join(texts)
    if not text.strip():
        return Document(problem="no text (a scan?)", pages=pages)
    return Document(
        text, f"damaged ({caselib.count(failed, 'page')} left out)" if failed else "", pages
    )


def _read_docx(path: Path) -> Document:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("word/document.xml").file_size > _DOCX_LIMIT:
                return Document(problem="too large")
            body = ElementTree.fromstring(archive.read("word/document.xml"))
    except (
        Exception
    ) as error:  # As above: zlib, zipfile and the parser each have errors of their own.
        return Document(problem=f"broken ({type(error).__name__})")
    lines = []
    for paragraph in body.iter(_WORD_NAMESPACE + "p"):
        lines.append("".join(run.text or "" for run in paragraph.iter(_WORD_NAMESPACE + "t")))
    return Document("\n".join(lines), pages=1)


def read_mail(path: Path) -> email.message.Message:
    """The mail, however malformed. Headers are to be read with `mail_header`."""
    return email.message_from_bytes(path.read_bytes())


def mail_header(mail: email.message.Message, name: str) -> str:
    """A decoded header on one line, empty when there is none."""
    raw = mail.get(name)
    if raw is None:
        return ""
    try:
        parts = email.header.decode_header(raw)
    except (ValueError, email.errors.HeaderParseError):
        parts = [(str(raw), None)]
    text = "".join(_decoded(part, charset) for part, charset in parts)
    return re.sub(r"\s+", " ", text.encode("utf-8", "replace").decode("utf-8")).strip()


def _decoded(part: str | bytes, charset: str | None) -> str:
    if isinstance(part, str):
        return part
    try:
        return part.decode(charset or "utf-8", "replace")
    except LookupError:
        return part.decode("utf-8", "replace")


def mail_body(mail: email.message.Message) -> str:
    """The first readable text part; HTML without its tags."""
    for part in mail.walk():
        kind = part.get_content_type()
        if kind not in ("text/plain", "text/html") or part.get_filename():
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        text = _decoded(payload, part.get_content_charset())
        text = re.sub(r"<[^>]{0,2000}>", " ", text) if kind == "text/html" else text
        if text.strip():
            return text
    return ""


def _read_mail_text(path: Path) -> Document:
    mail = read_mail(path)
    headers = [mail_header(mail, name) for name in ("From", "To", "Subject")]
    return Document("\n".join([*headers, mail_body(mail)[:_TEXT_LIMIT]]), pages=1)
