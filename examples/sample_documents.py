"""Makes the bytes of real documents: PDF, JPEG with EXIF, mail, DOCX. Same input, same bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import random
import zipfile
import zlib
from dataclasses import dataclass
from email.message import EmailMessage
from xml.sax.saxutils import escape

_PASSWORD_PADDING = bytes.fromhex(
    "28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a"
)
_LINES_PER_PAGE = 48


@dataclass(frozen=True)
class Attachment:
    name: str
    main_type: str
    sub_type: str
    data: bytes


class PdfWriter:
    """Numbered objects, optionally encrypted with RC4 (40 bits, revision 2 of the format)."""

    def __init__(self, seed_text: str, password: str = "") -> None:
        self._objects: list[bytes] = []
        self._id = hashlib.md5(seed_text.encode()).digest()
        self._key = b""
        self._owner = b""
        if password:
            padded = (password.encode("latin-1") + _PASSWORD_PADDING)[:32]
            self._owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
            permissions = (0xFFFFFFFC).to_bytes(4, "little")
            self._key = hashlib.md5(padded + self._owner + permissions + self._id).digest()[:5]

    def add(self, body: str, stream: bytes | None = None) -> int:
        """Adds an object and returns its number; a stream's dictionary comes without its length."""
        number = len(self._objects) + 1
        if stream is None:
            self._objects.append(body.encode("latin-1"))
            return number
        if self._key:
            salt = number.to_bytes(3, "little") + b"\0\0"
            stream = _rc4(hashlib.md5(self._key + salt).digest()[:10], stream)
        head = f"<< {body} /Length {len(stream)} >>\nstream\n".encode("latin-1")
        self._objects.append(head + stream + b"\nendstream")
        return number

    def finish(self, catalog: int) -> bytes:
        encrypt = ""
        if self._key:
            user = _rc4(self._key, _PASSWORD_PADDING)
            keys = f"/O <{self._owner.hex()}> /U <{user.hex()}>"
            body = f"<< /Filter /Standard /V 1 /R 2 /P -4 {keys} >>"
            encrypt = f" /Encrypt {self.add(body)} 0 R"
        out = io.BytesIO()
        out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
        offsets = []
        for number, data in enumerate(self._objects, 1):
            offsets.append(out.tell())
            out.write(f"{number} 0 obj\n".encode() + data + b"\nendobj\n")
        start = out.tell()
        out.write(f"xref\n0 {len(offsets) + 1}\n0000000000 65535 f \n".encode())
        for offset in offsets:
            out.write(f"{offset:010} 00000 n \n".encode())
        file_id = self._id.hex()
        trailer = (
            f"/Size {len(offsets) + 1} /Root {catalog} 0 R /ID [<{file_id}> <{file_id}>]{encrypt}"
        )
        out.write(f"trailer\n<< {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode())
        return out.getvalue()


def pdf(text: str, password: str = "") -> bytes:
    """A PDF of `text`; a form feed starts a new page, and so does a full one."""
    writer = PdfWriter(text, password)
    font = writer.add(
        "<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>"
    )
    contents = [writer.add("/Filter /FlateDecode", _page_stream(lines)) for lines in _pages(text)]
    resources = f"/Resources << /Font << /F1 {font} 0 R >> >>"
    return _with_pages(writer, contents, resources, "612 792")


def scanned_pdf(jpeg: bytes, width: int, height: int) -> bytes:
    """A PDF of one picture and no text, as a scanner makes it."""
    writer = PdfWriter(hashlib.md5(jpeg).hexdigest())
    image = writer.add(
        f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceRGB "
        "/BitsPerComponent 8 /Filter /DCTDecode",
        jpeg,
    )
    contents = [writer.add("", f"q {width} 0 0 {height} 0 0 cm /Im1 Do Q".encode())]
    resources = f"/Resources << /XObject << /Im1 {image} 0 R >> >>"
    return _with_pages(writer, contents, resources, f"{width} {height}")


def _with_pages(writer: PdfWriter, contents: list[int], resources: str, size: str) -> bytes:
    tree = contents[-1] + len(contents) + 1
    kids = []
    for content in contents:
        page = f"/Type /Page /Parent {tree} 0 R /MediaBox [0 0 {size}] {resources}"
        kids.append(writer.add(f"<< {page} /Contents {content} 0 R >>"))
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    writer.add(f"<< /Type /Pages /Kids [{listed}] /Count {len(kids)} >>")
    return writer.finish(writer.add(f"<< /Type /Catalog /Pages {tree} 0 R >>"))


def _pages(text: str) -> list[list[str]]:
    pages = []
    for part in text.split("\f"):
        lines = part.strip("\n").split("\n")
        pages += [lines[i : i + _LINES_PER_PAGE] for i in range(0, len(lines), _LINES_PER_PAGE)]
    return pages


def _page_stream(lines: list[str]) -> bytes:
    out = [b"BT /F1 10 Tf 14 TL 54 740 Td"]
    for line in lines:
        shown = line.encode("cp1252", "replace")
        for special in (b"\\", b"(", b")"):
            shown = shown.replace(special, b"\\" + special)
        out.append(b"(" + shown + b") Tj T*")
    return zlib.compress(b"\n".join([*out, b"ET"]), 9)


def _rc4(key: bytes, data: bytes) -> bytes:
    box = list(range(256))
    j = 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) & 255
        box[i], box[j] = box[j], box[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) & 255
        j = (j + box[i]) & 255
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) & 255])
    return bytes(out)


def photo(seed: str, taken: dt.datetime, place: tuple[float, float] | None = None) -> bytes:
    """A picture of a crossing with two cars, with EXIF; `place` is latitude and longitude."""
    from PIL import Image, ImageDraw

    rng = random.Random(seed)
    grain = Image.frombytes("L", (80, 60), rng.randbytes(80 * 60)).resize((640, 480))
    sky = (rng.randint(120, 180), rng.randint(150, 200), rng.randint(190, 230))
    image = Image.new("RGB", (640, 480), sky)
    draw = ImageDraw.Draw(image)
    horizon = rng.randint(170, 230)
    draw.rectangle((0, horizon, 640, 480), fill=(96, 98, 94))
    draw.polygon([(300, horizon), (340, horizon), (520, 480), (120, 480)], fill=(70, 70, 74))
    for step in range(5):
        y = horizon + 20 + step * 50
        draw.rectangle((314 - step, y, 322 + step, y + 18 + step * 3), fill=(220, 214, 180))
    for _ in range(2):
        x, y = rng.randint(60, 430), rng.randint(horizon + 20, 380)
        colour = tuple(rng.randint(20, 230) for _ in range(3))
        draw.rectangle((x, y, x + 130, y + 46), fill=colour, outline=(20, 20, 20))
        draw.polygon(
            [(x + 24, y), (x + 44, y - 28), (x + 92, y - 28), (x + 110, y)], fill=(40, 48, 60)
        )
        for wheel in (x + 28, x + 100):
            draw.ellipse((wheel - 15, y + 34, wheel + 15, y + 64), fill=(16, 16, 16))
    image = Image.blend(image, Image.merge("RGB", (grain, grain, grain)), 0.12)
    exif = Image.Exif()
    stamp = taken.strftime("%Y:%m:%d %H:%M:%S")
    exif[0x010F], exif[0x0110], exif[0x0132] = "Orrery", "Orrery Pocket 3", stamp
    exif[0x8769] = {0x9003: stamp, 0x9004: stamp}
    if place:
        exif[0x8825] = _gps(*place)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=78, exif=exif)
    return out.getvalue()


def _gps(latitude: float, longitude: float) -> dict[int, object]:
    def angle(value: float) -> tuple[float, float, float]:
        seconds = round(abs(value) * 3600, 2)
        return (float(seconds // 3600), float(seconds % 3600 // 60), round(seconds % 60, 2))

    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return {1: north, 2: angle(latitude), 3: east, 4: angle(longitude)}


def mail(
    headers: dict[str, str], body: str, html: str = "", attachments: tuple[Attachment, ...] = ()
) -> bytes:
    """A mail; boundaries and the Message-ID come from its content, never from a clock."""
    message = EmailMessage()
    for name, value in headers.items():
        message[name] = value
    identity = hashlib.md5((repr(headers) + body).encode()).hexdigest()
    message["Message-ID"] = f"<{identity[:20]}@mail.example>"
    message.set_content(body)
    if html:
        message.add_alternative(html, subtype="html")
    for attachment in attachments:
        message.add_attachment(
            attachment.data,
            maintype=attachment.main_type,
            subtype=attachment.sub_type,
            filename=attachment.name,
        )
    for number, part in enumerate(message.walk()):
        if part.is_multipart():
            part.set_boundary(f"==={identity[:24]}{number}===")
    return message.as_bytes()


def docx(text: str) -> bytes:
    """A minimal word-processor document, one paragraph a line."""
    paragraphs = "".join(
        f'<w:p><w:r><w:t xml:space="preserve">{escape(line)}</w:t></w:r></w:p>'
        for line in text.split("\n")
    )
    office = "http://schemas.openxmlformats.org"
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    main_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main_type}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{office}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{office}/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{office}/wordprocessingml/2006/main">'
        f"<w:body>{paragraphs}</w:body></w:document>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in parts.items():
            archive.writestr(zipfile.ZipInfo(name), head + body, zipfile.ZIP_DEFLATED)
    return out.getvalue()
